# SPDX-License-Identifier: Apache-2.0
"""Purging, on every server: nothing else changes, and nothing that is gone is rated again or missed."""

import threading

import pytest
import sqlalchemy

from cloudkitty import completeness
from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period
from cloudkitty.cli import history_import
from cloudkitty.db import completeness as surveys
from cloudkitty.db import coverage as ledger
from cloudkitty.db import purges
from cloudkitty.db import reprocessings
from cloudkitty.db import scopes
from cloudkitty.storage import purge
from cloudkitty.storage import reset
from cloudkitty.storage.imports import plan
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.v1 import driver as old_driver
from cloudkitty.storage.v1 import models as old_models
from cloudkitty.storage.v1 import write_back
from cloudkitty.tests import killing
from cloudkitty.tests import samples
from cloudkitty.tests.functional.storage import test_import

HOUR = samples.HOUR
JUNE = samples.JUNE
DAY = period.DAY
#: 40 days, so that a month ends among them.
DAYS = 40
CUT = JUNE + 12 * DAY


@pytest.fixture
def storage(database):
    return driver.SQLAlchemyStorage(database)


def rate(database, storage, *scope_ids, first=0, days=DAYS, states=None):
    """Rate a period of every six hours of *days*, a new resource each day, and one that is always there."""
    states = states or samples.ready_states(database, *scope_ids, first=JUNE)
    begins = tuple(range(JUNE + first * DAY, JUNE + (first + days) * DAY, 6 * HOUR))
    points = []
    for name in scope_ids:
        points.append(samples.columns(name, begins=begins, id='always'))
        points += [
            samples.columns(name, begins=begins[4 * day : 4 * day + 4], id='day %d' % (first + day))
            for day in range(days)
        ]
    result = storage.commit(samples.commit(states, points, JUNE + first * DAY, periods=24 * days))
    assert not result.dropped


def run(database, before=CUT, frames=False):
    outcome = purge.Outcome()
    for done in purge.purge(database, before, HOUR, frames):
        outcome.add(done)
    return outcome


def content(database):
    queries = {name: query for name, query in killing.CONTENT.items() if name != 'guards'}
    return killing.read_rows(database, queries)


def survey(database, begin=JUNE, end=JUNE + DAYS * DAY):
    """Return {status: cells} of the window, looked at when it is over."""
    tally = completeness.Tally()
    rating = surveys.Rating(samples.IDENTITY, HOUR)
    with database.snapshot() as session:
        for pieces in surveys.survey(session, rating, completeness.Task(begin, end, end + 2 * HOUR, 2)):
            tally.add(pieces)
    return dict(tally.cells)


@pytest.fixture
def twin(tmp_path):
    """A database that never held what is purged in the other one."""
    found = test_import.databases.ready('sqlite:///%s' % (tmp_path / 'twin.sqlite'))
    yield found
    found.dispose()


def test_what_is_left_is_what_would_be_there_without_it(database, storage, twin):
    rate(database, storage, 'p', 'q')
    outcome = run(database)
    assert outcome.deleted['rated_days'] == 2 * 2 * 12
    assert outcome.deleted['scope_days'] == 2 * 12
    assert outcome.deleted['series'] == 2 * 12
    scopes.ensure(twin, ('p', 'q'), samples.IDENTITY, samples.instant(CUT), HOUR)
    rate(twin, driver.SQLAlchemyStorage(twin), 'p', 'q', first=12, days=DAYS - 12, states=samples.states(twin, *'pq'))
    left, expected = content(database), content(twin)
    for name in ('clocks', 'series', 'days', 'scope days', 'scope months', 'coverage', 'history', 'troubles'):
        assert normalise(left[name]) == normalise(expected[name]), name


def normalise(rows):
    return [
        tuple(str(value) if value.__class__.__name__ in ('datetime', 'Decimal') else value for value in map(plain, row))
        for row in rows
    ]


def plain(value):
    """Return amounts and instants as text, which SQLite gives anyway."""
    if value.__class__.__name__ == 'Decimal':
        text = format(value, 'f')
        return text.rstrip('0').rstrip('.') if '.' in text else text
    if value.__class__.__name__ == 'datetime':
        return value.isoformat(' ') + '.000000'
    return int(value) if isinstance(value, bool) else value


def test_what_is_purged_is_not_missed(database, storage):
    rate(database, storage, 'p')
    run(database)
    assert survey(database) == {'rated': (DAYS - 12) * 24}
    assert survey(database, JUNE, CUT) == {}


def test_a_second_run_does_nothing(database, storage):
    rate(database, storage, 'p')
    run(database)
    before = content(database), samples.states(database, 'p')
    assert not +run(database).deleted
    assert (content(database), samples.states(database, 'p')) == before


