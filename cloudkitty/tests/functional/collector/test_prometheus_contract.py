# SPDX-License-Identifier: Apache-2.0
"""What is collected from Prometheus, proven on the stand-in and on a real one alike."""

from decimal import Decimal

import pytest
import requests

from cloudkitty import amount
from cloudkitty import coverage
from cloudkitty import usage
from cloudkitty.tests import prometheus
from cloudkitty.tests import samples
from cloudkitty.tests.functional.collector import test_gnocchi_contract as contract

HOUR = samples.HOUR
JUNE = samples.JUNE
PERIODS = 6
SCOPES = ('a', 'b', 'c.d|e(f)', 'q"u\\o\nte', 'f\ufffd', 'nobody')

points = contract.points
troubles = contract.troubles


def batch(world, metrics, scopes, begin=JUNE, count=PERIODS):
    return usage.Batch(tuple(world.scope(name) for name in scopes), tuple(metrics), begin, HOUR, count)


def every(value, begin=JUNE - 2 * HOUR, end=JUNE + (PERIODS + 1) * HOUR, step=300):
    return dict.fromkeys(range(begin, end, step), value)


def count_up(rate, resets=(), begin=JUNE - 2 * HOUR, end=JUNE + (PERIODS + 1) * HOUR, step=300, shift=0):
    """Return a counter that grows by *rate* a second, and begins anew at *resets*."""
    values, value = {}, 0
    for second in range(begin + shift, end + shift, step):
        value = 0 if second in resets else value + rate * step
        values[second] = value
    return values


def fill(world):
    """Put in series of every kind."""
    world.add('plain', 'a', every(4.25), flavor='small')
    world.add('other', 'b', every(0.1), flavor='big', zone='z1')
    world.add('sharp', 'a', {JUNE + hour * HOUR: 2**hour for hour in range(-1, PERIODS + 2)}, flavor='small')
    last = {JUNE + hour * HOUR - 0.001: 3**hour for hour in range(PERIODS + 2)}
    world.add('last', 'a', {**last, **{JUNE + hour * HOUR - 0.002: 1 for hour in range(PERIODS + 2)}}, flavor='small')
    for flavor, window in (('small', (JUNE, JUNE + HOUR + 900)), ('big', (JUNE + HOUR + 900, JUNE + 4 * HOUR))):
        world.add('resized', 'b', every(4.0, *window), flavor=flavor)
    world.add('gappy', 'a', {JUNE + 300: 1.5, JUNE + 2 * HOUR + 3300: 2.5, JUNE + 5 * HOUR + 7: 3.0}, flavor='small')
    world.add('poor', 'b', every(1.75))
    world.add('ended', 'b', every(5.0, end=JUNE + 3 * HOUR + 600), flavor='small')
    world.add('created', 'c.d|e(f)', every(6.0, begin=JUNE + 2 * HOUR + 1000), flavor='small')
    world.add('quoted', 'q"u\\o\nte', every(7.0), flavor='with "quotes" \\ and é')
    world.add('broken text', 'f\ufffd', every(9.0), flavor='small')
    world.add('exact', 'a', every(12345678912.5), flavor='small')
    world.add('tiny', 'a', every(1.25e-10), flavor='small')
    stale = dict.fromkeys((JUNE + HOUR + 10, JUNE + 2 * HOUR + 1700, JUNE + 4 * HOUR), prometheus.STALE)
    back = every(3.5, JUNE + 2 * HOUR + 1800, JUNE + 3 * HOUR + 900)
    world.add('stale', 'b', {**every(2.5, end=JUNE + HOUR), **stale, **back}, flavor='small')
    world.add('stranger', 'elsewhere', every(8.0), flavor='small')
    world.add('counter', 'a', count_up(2), flavor='small')
    resets = (JUNE + HOUR + 1800, JUNE + 2 * HOUR, JUNE + 3 * HOUR + 3300)
    world.add('reset', 'b', count_up(0.5, resets), flavor='small')
    holes = {second: value for second, value in count_up(3, shift=17).items() if not 2000 < second - JUNE < 9000}
    world.add('holes', 'b', holes, flavor='small')
    world.source.settle()


def extra(**arguments):
    return {'extra_args': arguments}


