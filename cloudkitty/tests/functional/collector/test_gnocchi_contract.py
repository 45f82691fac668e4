# SPDX-License-Identifier: Apache-2.0
"""What is collected from Gnocchi, proven on the stand-in and on a real one alike."""

from decimal import Decimal
import time

import pytest

from cloudkitty import coverage
from cloudkitty import usage
from cloudkitty.tests import gnocchi
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
DAY = 24 * HOUR
PERIODS = 6


def batch(world, metrics, scopes, begin=JUNE, count=PERIODS):
    return usage.Batch(tuple(world.scope(name) for name in scopes), tuple(metrics), begin, HOUR, count)


def points(found):
    """Return {(scope, metric, groupby, metadata, begin): sorted quantities}."""
    result = {}
    for item in found.columns:
        of = item.series
        key = of.scope_id, of.metric, tuple(sorted(of.groupby.items())), tuple(sorted(of.metadata.items()))
        for begin, quantity in zip(item.begins, item.quantities, strict=True):
            result.setdefault((*key, begin), []).append(quantity)
    return {key: sorted(quantities) for key, quantities in result.items()}


def troubles(found, length=HOUR):
    return {
        (item.scope_id, item.metric, begin): (item.status, item.permanent)
        for item in found.troubles
        for begin in range(item.begin, item.end, length)
    }


def every(value, begin=JUNE - 2 * HOUR, end=JUNE + (PERIODS + 1) * HOUR, step=300):
    return dict.fromkeys(range(begin, end, step), value)