def test_rating_goes_on(database, storage):
    rate(database, storage, 'p')
    # A worker that remembers ids of series and rows goes on beside it.
    assert run(database, JUNE + DAYS * DAY).deleted['series'] == DAYS + 1
    assert content(database)['days'] == content(database)['scope months'] == []
    rate(database, storage, 'p', first=DAYS, days=1, states=samples.states(database, 'p'))
    assert [int(row[6]) for row in content(database)['scope months']] == [8]
    assert survey(database, JUNE, JUNE + (DAYS + 1) * DAY) == {'rated': 24}


def test_what_a_processor_has_in_hand_of_that_time_is_dropped(database, storage):
    rate(database, storage, 'p')
    found = samples.states(database, 'p')
    run(database)
    change = samples.commit(found, [samples.columns(begins=(JUNE,))], JUNE, replace=True)
    assert storage.commit(change).dropped == {'p'}
    # Not even if it looked at the scope since.
    change = samples.commit(samples.states(database, 'p'), [samples.columns(begins=(JUNE,))], JUNE, replace=True)
    change.changes = [change.changes[0].__class__(change.changes[0].state, JUNE, JUNE + HOUR, moves_clock=False)]
    assert storage.commit(change).dropped == {'p'}
    assert survey(database, JUNE, CUT) == {}


def test_nobody_sets_a_clock_back_to_it(database, storage):
    rate(database, storage, 'p')
    run(database)
    owners = [state.scope for state in samples.states(database, 'p')]
    with pytest.raises(purges.Purged, match='scope p from before 2026-06-13'):
        reset.reset(database, storage, owners, samples.instant(CUT - 2 * HOUR), HOUR)
    reset.reset(database, storage, owners, samples.instant(CUT - HOUR), HOUR)
    assert survey(database, JUNE, CUT + DAY) == {'pending': 24}


def test_nobody_reprocesses_it(database, storage):
    rate(database, storage, 'p')
    run(database)
    arguments = (samples.IDENTITY, ['p'])
    with pytest.raises(errors.BadRequest, match='purged'):
        reprocessings.schedule(
            database, *arguments, samples.instant(CUT - HOUR), samples.instant(CUT), HOUR, 'why', None
        )
    reprocessings.schedule(database, *arguments, samples.instant(CUT), samples.instant(CUT), HOUR, 'why', None)


