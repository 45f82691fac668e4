# SPDX-License-Identifier: Apache-2.0
"""What the bulk loader of tests writes is what commits write, on every server."""

import contextlib

import pytest

from cloudkitty import period
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.tests import bulk
from cloudkitty.tests import databases
from cloudkitty.tests import samples
from cloudkitty.tests.functional import conftest

#: The last day of May and the first of June.
FIRST = samples.JUNE // period.DAY - 1


@pytest.mark.parametrize(('shape', 'step'), [('mixed', 1), ('long', 48)])
def test_loaded_rows_are_those_of_commits(database, tmp_path, shape, step):
    cloud = bulk.Cloud(scopes=2, resources=2, shape=shape)
    assert bulk.load(database, cloud, FIRST, FIRST + 2) == 2 * 2 * 3 * 48
    kind = {'mysql': 'mariadb'}.get(database.dialect, database.dialect)
    (tmp_path / 'committed').mkdir()
    with contextlib.contextmanager(conftest.make_url)(kind, tmp_path / 'committed') as url:
        committed = databases.ready(url)
        storage = driver.SQLAlchemyStorage(committed)
        bulk.commit(committed, storage, cloud, FIRST * period.DAY, 48, step)
        expected = bulk.dump(committed)
        committed.dispose()
    assert bulk.dump(database) == expected