def quantities(found, world, name, metric=None):
    """Return {period number: [quantity]} of one resource."""
    result = {}
    for item in found.columns:
        if item.series.groupby.get('id') == world.id(name) and item.series.metric == (metric or item.series.metric):
            for begin, quantity in zip(item.begins, item.quantities, strict=True):
                result.setdefault((begin - JUNE) // HOUR, []).append(quantity)
    return result


def fill(world):
    """Put in resources of every kind."""
    before = JUNE - 3 * DAY
    world.add('plain', 'a', before, every(4.25), flavor='small', zone='z1')
    world.add('other', 'b', before, every(0.1), flavor='big')
    world.add('resized', 'a', before, every(4.0), flavor='small')
    world.revise('resized', JUNE + HOUR + 900, flavor='big')
    world.add('sharp', 'a', before, every(2.0), flavor='small')
    world.revise('sharp', JUNE + 2 * HOUR, flavor='big')
    world.add('restless', 'b', before, every(6.0), flavor='small')
    for minute, flavor in ((10, 'medium'), (25, 'big'), (45, 'small')):
        world.revise('restless', JUNE + 3 * HOUR + 60 * minute, flavor=flavor)
    world.add('renamed', 'b', before, every(1.5), flavor='small', zone='old')
    world.revise('renamed', JUNE + 4 * HOUR + 1200, zone='new')
    created = JUNE + 2 * HOUR + 1000.25
    world.add('created', 'a', created, every(3.0, begin=JUNE + 2 * HOUR + 1200), flavor='small')
    world.add('ended', 'b', before, every(5.0, end=JUNE + 3 * HOUR + 600), flavor='small')
    world.revise('ended', JUNE + 3 * HOUR + 700.5, ended_at=JUNE + 3 * HOUR + 600)
    gaps = {JUNE + 300: 1.0, JUNE + 2 * HOUR + 3300: 2.0, JUNE + 5 * HOUR: 3.0}
    world.add('gappy', 'a', before, gaps, flavor='small')
    world.add('late', 'a', JUNE + 9 * HOUR, every(7.0), flavor='tiny')
    world.revise('late', JUNE + 10 * HOUR, flavor='huge')
    world.add('backfilled', 'b', JUNE + 3 * HOUR + 60, every(8.0), flavor='tiny')
    world.revise('backfilled', JUNE + 4 * HOUR, flavor='huge')
    world.add('sold', 'a', before, every(9.0), flavor='small')
    world.revise('sold', JUNE + 2 * HOUR + 1800, project_id='b')
    world.add('given', 'elsewhere', before, every(9.5), flavor='small')
    world.revise('given', JUNE + 3 * HOUR, project_id='a')
    world.add('away', 'a', before, every(1.25), flavor='small')
    world.revise('away', JUNE + HOUR, project_id='elsewhere')
    world.add('dead', 'b', before, every(1.0), flavor='small')
    world.revise('dead', JUNE - DAY + 2 * HOUR + 60, ended_at=JUNE - DAY + 2 * HOUR)
    world.add('bare', 'b', before, metric='other')
    world.add('silent', 'c', before)
    world.source.settle()


DEFINITIONS = {
    'by flavor': {'groupby': ['id', 'flavor'], 'metadata': ['zone']},
    'by id': {'metadata': ['flavor', 'zone']},
    'five minutes': {'groupby': ['id', 'flavor'], 'extra_args': {'force_granularity': 300}},
    'summed': {'groupby': ['id', 'flavor'], 'extra_args': {'force_granularity': 300, 'period_method': 'sum'}},
    'latest revision': {
        'groupby': ['id', 'flavor', 'revision_start'],
        'extra_args': {'use_all_resource_revisions': False},
    },
    'rate': {'groupby': ['id', 'flavor'], 'extra_args': {'re_aggregation_method': 'rate:mean'}},
    'any granularity': {'metadata': ['flavor'], 'extra_args': {'force_granularity': 0}},
}


def test_every_shape_of_a_batch_gives_the_same(any_world):
    fill(any_world)
    metrics = any_world.metrics(*(('cpu', {'alt_name': name, **changes}) for name, changes in DEFINITIONS.items()))
    collector = any_world.collector(metrics)
    scopes = ('a', 'b', 'c', 'nobody')
    wide = collector.collect(batch(any_world, metrics, scopes))
    assert not wide.troubles and not wide.source_down
    expected = points(wide)
    assert {key[1] for key in expected} == set(DEFINITIONS)
    for parts, count in ((('a', 'b', 'c', 'nobody'), 1), (('a',), PERIODS), (('b',), PERIODS), (('b', 'a'), 4)):
        part = {}
        for begin in range(JUNE, JUNE + PERIODS * HOUR, count * HOUR):
            size = min(count, (JUNE + PERIODS * HOUR - begin) // HOUR)
            found = collector.collect(batch(any_world, metrics, parts, begin, size))
            assert not found.troubles
            part |= points(found)
        owners = {any_world.scope(name) for name in parts}
        assert part == {key: value for key, value in expected.items() if key[0] in owners}
    narrow = {}
    for name in scopes:
        for begin in range(JUNE, JUNE + PERIODS * HOUR, HOUR):
            narrow |= points(collector.collect(batch(any_world, metrics, [name], begin, 1)))
    assert narrow == expected


def test_requests_split_by_size_give_the_same(any_world):
    fill(any_world)
    metrics = any_world.metrics(*(('cpu', {'alt_name': name, **changes}) for name, changes in DEFINITIONS.items()))
    asked = batch(any_world, metrics, ('a', 'b', 'c'))
    expected = points(any_world.collector(metrics).collect(asked))
    collector = any_world.collector(metrics)
    for kind, size in (('scopes', 1), ('periods', 2), ('resources', 1)):
        collector._server.sizes.shrink((kind, any_world.KIND), 2 * size)
    assert points(collector.collect(asked)) == expected


def test_the_share_of_each_revision_is_billed_to_it(any_world):
    fill(any_world)
    metrics = any_world.metrics(('cpu', {'groupby': ['id', 'flavor'], 'metadata': ['zone']}))
    found = any_world.collector(metrics).collect(batch(any_world, metrics, ('a', 'b')))
    assert quantities(found, any_world, 'plain') == {hour: [Decimal('4.25')] for hour in range(PERIODS)}
    resized = quantities(found, any_world, 'resized')
    assert sorted(resized[1]) == [1, 3] and resized[0] == resized[2] == [4]
    flavors = {
        (item.series.groupby['flavor'], (begin - JUNE) // HOUR)
        for item in found.columns
        if item.series.groupby['id'] == any_world.id('sharp')
        for begin in item.begins
    }
    assert flavors == {('small', 0), ('small', 1), ('big', 2), ('big', 3), ('big', 4), ('big', 5)}
    assert quantities(found, any_world, 'created') == {hour: [3] for hour in range(2, PERIODS)}
    assert quantities(found, any_world, 'ended') == {hour: [5] for hour in range(4)}
    assert quantities(found, any_world, 'gappy') == {0: [1], 2: [2], 5: [3]}
    assert quantities(found, any_world, 'late') == {hour: [7] for hour in range(PERIODS)}
    late = {
        item.series.groupby['flavor'] for item in found.columns if item.series.groupby['id'] == any_world.id('late')
    }
    assert late == {'tiny'}


def test_a_resource_that_changes_its_owner_is_billed_to_each_for_its_time(any_world):
    fill(any_world)
    metrics = any_world.metrics(('cpu', {}))
    found = any_world.collector(metrics).collect(batch(any_world, metrics, ('a', 'b')))
    sold = {
        (item.series.scope_id, (begin - JUNE) // HOUR): quantity
        for item in found.columns
        if item.series.groupby['id'] == any_world.id('sold')
        for begin, quantity in zip(item.begins, item.quantities, strict=True)
    }
    seller, buyer = any_world.scope('a'), any_world.scope('b')
    assert sold == {
        (seller, 0): 9,
        (seller, 1): 9,
        (seller, 2): Decimal('4.5'),
        (buyer, 2): Decimal('4.5'),
        **{(buyer, hour): 9 for hour in (3, 4, 5)},
    }
    assert quantities(found, any_world, 'given') == {hour: [Decimal('9.5')] for hour in (3, 4, 5)}
    assert quantities(found, any_world, 'away') == {0: [Decimal('1.25')]}


def test_metadata_are_those_of_the_revision_in_force_at_the_end(any_world):
    fill(any_world)
    metrics = any_world.metrics(('cpu', {'metadata': ['flavor', 'zone', 'nonsense']}))
    found = any_world.collector(metrics).collect(batch(any_world, metrics, ('a', 'b')))
    seen = {
        ((begin - JUNE) // HOUR): (item.series.metadata, quantity)
        for item in found.columns
        if item.series.groupby['id'] == any_world.id('renamed')
        for begin, quantity in zip(item.begins, item.quantities, strict=True)
    }
    expected = {'flavor': 'small', 'zone': 'old', 'nonsense': ''}
    assert seen[3] == (expected, Decimal('1.5')) and seen[4] == ({**expected, 'zone': 'new'}, Decimal('1.5'))
    (plain,) = [item.series for item in found.columns if item.series.groupby['id'] == any_world.id('other')]
    assert plain.metadata == {'flavor': 'big', 'zone': None, 'nonsense': ''}


def test_nothing_there_is_empty_and_not_known_is_unknown(any_world):
    fill(any_world)
    metrics = any_world.metrics(
        ('cpu', {}),
        ('other', {}),
        ('nowhere', {}),
        ('typeless', {'extra_args': {'resource_type': 'nothing of the kind'}}),
    )
    collector = any_world.collector(metrics)
    found = collector.collect(batch(any_world, metrics, ('a', 'b', 'c', 'nobody')))
    unknown = {(cell[0], cell[1]) for cell, what in troubles(found).items() if what[0] is coverage.Status.UNKNOWN}
    assert len(unknown) == len({(item.scope_id, item.metric) for item in found.troubles})
    assert unknown == {(any_world.scope(name), 'nowhere') for name in 'abc'} | {
        (any_world.scope(name), 'typeless') for name in ('a', 'b', 'c', 'nobody')
    }
    assert all(not item.permanent for item in found.troubles)
    for name in ('a', 'b', 'c', 'nobody'):
        alone = troubles(collector.collect(batch(any_world, metrics, [name])))
        assert alone == {cell: what for cell, what in troubles(found).items() if cell[0] == any_world.scope(name)}


@pytest.mark.parametrize(
    ('extra_args', 'word'),
    [({'force_granularity': 300}, 'force_granularity'), ({'aggregation_method': '95pct'}, 'aggregation_method')],
)
def test_an_archive_policy_that_does_not_fit_fails_its_scope_alone(any_world, extra_args, word):
    before = JUNE - DAY
    any_world.source.create_policy('percentile', (300, 3600), ('mean', '95pct'))
    any_world.add('good', 'a', before, every(1.0), policy='percentile')
    any_world.add('bad', 'b', before, every(1.0), policy='hours')
    any_world.add('neighbour', 'b', before, every(1.0), policy='percentile')
    any_world.source.settle()
    metrics = any_world.metrics(('cpu', {'extra_args': extra_args}), ('cpu', {'alt_name': 'fine'}))
    found = any_world.collector(metrics).collect(batch(any_world, metrics, ('a', 'b')))
    assert {(item.scope_id, item.metric, item.status, item.permanent) for item in found.troubles} == {
        (any_world.scope('b'), 'cpu', coverage.Status.FAILED, True)
    }
    assert all('hours' in item.error and word in item.error for item in found.troubles)
    rated = {(item.series.scope_id, item.series.metric) for item in found.columns}
    assert rated == {(any_world.scope('a'), 'cpu'), (any_world.scope('a'), 'fine'), (any_world.scope('b'), 'fine')}


def test_what_the_configuration_gets_wrong_fails_its_metric_alone(any_world):
    any_world.add('plain', 'a', JUNE - DAY, every(1.0))
    any_world.source.settle()
    metrics = any_world.metrics(
        ('cpu', {}),
        ('cpu', {'alt_name': 'attribute', 'groupby': ['id', 'nonsense']}),
        ('cpu', {'alt_name': 'method', 'extra_args': {'re_aggregation_method': 'last'}}),
        ('cpu', {'alt_name': 'query', 'extra_args': {'custom_query': '(nonsense'}}),
    )
    found = any_world.collector(metrics).collect(batch(any_world, metrics, ('a', 'nobody')))
    failed = {(item.scope_id, item.metric, item.permanent) for item in found.troubles}
    assert failed == {(any_world.scope('a'), name, True) for name in ('attribute', 'method', 'query')}
    assert {item.series.metric for item in found.columns} == {'cpu'}


def test_pages_are_followed(any_world, monkeypatch):
    monkeypatch.setattr('cloudkitty.collector.gnocchi.inventory.PAGE', 2)
    fill(any_world)
    metrics = any_world.metrics(('cpu', {}), ('nowhere', {}))
    found = any_world.collector(metrics).collect(batch(any_world, metrics, ('a', 'b', 'c')))
    monkeypatch.setattr('cloudkitty.collector.gnocchi.inventory.PAGE', 1000)
    assert points(found) == points(any_world.collector(metrics).collect(batch(any_world, metrics, ('a', 'b', 'c'))))


def test_remembered_resources_are_brought_up_to_date_by_what_changed(any_world):
    world = any_world
    now = int(time.time())
    begin = now // HOUR * HOUR - 2 * HOUR
    values = dict.fromkeys(range(begin, now, 300), 2.0)
    for name in ('plain', 'changed', 'moved', 'ended', 'deleted', 'late'):
        world.add(name, 'a', begin - DAY, values, flavor='small')
    metrics = world.metrics(('cpu', {'groupby': ['id', 'flavor'], 'metadata': ['zone']}), ('mem', {}))
    # To the end of the current hour, so that what happens now matters.
    asked = batch(world, metrics, 'ab', begin, 3)
    collector = world.collector(metrics, max_resources=10**6)
    world.source.settle()
    before = collector.collect(asked)
    assert {key[0] for key in points(before)} == {world.scope('a')}

    world.revise('changed', now - 100, flavor='big', zone='z')
    world.revise('moved', now - 90, project_id='b')
    world.revise('ended', now - 80, ended_at=now - 80)
    world.source.delete(world.id('deleted'))
    world.source.add_metric(world.id('late'), world.metric('mem'))
    world.source.measure(world.id('late'), world.metric('mem'), values)
    world.add('new', 'b', now - 70, values)
    world.source.settle()
    found, expected = collector.collect(asked), world.collector(metrics).collect(asked)
    assert (points(found), troubles(found)) == (points(expected), troubles(expected))
    assert points(found) != points(before)
    there = {
        (item.series.metric, world.scope('b') == item.series.scope_id, item.series.groupby['id'])
        for item in found.columns
    }
    assert {('cpu', True, world.id('new')), ('mem', False, world.id('late'))} <= there
    assert ('cpu', False, world.id('deleted')) not in there
    # The next look finds nothing, and says the same.
    again = collector.collect(asked)
    assert (points(again), troubles(again)) == (points(expected), troubles(expected))


def test_source_that_has_aggregated_everything_has_no_backlog(any_world, caplog):
    begin = int(time.time()) // HOUR * HOUR - 2 * HOUR
    any_world.add('one', 'a', begin - DAY, dict.fromkeys(range(begin, begin + HOUR, 300), 4))
    any_world.source.settle()
    metrics = any_world.metrics(('cpu', {}))
    found = any_world.collector(metrics).collect(batch(any_world, metrics, 'a', begin, 1))
    assert found.backlog is None
    assert sum(map(len, points(found).values())) == 1
    assert 'backlog' not in caplog.text


def test_source_that_has_not_says_so_and_is_asked_before_granules_are(world):
    begin = int(time.time()) // HOUR * HOUR - 2 * HOUR
    metrics = world.metrics(('cpu', {}))
    world.source.waiting = 500, 10
    collector = world.collector(metrics)
    found = collector.collect(batch(world, metrics, 'a', begin, 1))
    assert found.backlog.is_deep
    collector.collect(batch(world, metrics, 'a', begin, 1))
    # Of periods that are over for long it says nothing.
    assert world.collector(metrics).collect(batch(world, metrics, 'a', JUNE, 1)).backlog is None
    assert world.source.requests['status'] == 1


def test_source_that_does_not_tell_is_asked_for_granules_all_the_same(world):
    begin = int(time.time()) // HOUR * HOUR - 2 * HOUR
    metrics = world.metrics(('cpu', {}))
    world.add('one', 'a', begin - DAY, dict.fromkeys(range(begin, begin + HOUR, 300), 4))
    refusal = {'code': 403, 'title': 'Forbidden', 'description': ''}
    world.source.faults.append(gnocchi.Fault('status', 403, body=refusal))
    found = world.collector(metrics).collect(batch(world, metrics, 'a', begin, 1))
    assert found.backlog is None and found.troubles == []
    assert sum(map(len, points(found).values())) == 1
