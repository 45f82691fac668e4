# SPDX-License-Identifier: Apache-2.0
"""Setting clocks back, on every server."""

import pytest

from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import scope
from cloudkitty.db import coverage as ledger
from cloudkitty.db import scope_rows
from cloudkitty.storage import reset
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.tests import samples
from cloudkitty.tests.functional.storage import test_contract

HOUR = samples.HOUR
JUNE = samples.JUNE


@pytest.fixture
def storage(database):
    return driver.SQLAlchemyStorage(database)


def run(database, storage, hour, *scope_ids):
    owners = [state.scope for state in samples.states(database, *scope_ids)]
    reset.reset(database, storage, owners, samples.instant(JUNE + hour * HOUR), HOUR, 'me')


def rate(database, storage, *scope_ids, hours=4):
    begins = tuple(JUNE + hour * HOUR for hour in range(hours))
    points = [samples.columns(scope_id, begins=begins, id=scope_id) for scope_id in scope_ids]
    storage.commit(samples.commit(samples.ready_states(database, *scope_ids), points, periods=hours))


def points_of(storage):
    return {row['project_id']: row['qty'] for row in test_contract.total(storage, ['project_id'])}


def test_what_was_collected_behind_the_clock_goes(database, storage):
    rate(database, storage, 'p', 'q')
    run(database, storage, 1, 'p')
    assert points_of(storage) == {'p': 2, 'q': 4}
    assert [samples.states(database, name)[0].last_processed for name in 'pq'] == [
        samples.instant(JUNE + HOUR),
        samples.instant(JUNE + 3 * HOUR),
    ]
    assert [(item.begin, item.end) for item in ledger.list_runs(database) if item.scope_id == 'p'] == [
        (JUNE, JUNE + 2 * HOUR)
    ]
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql('SELECT cause, who, points FROM rated_history').all()
    assert [tuple(row) for row in rows] == [('deleted', 'me', 2)]


def test_pushed_points_stay(database, storage):
    rate(database, storage, 'p')
    point = dataframe.DataPoint('u', 7, 1, {'project_id': 'p'}, {})
    storage.push([dataframe.DataFrame(*samples.window(hours=1), {'fee': [point]})])
    run(database, storage, -1, 'p')
    assert points_of(storage) == {'p': 7}
    rate(database, storage, 'p', hours=2)
    assert points_of(storage) == {'p': 9}


def test_what_a_processor_has_in_hand_is_dropped(database, storage):
    rate(database, storage, 'p', 'q')
    found = samples.states(database, 'p', 'q')
    begin = JUNE + 4 * HOUR
    points = [samples.columns(name, begins=(begin,), id=name) for name in 'pq']
    run(database, storage, 3, 'p')
    result = storage.commit(samples.commit(found, points, begin))
    assert (result.committed, result.dropped) == ({'q'}, {'p'})
    assert points_of(storage) == {'p': 4, 'q': 5}


def test_an_instant_within_a_period_changes_nothing(database, storage):
    rate(database, storage, 'p', 'q')
    owners = [state.scope for state in samples.states(database, 'p', 'q')]
    with pytest.raises(errors.BadRequest, match='scope p'):
        reset.reset(database, storage, owners, samples.instant(JUNE + 1800), HOUR)
    assert points_of(storage) == {'p': 4, 'q': 4}


def test_every_scope_of_many_is_reset(database, storage):
    names = ['p%d' % index for index in range(2 * reset.AT_ONCE + 1)]
    rate(database, storage, *names, hours=2)
    run(database, storage, 0, *names)
    assert set(points_of(storage).values()) == {1}


def test_ids_differ_by_case(database):
    first, second = (scope.Scope(name, 'project_id', 'source', 'gnocchi') for name in ('p', 'P'))
    scope_rows.create(database, first, samples.instant(JUNE), True)
    if database.dialect == 'mysql':
        # The key of old has them for one.
        with pytest.raises(scope_rows.ScopeExists):
            scope_rows.create(database, second, samples.instant(JUNE), True)
        assert scope_rows.find(database, {'scope_id': ['P']}) == []
        return
    scope_rows.create(database, second, samples.instant(JUNE), True)
    assert [row.scope.id for row in scope_rows.find(database, {'scope_id': ['P']})] == ['P']
    changed = scope_rows.change(database, 'p', {}, False)
    assert (changed.scope.id, changed.active) == ('p', False)
    assert [row.active for row in scope_rows.find(database, {'scope_id': ['p', 'P']})] == [False, True]
