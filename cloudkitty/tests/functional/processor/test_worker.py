# SPDX-License-Identifier: Apache-2.0
"""Whole passes on real databases: what is rated, when, and by whom."""

import datetime
import logging
import zoneinfo

from oslo_db import exception as db_exc
import pytest
import sqlalchemy

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.db import coverage as ledger
from cloudkitty.db import models
from cloudkitty.db import scope_rows
from cloudkitty.db import scopes
from cloudkitty.processor import planner
from cloudkitty.tests import samples
from cloudkitty.tests.functional.processor import deployment

HOUR = samples.HOUR
JUNE = samples.JUNE


def test_new_scope_is_rated_from_the_month_on(cloud):
    assert cloud.worker.run_pass() > 1
    assert cloud.points() == [
        (0, scope_id, name, 1, price) for scope_id in 'ab' for name, price in (('cpu', 2), ('disk', 3))
    ]
    assert cloud.clock_of('a') == 0
    assert cloud.statuses('a', 'cpu') == ['rated']


def test_first_period_waits_like_any_other(small):
    small.clock.advance(-1)
    small.run()
    assert small.points() == []
    small.clock.advance(1)
    small.run()
    assert len(small.points()) == 4


def test_what_was_due_only_before_the_clock_was_set_back_is_not_rated(small, caplog):
    small.clock.advance(6 * HOUR)
    small.source.before = lambda batch: small.clock.advance(-6 * HOUR - 1)
    small.run()
    assert (small.points(), small.clock_of('a'), small.failures()) == ([], -1, [])
    assert 'set back' in caplog.text
    small.source.before = lambda batch: None
    small.clock.advance(1)
    small.run()
    assert small.clock_of('a') == 0


@pytest.mark.parametrize(
    ('zone', 'first'),
    [('UTC', 0), ('Europe/Paris', -2), ('Asia/Kolkata', -6), ('America/New_York', 4)],
)
def test_month_begins_in_the_zone_of_the_calendar(sqlite, zone, first):
    small = deployment.Deployment(sqlite, 'a', zone=zoneinfo.ZoneInfo(zone))
    small.clock.advance(12 * HOUR)
    small.run()
    assert small.points()[0][0] == first


def test_scope_seen_on_the_twentieth_is_rated_from_the_first(cloud):
    cloud.clock.advance(19 * 24 * HOUR)
    cloud.run()
    assert cloud.clock_of('a') == 19 * 24
    assert cloud.total('project_id') == {('a',): 5 * 457, ('b',): 5 * 457}
    assert cloud.statuses('b', 'disk') == ['rated'] * 457


def test_backlog_of_scopes_of_one_phase_is_one_batch(small):
    small.clock.advance(23 * HOUR)
    small.run()
    assert [(batch.scope_ids, batch.count) for batch in small.source.batches] == [(('a', 'b'), 24)]


def test_live_period_goes_before_the_backlog(small):
    small.run()
    small.fetcher.ids = ['a', 'b', 'c']
    small.source.batches.clear()
    small.clock.advance(5 * HOUR)
    scopes.ensure(small.database, ['c'], small.identity, samples.instant(JUNE - 10 * HOUR), HOUR)
    small.run()
    assert [batch.scope_ids for batch in small.source.batches] == [('a', 'b'), ('c',)]


def test_collector_may_answer_a_part(cloud):
    cloud.source.part = (1, 3)
    cloud.clock.advance(6 * HOUR)
    cloud.run()
    assert [cloud.clock_of(scope_id) for scope_id in 'ab'] == [6, 6]
    assert cloud.total('project_id') == {('a',): 35, ('b',): 35}
    assert cloud.source.batches[0].scope_ids == ('a',)
    assert cloud.source.batches[0].count == 3


def test_second_pass_finds_nothing_to_do(small):
    small.run()
    small.run()
    assert len(small.source.batches) == 1


