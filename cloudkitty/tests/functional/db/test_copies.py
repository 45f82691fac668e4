# SPDX-License-Identifier: Apache-2.0
"""The databases that other tests get are what an upgrade makes."""

import contextlib

import pytest
import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.tests import databases
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


@pytest.mark.parametrize(
    'kind',
    [
        'sqlite',
        pytest.param('mariadb', marks=pytest.mark.mariadb),
        pytest.param('postgresql', marks=pytest.mark.postgresql),
    ],
)
def test_a_copy_is_what_an_upgrade_makes(kind, tmp_path):
    made = []
    for name in ('copied', 'upgraded'):
        directory = tmp_path / name
        directory.mkdir()
        with contextlib.contextmanager(conftest.make_url)(kind, directory) as url:
            database = databases.ready(url) if name == 'copied' else engine.Database(url)
            if name == 'upgraded':
                migration.upgrade_all(database)
            made.append(describe(database))
            database.dispose()
    assert made[0] == made[1] and len(made[0]) > 30
