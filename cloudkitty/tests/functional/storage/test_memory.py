# SPDX-License-Identifier: Apache-2.0
"""A storage that remembers rows writes what one does that reads them."""

from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import pytest
import sqlalchemy

from cloudkitty import dataframe
from cloudkitty.storage import transaction
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.sqlalchemy import known
from cloudkitty.tests import bench
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE

TABLES = ('rated_days', 'scope_days', 'scope_months', 'coverage')


def dump(database):
    with database.engine.connect() as connection:
        return {table: sorted(map(tuple, connection.exec_driver_sql('SELECT * FROM %s' % table))) for table in TABLES}


def commit(database, storage, first, periods, ids, scope_ids=('p', 'q'), **options):
    begin = JUNE + first * HOUR
    begins = tuple(range(begin, begin + periods * HOUR, HOUR))
    values = tuple(str(1 + (number + index) % 2) for index, number in enumerate(begins))
    columns = [
        samples.columns(scope_id, id=name, begins=begins, quantities=values, prices=values)
        for scope_id in scope_ids
        for name in ids
    ]
    states = samples.states(database, *scope_ids)
    result = storage.commit(samples.commit(states, columns, begin, periods, **options))
    assert result.committed == set(scope_ids)


STEPS = strategies.lists(
    strategies.one_of(
        strategies.tuples(
            strategies.just('commit'), strategies.integers(1, 30), strategies.sets(strategies.sampled_from('abc'))
        ),
        strategies.tuples(strategies.just('elsewhere'), strategies.just(1), strategies.just({'a', 'b'})),
        strategies.tuples(strategies.just('push'), strategies.just(0), strategies.just(())),
        strategies.tuples(strategies.just('delete'), strategies.integers(1, 3), strategies.just(())),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_rows_are_those_of_a_storage_without_memory(tmp_path_factory, steps):
    """Others commit, push and delete in between."""
    directory = tmp_path_factory.mktemp('memory')
    dumps = []
    for forgets in (False, True):
        with bench.empty_database('sqlite', directory) as database:
            samples.ready_states(database, 'p', 'q')
            storage, other = driver.SQLAlchemyStorage(database), driver.SQLAlchemyStorage(database)
            at = 0
            for kind, count, ids in steps:
                if forgets:
                    storage, other = driver.SQLAlchemyStorage(database), driver.SQLAlchemyStorage(database)
                if kind == 'push':
                    point = dataframe.DataPoint('u', 1, 1, {'project_id': 'p', 'id': 'a'}, {})
                    window = samples.window(JUNE + at * HOUR, hours=1)
                    storage.push([dataframe.DataFrame(*window, {'cpu': [point]})])
                elif kind == 'delete':
                    begin = JUNE + (at - count) * HOUR
                    other.delete(*samples.window(begin, hours=count), {'project_id': ['p']})
                else:
                    commit(database, storage if kind == 'commit' else other, at, count, sorted(ids))
                    at += count
            dumps.append(dump(database))
    assert dumps[0] == dumps[1]


def test_a_period_later_nothing_of_the_day_is_read(database):
    storage = driver.SQLAlchemyStorage(database)
    samples.ready_states(database, 'p', 'q')
    commit(database, storage, 0, 1, 'ab')
    noted = []

    def note(connection, cursor, statement, *rest):
        noted.append(statement)

    sqlalchemy.event.listen(database.engine, 'before_cursor_execute', note)
    commit(database, storage, 1, 1, 'ab')
    assert not [text for text in noted if text.startswith('SELECT') and any(name in text for name in TABLES[:3])]


def test_a_commit_that_failed_is_not_remembered(database, monkeypatch):
    storage = driver.SQLAlchemyStorage(database)
    samples.ready_states(database, 'p', 'q')
    commit(database, storage, 0, 1, 'ab')
    before = dump(database)

    def fail(*args):
        raise ZeroDivisionError

    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(transaction, 'finish', fail)
        commit(database, storage, 1, 1, 'ab')
    assert dump(database) == before
    commit(database, storage, 1, 2, 'ab')
    other = driver.SQLAlchemyStorage(database)
    assert {row[5] for row in dump(database)['rated_days']} == {3}
    commit(database, other, 3, 1, 'ab')
    assert {row[5] for row in dump(database)['rated_days']} == {4}


def test_memory_is_bounded():
    found = known.Known(10, len)
    found.learn('p', 1, {'a': 'xxxx', 'b': 'xxxx'})
    found.learn('q', 1, {'a': 'xx'})
    assert found.get('p', 1) and found.get('q', 1)
    found.learn('q', 2, {'a': 'xxx'})
    assert not found.get('p', 1)
    assert found.get('q', 2) == {'a': 'xxx'}
    found.forget('q')
    found.forget('q')
    assert not found.get('q', 2)
