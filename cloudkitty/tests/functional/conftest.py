# SPDX-License-Identifier: Apache-2.0
"""Databases for tests: an empty one of its own for every test, on each server that answers."""

import os
import socket
import uuid

import pytest
import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.tests import cloud
from cloudkitty.tests import coordination
from cloudkitty.tests import databases

SERVERS = {
    'mariadb': ('mysql+pymysql://root@127.0.0.1:3306/', 3306),
    'postgresql': ('postgresql+psycopg2://postgres@127.0.0.1:5432/', 5432),
}


def require(port, name):
    """Skip the test when nothing answers on *port* of loopback; fail it in CI."""
    try:
        socket.create_connection(('127.0.0.1', port), timeout=2).close()
    except OSError:
        _miss('%s does not answer on port %d.' % (name, port))


def require_cloud():
    """Skip the test when Keystone and Gnocchi cannot be installed; fail it in CI."""
    try:
        cloud.install()
    except cloud.NotInstalled as error:
        _miss(str(error))


def _miss(reason):
    if os.environ.get('CI', '').lower() == 'true':
        pytest.fail('%s CI does not do without.' % reason)
    pytest.skip(reason)


def start_coordination(kind, directory):
    """Yield a service of its own that knows who is there; Redis is required in CI, etcd used where it is installed."""
    service_class = coordination.SERVICES[kind]
    if not service_class.is_installed():
        if kind == 'redis':
            _miss('redis-server is not installed.')
        pytest.skip('%s is not installed.' % kind)
    found = service_class(directory)
    found.start()
    try:
        yield found
    finally:
        found.stop()


def make_url(kind, directory):
    """Yield the URL of a new, empty database on server *kind*; drop it afterwards."""
    if kind == 'sqlite':
        yield 'sqlite:///%s' % (directory / 'cloudkitty.sqlite')
        return
    url, port = SERVERS[kind]
    require(port, kind)
    name = 'ck_test_%s' % uuid.uuid4().hex[:16]
    admin = url + ('postgres' if kind == 'postgresql' else '')
    server = sqlalchemy.create_engine(admin, isolation_level='AUTOCOMMIT', poolclass=sqlalchemy.NullPool)
    with server.connect() as connection:
        connection.exec_driver_sql('CREATE DATABASE %s' % name)
    try:
        yield url + name
    finally:
        with server.connect() as connection:
            force = ' WITH (FORCE)' if kind == 'postgresql' else ''
            connection.exec_driver_sql('DROP DATABASE %s%s' % (name, force))


@pytest.fixture(
    params=[
        'sqlite',
        pytest.param('mariadb', marks=pytest.mark.mariadb),
        pytest.param('postgresql', marks=pytest.mark.postgresql),
    ]
)
def database_url(request, tmp_path):
    """URL of an empty database: the test runs once on every server."""
    yield from make_url(request.param, tmp_path)


@pytest.fixture
def sqlite_url(tmp_path):
    """URL of an empty SQLite file."""
    yield from make_url('sqlite', tmp_path)


@pytest.fixture
def mariadb_url(tmp_path):
    """URL of an empty MariaDB database."""
    yield from make_url('mariadb', tmp_path)


@pytest.fixture
def postgresql_url(tmp_path):
    """URL of an empty PostgreSQL database."""
    yield from make_url('postgresql', tmp_path)


@pytest.fixture
def empty_database(database_url):
    """A :class:`cloudkitty.db.engine.Database` without tables, once on every server."""
    database = engine.Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def database(database_url):
    """A :class:`cloudkitty.db.engine.Database` with every table, once on every server."""
    database = databases.ready(database_url)
    yield database
    database.dispose()


@pytest.fixture
def sqlite(sqlite_url):
    """A database with every table on SQLite."""
    database = databases.ready(sqlite_url)
    yield database
    database.dispose()
