# SPDX-License-Identifier: Apache-2.0
"""Databases with every table, for tests that start from there.

The upgrade of an empty database takes seconds on a server. So each process makes one of each kind, once, and what tests
get are copies of it: of the file, of PostgreSQL's template, of MariaDB's statements that create the tables.

Copies take most of a short test's time, too. So tests that neither look at plans nor start processes are lent a
database of a server: its process keeps it, empties it before the next test gets it, and drops it where anything but
rows changed.
"""

import atexit
import contextlib
import pathlib
import re
import shutil
import tempfile
import uuid

import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.db import migration

#: Kind to what copies are made of.
_templates = {}
#: Kind to the databases that are kept and not lent.
_kept = {}
#: URLs of those that are lent.
_lent = set()


def ready(url):
    """Return a :class:`engine.Database` at *url* with every chain at its head; an empty one becomes a copy."""
    if url in _lent:
        return engine.Database(url)
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
    place = location.set(database='postgres' if location.get_backend_name() == 'postgresql' else 'information_schema')
    server = sqlalchemy.create_engine(place, isolation_level='AUTOCOMMIT', poolclass=sqlalchemy.NullPool)
    with server.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def _make_database(location):
    name = 'ck_template_%s' % uuid.uuid4().hex[:16]
    _create(location.set(database=name))
    _upgrade(location.set(database=name).render_as_string(hide_password=False)).dispose()
    atexit.register(_drop, location.set(database=name))
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


@contextlib.contextmanager
def create(server):
    """Give the URL of a new, empty database of the server at URL *server*; drop it afterwards."""
    location = sqlalchemy.make_url(server).set(database='ck_test_%s' % uuid.uuid4().hex[:16])
    _create(location)
    try:
        yield location.render_as_string(hide_password=False)
    finally:
        _drop(location)


@contextlib.contextmanager
def lend(server):
    """Give the URL of a database with every table, as new, of the server at URL *server*; of SQLite the file's."""
    location = sqlalchemy.make_url(server)
    if location.get_backend_name() == 'sqlite':
        ready(server).dispose()
        _lent.add(server)
        yield server
        return
    free = _kept.setdefault(location.get_backend_name(), [])
    found = free.pop() if free else None
    if found is not None and not found.empty():
        found.drop()
        found = None
    if found is None:
        found = _KEEPERS[location.get_backend_name()](location)
        atexit.register(found.drop)
    _lent.add(found.url)
    try:
        yield found.url
    finally:
        _lent.discard(found.url)
        free.append(found)


def _create(location):
    _administer(location, 'CREATE DATABASE %s' % location.database)


def _drop(location):
    force = ' WITH (FORCE)' if location.get_backend_name() == 'postgresql' else ''
    _administer(location, 'DROP DATABASE IF EXISTS %s%s' % (location.database, force))


class _Keeper:
    """A database with every table that is lent to one test after the other.

    :ivar url: where it is.
    """

    def __init__(self, server):
        self._location = server.set(database='ck_kept_%s' % uuid.uuid4().hex[:16])
        self.url = self._location.render_as_string(hide_password=False)
        _create(self._location)
        ready(self.url).dispose()
        if self.SETTINGS:
            _administer(server, *(text % self._location.database for text in self.SETTINGS))
        with self._connect() as connection:
            tables = sqlalchemy.inspect(connection).get_table_names()
            found = ["(SELECT '%s' FROM %s LIMIT 1)" % (name, name) for name in tables]
            self._filled = ' UNION ALL '.join(found)
            self._rows = {name: self._read(connection, name) for name in self._list_filled(connection)}
            self._shape, self._counters = self._describe(connection)

    def drop(self):
        _drop(self._location)

    def empty(self):
        """Make it as new; return False, and leave it as it is, where more than rows changed."""
        with self._connect() as connection:
            self._end_others(connection)
            shape, counters = self._describe(connection)
            if shape != self._shape:
                return False
            self._stop_checks(connection)
            for name in sorted({*self._rows, *self._list_filled(connection)}):
                rows = self._rows.get(name, [])
                if self._read(connection, name, len(rows) + 1) != rows:
                    connection.exec_driver_sql('DELETE FROM %s' % name)
                    for row in rows:
                        places = ', '.join(['%s'] * len(row))
                        connection.exec_driver_sql('INSERT INTO %s VALUES (%s)' % (name, places), row)
            for name, value in counters.items():
                if value != self._counters.get(name):
                    self._reset_counter(connection, name)
        return True

    @contextlib.contextmanager
    def _connect(self):
        server = sqlalchemy.create_engine(self._location, isolation_level='AUTOCOMMIT', poolclass=sqlalchemy.NullPool)
        with server.connect() as connection:
            yield connection

    def _list_filled(self, connection):
        return [name for (name,) in connection.exec_driver_sql(self._filled)]

    def _read(self, connection, name, most=100):
        return sorted(tuple(row) for row in connection.exec_driver_sql('SELECT * FROM %s LIMIT %d' % (name, most)))