def test_worker_sleeps_until_the_next_period_is_due(small):
    small.clock.advance(HOUR - 50)
    assert small.worker.run_pass() == 50
    small.clock.advance(50)
    small.run()
    assert small.clock_of('a') == 1


def test_worker_never_sleeps_longer_than_its_limit(small):
    assert small.worker.run_pass() == small.worker.LONGEST_SLEEP


def test_clock_set_back_rates_nothing_twice(small):
    small.run(hours=3)
    before = small.points()
    small.clock.advance(-40 * HOUR)
    small.run(hours=30)
    assert small.points() == before


def test_trouble_noted_while_the_clock_was_wrong_holds_nobody_once_it_is_right(small):
    small.limits = planner.Limits(scopes=100, cells=10)
    small.worker = small.make_worker()
    small.run()
    small.source.fail('a')
    small.clock.advance(3650 * period.DAY)
    small.worker._rate(frozenset('a'))
    small.clock.advance(-3650 * period.DAY)
    small.source.troubles.clear()
    small.run(hours=20)
    assert (small.clock_of('a'), small.bill('a'), small.failures()) == (20, 105, [])


def test_scope_that_rests_is_tried_again_although_the_clock_was_set_back(small):
    def refuse(batch):
        raise RuntimeError

    small.run(hours=30)
    small.clock.advance(HOUR)
    small.source.before = refuse
    small.run()
    small.source.before = lambda batch: None
    small.fetcher.ids.append('c')
    small.worker._resting['c'] = small.worker._resting['a']
    small.clock.advance(-20 * HOUR)
    small.run()
    assert small.clock_of('c') == 11


