# SPDX-License-Identifier: Apache-2.0
"""The API as a script for mod_wsgi: WSGIScriptAlias names this file."""

from cloudkitty.api import app

application = app.build_wsgi_app(argv=[])
