# SPDX-License-Identifier: Apache-2.0
"""What the storage of series does beyond the contract."""

import collections
from decimal import Decimal
import uuid

from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import pytest
import sqlalchemy

from cloudkitty import amount
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import bulk
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import commit as writing
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.tests import samples
from cloudkitty.tests.functional.storage import test_contract

HOUR = samples.HOUR
JUNE = samples.JUNE

total = test_contract.total


@pytest.fixture
def storage(database):
    return driver.SQLAlchemyStorage(database)


def test_a_replacement_writes_what_was_there_to_the_history(storage, database):
    points = [samples.columns(begins=(JUNE, JUNE + HOUR)), samples.columns(id='b', begins=(JUNE, JUNE + HOUR))]
    storage.commit(samples.commit(samples.ready_states(database, 'p'), points, periods=2))
    new = samples.columns(id='c', begins=(JUNE,), prices=('7',))
    storage.commit(samples.commit(samples.states(database, 'p'), [new], replace=True, cause='test', who='me'))
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql('SELECT cause, who, points FROM rated_history').all()
    assert [tuple(row) for row in rows] == [('test', 'me', 1)] * 2


def test_amounts_are_exact_to_the_last_digit(storage, database):
    price = '123456789012345678.0000000000000000000000000001'
    points = [samples.columns(id=str(index), prices=(price,), quantities=('0.1',)) for index in range(3)]
    storage.commit(samples.commit(samples.ready_states(database, 'p'), points))
    expected = Decimal('370370367037037034.0000000000000000000000000003')
    for words in ([], ['type'], ['id']):
        assert amount.total(row['rate'] for row in total(storage, words)) == expected
        assert amount.total(row['rate'] for row in total(storage, words, JUNE - 24 * HOUR, 96)) == expected


def test_series_are_looked_up_again_after_somebody_else_wrote(storage, database):
    other = driver.SQLAlchemyStorage(database)
    samples.ready_states(database, 'p')
    for index, writer in enumerate((storage, other, storage, other)):
        begin = JUNE + index * HOUR
        states = samples.states(database, 'p')
        assert writer.commit(samples.commit(states, [samples.columns(begins=(begin,))], begin)).committed
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql('SELECT count(*) FROM series').scalar() == 1
    assert total(storage)[0]['qty'] == 4


