# SPDX-License-Identifier: Apache-2.0
"""The databases that other tests get are what an upgrade makes."""

import contextlib

import pytest
import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.tests import databases
from cloudkitty.tests import samples
from cloudkitty.tests.functional import conftest


def describe(database):
    """Return {table: (columns, keys, rows)}."""
    with database.engine.connect() as connection:
        found = sqlalchemy.inspect(connection)
        return {
            name: (
                [(column['name'], str(column['type']), column['nullable']) for column in found.get_columns(name)],
                found.get_pk_constraint(name)['constrained_columns'],
                sorted(str(key) for key in found.get_foreign_keys(name)),
                sorted(str(key['column_names']) for key in found.get_unique_constraints(name)),
                sorted(str(key['column_names']) for key in found.get_indexes(name)),
                [tuple(row) for row in connection.exec_driver_sql('SELECT * FROM %s' % name)],
            )
            for name in found.get_table_names()
        }


def describe_new(url, make):
    """Return what *make* makes of the empty database at *url*."""
    database = make(url)
    try:
        return describe(database)
    finally:
        database.dispose()


def upgrade(url):
    database = engine.Database(url)
    migration.upgrade_all(database)
    return database


def test_a_copy_is_what_an_upgrade_makes(database_kind, tmp_path):
    made = []
    for make in (databases.ready, upgrade):
        directory = tmp_path / make.__name__
        directory.mkdir()
        with contextlib.contextmanager(conftest.make_url)(database_kind, directory) as url:
            made.append(describe_new(url, make))
    assert made[0] == made[1] and len(made[0]) > 30


@pytest.fixture(
    params=[
        pytest.param('mariadb', marks=pytest.mark.mariadb),
        pytest.param('postgresql', marks=pytest.mark.postgresql),
    ]
)
def server(request):
    """URL of a server whose databases are kept."""
    url, port = conftest.SERVERS[request.param]
    conftest.require(port, request.param)
    return url


def fill(database):
    """Commit points of two scopes; return {table: ids of its rows}."""
    points = [samples.columns('p', prices=('1',)), samples.columns('q', prices=('1',))]
    driver.SQLAlchemyStorage(database).commit(samples.commit(samples.ready_states(database, 'p', 'q'), points))
    with database.engine.connect() as connection:
        tables = ('scopes', 'series', 'cloudkitty_storage_states')
        return {name: sorted(connection.exec_driver_sql('SELECT id FROM %s' % name)) for name in tables}


def test_what_is_lent_again_is_as_new(server):
    with databases.lend(server) as first:
        database = engine.Database(first)
        new = describe(database)
        ids = fill(database)
        with database.engine.connect() as connection:
            connection.exec_driver_sql('CREATE TEMPORARY TABLE passing (id INTEGER)')
        left_open = database.engine.connect()
        left_open.exec_driver_sql('UPDATE rule_revision SET revision = 3')
        assert describe(database) != new
    with databases.lend(server) as second:
        assert second == first
        database = engine.Database(second)
        assert describe(database) == new and fill(database) == ids
        database.dispose()
    left_open.invalidate()


@pytest.mark.parametrize(
    'statement',
    ['ALTER TABLE scopes ADD more INTEGER', 'CREATE TABLE more (id INTEGER)', 'DROP TABLE pushes'],
)
def test_what_lost_its_shape_is_not_lent_again(server, statement):
    with databases.lend(server) as first:
        database = engine.Database(first)
        new = describe(database)
        with database.engine.begin() as connection:
            connection.exec_driver_sql(statement)
        database.dispose()
    with databases.lend(server) as second:
        assert second != first
        database = engine.Database(second)
        assert describe(database) == new
        database.dispose()
