# SPDX-License-Identifier: Apache-2.0
import importlib
import pkgutil

import cloudkitty

#: What does something when it is imported (the processor's command makes threads green, as does what starts it in the
#: fault laboratory), and what runs in Gnocchi's environment.
NOT_HERE = (
    'alembic.env', 'wsgi.api', 'cli.processor', 'tests.cloud_index', 'faults.entry', 'horizon_settings',
    'dashboards.picture', 'dashboards.__main__',
)  # fmt: skip


def test_every_module_can_be_imported():
    for module in pkgutil.walk_packages(cloudkitty.__path__, 'cloudkitty.'):
        if '.versions.' not in module.name and not module.name.endswith(NOT_HERE):
            importlib.import_module(module.name)