LENGTHS = (HOUR // 2, HOUR, 2 * HOUR)
POINTS = strategies.lists(
    strategies.tuples(
        strategies.sampled_from(LENGTHS),
        strategies.integers(0, 60).map(lambda step: JUNE + step * HOUR // 2),
        strategies.sampled_from(['1', '2.5']),
        strategies.sampled_from(['0', '0.1']),
        strategies.booleans(),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(pushes=strategies.lists(POINTS, min_size=1, max_size=3))
def test_points_and_sums_are_those_of_every_push(storage, database, pushes):
    """Points of one series may differ in length, begin together and come in any order of pushes."""
    owner = uuid.uuid4().hex
    identity = series.Series(owner, 'fee', 'u', {'id': 'a'}, {}, origin=series.Origin.PUSHED)
    for points in pushes:
        columns = []
        for length in LENGTHS:
            some = sorted(point for point in points if point[0] == length)
            if some:
                _, begins, quantities, prices, flags = zip(*some, strict=True)
                amounts = [tuple(map(Decimal, texts)) for texts in (quantities, prices)]
                columns.append(series.Columns(identity, length, begins, *amounts, flags))
        writing.push(database, columns)
    everything = [point for points in pushes for point in points]
    cells = collections.defaultdict(lambda: [0, 0, 0, 0, 0])
    for length, begin, qty, price, is_unpriced in everything:
        for index, value in enumerate((1, Decimal(qty), Decimal(price), is_unpriced)):
            cells[begin, length][index] += value
    with database.reader() as session:
        guard_id = scopes.guard_ids(session, [owner])[owner]
        days, sums, months = (
            session.scalars(sqlalchemy.select(model).where(model.scope_id == guard_id)).all()
            for model in (models.RatedDay, models.ScopeDay, models.ScopeMonth)
        )
    found = [
        (point.length, day.day * period.DAY + point.offset, point.qty, point.price)
        for day in days
        for point in body.decode_points(day.body)
    ]
    assert sorted(found) == sorted((*point[:2], *map(Decimal, point[2:4])) for point in everything)
    assert {
        (day.day * period.DAY + cell.offset, cell.length): list(cell[2:])
        for day in sums
        for cell in body.decode_cells(day.body)
    } == cells
    expected = tuple(map(sum, zip(*cells.values(), strict=True)))
    for rows in (sums, months):
        assert (
            tuple(
                map(
                    sum,
                    zip(*((row.points, row.qty, row.price, row.unpriced, row.skipped) for row in rows), strict=True),
                )
            )
            == expected
        )
    assert tuple(map(sum, zip(*((day.points, day.qty, day.price) for day in days), strict=True))) == expected[:3]


def test_pushed_series_tell_types_apart(storage, database):
    for value in (16, 16.0, '16'):
        point = dataframe.DataPoint('u', 1, 1, {'project_id': 'p'}, {'vcpus': value})
        storage.push([dataframe.DataFrame(*samples.window(hours=1), {'fee': [point]})])
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql('SELECT count(*) FROM series').scalar() == 3
    assert series.Origin.PUSHED.value == 'pushed'


def test_points_are_looked_at_one_by_one_up_to_a_limit(database):
    storage = driver.SQLAlchemyStorage(database, point_limit=2)
    begins = tuple(JUNE + hour * HOUR for hour in range(3))
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [samples.columns(begins=begins)], periods=3))
    (row,) = total(storage, hours=2, custom_fields='MEDIAN(price) AS m')
    assert row['m'] == Decimal('0.5')
    with pytest.raises(errors.BadRequest, match='custom_fields: the window holds more than the 2 points'):
        total(storage, custom_fields='MEDIAN(price) AS m')
    (row,) = total(storage, custom_fields='COUNT(*) AS n')
    assert row['n'] == 3


@pytest.mark.parametrize('groupby', [['project_id'], ['id']])
def test_a_report_sees_one_moment(storage, database, ready_url, groupby):
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [samples.columns()]))
    other = engine.Database(ready_url)
    statements = []

    @sqlalchemy.event.listens_for(database.engine, 'after_cursor_execute')
    def write_another_scope(connection, cursor, statement, *rest):
        statements.append(statement)
        if len([text for text in statements if 'FROM scopes' in text]) == 1 and 'FROM scopes' in statement:
            found = samples.ready_states(other, 'q')
            driver.SQLAlchemyStorage(other).commit(samples.commit(found, [samples.columns('q', id='b')]))

    try:
        assert [row['qty'] for row in total(storage, groupby)] == [1]
    finally:
        sqlalchemy.event.remove(database.engine, 'after_cursor_execute', write_another_scope)
        other.dispose()
    assert [row['qty'] for row in total(storage, groupby)] == [1, 1]


def test_pushed_points_append_and_survive_a_deletion(storage, database):
    (before,) = samples.ready_states(database, 'p')
    point = dataframe.DataPoint('u', 1, '0.25', {'project_id': 'p'}, {})
    frame = dataframe.DataFrame(*samples.window(hours=1), {'fee': [point]})
    storage.push([frame])
    storage.push([frame])
    assert storage.commit(samples.commit([before], [samples.columns()])).committed == {'p'}
    storage.delete(samples.instant(JUNE), None, {'project_id': 'p'})
    assert [(row['type'], row['rate']) for row in total(storage, ['type'])] == [('fee', Decimal('0.5'))]
    assert ledger.list_runs(database) == []


def test_many_series_are_written_some_at_a_time(storage, database, monkeypatch):
    monkeypatch.setattr(writing, 'ROWS', 200)
    monkeypatch.setattr(bulk, 'COPY_FROM', 100)
    monkeypatch.setattr(bulk, 'MOST', 1000)
    count = 250
    for hour in range(3):
        points = [dataframe.DataPoint('u', 1, number, {'project_id': 'p', 'id': number}, {}) for number in range(count)]
        storage.push([dataframe.DataFrame(*samples.window(JUNE + hour % 2 * 12 * HOUR, hours=24), {'fee': points})])
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql('SELECT count(*) FROM series').scalar() == count
        assert connection.exec_driver_sql('SELECT count(*), sum(points) FROM rated_days').one() == (count, 3 * count)
    assert total(storage, ['id'])[-1]['rate'] == 3 * 99
    assert total(storage)[0]['rate'] == 3 * sum(range(count))