DEFINITIONS = {
    'largest': {'groupby': ['id', 'flavor'], 'metadata': ['zone']},
    'least': extra(aggregation_method='min'),
    'mean': extra(aggregation_method='avg'),
    'sum': {'metadata': ['flavor'], **extra(aggregation_method='sum')},
    'count': extra(aggregation_method='count'),
    'spread': extra(aggregation_method='stddev'),
    'rate': extra(aggregation_method='sum', range_function='rate'),
    'rounded': extra(aggregation_method='sum', range_function='delta', query_function='round'),
    'changes': extra(range_function='changes'),
    'instant': extra(range_function='irate'),
    'together': {'groupby': ['project_id'], **extra(aggregation_method='sum')},
    'around': extra(query_prefix='(', query_suffix=') * 2.5 - 1'),
    'above': extra(query_suffix='> 2'),
    'again': extra(query_prefix='sum(', query_suffix=') by (project_id, id)'),
    'either': extra(range_function='rate', query_prefix='max(', query_suffix=') by (project_id) > 0.25'),
}


def make_metrics(world):
    return world.metrics(*(('cpu', {'alt_name': name, **changes}) for name, changes in DEFINITIONS.items()))


def ask_alone(world, metric, scope, begin):
    """Return what one query for one scope and period gives, asked without any code of the collector.

    {(groupby and metadata): quantity}
    """
    args = metric.extra_args
    of = scope.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n').replace('\ufffd', '\\ufffd')
    is_new = getattr(world.source, 'is_new', False)
    text = '%s{project_id="%s"}[%dms]' % (metric.name, of, 1000 * HOUR - (not is_new))
    text = '%s(%s)' % (args.get('range_function') or args['aggregation_method'] + '_over_time', text)
    if 'query_function' in args:
        text = '%s(%s)' % (args['query_function'], text)
    by = ', '.join((*metric.groupby, *metric.metadata))
    text = '%s %s(%s) by (%s) %s' % (args['query_prefix'], args['aggregation_method'], text, by, args['query_suffix'])
    form = {'query': text, 'time': '%d.999' % (begin + HOUR - 1)}
    answer = requests.get(world.source.url + '/query', form, timeout=30).json()
    assert answer['status'] == 'success', answer
    result = {}
    for item in answer['data']['result']:
        key = tuple(item['metric'].get(name, '') for name in (*metric.groupby, *metric.metadata))
        result[key] = item['value'][1]
    return result


def test_a_batch_gives_what_queries_for_one_scope_and_period_give(any_monitored):
    fill(any_monitored)
    metrics = make_metrics(any_monitored)
    found = any_monitored.collector(metrics).collect(batch(any_monitored, metrics, SCOPES))
    assert not found.troubles and not found.source_down
    collected = {}
    for item in found.columns:
        of = item.series
        metric = next(metric for metric in metrics if metric.type == of.metric)
        key = tuple(of.groupby[name] for name in metric.groupby) + tuple(of.metadata[name] for name in metric.metadata)
        for begin, quantity in zip(item.begins, item.quantities, strict=True):
            cell = collected.setdefault((metric.type, of.scope_id, begin), {})
            assert key not in cell
            cell[key] = quantity
    kinds = set()
    for metric in metrics:
        for name in SCOPES:
            for begin in range(JUNE, JUNE + PERIODS * HOUR, HOUR):
                scope = any_monitored.scope(name)
                alone = ask_alone(any_monitored, metric, scope, begin)
                cell = collected.pop((metric.type, scope, begin), {})
                # To the last digit, but for what no amount holds.
                assert cell == {key: amount.quantise(Decimal(text)) for key, text in alone.items()}
                kinds.update((metric.type, key) for key in alone)
    assert not collected
    assert {name for name, _ in kinds} == set(DEFINITIONS)


