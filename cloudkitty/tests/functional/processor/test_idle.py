# SPDX-License-Identifier: Apache-2.0
"""A pass over scopes of which nothing is due: cheap, the same for all numbers of scopes, and it overlooks nothing."""

import random

import pytest

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty.db import coverage as ledger
from cloudkitty.db import scopes
from cloudkitty.processor import worker
from cloudkitty.tests import bench
from cloudkitty.tests import samples
from cloudkitty.tests.functional.processor import deployment

HOUR = samples.HOUR
JUNE = samples.JUNE


@pytest.fixture
def small(sqlite):
    return deployment.Deployment(sqlite, 'a', 'b')


def test_statements_of_an_idle_pass_do_not_grow_with_the_scopes(database):
    made = deployment.Deployment(database)
    counter = bench.Counter(database)
    counts = []
    for number in (10, 100, 2500):
        made.fetcher.ids = ['scope-%04d' % index for index in range(number)]
        first = samples.instant(JUNE + HOUR)
        scopes.ensure(database, made.fetcher.ids, made.identity, first, HOUR)
        made.worker = made.make_worker()
        made.run()
        counter.statements = 0
        assert 1 < made.worker.run_pass() <= worker.Worker.LONGEST_SLEEP
        idle = counter.statements
        # The list is read again, and is the same.
        made.clock.advance(worker.Worker.LIST_LIFE)
        made.worker.run_pass()
        counts.append((idle, counter.statements - idle))
    assert len(set(counts)) == 1 and counts[0][1] <= 9, counts


def test_it_sleeps_until_the_next_period_of_anybody(small):
    small.run()
    small.run()
    scopes.ensure(small.database, ['c'], small.identity, samples.instant(JUNE + HOUR - 1800), HOUR)
    small.fetcher.ids = ['a', 'b', 'c']
    small.clock.advance(worker.Worker.LIST_LIFE)
    small.run()
    # Of c at half past.
    small.clock.now = samples.instant(JUNE + 2 * HOUR + 1800 - 2)
    assert small.worker.run_pass() == 3
    small.clock.advance(3)
    small.run()
    assert small.state('c').last_processed == samples.instant(JUNE + 1800)


def quiet(small):
    small.run()
    small.run()
    assert small.worker._find_quiet() is not None


@pytest.mark.parametrize('rests', [False, True])
def test_a_reset_is_noticed(small, rests):
    if rests:
        small.fetcher.ids = ['a']
    quiet(small)
    small.storage.delete(*samples.window(JUNE - HOUR, 2), {'project_id': ['a']})
    with small.database.writer() as session:
        scopes.set_clocks(session, {small.state('a').scope: samples.instant(JUNE - HOUR)})
        scopes.advance(session, [small.state('a').guard_id])
    assert small.worker._find_quiet() is None
    small.run()
    assert small.clock_of('a') == 0


def test_what_is_to_be_mended_and_new_rules_are_noticed(small):
    quiet(small)
    now = period.to_epoch(small.clock())
    ledger.note_failures(small.database, [coverage.Failure('a', 'cpu', JUNE, now - 10, 1, now, 'HTTP 503')])
    assert small.worker._find_quiet() is None
    small.run()
    quiet(small)
    small.set_cost('cpu', 5)
    assert small.worker._find_quiet() is None


def test_a_scope_that_is_gone_rests_quietly_and_comes_back(small):
    small.fetcher.ids = ['a']
    small.clock.advance(5 * HOUR)
    quiet(small)
    small.fetcher.ids = ['a', 'b']
    small.clock.advance(HOUR)
    small.run()
    assert small.clock_of('b') == small.clock_of('a') == 6


def test_a_scope_that_somebody_else_takes_for_gone_is_marked_as_listed_again(small):
    quiet(small)
    scopes.mark_listed(small.database, ['a'], small.identity, small.clock())
    assert small.state('b').gone_since is not None
    small.clock.advance(worker.Worker.LIST_LIFE)
    small.run()
    assert small.state('b').gone_since is None


@pytest.mark.parametrize('seed', range(6))
def test_clocks_are_those_of_a_worker_that_always_looks_closely(sqlite, tmp_path, monkeypatch, seed):
    clocks = []
    for close in (False, True):
        with bench.empty_database('sqlite', tmp_path) as database:
            dice = random.Random(seed)
            made = deployment.Deployment(database, 'a', 'b', 'c')
            if close:
                monkeypatch.setattr(worker.Worker, '_find_quiet', lambda self: None)
            seen = []
            for _ in range(30):
                made.clock.advance(dice.choice([1, 60, 600, HOUR, 3 * HOUR]))
                names = dice.sample('abcd', dice.randint(1, 4))
                if dice.random() < 0.3:
                    made.fetcher.ids = names
                made.run()
                states = scopes.list_states(database, made.identity)
                seen.append([(state.scope.id, state.last_processed) for state in states])
                if dice.random() < 0.2:
                    chosen = dice.choice(states)
                    with database.writer() as session:
                        scopes.set_clocks(session, {chosen.scope: samples.instant(JUNE - HOUR)})
                        scopes.advance(session, [chosen.guard_id])
                    made.storage.delete(*samples.window(JUNE - 100 * HOUR, 400), {'project_id': [chosen.scope.id]})
            clocks.append(seen)
    assert clocks[0] == clocks[1]
