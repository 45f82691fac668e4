# SPDX-License-Identifier: Apache-2.0
"""What every storage driver does, each version on every server.

Version 1 keeps 5 digits after the point of a quantity and a price as a float; amounts here fit. It keeps attributes in
one, as the groupby. Where they differ for other reasons, their own tests say so.
"""

import concurrent.futures
import dataclasses
from decimal import Decimal
import pathlib
import re

import pytest

from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty.db import coverage as ledger
from cloudkitty.db import scopes
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.v1 import driver as v1
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE


@pytest.fixture(params=[driver.SQLAlchemyStorage, v1.SQLAlchemyStorage], ids=['v2', 'v1'])
def driver_class(request):
    return request.param


@pytest.fixture
def storage(database, driver_class):
    return driver_class(database)


def total(storage, groupby=None, begin=JUNE, hours=24, **arguments):
    begin, end = samples.window(begin, hours)
    return storage.total(groupby, begin, end, **arguments)['results']


def test_a_commit_writes_points_coverage_and_clock(storage, database):
    found = samples.ready_states(database, 'p')
    points = samples.columns(begins=(JUNE, JUNE + HOUR), prices=('0.1', '0.2'))
    result = storage.commit(samples.commit(found, [points], periods=2))
    assert result.committed == {'p'} and not result.dropped
    (state,) = samples.states(database, 'p')
    assert state.last_processed == samples.instant(JUNE + HOUR) and state.epoch == found[0].epoch + 1
    (run,) = ledger.list_runs(database)
    assert (run.scope_id, run.metric, run.begin, run.end) == ('p', 'cpu', JUNE, JUNE + 2 * HOUR)
    (row,) = total(storage)
    assert (row['qty'], row['rate']) == (2, Decimal('0.3'))
    first, second = storage.retrieve(*samples.window())['dataframes']
    assert first.start == samples.instant(JUNE) and second.end == samples.instant(JUNE + 2 * HOUR)
    ((metric, point),) = first.iterpoints()
    assert (metric, point.qty, point.price, point.unit) == ('cpu', 1, Decimal('0.1'), 'u')
    assert point.desc == {
        'id': 'a',
        'project_id': 'p',
        'flavor': 'small',
        'week_of_the_year': '22',
        'day_of_the_year': '152',
        'month': '6',
        'year': '2026',
    }


def test_a_scope_that_moved_is_dropped_and_the_others_go_on(storage, database):
    found = samples.ready_states(database, 'p', 'q')
    storage.commit(samples.commit(found[:1], [samples.columns()]))
    points = [samples.columns('p'), samples.columns('q')]
    result = storage.commit(samples.commit(found, points))
    assert (result.committed, result.dropped) == ({'q'}, {'p'})
    assert [(row['project_id'], row['rate']) for row in total(storage, 'project_id')] == [
        ('p', Decimal('0.5')),
        ('q', Decimal('0.5')),
    ]


def test_the_same_clock_after_a_reset_is_not_the_same_scope(storage, database):
    (before,) = samples.ready_states(database, 'p')
    storage.delete(samples.instant(JUNE), None, {'project_id': 'p'})
    assert storage.commit(samples.commit([before], [samples.columns()])).dropped == {'p'}


def test_a_filled_cell_is_not_filled_again(storage, database):
    samples.ready_states(database, 'p')
    storage.commit(samples.commit(samples.states(database, 'p'), [samples.columns()]))
    again = dataclasses.replace(samples.commit(samples.states(database, 'p'), [samples.columns(id='b')]))
    with pytest.raises(errors.Conflict, match='2026-06-01'):
        storage.commit(again)
    assert total(storage)[0]['rate'] == Decimal('0.5')


def test_a_replacement_takes_the_old_points_out(storage, database):
    points = [samples.columns(begins=(JUNE, JUNE + HOUR)), samples.columns(id='b', begins=(JUNE, JUNE + HOUR))]
    storage.commit(samples.commit(samples.ready_states(database, 'p'), points, periods=2))
    new = samples.columns(id='c', begins=(JUNE,), prices=('7',))
    storage.commit(samples.commit(samples.states(database, 'p'), [new], replace=True, cause='test', who='me'))
    assert [(row['id'], row['rate']) for row in total(storage, 'id')] == [
        ('a', Decimal('0.5')),
        ('b', Decimal('0.5')),
        ('c', Decimal(7)),
    ]
    assert total(storage)[0]['rate'] == 8


