# SPDX-License-Identifier: Apache-2.0
"""Resources that are remembered, and brought up to date by what changed, give what listing them anew would."""

import copy
import os
import time

import hypothesis
from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import pytest

from cloudkitty import coverage
from cloudkitty import usage
from cloudkitty.collector.gnocchi import inventory
from cloudkitty.collector.gnocchi import warm
from cloudkitty.tests import gnocchi
from cloudkitty.tests import samples
from cloudkitty.tests.functional.collector import conftest
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
    for limit, reads in ((0, True), (3, True), (4, False)):
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


# Whatever happens to resources


def shown(found):
    """Return all that a collection says."""
    columns = sorted((item.series.fingerprint, item.begins, item.quantities) for item in found.columns)
    return columns, sorted(found.troubles, key=repr), found.source_down


def list_anew(world, collector, metrics):
    """Return a collector that remembers nothing, and has learnt no less."""
    other = world.collector(metrics)
    other._server.existing = copy.copy(collector._server.existing)
    return other


#: More by hand: CK_STORIES=1000.
EXAMPLES = int(os.environ.get('CK_STORIES', '100'))
#: To make a story shorter takes minutes.
PHASES = set(hypothesis.Phase) - {hypothesis.Phase.shrink}
NAMES = ('cpu', 'mem', 'ghost')


