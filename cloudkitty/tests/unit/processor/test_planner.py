# SPDX-License-Identifier: Apache-2.0

import datetime

import hypothesis
from hypothesis import strategies
import pytest

from cloudkitty import period
from cloudkitty import scope
from cloudkitty.processor import planner
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
SCHEDULE = planner.Schedule(HOUR, 2)
LIMITS = planner.Limits(scopes=100, cells=1000)


def state(id='a', rated=-1, active=True, gone=None):
    """Return a state whose last rated hour is number *rated* of June."""
    return scope.State(
        scope.Scope(id, 'project_id', 'source', 'gnocchi'),
        samples.instant(JUNE + rated * HOUR),
        active,
        samples.instant(0),
        1,
        0,
        None if gone is None else samples.instant(JUNE + gone),
    )


def at(seconds):
    return samples.instant(JUNE + seconds)


def plan(*states, now=2 * HOUR + 1, limits=LIMITS, **options):
    """Return the plan as [(scope ids, first hour of June, periods)]."""
    found = planner.plan(states, SCHEDULE, limits, at(now), **options)
    return [(''.join(item.scope.id for item in work.states), (work.begin - JUNE) // HOUR, work.count) for work in found]


def test_period_is_due_a_second_after_its_wait():
    assert plan(state(), now=2 * HOUR) == []
    assert plan(state(), now=2 * HOUR + 1) == [('a', 0, 1)]


def test_part_of_a_second_does_not_count():
    now = at(2 * HOUR) + datetime.timedelta(microseconds=999999)
    assert planner.plan([state()], SCHEDULE, LIMITS, now) == []


@pytest.mark.parametrize('wait_periods', [0, 1, 2, 5])
def test_due_rule_is_the_one_of_periods(wait_periods):
    schedule = planner.Schedule(HOUR, wait_periods)
    for now in range(0, 8 * HOUR, 1799):
        for begin in range(0, 6 * HOUR, HOUR):
            is_due = period.is_due(at(begin), HOUR, wait_periods, at(now))
            assert (schedule.count_due(JUNE + begin, at(now)) > 0) == is_due
            assert (JUNE + now >= schedule.due_at(JUNE + begin)) == is_due


def test_scopes_of_one_phase_are_a_batch_and_live_ones_go_first():
    found = plan(state('a'), state('b', 3), state('c'), state('d', 3), now=6 * HOUR + 1)
    assert found == [('bd', 4, 1), ('ac', 0, 5)]


def test_backlog_is_cut_at_the_limits():
    limits = planner.Limits(scopes=2, cells=6)
    found = plan(state('a'), state('b'), state('c'), now=11 * HOUR + 1, limits=limits)
    assert found == [('ab', 0, 3), ('c', 0, 6)]


def test_inactive_scope_is_skipped():
    assert plan(state(active=False)) == []


def test_scope_that_waits_for_its_source_is_left_until_then():
    assert plan(state(), held_until={'a': JUNE + 2 * HOUR + 2}) == []
    assert plan(state(), held_until={'a': JUNE + 2 * HOUR + 1}) == [('a', 0, 1)]


def test_gone_scope_is_rated_up_to_the_period_in_which_it_was_last_listed():
    assert plan(state(gone=HOUR + 1800), now=9 * HOUR) == [('a', 0, 2)]
    assert plan(state(gone=2 * HOUR), now=9 * HOUR) == [('a', 0, 2)]
    assert plan(state(rated=1, gone=HOUR + 1800), now=9 * HOUR) == []


def test_lonely_scope_is_planned_by_itself_one_period_at_a_time():
    found = plan(state('a'), state('b'), state('c'), now=5 * HOUR + 1, alone={'b'})
    assert sorted(found) == [('ac', 0, 4), ('b', 0, 1)]


def test_nothing_is_due_next_without_active_scopes():
    assert planner.next_due([state(active=False)], SCHEDULE) is None
    assert planner.next_due([state(rated=1, gone=HOUR)], SCHEDULE) is None


def test_next_due_is_the_earliest_that_is_not_held():
    states = [state('a'), state('b', 3)]
    assert planner.next_due(states, SCHEDULE) == JUNE + 2 * HOUR + 1
    assert planner.next_due(states, SCHEDULE, {'a': JUNE + 9 * HOUR}) == JUNE + 6 * HOUR + 1


STATES = strategies.lists(
    strategies.builds(
        state,
        id=strategies.text('abcdefgh', min_size=1, max_size=2),
        rated=strategies.integers(-5, 40),
        active=strategies.booleans(),
        gone=strategies.none() | strategies.integers(0, 40 * HOUR),
    ),
    max_size=30,
    unique_by=lambda item: item.scope.id,
)


@hypothesis.given(
    STATES,
    strategies.integers(0, 45 * HOUR),
    strategies.integers(1, 5),
    strategies.integers(1, 50),
    strategies.sets(strategies.text('abcdefgh', min_size=1, max_size=2), max_size=5),
)
def test_plan_properties(states, now, scopes, cells, alone):
    limits = planner.Limits(scopes, cells)
    found = planner.plan(states, SCHEDULE, limits, at(now), alone=alone)
    planned = [item for work in found for item in work.states]
    due = [
        item
        for item in states
        if item.active
        and SCHEDULE.count_due(SCHEDULE.next_begin(item), at(now))
        and (item.gone_since is None or samples.instant(SCHEDULE.next_begin(item)) < item.gone_since)
    ]
    assert sorted(item.scope for item in planned) == sorted(item.scope for item in due)
    assert [work.begin for work in found] == sorted((work.begin for work in found), reverse=True)
    for work in found:
        assert 1 <= len(work.states) <= scopes
        assert work.count == 1 or work.count * len(work.states) <= cells
        for item in work.states:
            assert SCHEDULE.next_begin(item) == work.begin
            last = samples.instant(work.begin + (work.count - 1) * HOUR)
            assert period.is_due(last, HOUR, 2, at(now))
            assert item.gone_since is None or last < item.gone_since
            assert item.scope.id not in alone or (len(work.states), work.count) == (1, 1)


@hypothesis.given(STATES, strategies.integers(0, 45 * HOUR))
def test_something_is_planned_exactly_from_the_next_due_second_on(states, now):
    due = planner.next_due(states, SCHEDULE)
    assert bool(planner.plan(states, SCHEDULE, LIMITS, at(now))) == (due is not None and JUNE + now >= due)