def test_points_without_a_price_are_kept_and_not_shown(storage, database):
    points = samples.columns(prices=(None,))
    run = coverage.Run('p', 'cpu', JUNE, JUNE + HOUR, coverage.Status.UNRATED)
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [points], runs=[run]))
    assert total(storage) == []
    assert storage.retrieve(*samples.window())['dataframes'] == []
    rated = samples.columns(prices=('3',))
    storage.commit(samples.commit(samples.states(database, 'p'), [rated], replace=True))
    assert total(storage)[0]['rate'] == 3


def test_equal_points_of_one_period_stay_several(storage, database):
    points = samples.columns(begins=(JUNE, JUNE))
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [points]))
    assert total(storage)[0]['qty'] == 2
    assert storage.retrieve(*samples.window())['total'] == 2


def test_deletion_keeps_what_begins_before(storage, database):
    points = samples.columns(begins=tuple(range(JUNE, JUNE + 48 * HOUR, HOUR)))
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [points], periods=48))
    storage.delete(samples.instant(JUNE + 30 * HOUR), samples.instant(JUNE + 40 * HOUR), {'project_id': ['p']})
    assert total(storage, hours=48)[0]['qty'] == 38
    assert sum(row['qty'] for row in total(storage, 'id', hours=48)) == 38
    assert [(run.begin - JUNE) // HOUR for run in ledger.list_runs(database)] == [0, 40]


def test_windows_hold_points_that_begin_inside_or_lie_inside(storage, database):
    points = samples.columns(begins=tuple(range(JUNE, JUNE + 48 * HOUR, HOUR)))
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [points], periods=48))
    for groupby in ([], ['id']):
        for begin, hours, count, inside in ((0, 48, 48, 48), (1, 24, 24, 24), (0.5, 2, 2, 1), (-5, 5.5, 1, 0)):
            start = JUNE + int(begin * HOUR)
            assert sum(row['qty'] for row in total(storage, groupby, start, hours)) == count
            assert sum(row['qty'] for row in total(storage, groupby, start, hours, whole=True)) == inside


def test_totals_by_type_scope_attribute_and_calendar(storage, database):
    found = samples.ready_states(database, 'p', 'q')
    points = [
        samples.columns('p', 'cpu', (JUNE, JUNE + 24 * HOUR)),
        samples.columns('p', 'ram', (JUNE,), id='b', metadata={'flavor': 'big'}),
        samples.columns('q', 'cpu', (JUNE,)),
    ]
    storage.commit(samples.commit(found, points, periods=25))

    def rows(*words, **arguments):
        found = total(storage, words, hours=48, **arguments)
        return [tuple(row[word] for word in words) + (row['qty'],) for row in found]

    assert rows('type') == [('cpu', 3), ('ram', 1)]
    assert rows('project_id', 'type') == [('p', 'cpu', 2), ('p', 'ram', 1), ('q', 'cpu', 1)]
    assert rows('flavor') == [('big', 1), ('small', 3)]
    assert rows('day_of_the_year') == [('152', 3), ('153', 1)]
    assert rows('type', filters={'project_id': 'q'}) == [('cpu', 1)]
    assert rows('type', filters={'flavor': ['big', 'huge']}) == [('ram', 1)]
    assert rows('type', metric_types='ram') == [('ram', 1)]
    assert rows('type', filters={'project_id': 'nobody'}) == []
    assert total(storage, filters={'project_id': 'nobody'}) == []
    assert storage.get_tenants(*samples.window()) == ['p', 'q']
    assert storage.get_tenants(*samples.window(JUNE - 48 * HOUR)) == []


def test_coverage_heals_when_a_failed_cell_is_repaired(storage, database):
    (state,) = samples.ready_states(database, 'p')
    runs = [
        coverage.Run('p', 'cpu', JUNE, JUNE + HOUR, coverage.Status.RATED, samples.RULES),
        coverage.Run('p', 'cpu', JUNE + HOUR, JUNE + 2 * HOUR, coverage.Status.FAILED),
        coverage.Run('p', 'cpu', JUNE + 2 * HOUR, JUNE + 3 * HOUR, coverage.Status.RATED, samples.RULES),
    ]
    failure = coverage.Failure('p', 'cpu', JUNE + HOUR, 1, 1, 2, 'time-out')
    points = samples.columns(begins=(JUNE, JUNE + 2 * HOUR))
    storage.commit(samples.commit([state], [points], periods=3, runs=runs, failures=[failure]))
    assert ledger.list_failures(database) == [failure]
    assert ledger.list_failures(database, due_before=1) == []
    commit = samples.commit(samples.states(database, 'p'), [samples.columns(begins=(JUNE + HOUR,))], JUNE + HOUR)
    commit.changes = [dataclasses.replace(commit.changes[0], moves_clock=False)]
    storage.commit(commit)
    assert ledger.list_failures(database) == []
    assert [(run.begin, run.end) for run in ledger.list_runs(database)] == [(JUNE, JUNE + 3 * HOUR)]
    (state,) = samples.states(database, 'p')
    assert state.last_processed == samples.instant(JUNE + 2 * HOUR)