def test_every_shape_of_a_batch_gives_the_same(any_monitored):
    fill(any_monitored)
    metrics = make_metrics(any_monitored)
    expected = points(any_monitored.collector(metrics).collect(batch(any_monitored, metrics, SCOPES)))
    for parts, count in ((SCOPES, 1), (('a',), PERIODS), (('nobody', 'b'), 4)):
        collector = any_monitored.collector(metrics)
        part = {}
        for begin in range(JUNE, JUNE + PERIODS * HOUR, count * HOUR):
            size = min(count, (JUNE + PERIODS * HOUR - begin) // HOUR)
            part |= points(collector.collect(batch(any_monitored, metrics, parts, begin, size)))
        owners = {any_monitored.scope(name) for name in parts}
        assert part == {key: value for key, value in expected.items() if key[0] in owners}
    collector = any_monitored.collector(metrics)
    for metric in metrics:
        collector._learnt.sizes.shrink((metric.type, 'scopes'), 4)
        collector._learnt.sizes.shrink((metric.type, 'periods'), 8)
    assert points(collector.collect(batch(any_monitored, metrics, SCOPES))) == expected


def test_a_sample_at_a_boundary_counts_in_the_period_that_begins_there(any_monitored):
    world = any_monitored
    world.add('sharp', 'a', {JUNE + hour * HOUR: 1 for hour in range(-1, PERIODS + 2)})
    world.add('last', 'b', {JUNE + hour * HOUR - 0.001: 1 for hour in range(-1, PERIODS + 2)})
    world.source.settle()
    metrics = world.metrics(('cpu', extra(aggregation_method='count')))
    for count in (PERIODS, 1):
        found = world.collector(metrics).collect(batch(world, metrics, ('a', 'b'), count=count))
        assert [set(item.quantities) for item in found.columns] == [{Decimal(1)}] * 2
        assert [len(item.begins) for item in found.columns] == [count] * 2


def test_numbers_keep_their_digits(any_monitored):
    world = any_monitored
    values = {JUNE: 12345678912.5, JUNE + HOUR: 1.25e-10, JUNE + 2 * HOUR: 0.1, JUNE + 3 * HOUR: 2.0**70}
    world.add('x', 'a', values)
    world.source.settle()
    metrics = world.metrics(('cpu', {}))
    (found,) = world.collector(metrics).collect(batch(world, metrics, ('a',))).columns
    assert found.quantities == (
        Decimal('12345678912.5'),
        Decimal('0.000000000125'),
        Decimal('0.1'),
        Decimal('1180591620717411300000'),
    )


def test_what_is_no_amount_is_told_apart(any_monitored):
    world = any_monitored
    world.add('good', 'a', every(1.0))
    world.add('zero', 'b', {JUNE + 60: 0.0, JUNE + HOUR + 60: 1.0})
    world.add('mixed', 'c', {JUNE + 60: 0.0})
    world.add('fine', 'c', {JUNE + 60: 1.0})
    world.source.settle()
    metrics = world.metrics(
        ('cpu', {'alt_name': 'nan', **extra(query_suffix='/ 0 * 0')}),
        ('cpu', {'alt_name': 'half', **extra(query_prefix='4 /')}),
        ('cpu', {'alt_name': 'some', **extra(query_prefix='sqrt(', query_suffix='- 0.5)')}),
    )
    asked = batch(world, metrics, ('b', 'c'), count=2)
    found = world.collector(metrics).collect(asked)
    b, c = asked.scope_ids
    unknown, failed = (coverage.Status.UNKNOWN, False), (coverage.Status.FAILED, True)
    assert troubles(found) == {
        (b, 'nan', JUNE): unknown,
        (b, 'nan', JUNE + HOUR): unknown,
        (c, 'nan', JUNE): unknown,
        (b, 'half', JUNE): failed,
        (c, 'half', JUNE): failed,
        (b, 'some', JUNE): unknown,
    }
    assert {(key[0], key[1], dict(key[2])['id'], key[-1]) for key in points(found)} == {
        (b, 'half', 'zero', JUNE + HOUR),
        (b, 'some', 'zero', JUNE + HOUR),
        (c, 'some', 'fine', JUNE),
    }
    texts = {item.error for item in found.troubles}
    assert texts == {'Prometheus gave NaN, which is no number.', 'Prometheus gave +Inf, which is no amount.'}


def test_numbers_without_the_scope_bill_nobody(any_monitored):
    world = any_monitored
    world.add('x', 'a', every(2.0))
    world.add('ownerless', None, every(64.0))
    world.source.settle()
    metrics = world.metrics(
        ('cpu', {'alt_name': 'plain'}),
        ('cpu', {'alt_name': 'summed', **extra(query_prefix='sum(', query_suffix=')')}),
    )
    asked = batch(world, metrics, ('a', 'nobody'))
    found = world.collector(metrics).collect(asked)
    assert {item.series.metric: set(item.quantities) for item in found.columns} == {'plain': {Decimal(2)}}
    assert troubles(found) == {
        (asked.scope_ids[0], 'summed', begin): (coverage.Status.FAILED, True) for begin in asked.begins
    }
    assert 'without label project_id' in found.troubles[0].error


def test_what_nobody_has_is_unknown(any_monitored):
    world = any_monitored
    world.add('x', 'a', every(2.0, end=JUNE + 2 * HOUR))
    world.add('y', None, every(2.0, end=JUNE + 4 * HOUR))
    world.add('z', None, every(2.0), metric='disk')
    world.source.settle()
    metrics = world.metrics(('cpu', {}), ('disk', {}), ('nothing', {}))
    asked = batch(world, metrics, ('b',))
    found = world.collector(metrics).collect(asked)
    assert not found.columns and not found.source_down
    (scope,) = asked.scope_ids
    texts = {(item.metric, item.begin, item.end): (item.status, item.error) for item in found.troubles}
    assert texts == {
        ('cpu', JUNE + 2 * HOUR, JUNE + 4 * HOUR): (
            coverage.Status.UNKNOWN,
            'No series of metric %s in Prometheus has the label project_id.' % world.metric('cpu'),
        ),
        ('cpu', JUNE + 4 * HOUR, JUNE + 6 * HOUR): (
            coverage.Status.UNKNOWN,
            'Prometheus has no series of metric %s.' % world.metric('cpu'),
        ),
        ('disk', JUNE, JUNE + 6 * HOUR): (
            coverage.Status.UNKNOWN,
            'No series of metric %s in Prometheus has the label project_id.' % world.metric('disk'),
        ),
        ('nothing', JUNE, JUNE + 6 * HOUR): (
            coverage.Status.UNKNOWN,
            'Prometheus has no series of metric %s.' % world.metric('nothing'),
        ),
    }


def test_a_long_backlog_without_a_metric_is_unknown(any_monitored):
    """A server gives 11,000 numbers of a series at a time."""
    world = any_monitored
    world.add('x', 'a', every(2.0))
    world.source.settle()
    count = 12_000
    asked = batch(world, world.metrics(('cpu', {})), ('b',), JUNE - (count - PERIODS) * HOUR, count)
    collector = world.collector(asked.metrics, max_granules=1_000_000)
    found = collector.collect(asked)
    assert found.batch == asked
    assert {(item.status, item.begin, item.end) for item in found.troubles} == {
        (coverage.Status.UNKNOWN, asked.begin, JUNE - 2 * HOUR)
    }


def test_a_query_that_makes_no_sense_costs_its_own_metric_only(any_monitored):
    world = any_monitored
    world.add('x', 'a', every(2.0))
    world.source.settle()
    metrics = world.metrics(
        ('cpu', {'alt_name': 'good'}),
        ('cpu', {'alt_name': 'bad', **extra(query_suffix=') * 2')}),
        ('cpu', {'alt_name': 'unheard of', **extra(range_function='irange')}),
    )
    asked = batch(world, metrics, ('a',))
    found = world.collector(metrics).collect(asked)
    assert {item.series.metric for item in found.columns} == {'good'}
    (scope,) = asked.scope_ids
    assert troubles(found) == {
        (scope, name, begin): (coverage.Status.FAILED, True) for name in ('bad', 'unheard of') for begin in asked.begins
    }
    assert not found.source_down
    assert all('Prometheus: HTTP 400: bad_data' in item.error for item in found.troubles)


@pytest.mark.cloud
def test_the_stand_in_answers_as_the_original(monitored, real_prometheus_source):
    real = type(monitored)(real_prometheus_source)
    real._mark = monitored._mark
    fill(monitored)
    fill(real)
    texts = [
        'count_over_time(vector(1)[1s:1s])',
        'cpu > 2',
        '-cpu % 3',
        'sum(cpu) or vector(0)',
        'avg(deriv_is_unknown(cpu[5m]))',
        'max(cpu',
        'max(cpu[5m])',
        '4 / (count(cpu) * 0)',
        'abs(idelta(cpu[20m]))',
        'stdvar(cpu) by (flavor)',
        'count(cpu{flavor=""}) by (project_id)',
        'count(cpu{flavor!~"small|big"})',
        'max_over_time(cpu[10m])',
    ]
    for text in texts:
        text = text.replace('cpu', monitored.metric('cpu'))
        for form in ({'time': JUNE + 3599.999}, {'start': JUNE + 1799, 'end': JUNE + 5 * HOUR, 'step': 1800}):
            kind = 'query' if 'time' in form else 'query_range'
            one, other = (
                requests.post('%s/%s' % (source.url, kind), {'query': text, **form}, timeout=30)
                for source in (monitored.source, real_prometheus_source)
            )
            assert one.status_code == other.status_code, (text, one.text, other.text)
            if one.status_code != 200:
                assert one.json()['errorType'] == other.json()['errorType']
                continue
            left, right = one.json()['data'], other.json()['data']
            assert left['resultType'] == right['resultType'], text
            assert _comparable(left) == _comparable(right), text


def _comparable(data):
    def number(value):
        return value if value in ('NaN', '+Inf', '-Inf') else '%.12g' % float(value)

    if data['resultType'] == 'scalar':
        return number(data['result'][1])
    return sorted(
        (
            sorted(item['metric'].items()),
            [(float(at), number(value)) for at, value in item.get('values', [item.get('value')])],
        )
        for item in data['result']
    )
