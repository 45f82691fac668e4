# SPDX-License-Identifier: Apache-2.0
"""Resources that were read a moment ago give what reading them again would."""

import pytest

from cloudkitty import usage
from cloudkitty.collector.gnocchi import warm
from cloudkitty.tests import gnocchi
from cloudkitty.tests import samples
from cloudkitty.tests.functional.collector import test_gnocchi_contract as contract

HOUR = samples.HOUR
JUNE = samples.JUNE


class Clock:
    """Stands in for the module time."""

    def __init__(self, now):
        self.now = now

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock(JUNE + 30 * HOUR)
    monkeypatch.setattr(warm, 'time', made)
    monkeypatch.setattr('cloudkitty.collector.gnocchi.batches.time', made)
    made.monotonic = lambda: made.now
    return made


def batch(world, metrics, first, count, names='ab'):
    return usage.Batch(tuple(map(world.scope, names)), tuple(metrics), JUNE + first * HOUR, HOUR, count)


def content(found):
    return sorted(
        (item.series.scope_id, item.series.groupby['id'], item.begins, item.quantities) for item in found.columns
    )


@pytest.fixture
def metrics(world):
    for name in 'ab':
        world.add(name, name, JUNE - HOUR, contract.every(2.0))
    return world.metrics(('cpu', {}))


def searches(fake):
    count = fake.requests['search']
    fake.requests.clear()
    return count


def test_windows_one_after_the_other_read_resources_once(world, metrics, fake, clock):
    collector = world.collector(metrics, max_resources=100)
    for first in range(0, 8, 2):
        found = collector.collect(batch(world, metrics, first, 2))
        assert content(found) == content(world.collector(metrics).collect(batch(world, metrics, first, 2)))
    fake.requests.clear()
    collector.collect(batch(world, metrics, 8, 2))
    assert not searches(fake)
    # What was in force before is not known.
    collector.collect(batch(world, metrics, -1, 2))
    assert searches(fake)
    # Of one scope it is.
    world.add('c', 'c', JUNE - HOUR, contract.every(2.0))
    found = collector.collect(batch(world, metrics, 0, 2, 'abc'))
    assert {item.series.scope_id for item in found.columns} == set(map(world.scope, 'abc'))


def test_a_window_that_was_not_over_is_read_again(world, metrics, fake, clock):
    collector = world.collector(metrics, max_resources=100)
    clock.now = JUNE + 10 * HOUR
    collector.collect(batch(world, metrics, 7, 1))
    fake.requests.clear()
    clock.now += 60
    collector.collect(batch(world, metrics, 8, 1))
    assert not searches(fake)
    collector.collect(batch(world, metrics, 9, 1))
    assert searches(fake)
    # Its period was not past when it was read; neither would what is read now do.
    collector.collect(batch(world, metrics, 9, 1))
    assert searches(fake)


def test_it_is_forgotten_after_a_while_and_when_the_clock_goes_back(world, metrics, fake, clock):
    collector = world.collector(metrics, max_resources=100)
    collector.collect(batch(world, metrics, 0, 1))
    for step, reads in ((warm.FRESH - 1, False), (2, True), (-10, True)):
        searches(fake)
        clock.now += step
        collector.collect(batch(world, metrics, 1, 1))
        assert bool(searches(fake)) == reads, step


def test_a_resource_that_is_news_is_found(world, metrics, fake, clock):
    collector = world.collector(metrics, max_resources=100)
    first = collector.collect(batch(world, metrics, 0, 1))
    world.add('new', 'a', JUNE - HOUR, contract.every(3.0))
    # It is in the answer, and nobody knows it.
    again = collector.collect(batch(world, metrics, 1, 1))
    assert len(content(again)) == len(content(first)) + 1
    assert content(again) == content(world.collector(metrics).collect(batch(world, metrics, 1, 1)))


def test_only_so_many_are_remembered(world, metrics, fake, clock):
    for limit, reads in ((0, True), (1, True), (2, False)):
        collector = world.collector(metrics, max_resources=limit)
        collector.collect(batch(world, metrics, 0, 1))
        searches(fake)
        collector.collect(batch(world, metrics, 1, 1))
        assert bool(searches(fake)) == reads, limit


def test_what_could_not_be_read_is_not_remembered(world, metrics, fake, clock):
    collector = world.collector(metrics, max_resources=100)
    fake.faults.append(gnocchi.Fault('search', status=500, times=50))
    assert collector.collect(batch(world, metrics, 0, 1)).troubles
    fake.faults.clear()
    assert len(content(collector.collect(batch(world, metrics, 0, 1)))) == 2