def test_data_that_is_to_be_reprocessed_stays(database, storage):
    rate(database, storage, 'p', 'q')
    day = samples.instant(CUT - DAY)
    reprocessings.schedule(database, samples.IDENTITY, ['p'], day, day, HOUR, 'why', None)
    outcome = run(database)
    assert list(outcome.refused) == ['p']
    assert 'cancel it' in outcome.refused['p']
    assert {row[0] for row in content(database)['days'] if row[2] < CUT // DAY} == {'p'}
    reprocessings.cancel(database, ['p'])
    assert not run(database).refused
    assert not [row for row in content(database)['days'] if row[2] < CUT // DAY]


def test_a_scope_that_is_behind_is_rated_on(database, storage):
    rate(database, storage, 'p', days=3)
    run(database)
    with database.reader() as session:
        assert purges.newest(session) == JUNE + 3 * DAY
    assert content(database)['days'] == []
    rate(database, storage, 'p', first=3, days=2, states=samples.states(database, 'p'))
    assert survey(database, JUNE, JUNE + 5 * DAY) == {'rated': 48}


def test_pushed_points_go_too(database, storage):
    point = dataframe.DataPoint('u', 7, 1, {'project_id': 'x'}, {})
    for begin in (JUNE, CUT):
        storage.push([dataframe.DataFrame(*samples.window(begin, hours=1), {'fee': [point]})])
    outcome = run(database)
    assert outcome.deleted['rated_days'] == 1
    assert outcome.deleted['series'] == 0
    assert [row[2] for row in content(database)['days']] == [CUT // DAY]


def test_troubles_and_the_history_go(database, storage):
    rate(database, storage, 'p')
    reset.reset(database, storage, [samples.states(database, 'p')[0].scope], samples.instant(CUT + DAY - HOUR), HOUR)
    cells = [('p', 'cpu', JUNE), ('p', 'cpu', CUT)]
    ledger.note_failures(database, [coverage.Failure(*cell, 0, 1, 0, 'why') for cell in cells])
    run(database)
    assert [row[2] for row in content(database)['troubles']] == [CUT]
    assert {row[2] >= CUT // DAY for row in content(database)['history']} == {True}
    run(database, JUNE + DAYS * DAY)
    # It stands at the begin of that day, and what was deleted later than that stays in the history until it is rated.
    assert {row[2] > CUT // DAY for row in content(database)['history']} == {True}
    # Whoever failed at it meanwhile has nothing to say any more.
    ledger.note_failures(database, [coverage.Failure('p', 'cpu', JUNE, 0, 1, 0, 'why')])
    assert content(database)['troubles'] == []


def test_the_table_of_old_is_purged_where_it_is_the_storage(database):
    storage = old_driver.SQLAlchemyStorage(database)
    rate(database, storage, 'p', days=20)
    counts = purge.count(database, CUT, True)
    assert counts['rated_data_frames'] == 2 * 4 * 12
    assert run(database, frames=True).deleted['rated_data_frames'] == 2 * 4 * 12
    with database.reader() as session:
        assert session.scalar(sqlalchemy.select(sqlalchemy.func.min(old_models.RatedDataFrame.begin))) == (
            period.to_naive(samples.instant(CUT))
        )
    assert survey(database, JUNE, JUNE + 20 * DAY) == {'rated': 8 * 24}


def test_rows_of_old_are_not_imported_once_more(database):
    rows = [test_import.row(JUNE + day * DAY) for day in range(20)]
    test_import.insert(database, *rows)
    test_import.run(database)
    run(database)
    found = plan.make(database, test_import.FRAMES)
    assert (found.count, found.broken) == (0, {})
    assert test_import.run(database) == (test_import.pieces.Outcome(), [])


def test_days_go_a_few_at_a_time(database, storage, monkeypatch):
    rate(database, storage, 'p', 'q', 'r')
    monkeypatch.setattr(purge, 'ROWS', 20)
    monkeypatch.setattr(purge, 'AT_ONCE', 2)
    steps = [done.deleted['rated_days'] for done in purge.purge(database, CUT, HOUR)]
    assert max(steps) == 12 and sum(steps) == 3 * 2 * 12


def test_rating_and_pushing_beside_it_lose_nothing(database, storage):
    if database.dialect == 'sqlite':
        pytest.skip('It lets one writer at a time have the whole file, in no order.')
    rate(database, storage, 'p', 'q', days=20)
    stop, troubles = threading.Event(), []
    point = dataframe.DataPoint('u', 1, 1, {'project_id': 'p'}, {})
    pushed = [0]

    def push():
        while not stop.is_set():
            begin = JUNE + (pushed[0] % 20) * DAY
            driver.SQLAlchemyStorage(database).push(
                [dataframe.DataFrame(*samples.window(begin, hours=1), {'fee': [point]})]
            )
            pushed[0] += 1

    def work():
        begin = JUNE + 20 * DAY
        while not stop.is_set():
            states = samples.states(database, 'p', 'q')
            begin = period.to_epoch(states[0].last_processed) + HOUR
            points = [samples.columns(state.scope.id, begins=(begin,), id='always') for state in states]
            same = [state for state in states if period.to_epoch(state.last_processed) + HOUR == begin]
            names = {state.scope.id for state in same}
            storage.commit(samples.commit(same, [item for item in points if item.series.scope_id in names], begin))

    def guarded(function):
        try:
            function()
        except Exception as error:
            troubles.append(error)

    threads = [threading.Thread(target=guarded, args=[function]) for function in (push, work)]
    for thread in threads:
        thread.start()
    for day in range(2, 13, 2):
        run(database, JUNE + day * DAY)
    stop.set()
    for thread in threads:
        thread.join()
    assert not troubles
    run(database)
    check_sums(database)
    clocks = {state.scope.id: period.to_epoch(state.last_processed) for state in samples.states(database, 'p', 'q')}
    for scope_id, clock in clocks.items():
        collected = [row for row in content(database)['scope months'] if row[:3] == (scope_id, 'cpu', 'collected')]
        # Two points every six hours of eight days, then one each hour.
        assert sum(int(row[6]) for row in collected) == 8 * 8 + (clock + HOUR - JUNE - 20 * DAY) // HOUR


def check_sums(database):
    """Roll-ups say what the days say."""
    with database.reader() as session:
        table = {'days': purge.ScopeDay, 'months': purge.ScopeMonth}
        found = {
            name: session.execute(
                sqlalchemy.select(model.scope_id, model.metric, sqlalchemy.func.sum(model.points)).group_by(
                    model.scope_id, model.metric
                )
            ).all()
            for name, model in table.items()
        }
        days = session.execute(
            sqlalchemy.select(
                purge.SeriesRow.scope_id, purge.SeriesRow.metric, sqlalchemy.func.sum(purge.RatedDay.points)
            )
            .join(purge.SeriesRow, purge.SeriesRow.id == purge.RatedDay.series_id)
            .group_by(purge.SeriesRow.scope_id, purge.SeriesRow.metric)
        ).all()
    assert sorted(map(tuple, found['days'])) == sorted(map(tuple, found['months'])) == sorted(map(tuple, days))


class _Stand:
    def __init__(self, url):
        self.database = test_import.databases.ready(url)

    def close(self):
        self.database.dispose()


def _make(url):
    stand = _Stand(url)
    rate(stand.database, driver.SQLAlchemyStorage(stand.database), 'p', days=20)
    return stand


def test_killed_anywhere_it_is_finished_by_the_next_run(database_kind, tmp_path, monkeypatch):
    monkeypatch.setattr(purge, 'ROWS', 20)
    stage = killing.Stage(database_kind, tmp_path, _make, lambda stand, url: _Stand(url))
    moment = killing.kill_everywhere(
        stage,
        lambda stand: run(stand.database),
        lambda stand: content(stand.database),
        lambda stand, was_killed: check_sums(stand.database),
        begin=3,
        step=4 if database_kind == 'sqlite' else 17,
    )
    assert moment > 20


@pytest.mark.parametrize('is_old', [False, True])
def test_what_is_rated_meanwhile_of_a_scope_that_is_behind_stays(database, is_old):
    storage = old_driver.SQLAlchemyStorage(database) if is_old else driver.SQLAlchemyStorage(database)
    rate(database, storage, 'p', days=3)
    steps = purge.purge(database, CUT, HOUR, is_old)
    next(steps)
    rate(database, storage, 'p', first=3, days=2, states=samples.states(database, 'p'))
    for _ in steps:
        pass
    found = storage.retrieve(samples.instant(JUNE), samples.instant(CUT), paginate=False)
    assert {frame.start for frame in found['dataframes']} == {
        samples.instant(JUNE + 3 * DAY + number * 6 * HOUR) for number in range(8)
    }


def test_a_collector_that_is_used_again_rates_nothing_that_was_purged(database, storage):
    rate(database, storage, 'p', days=3)
    other = scopes.Identity('project_id', 'source', 'prometheus')
    scopes.ensure(database, ['p'], other, samples.instant(JUNE), HOUR)
    rate(database, storage, 'p', first=3, days=17, states=scopes.list_states(database, other, ['p']))
    run(database)
    (state,) = samples.states(database, 'p')
    assert state.last_processed == samples.instant(JUNE + 20 * DAY - HOUR)


def test_a_scope_that_is_new_after_a_purge_begins_after_it(database, storage):
    point = dataframe.DataPoint('u', 7, 1, {'project_id': 'n'}, {})
    storage.push([dataframe.DataFrame(*samples.window(JUNE, hours=1), {'fee': [point]})])
    run(database)
    scopes.ensure(database, ['n'], samples.IDENTITY, samples.instant(JUNE), HOUR)
    assert samples.states(database, 'n')[0].last_processed == samples.instant(CUT - HOUR)


def test_of_several_scopes_none_is_reset_into_purged_time(database, storage, monkeypatch):
    monkeypatch.setattr(reset, 'AT_ONCE', 1)
    rate(database, storage, 'q', days=20)
    run(database)
    rate(database, storage, 'a', days=20)
    owners = [state.scope for state in samples.states(database, 'a', 'q')]
    before = content(database)
    with pytest.raises(errors.BadRequest, match='purged'):
        reset.reset(database, storage, owners, samples.instant(CUT - DAY - HOUR), HOUR)
    assert content(database) == before


def test_rows_that_were_never_imported_are_told_of(database):
    storage = old_driver.SQLAlchemyStorage(database)
    ready = {state.scope.id: state for state in samples.ready_states(database, 'p', 'q', first=JUNE)}
    rate(database, storage, 'p', days=20, states=[ready['p']])
    rate(database, storage, 'q', days=3, states=[ready['q']])
    run(database, frames=True)
    rate(database, storage, 'q', first=3, days=5, states=samples.states(database, 'q'))
    assert plan.make(database, test_import.FRAMES).passed == 2 * 4 * 5


def test_import_takes_nothing_out_that_it_cannot_bring_back(database):
    test_import.insert(database, *[test_import.row(JUNE + day * DAY) for day in range(3)])
    test_import.run(database)
    before = test_import.content(database)
    with database.writer() as session:
        session.execute(sqlalchemy.delete(old_models.RatedDataFrame))
    found = plan.make(database, test_import.FRAMES)
    assert len(found.broken) == 3
    assert history_import.list_again(database, test_import.FRAMES, found) == set()
    assert history_import._describe_broken(found) == []
    assert test_import.content(database) == before


def test_rows_of_old_that_were_purged_here_alone_stay_in_their_table(database):
    test_import.insert(database, *[test_import.row(JUNE + day * DAY) for day in range(20)])
    test_import.run(database)
    run(database)
    outcome = write_back.Outcome()
    for found in write_back.write(database, write_back.list_days(database), True):
        outcome.add(found)
    assert (outcome.different, outcome.replaced) == ([], 0)
    with database.reader() as session:
        assert session.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(old_models.RatedDataFrame)) == 20
