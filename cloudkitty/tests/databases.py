# SPDX-License-Identifier: Apache-2.0
"""Databases with every table, for tests that start from there.

The upgrade of an empty database takes seconds on a server. So each process makes one of each kind, once, and what tests
get are copies of it: of the file, of PostgreSQL's template, of MariaDB's statements that create the tables.
"""

import atexit
import pathlib
import shutil
import tempfile
import uuid

import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.db import migration

#: Kind to what copies are made of.
_templates = {}


def ready(url):
    """Return a :class:`engine.Database` at *url* with every chain at its head; an empty one becomes a copy."""
    location = sqlalchemy.make_url(url)
    kind = location.get_backend_name()
    if kind == 'sqlite':
        if pathlib.Path(location.database).exists():
            return _upgrade(url)
        shutil.copy(_template('sqlite', _make_file, location), location.database)
        return engine.Database(url)
    database = engine.Database(url)
    with database.engine.connect() as connection:
        is_empty = not sqlalchemy.inspect(connection).get_table_names()
    database.dispose()
    if not is_empty:
        return _upgrade(url)
    if kind == 'postgresql':
        _copy_database(location, _template('postgresql', _make_database, location))
    else:
        _run_statements(url, _template('mysql', _read_statements, location))
    return engine.Database(url)


def _upgrade(url):
    database = engine.Database(url)
    migration.upgrade_all(database)
    return database


def _template(kind, make, location):
    if kind not in _templates:
        _templates[kind] = make(location)
    return _templates[kind]


def _make_file(_):
    path = pathlib.Path(tempfile.mkdtemp(prefix='cloudkitty-test-')) / 'template.sqlite'
    database = _upgrade('sqlite:///%s' % path)
    with database.engine.connect() as connection:
        connection.exec_driver_sql('PRAGMA wal_checkpoint(TRUNCATE)')
    database.dispose()
    return path


def _administer(location, *statements):
    """Run *statements* beside the databases of tests."""
    place = location.set(database='postgres' if location.get_backend_name() == 'postgresql' else None)
    server = sqlalchemy.create_engine(place, isolation_level='AUTOCOMMIT', poolclass=sqlalchemy.NullPool)
    with server.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _make_database(location):
    name = 'ck_template_%s' % uuid.uuid4().hex[:16]
    _administer(location, 'CREATE DATABASE %s' % name)
    _upgrade(location.set(database=name).render_as_string(hide_password=False)).dispose()
    atexit.register(_administer, location, 'DROP DATABASE IF EXISTS %s' % name)
    return name


def _copy_database(location, template):
    name = location.database
    _administer(location, 'DROP DATABASE %s' % name, 'CREATE DATABASE %s TEMPLATE %s' % (name, template))


def _read_statements(location):
    """Return (statements that create the tables, (statement, rows) that fill them)."""
    name = 'ck_template_%s' % uuid.uuid4().hex[:16]
    _administer(location, 'CREATE DATABASE %s' % name)
    database = _upgrade(location.set(database=name).render_as_string(hide_password=False))
    try:
        with database.engine.connect() as connection:
            tables = sqlalchemy.inspect(connection).get_table_names()
            made = [connection.exec_driver_sql('SHOW CREATE TABLE `%s`' % table).one()[1] for table in tables]
            rows = []
            for table in tables:
                found = connection.exec_driver_sql('SELECT * FROM `%s`' % table)
                places = ', '.join(['%s'] * len(found.keys()))
                rows.append(('INSERT INTO `%s` VALUES (%s)' % (table, places), [tuple(row) for row in found]))
    finally:
        database.dispose()
        _administer(location, 'DROP DATABASE %s' % name)
    return made, [pair for pair in rows if pair[1]]


def _run_statements(url, statements):
    made, rows = statements
    server = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with server.begin() as connection:
        connection.exec_driver_sql('SET foreign_key_checks = 0')
        for statement in made:
            connection.exec_driver_sql(statement.replace('%', '%%'))
        for statement, values in rows:
            connection.exec_driver_sql(statement, values)
