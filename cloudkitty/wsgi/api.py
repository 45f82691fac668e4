# SPDX-License-Identifier: Apache-2.0
"""The API for any WSGI server: ``cloudkitty.wsgi.api:application``.

The only module of ours that does something when it is imported. The command line belongs to the server; the options
are found where they are without one.
"""

import threading

from cloudkitty.api import app

application = None

with threading.Lock():
    if application is None:
        application = app.build_wsgi_app(argv=[])