@pytest.mark.parametrize(('length', 'more', 'count'), [(HOUR // 2, 4 * HOUR, 7), (2 * HOUR, 7 * HOUR, 2)])
def test_changed_period_goes_on_where_the_last_one_ended(cloud, monkeypatch, length, more, count):
    cloud.run(hours=5)
    monkeypatch.setattr(deployment, 'HOUR', length)
    for _ in range(2):
        cloud.worker = cloud.make_worker()
        cloud.run()
    cloud.clock.advance(more)
    cloud.worker = cloud.make_worker()
    cloud.run()
    runs = ledger.list_runs(cloud.database, ['a'], metric='cpu')
    assert [(run.begin, run.status.value) for run in runs] == [(JUNE, 'rated')]
    covered = (runs[0].end - JUNE - 6 * HOUR) // length
    assert covered >= count
    assert cloud.bill('a') == (6 + covered) * 5


def test_inactive_scope_is_deferred_not_skipped(cloud):
    cloud.run()
    scope_rows.change(cloud.database, 'a', {}, False)
    cloud.run(hours=3)
    assert (cloud.clock_of('a'), cloud.clock_of('b')) == (0, 3)
    scope_rows.change(cloud.database, 'a', {}, True)
    cloud.run()
    assert (cloud.clock_of('a'), cloud.bill('a')) == (3, 20)


def test_gone_scope_is_rated_to_its_last_hour_and_resumes_when_it_is_back(cloud):
    cloud.run()
    cloud.fetcher.ids = ['b']
    cloud.clock.advance(1800)
    cloud.run(hours=6)
    # Missed at 03:30, while the hour from 03:00 was running.
    assert (cloud.clock_of('a'), cloud.clock_of('b')) == (3, 6)
    cloud.fetcher.ids = ['a', 'b']
    cloud.run(hours=1)
    assert (cloud.clock_of('a'), cloud.clock_of('b')) == (7, 7)
    assert cloud.bill('a') == cloud.bill('b') == 40


def test_changed_identity_goes_on_from_the_newest_clock(cloud, caplog):
    cloud.run(hours=4)
    cloud.identity = scopes.Identity('project_id', 'source', 'prometheus')
    cloud.worker = cloud.make_worker()
    cloud.run(hours=2)
    assert cloud.clock_of('a') == 6
    assert cloud.bill('a') == 35
    assert [record for record in caplog.records if 'was rated by another' in record.getMessage()]


def test_fetcher_that_fails_keeps_the_last_list(small, caplog):
    small.run()
    small.fetcher.error = errors.TransientSourceError('Keystone answers HTTP 503.')
    small.run(hours=2)
    assert small.clock_of('a') == 2
    assert 'using the list of 2026-06-01 02:00:01' in caplog.text


def test_list_that_becomes_empty_is_not_believed_for_a_while(small, caplog):
    small.empty_list_hold = 3 * HOUR
    small.worker = small.make_worker()
    small.run()
    small.fetcher.ids = []
    small.run(hours=2)
    assert small.clock_of('a') == 2
    assert 'they are rated on until 2026-06-01T06:00:01+00:00, unless they are listed again' in caplog.text
    # A worker that starts now knows from the database who was listed.
    small.worker = small.make_worker()
    small.run(hours=2)
    assert small.clock_of('a') == 4
    small.run(hours=4)
    assert 'nothing is rated of them beyond 2026-06-01T05:00:01+00:00' in caplog.text
    rested = small.clock_of('a')
    small.run(hours=2)
    assert small.clock_of('a') == rested
    small.fetcher.ids = ['a']
    small.run(hours=1)
    assert small.clock_of('a') == 11


def test_list_that_is_empty_for_a_moment_costs_nobody_an_hour(small, caplog):
    small.empty_list_hold = 3 * HOUR
    small.worker = small.make_worker()
    small.run()
    for _ in range(4):
        small.fetcher.ids = []
        small.run(hours=2)
        small.fetcher.ids = ['a']
        small.run(hours=1)
    assert small.clock_of('a') == 12
    assert 'nothing is rated' not in caplog.text


def test_list_that_was_always_empty_is_no_trouble(small, caplog):
    small.empty_list_hold = 3 * HOUR
    small.fetcher.ids = []
    small.worker = small.make_worker()
    small.run(hours=2)
    assert not caplog.records


def test_fetcher_that_never_answered_is_an_error_and_asked_again(small, caplog):
    small.fetcher.error = errors.TransientSourceError('Keystone answers HTTP 503.')
    assert [small.worker.run_pass() for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 6
    small.fetcher.error = None
    small.run()
    assert small.clock_of('a') == 0


def test_odd_ids_are_an_error_once_and_keep_nobody_else_from_being_rated(cloud, caplog):
    cloud.fetcher.ids += ['', None, 5, 'x' * 256, 'a\0b', '\ud800', 'y' * 255, 'größe', "o'%s; --"]
    cloud.run(hours=1)
    assert {key[0] for key in cloud.total('project_id')} == {'a', 'b', 'y' * 255, 'größe', "o'%s; --"}
    found = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(found) == 1
    assert found[0].startswith('6 scopes are not rated: they are no ids of scopes: ')


def test_ids_that_the_database_takes_for_each_other_are_not_lost_unseen(cloud, caplog):
    ids = ['abc', 'ABC', 'abc ']
    cloud.fetcher.ids = ids
    cloud.run()
    rated = {key[0] for key in cloud.total('project_id')}
    told = [record for record in caplog.records if 'cannot be told from others' in record.getMessage()]
    assert bool(told) == (rated != set(ids))


def test_scopes_are_listed_anew_every_few_minutes_only(small):
    for _ in range(4):
        small.clock.advance(100)
        small.run()
    assert small.fetcher.calls == 2


def test_scope_changed_under_the_worker_is_dropped_and_done_next(cloud):
    cloud.clock.advance(2 * HOUR)

    def disturb(batch):
        cloud.source.before = lambda batch: None
        with cloud.database.writer() as session:
            guards = scopes.guard_ids(session, ['a'])
            scopes.lock(session, guards.values())
            scopes.advance(session, guards.values())

    cloud.source.before = disturb
    cloud.run()
    assert [batch.scope_ids for batch in cloud.source.batches] == [('a', 'b'), ('a',)]
    assert cloud.total('project_id') == {('a',): 15, ('b',): 15}


def test_scope_that_is_dropped_twice_is_planned_alone_one_period_at_a_time(small):
    small.clock.advance(2 * HOUR)
    disturbed = []

    def disturb(batch):
        if 'a' in batch.scope_ids and len(disturbed) < 2:
            disturbed.append(batch)
            with small.database.writer() as session:
                scopes.advance(session, scopes.guard_ids(session, ['a', 'b']).values())

    small.source.before = disturb
    small.run()
    assert [(batch.scope_ids, batch.count) for batch in small.source.batches] == [
        (('a', 'b'), 3), (('a', 'b'), 3), (('a',), 1), (('b',), 1), (('a', 'b'), 2),
    ]  # fmt: skip
    assert small.total('project_id') == {('a',): 15, ('b',): 15}


def test_two_workers_without_coordination_bill_once(cloud):
    other = cloud.make_worker()
    cloud.clock.advance(5 * HOUR)
    nested = []

    def meddle(batch):
        # The other worker does the same work, from planning to commit, between this one's plan and its commit.
        if not nested:
            nested.append(1)
            other.run_pass()

    cloud.source.before = meddle
    cloud.run()
    cloud.run(hours=2)
    other.run_pass()
    assert cloud.total('project_id') == {('a',): 40, ('b',): 40}
    assert cloud.statuses('a', 'cpu') == ['rated'] * 8
    assert len(cloud.points()) == 2 * 2 * 8


class Killed(BaseException):
    """What no handler may catch: as if the process had gone."""


@pytest.mark.parametrize('after', [False, True], ids=['before the commit', 'after the commit'])
def test_kill_at_any_transaction_loses_and_doubles_nothing(sqlite, monkeypatch, after):
    cloud = deployment.Deployment(sqlite, 'a', 'b')
    cloud.limits = planner.Limits(scopes=1, cells=2)
    cloud.source.fail('b', 'disk', JUNE + HOUR)
    repeat = type(sqlite).repeat
    countdown = [0]

    def killing_repeat(self, function, attempts=10):
        countdown[0] -= 1
        if countdown[0] or after:
            result = repeat(self, function, attempts)
            if countdown[0]:
                return result
        else:
            with self.writer() as session:
                function(session)
                raise Killed
        raise Killed

    monkeypatch.setattr(type(sqlite), 'repeat', killing_repeat)
    deaths = 0
    for number in range(40):
        cloud.clock.advance(HOUR)
        cloud.worker = cloud.make_worker()
        countdown[0] = 1 + number % 5
        try:
            cloud.run()
        except Killed:
            deaths += 1
        if number == 20:
            cloud.source.troubles.clear()
    countdown[0] = 10**9
    cloud.worker = cloud.make_worker()
    cloud.run(hours=2)
    assert deaths > 20
    hours = cloud.clock_of('a') + 1
    assert cloud.total('project_id') == {('a',): 5 * hours, ('b',): 5 * hours}
    assert cloud.points() == [
        (hour, scope_id, name, 1, price)
        for hour in range(hours)
        for scope_id in 'ab'
        for name, price in (('cpu', 2), ('disk', 3))
    ]
    assert cloud.failures() == []


def test_batch_that_raises_keeps_no_other_from_being_rated(small, caplog):
    scopes.ensure(small.database, ['b'], small.identity, samples.instant(JUNE - 5 * HOUR), HOUR)

    def fail(batch):
        if 'a' in batch.scope_ids:
            raise ZeroDivisionError('a bug')

    small.source.before = fail
    small.run()
    assert small.clock_of('b') == 0
    assert 'the batch of 1 scopes (a, ...) failed' in caplog.text
    small.source.before = lambda batch: None
    small.run()
    assert small.clock_of('a') == -1
    small.clock.advance(60)
    small.run()
    assert small.clock_of('a') == 0


@pytest.mark.parametrize(
    'error', [db_exc.DBConnectionError(), sqlalchemy.exc.OperationalError('SELECT 1', {}, Exception('refused'))]
)
def test_database_that_goes_during_a_batch_ends_the_pass_and_is_no_fault_of_the_batch(small, error):
    def fail(batch):
        raise error

    small.source.before = fail
    with pytest.raises(type(error)):
        small.run()
    small.source.before = lambda batch: None
    small.run()
    assert small.clock_of('a') == 0


def test_database_without_tables_is_no_reason_to_end(empty_database, caplog):
    cloud = deployment.Deployment.__new__(deployment.Deployment)
    cloud.__dict__ |= {
        'database': empty_database,
        'clock': lambda: samples.instant(JUNE),
        'fetcher': deployment.fakes.FakeFetcher('a'),
        'source': None,
        'metrics': (),
        'modules': None,
        'skips': None,
        'settle': 0,
        'closed_until': None,
        'empty_list_hold': 0,
        'identity': samples.IDENTITY,
        'limits': planner.Limits(1, 1),
        'driver_class': deployment.driver.SQLAlchemyStorage,
        'zone': period.UTC,
    }
    worker = cloud.make_worker()
    worker.FIRST_PAUSE = 0
    seen = []

    def stop_soon(seconds):
        seen.append(seconds)
        if len(seen) == 3:
            worker.stop()

    worker._wake.wait = stop_soon
    worker.run()
    assert len(seen) == 3
    assert 'The database is away or refuses' in caplog.text


def test_what_has_to_be_known_first_is_asked_until_it_is_well(small):
    answers = [errors.ConfigurationError('[storage] backend is not set'), None]

    def check():
        answer = answers.pop(0)
        if answer:
            raise answer

    small.worker._check = check
    with pytest.raises(errors.ConfigurationError):
        small.worker.run_pass()
    assert small.points() == []
    small.run()
    small.run()
    assert len(small.points()) == 4


def test_stopped_worker_ends_after_the_batch_in_hand(small):
    small.limits = planner.Limits(scopes=1, cells=1)
    small.worker = small.make_worker()
    small.clock.advance(5 * HOUR)
    small.source.before = lambda batch: small.worker.stop()
    small.worker.run()
    assert len(small.source.batches) == 1
    assert len(small.points()) == 2


def test_wake_is_remembered(small):
    small.worker.wake()
    waits = []

    def wait(seconds):
        waits.append(small.worker._wake.is_set())
        small.worker.stop()

    small.worker._wake.wait = wait
    small.worker.run()
    assert waits == [True]


def test_worker_outlives_what_fails_while_it_sleeps(small, monkeypatch):
    passes = []

    def has_changed():
        raise RuntimeError("can't start new thread")

    def run_pass():
        passes.append(1)
        if len(passes) == 2:
            small.worker.stop()
        return 60

    monkeypatch.setattr(small.worker._share, 'has_changed', has_changed)
    small.worker.WATCH = 0
    small.worker.run_pass = run_pass
    small.worker.run()
    assert len(passes) == 2


def test_new_period_goes_first_when_a_long_plan_gets_old(small):
    small.limits = planner.Limits(scopes=100, cells=2)
    small.worker = small.make_worker()
    small.run()
    scopes.ensure(small.database, ['c'], small.identity, samples.instant(JUNE - 8 * HOUR), HOUR)
    small.fetcher.ids.append('c')
    small.clock.advance(HOUR - 65)
    small.source.batches.clear()
    small.source.before = lambda batch: small.clock.advance(61)
    small.run()
    assert [batch.scope_ids for batch in small.source.batches][:4] == [('c',), ('c',), ('a', 'b'), ('c',)]


def test_states_of_an_old_release_go_on(cloud):
    with cloud.database.writer() as session:
        session.add(
            models.State(
                identifier='a',
                last_processed_timestamp=datetime.datetime(2026, 5, 31, 20),
                scope_activation_toggle_date=datetime.datetime(2026, 5, 1),
                active=True,
            )
        )
    cloud.run()
    assert cloud.points()[0][:2] == (-3, 'a')
    assert (cloud.bill('a'), cloud.bill('b')) == (20, 5)