class _MariaDB(_Keeper):
    SETTINGS = ()

    def _end_others(self, connection):
        others = 'SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()'
        for (number,) in connection.exec_driver_sql(others).all():
            with contextlib.suppress(sqlalchemy.exc.OperationalError):
                connection.exec_driver_sql('KILL %d' % number)

    def _describe(self, connection):
        """Return (statements that would make all there is, {table: next id})."""
        made = [connection.exec_driver_sql('SHOW CREATE DATABASE %s' % self._location.database).one()[1]]
        made += map(str, connection.exec_driver_sql('SHOW TRIGGERS'))
        counters = {}
        for (name,) in connection.exec_driver_sql('SHOW TABLES').all():
            text = connection.exec_driver_sql('SHOW CREATE TABLE %s' % name).one()[1]
            counters[name] = next(iter(re.findall(r' AUTO_INCREMENT=(\d+)', text)), '1')
            made.append(re.sub(r' AUTO_INCREMENT=\d+', '', text))
        return made, counters

    def _stop_checks(self, connection):
        connection.exec_driver_sql('SET foreign_key_checks = 0')

    def _reset_counter(self, connection, name):
        connection.exec_driver_sql('ALTER TABLE %s AUTO_INCREMENT = %s' % (name, self._counters[name]))


class _PostgreSQL(_Keeper):
    #: No test stops the server, and much of a short one's time would be waiting for the disk.
    SETTINGS = ('ALTER DATABASE %s SET synchronous_commit = off',)
    #: Whatever changes a table writes a row into one of these, vacuuming apart; and the column that names the table.
    CATALOGUES = {
        'class': 'oid',
        'attribute': 'attrelid',
        'attrdef': 'adrelid',
        'constraint': 'conrelid',
        'index': 'indrelid',
        'trigger': 'tgrelid',
    }

    def _end_others(self, connection):
        others = 'SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()'
        connection.exec_driver_sql('SELECT pg_terminate_backend(pid, 5000) FROM (%s) AS others' % others).all()

    def _describe(self, connection):
        """Return (count and newest row of the catalogues, {sequence: last value})."""
        ours = "SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        rows = ['SELECT xmin FROM pg_%s WHERE %s IN (%s)' % (*pair, ours) for pair in self.CATALOGUES.items()]
        shape = 'SELECT count(*), max(xmin::text::bigint) FROM (%s) AS written' % ' UNION ALL '.join(rows)
        counters = connection.exec_driver_sql('SELECT sequencename, last_value FROM pg_sequences').all()
        return connection.exec_driver_sql(shape).one(), {row[0]: row[1] for row in counters}

    def _stop_checks(self, connection):
        connection.exec_driver_sql("SET session_replication_role = 'replica'")

    def _reset_counter(self, connection, name):
        value = self._counters[name]
        connection.exec_driver_sql('SELECT setval(%s, %s, %s)', (name, value or 1, value is not None))


_KEEPERS = {'mysql': _MariaDB, 'postgresql': _PostgreSQL}