def test_many_writers_lose_and_double_nothing(storage, database, driver_class):
    ids = ['s%02d' % index for index in range(12)]
    samples.ready_states(database, *ids)

    def work(seed):
        mine = driver_class(database)
        for turn in range(12):
            chosen = [ids[(seed * 5 + turn * 7 + step * 3) % 12] for step in range(4)]
            states = {state.scope.id: state for state in samples.states(database, *chosen)}
            begins = {state.last_processed for state in states.values()}
            for begin in begins:
                group = [state for state in states.values() if state.last_processed == begin]
                first = int(begin.timestamp()) + HOUR
                points = [samples.columns(state.scope.id, begins=(first,)) for state in group]
                mine.commit(samples.commit(group, points, first))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    for state in samples.states(database, *ids):
        hours = (state.last_processed - samples.instant(JUNE)).total_seconds() / HOUR + 1
        assert total(storage, hours=480, filters={'project_id': state.scope.id})[0]['qty'] == hours
        runs = ledger.list_runs(database, [state.scope.id])
        assert sum(run.end - run.begin for run in runs) == hours * HOUR


def test_adopting_a_state_of_old_and_another_identity(database):
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            'INSERT INTO cloudkitty_storage_states (identifier, last_processed_timestamp, active) '
            "VALUES ('old', '2018-10-01 05:00:00', %s)" % ('true' if database.dialect == 'postgresql' else '1')
        )
    (state,) = samples.ready_states(database, 'old')
    assert state.last_processed.isoformat() == '2018-10-01T05:00:00+00:00'
    other = scopes.Identity('project_id', 'keystone', 'gnocchi')
    scopes.ensure(database, ['old'], other, samples.instant(JUNE), HOUR)
    scopes.ensure(database, ['old'], other, samples.instant(JUNE), HOUR)
    (new,) = scopes.list_states(database, other)
    assert new.last_processed == state.last_processed
    assert len(scopes.list_states(database)) == 2


def test_scopes_go_and_return(database):
    samples.ready_states(database, 'p', 'q')
    scopes.mark_listed(database, ['p'], samples.IDENTITY, samples.instant(JUNE))
    assert [state.gone_since for state in samples.states(database, 'p', 'q')] == [None, samples.instant(JUNE)]
    scopes.mark_listed(database, ['p', 'q'], samples.IDENTITY, samples.instant(JUNE + HOUR))
    assert [state.gone_since for state in samples.states(database, 'p', 'q')] == [None, None]


def test_no_amount_is_summed_as_a_float():
    root = pathlib.Path(driver.__file__).parents[2]
    for path in root.rglob('*.py'):
        if 'tests' not in path.parts:
            found = re.findall(r'func\.sum\([^)]*\.(?:qty|price|rate|cost|level)', path.read_text())
            assert not found, path


def pushed(storage, id, metadata=None):
    point = dataframe.DataPoint('u', 1, 1, {'project_id': 'p', 'id': id}, metadata or {})
    storage.push([dataframe.DataFrame(*samples.window(hours=1), {'fee': [point]})])


def test_attributes_of_every_json_type_are_kept_and_told_apart(storage):
    values = ['1', 1, 1.0, True, False, 0, None, '', [1, {'a': None}], {'b': [2]}, float('inf')]
    for value in values:
        pushed(storage, value)
    rows = total(storage, 'id')
    assert all(row['qty'] == 1 for row in rows)
    assert sorted(repr(row['id']) for row in rows) == sorted(repr(value) for value in values)
    (frame,) = storage.retrieve(*samples.window())['dataframes']
    found = [point.groupby['id'] for _, point in frame.iterpoints()]
    assert sorted(map(repr, found)) == sorted(map(repr, values))


def test_equal_values_of_several_series_are_one_row(storage):
    for value in (float('nan'), [1, 'a'], None):
        for index in range(2):
            pushed(storage, value, {'index': index})
    assert [row['qty'] for row in total(storage, 'id')] == [2, 2, 2]


