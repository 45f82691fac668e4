# SPDX-License-Identifier: Apache-2.0
"""The way back into the old table, on every server: a day in portions comes to the same as a day at once."""

from decimal import Decimal

import pytest
import sqlalchemy

from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.v1 import models as old_models
from cloudkitty.storage.v1 import write_back
from cloudkitty.tests import samples
from cloudkitty.tests.functional.storage import test_import

HOUR = samples.HOUR
JUNE = samples.JUNE
DAY = tuple(range(JUNE, JUNE + 24 * HOUR, HOUR))
Frame = old_models.RatedDataFrame


@pytest.fixture
def storage(database):
    return driver.SQLAlchemyStorage(database)


def rate(database, storage, *columns):
    states = samples.ready_states(database, *sorted({item.series.scope_id for item in columns}))
    assert not storage.commit(samples.commit(states, columns, periods=24)).dropped


def write(database, replace=False):
    outcome = write_back.Outcome()
    for found in write_back.write(database, write_back.list_days(database), replace):
        outcome.add(found)
    return outcome


def watch(database):
    """Return a list that gets, for each transaction that inserts rows, how many these are."""
    found, rows = [], []

    @sqlalchemy.event.listens_for(database.engine, 'before_cursor_execute')
    def note(connection, cursor, statement, parameters, context, many):
        if statement.startswith('INSERT INTO rated_data_frames'):
            rows.append(len(context.compiled_parameters))

    @sqlalchemy.event.listens_for(database.engine, 'commit')
    def end(connection):
        if rows:
            found.append(sum(rows))
        rows.clear()

    return found


def read(database):
    query = sqlalchemy.select(Frame.tenant_id, Frame.res_type, Frame.begin, Frame.qty)
    with database.reader() as session:
        return sorted((owner or '', *rest) for owner, *rest in session.execute(query))


def test_a_transaction_holds_a_portion_however_much_a_day_has(database, storage, monkeypatch):
    monkeypatch.setattr(write_back, 'PORTION', 8, raising=False)
    names = ['s%d' % number for number in range(20)]
    rate(
        database,
        storage,
        *(samples.columns(name, begins=DAY[:2], id=id_) for name in names for id_ in 'ab'),
        *(samples.columns('large', begins=DAY, id=id_) for id_ in 'abcd'),
    )
    found = watch(database)
    outcome = write(database)
    assert (outcome.written, outcome.there) == (20 * 4 + 24 * 4, 0)
    assert sum(found) == outcome.written and max(found) <= 8
    again = write(database)
    assert (again.written, again.there) == (0, outcome.written)


@pytest.mark.parametrize('portion', [1, 3, 1000])
def test_portions_come_to_the_same_as_a_day_at_once(database, storage, monkeypatch, portion):
    """Of scopes that a server has for equal, with rows that differ, that are gone since, and that nobody can write."""
    monkeypatch.setattr(write_back, 'PORTION', portion, raising=False)
    test_import.insert(database, *(test_import.row(scope_id=name) for name in ('d', 'D', 'e')))
    test_import.run(database)
    for name in ('d', 'D'):
        storage.delete(samples.instant(JUNE), None, {'project_id': name})
    rate(
        database,
        storage,
        *(samples.columns(name, begins=DAY[:3], id=id_) for name in 'pq' for id_ in 'ab'),
        samples.columns('p', 'disk', begins=DAY),
        samples.columns('n', begins=DAY[:2], prices=(None, '1')),
        samples.columns('x', begins=DAY[:2], quantities=('1e10', 1)),
    )
    other = {'qty': '7', 'res_type': 'disk'}
    test_import.insert(
        database,
        test_import.row(JUNE + HOUR, 'p', **other),
        test_import.row(JUNE + 23 * HOUR, 'P', **other),
        test_import.row(JUNE, 'p', res_type='_NO_DATA_'),
    )
    outcome = write(database)
    assert (outcome.written, outcome.there, outcome.unpriced, outcome.replaced) == (12 + 23 + 2, 1, 1, 0)
    assert outcome.refused == {('x', 'cpu', 'a quantity of 10^10 or more'): 1}
    differ = [('D', 'cpu', JUNE), ('d', 'cpu', JUNE), ('p', 'disk', JUNE + HOUR)]
    assert sorted(outcome.different) == differ
    outcome = write(database, replace=True)
    assert (outcome.written, outcome.there, outcome.replaced) == (1, 12 + 23 + 2 + 1, 3)
    found = read(database)
    assert len(found) == 12 + 24 + 2 + 1 + 2
    assert not {owner for owner, *_ in found} & {'d', 'D'}
    assert [row[3] for row in found if row[:2] == ('P', 'disk')] == [Decimal(7)]
