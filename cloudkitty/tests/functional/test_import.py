# SPDX-License-Identifier: Apache-2.0
import importlib
import pkgutil

import cloudkitty


def test_every_module_can_be_imported():
    for module in pkgutil.walk_packages(cloudkitty.__path__, 'cloudkitty.'):
        if '.versions.' not in module.name and not module.name.endswith(('alembic.env', 'wsgi.api')):
            importlib.import_module(module.name)