class Story:
    """What happens to a few resources of three scopes, at one instant after the other."""

    def __init__(self, world, clock):
        self.world = world
        self.clock = clock
        self.here = {}
        self.metrics = world.metrics(
            ('cpu', {'groupby': ['id', 'flavor'], 'metadata': ['zone']}),
            ('mem', {'metadata': ['flavor'], 'extra_args': {'use_all_resource_revisions': False}}),
            ('ghost', {'groupby': ['id', 'project_id']}),
        )
        self.collector = world.collector(self.metrics, max_resources=10**6)

    def wait(self, seconds):
        self.clock.now += seconds

    def create(self, name, scope, metrics, flavor):
        if name not in self.here:
            self.here[name] = set(metrics)
            names = [self.world.metric(item) for item in metrics]
            self.world.source.create_resource(
                self.world.KIND,
                self.world.id(name),
                self.world.scope(scope),
                self.clock.now,
                names,
                flavor=flavor,
                zone='z',
            )

    def revise(self, name, **attributes):
        if name in self.here:
            self.world.revise(name, self.clock.now, **attributes)

    def change(self, name, flavor, zone):
        self.revise(name, flavor=flavor, zone=zone)

    def move(self, name, scope):
        self.revise(name, project_id=scope)

    def end(self, name, before):
        self.revise(name, ended_at=self.clock.now - before)

    def delete(self, name):
        if self.here.pop(name, None) is not None:
            self.world.source.delete(self.world.id(name))

    def add_metric(self, name, metric):
        if name in self.here and metric not in self.here[name]:
            self.here[name].add(metric)
            self.world.source.add_metric(self.world.id(name), self.world.metric(metric))

    def measure(self, name, ago, value):
        hour = int(self.clock.now) // HOUR - ago
        for metric in self.here.get(name, ()):
            self.world.source.measure(self.world.id(name), self.world.metric(metric), {hour * HOUR: value})

    def collect(self, scopes, ago, count):
        begin = (int(self.clock.now) // HOUR - ago) * HOUR
        asked = usage.Batch(tuple(map(self.world.scope, scopes)), self.metrics, begin, HOUR, count)
        # What is missing is believed for an hour, whoever lists resources.
        self.collector._server.missing.clear()
        expected = list_anew(self.world, self.collector, self.metrics).collect(asked)
        assert shown(self.collector.collect(asked)) == shown(expected)


def step(name, *arguments):
    return strategies.tuples(strategies.just(name), *arguments)


resources = strategies.sampled_from('rstu')
scopes = strategies.sampled_from('abc')
flavors = strategies.sampled_from(('small', 'big'))
metric_names = strategies.sampled_from(NAMES)
steps = strategies.lists(
    strategies.one_of(
        step('create', resources, scopes, strategies.sets(metric_names), flavors),
        step('change', resources, flavors, strategies.sampled_from('yz')),
        step('move', resources, scopes),
        step('end', resources, strategies.sampled_from((0, 60, 30 * HOUR))),
        step('delete', resources),
        step('add_metric', resources, metric_names),
        step('measure', resources, strategies.integers(0, 4), strategies.integers(0, 9)),
        step('wait', strategies.sampled_from((400, 1500, HOUR, 5 * HOUR, 30 * HOUR))),
        step(
            'collect',
            strategies.sets(scopes, min_size=1).map(sorted),
            strategies.integers(0, 5),
            strategies.integers(1, 3),
        ),
    ),
    min_size=4,
    max_size=25,
)


@pytest.fixture
def no_rest(monkeypatch):
    """What is known is never used as it is: that would be what was to be listed some minutes ago."""
    monkeypatch.setattr(warm, 'FRESH', 0)


@settings(
    deadline=None, max_examples=EXAMPLES, phases=PHASES, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@hypothesis.example(
    # Made again for another scope, which is listed while the first is remembered.
    [
        ('move', 'r', 'c'),
        ('wait', 5 * HOUR),
        ('collect', 'abc', 3, 1),
        ('delete', 'r'),
        ('collect', 'bc', 2, 2),
        ('create', 'r', 'c', (), 'small'),
        ('collect', 'abc', 5, 2),
    ]
)
@hypothesis.example(
    # Made again for another scope, and measured before it was; then one of the two is collected.
    [
        ('create', 't', 'a', ['cpu'], 'small'),
        ('measure', 't', 2, 5),
        ('collect', 'a', 2, 1),
        ('collect', 'b', 2, 1),
        ('wait', 400),
        ('delete', 't'),
        ('create', 't', 'b', ['cpu'], 'small'),
        ('measure', 't', 2, 9),
        ('collect', 'a', 2, 1),
        ('collect', 'b', 2, 1),
    ]
)
@given(steps)
def test_whatever_happens_the_batch_is_that_of_resources_listed_anew(fake, clock, no_rest, told):
    hypothesis.note(told)
    story = Story(conftest.World(fake), clock)
    fake.resources.clear()
    clock.now = JUNE + 40 * HOUR
    story.create('r', 'a', ['cpu'], 'small')
    story.create('s', 'b', ['cpu', 'mem'], 'small')
    story.collect('abc', 1, 1)
    for name, *arguments in told:
        clock.now += 7
        getattr(story, name)(*arguments)
    story.wait(HOUR)
    story.collect('abc', 2, 2)


# What goes wrong meanwhile


@pytest.fixture
def kept(world, metrics, clock):
    """A collector that has collected an hour before."""
    collector = world.collector(metrics, max_resources=100)
    collector.collect(batch(world, metrics, 0, 1))
    clock.now += HOUR
    return collector


def test_changes_that_cannot_be_read_fail_the_scopes_and_are_asked_for_again(world, metrics, fake, kept):
    fake.faults.append(gnocchi.Fault('search', status=500, times=50))
    found = kept.collect(batch(world, metrics, 1, 1))
    assert [item.status for item in found.troubles] == [coverage.Status.FAILED] * 2 and not found.columns
    fake.faults.clear()
    world.revise('a', JUNE + 30 * HOUR + 60, flavor='big')
    found = kept.collect(batch(world, metrics, 1, 1))
    assert shown(found) == shown(world.collector(metrics).collect(found.batch))


def test_changes_that_are_too_many_are_asked_for_in_halves(world, metrics, fake, kept):
    fake.faults.append(gnocchi.Fault('search', status=413, times=1))
    searches(fake)
    assert len(content(kept.collect(batch(world, metrics, 1, 1)))) == 2
    assert searches(fake) == 3


def test_a_type_that_went_is_unknown(world, metrics, fake, kept):
    for name in 'ab':
        fake.delete(world.id(name))
    del fake.types[world.KIND]
    found = kept.collect(batch(world, metrics, 1, 1))
    assert [item.status for item in found.troubles] == [coverage.Status.UNKNOWN] * 2


def test_a_metric_that_cannot_be_read_as_asked_fails_its_scope_alone(world, metrics, fake, kept):
    fake.create_policy('days', (86400,))
    fake.add_metric(world.id('b'), world.metric('mem'), 'days')
    fake.add_metric(world.id('a'), world.metric('mem'))
    fake.measure(world.id('a'), world.metric('mem'), contract.every(1.0))
    both = world.metrics(('cpu', {}), ('mem', {}))
    collector = world.collector(both, max_resources=100)
    fake.delete(world.id('b'))
    world.add('b', 'b', JUNE - HOUR, contract.every(2.0))
    collector.collect(batch(world, both, 0, 1))
    # It gets the metric when its resources are known already.
    fake.add_metric(world.id('b'), world.metric('mem'), 'days')
    found = collector.collect(batch(world, both, 1, 1))
    assert shown(found) == shown(list_anew(world, collector, both).collect(found.batch))
    assert [(item.scope_id, item.metric) for item in found.troubles] == [(world.scope('b'), 'mem')]


def test_an_old_server_has_all_resources_listed(world, fake, clock):
    fake.is_old = True
    world.add('a', 'a', JUNE - HOUR, contract.every(2.0))
    world.add('without', 'a', JUNE - HOUR, metric=None)
    metrics = world.metrics(('cpu', {}))
    collector = world.collector(metrics, max_resources=100)
    for first in range(3):
        clock.now += HOUR
        found = collector.collect(batch(world, metrics, first, 1))
        assert len(content(found)) == 1 and not found.troubles
    assert not collector._server.has_history


def test_while_clocks_differ_all_resources_are_listed(world, metrics, fake, clock, kept, monkeypatch):
    monkeypatch.setattr(kept._client, '_apart', 900)
    kept._client._apart_at = time.monotonic()
    world.revise('a', clock.now - 900, flavor='big')
    bodies = []
    fake.faults.append(gnocchi.Fault('search', when=lambda query, body: bodies.append(body), times=50))
    found = kept.collect(batch(world, metrics, 1, 1))
    assert len(bodies) == 1 and 'project_id' in bodies[0]['and'][0]['in']
    assert shown(found) == shown(list_anew(world, kept, metrics).collect(found.batch))


def test_only_what_changed_is_read(world, metrics, fake, clock, kept):
    world.revise('a', clock.now, flavor='big')
    bodies = []
    fake.faults.append(gnocchi.Fault('search', when=lambda query, body: bodies.append(body), times=50))
    kept.collect(batch(world, metrics, 1, 1))
    first, second = bodies
    assert {'>=': {'revision_end': inventory.iso(int(JUNE + 30 * HOUR - warm.MARGIN))}} in first['and'][1]['or']
    assert second['and'][0] == {'in': {'id': [world.id('a')]}}
