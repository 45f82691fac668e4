# SPDX-License-Identifier: Apache-2.0
"""Databases for tests: an empty one of its own for every test, on each server that answers."""

import os
import socket

import pytest

from cloudkitty.db import engine
from cloudkitty.tests import cloud
from cloudkitty.tests import coordination
from cloudkitty.tests import databases

SERVERS = {
    # Without TLS: for it PyMySQL reads all certificates of the machine, 40 ms of computing for each connection.
    'mariadb': ('mysql+pymysql://root@127.0.0.1:3306/?ssl_disabled=true', 3306),
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
    with databases.create(url) as found:
        yield found


@pytest.fixture(
    params=[
        'sqlite',
        pytest.param('mariadb', marks=pytest.mark.mariadb),
        pytest.param('postgresql', marks=pytest.mark.postgresql),
    ]
)
def database_kind(request):
    """The test runs once on every server."""
    return request.param


@pytest.fixture
def database_url(database_kind, tmp_path):
    """URL of an empty database, once on every server."""
    yield from make_url(database_kind, tmp_path)


@pytest.fixture
def ready_url(database_kind, tmp_path):
    """URL of a database with every table, once on every server; a server's database has served other tests before."""
    if database_kind == 'sqlite':
        url = 'sqlite:///%s' % (tmp_path / 'cloudkitty.sqlite')
    else:
        url, port = SERVERS[database_kind]
        require(port, database_kind)
    with databases.lend(url) as found:
        yield found


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
def database(ready_url):
    """A :class:`cloudkitty.db.engine.Database` at *ready_url*."""
    database = engine.Database(ready_url)
    yield database
    database.dispose()


@pytest.fixture
def sqlite(sqlite_url):
    """A database with every table on SQLite."""
    database = databases.ready(sqlite_url)
    yield database
    database.dispose()
