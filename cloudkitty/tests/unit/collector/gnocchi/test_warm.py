# SPDX-License-Identifier: Apache-2.0
"""What is remembered of resources, what is not, and what goes first."""

import types

import pytest

from cloudkitty.collector.gnocchi import inventory
from cloudkitty.collector.gnocchi import warm
from cloudkitty.tests import samples
from cloudkitty.tests.unit.collector.gnocchi import test_cells

HOUR = samples.HOUR
JUNE = samples.JUNE
WANTED = inventory.Wanted('instance', 'project_id', frozenset(), frozenset(['cpu']))


@pytest.fixture
def clock(monkeypatch):
    made = types.SimpleNamespace(now=JUNE)
    monkeypatch.setattr(warm, 'time', types.SimpleNamespace(time=lambda: made.now))
    return made


def resource(name, *revisions):
    """A revision is (begin, scope id)."""
    return test_cells.make_resource(*((begin, {'project_id': scope_id}) for begin, scope_id in revisions), name=name)


def found(*resources):
    return inventory.Inventory({item.id: item for item in resources})


def learn(remembered, scope_ids, *resources, now=JUNE):
    remembered.learn(WANTED, scope_ids, JUNE - HOUR, now, found(*resources))


def known(remembered, scope_ids='abcd'):
    """Return the scopes of which something is known, without taking note of that."""
    return ''.join(scope_id for scope_id in scope_ids if (WANTED, scope_id) in remembered._entries)


def names(entries):
    return {scope_id: set(entry.holding.resources) for scope_id, entry in entries.items()}


def test_what_changed_takes_the_place_of_what_was(clock):
    remembered = warm.Inventories(100)
    learn(remembered, 'ab', resource('stays', (0, 'a')), resource('moves', (0, 'a')), resource('goes', (0, 'b')))
    clock.now += HOUR
    stale = remembered.look_up(WANTED, 'abc', JUNE, JUNE).stale
    assert names(stale) == {'a': {'stays', 'moves'}, 'b': {'goes'}}
    moved, new = resource('moves', (0, 'a'), (JUNE + 60, 'b')), resource('new', (JUNE + 60, 'b'))
    changes = inventory.Changes(frozenset(['moves', 'new', 'goes']), found(moved, new))
    renewed = remembered.renew(WANTED, stale, clock.now, changes)
    assert names(renewed) == {'a': {'stays', 'moves'}, 'b': {'moves', 'new'}}
    assert remembered.look_up(WANTED, 'ab', JUNE, JUNE).ready == renewed
    # What did not change is the same object, with all that was made of it.
    assert renewed['a'].holding.resources['stays'] is stale['a'].holding.resources['stays']


def test_it_is_due_after_some_hours_and_before_its_begin_it_says_nothing(clock):
    remembered = warm.Inventories(100)
    learn(remembered, 'a', resource('x', (0, 'a')))
    assert remembered.look_up(WANTED, 'a', JUNE - 2 * HOUR, JUNE).missing == ['a']
    clock.now = JUNE + 0.74 * warm.SWEEP
    assert list(remembered.look_up(WANTED, 'a', JUNE, JUNE).stale) == ['a']
    assert remembered.look_up(WANTED, 'a', JUNE, JUNE, can_renew=False).missing == ['a']
    clock.now = JUNE + 1.26 * warm.SWEEP
    assert remembered.look_up(WANTED, 'a', JUNE, JUNE).missing == ['a']


def test_what_is_idle_goes_first_and_then_what_came_last(clock):
    remembered = warm.Inventories(6)
    for number, scope_id in enumerate('abc'):
        learn(remembered, scope_id, resource(scope_id, (0, scope_id)), now=JUNE + number)
    assert known(remembered) == 'abc'
    # Its turn comes later than that of all the others.
    learn(remembered, 'd', resource('d', (0, 'd')), now=JUNE + 10)
    assert known(remembered) == 'abd'
    clock.now = JUNE + warm.IDLE + 2
    remembered.look_up(WANTED, 'b', JUNE, JUNE)
    learn(remembered, 'c', resource('c', (0, 'c')), now=clock.now)
    assert known(remembered) == 'bcd'


def test_more_than_the_limit_is_never_remembered(clock):
    remembered = warm.Inventories(6)
    learn(remembered, 'abcd', *(resource(scope_id, (0, scope_id)) for scope_id in 'abcd'))
    assert known(remembered) == 'abc' and remembered._weight == 6
    remembered.forget(WANTED, 'abcd')
    assert not known(remembered) and remembered._weight == 0
    learn(remembered, 'a', *(resource('a%d' % number, (0, 'a')) for number in range(4)))
    assert not known(remembered) and remembered._weight == 0


def test_what_does_not_fit_alone_drops_nothing(clock):
    remembered = warm.Inventories(6)
    learn(remembered, 'ab', resource('a', (0, 'a')), resource('b', (0, 'b')))
    many = [resource('c%d' % number, (0, 'c')) for number in range(4)]
    learn(remembered, 'cd', *many, resource('d', (0, 'd')))
    assert known(remembered) == 'abd' and remembered._weight == 6


def test_a_window_shows_the_revisions_that_it_would_list(clock):
    item = resource('x', (0, 'a'), (JUNE, 'b'), (JUNE + HOUR, 'a'))
    holding = inventory.Holding({'x': item})
    assert holding.since(JUNE) is holding
    later = holding.since(JUNE + 1).resources['x']
    assert [revision.begin for revision in later.revisions] == [JUNE, JUNE + HOUR] and later.made is item.made
    ended = inventory.Revision(0, None, 'a', JUNE - 2 * inventory.MARGIN, {})
    assert not inventory.Holding({'y': inventory.Resource('y', {}, [ended])}).since(JUNE).resources


def test_what_somebody_else_had_in_between_is_missing():
    item = resource('x', (0, 'a'), (JUNE, 'b'), (JUNE + HOUR, 'a'))
    assert item.is_whole
    assert not inventory.Resource('x', {}, [item.revisions[0], item.revisions[2]]).is_whole


def test_of_two_of_one_revision_the_one_with_an_end_is_newer():
    old, new = resource('x', (0, 'a')), resource('x', (0, 'a'), (JUNE, 'b'))
    for one, other in ((old, new), (new, old)):
        assert one.merge(other).revisions == new.revisions