def test_a_deletion_of_nothing_leaves_coverage_as_it_is(storage, database):
    points = samples.columns(begins=tuple(range(JUNE, JUNE + 6 * HOUR, HOUR)))
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [points], periods=6))
    before = ledger.list_runs(database)
    for begin, end in ((3, 3), (4, 2)):
        storage.delete(samples.instant(JUNE + begin * HOUR), samples.instant(JUNE + end * HOUR), {'project_id': 'p'})
    assert ledger.list_runs(database) == before
    assert total(storage)[0]['qty'] == 6


@pytest.mark.parametrize('name', ['x' * 256, 'a\0b', 'a\ud800', 'blank '])
def test_names_that_a_server_refuses_are_refused_everywhere(storage, database, name):
    for unit, metric, scope_id in ((name, 'fee', 'p'), ('u', name, 'p'), ('u', 'fee', name)):
        point = dataframe.DataPoint(unit, 1, 1, {'project_id': scope_id}, {})
        with pytest.raises(errors.BadRequest, match='cannot be stored'):
            storage.push([dataframe.DataFrame(*samples.window(hours=1), {metric: [point]})])
    assert total(storage, 'type', filters={'project_id': [name]}) == []
    assert total(storage, 'type', metric_types=[name]) == []
    assert total(storage, 'type') == []


def test_a_scope_that_a_server_cannot_keep_stops_no_other(database):
    scopes.ensure(database, ['p', '\U0001f600'], samples.IDENTITY, samples.instant(JUNE), HOUR)
    assert 'p' in [state.scope.id for state in scopes.list_states(database)]


def test_any_text_of_a_source_can_be_the_error_of_a_trouble(database):
    samples.ready_states(database, 'p')
    ledger.note_failures(database, [coverage.Failure('p', 'cpu', JUNE, 1, 1, 2, 'a\0\ud800\U0001f600' + 'b' * 5000)])
    (failure,) = ledger.list_failures(database)
    assert failure.error.startswith('a\ufffd\ufffd\U0001f600bbb')


def test_pushed_points_append(storage, database):
    (before,) = samples.ready_states(database, 'p')
    point = dataframe.DataPoint('u', 1, '0.25', {'project_id': 'p'}, {})
    frame = dataframe.DataFrame(*samples.window(hours=1), {'fee': [point]})
    storage.push([frame])
    storage.push([frame])
    assert storage.commit(samples.commit([before], [samples.columns()])).committed == {'p'}
    assert [(row['type'], row['rate']) for row in total(storage, ['type'])] == [
        ('cpu', Decimal('0.5')),
        ('fee', Decimal('0.5')),
    ]


def test_quantities_are_those_that_wait_for_a_price(storage, database):
    points = samples.columns(begins=(JUNE, JUNE + HOUR), quantities=('1.123456789', 2), prices=(None, '3'))
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [points], periods=2))
    (found,) = storage.quantities(['p'], ['cpu'], JUNE, JUNE + 2 * HOUR)
    assert (found.begins, found.quantities, found.prices) == ((JUNE,), (Decimal('1.123456789'),), None)
    both = storage.quantities(['p'], None, JUNE, JUNE + 2 * HOUR, priced=True)
    assert sorted(qty for item in both for qty in item.quantities) == [Decimal('1.123456789'), 2]


def test_points_of_one_instant_come_one_by_one(storage, database):
    found = samples.ready_states(database, 'p', 'q')
    points = [
        samples.columns('p', begins=(JUNE, JUNE + HOUR), quantities=(1, 2), prices=('0.5', None)),
        samples.columns('p', begins=(JUNE, JUNE), quantities=(3, 3), prices=('1', '1'), id='b'),
        samples.columns('p', 'disk'),
        samples.columns('q'),
    ]
    storage.commit(samples.commit(found, points, periods=2))

    def at(begin, scope_id='p', metric='cpu', **filters):
        return sorted(
            (item.series.groupby['id'], item.length, item.begins, item.quantities, item.prices)
            for item in storage.points_at(scope_id, metric, begin, filters)
        )

    one = ('a', HOUR, (JUNE,), (1,), (Decimal('0.5'),))
    assert at(JUNE) == [one, *[('b', HOUR, (JUNE,), (3,), (1,))] * 2]
    assert at(JUNE, id='a', month='6', flavor='small') == [one]
    assert at(JUNE, scope_id='q') == [one]
    assert at(JUNE + HOUR) == [('a', HOUR, (JUNE + HOUR,), (2,), (None,))]
    for nothing in ((JUNE + 1,), (JUNE - 1,), (JUNE, 'x'), (JUNE, 'p', 'none'), (JUNE, '\0'), (-JUNE,)):
        assert at(*nothing) == []
    assert at(JUNE, month='5') == at(JUNE, id='c') == []
