# SPDX-License-Identifier: Apache-2.0
"""Databases with every table, for tests that start from there."""

import pathlib
import shutil
import tempfile

import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.db import migration

_templates: dict[str, pathlib.Path] = {}


def ready(url):
    """Return a :class:`engine.Database` at *url* with every chain at its head; a new SQLite file is a copy."""
    path = sqlalchemy.make_url(url).database
    if url.startswith('sqlite') and not pathlib.Path(path).exists():
        shutil.copy(_template(), path)
        return engine.Database(url)
    database = engine.Database(url)
    migration.upgrade_all(database)
    return database


def _template():
    if 'sqlite' not in _templates:
        path = pathlib.Path(tempfile.mkdtemp(prefix='cloudkitty-test-')) / 'template.sqlite'
        database = engine.Database('sqlite:///%s' % path)
        migration.upgrade_all(database)
        with database.engine.connect() as connection:
            connection.exec_driver_sql('PRAGMA wal_checkpoint(TRUNCATE)')
        database.dispose()
        _templates['sqlite'] = path
    return _templates['sqlite']
