# SPDX-License-Identifier: Apache-2.0
"""What becomes of a batch when Prometheus is away, slow, too small or wrong."""

import base64
from email import utils
import logging
import time

import futurist
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import pytest

from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import telemetry
from cloudkitty import usage
from cloudkitty.clients import prometheus as client
from cloudkitty.collector import exceptions
from cloudkitty.collector.prometheus import batches
from cloudkitty.tests import prometheus
from cloudkitty.tests import samples
from cloudkitty.tests.functional.collector import conftest
from cloudkitty.tests.functional.collector import test_prometheus_contract as contract

HOUR = samples.HOUR
JUNE = samples.JUNE
NAMES = tuple('abcdefgh')
FAILED = coverage.Status.FAILED
PROVISIONAL = coverage.Status.PROVISIONAL
UNKNOWN = coverage.Status.UNKNOWN


@pytest.fixture
def metrics(monitored):
    for name in NAMES:
        monitored.add(name, name, contract.every(2.0))
        monitored.add(name, name, contract.every(3.0), 'disk')
    return monitored.metrics(('cpu', {}), ('disk', {}))


def batch(world, metrics, names=NAMES, count=4):
    return contract.batch(world, metrics, names, count=count)


def rated(found, metric='cpu'):
    return {(item.series.scope_id, begin) for item in found.columns if item.series.metric == metric
            for begin in item.begins}  # fmt: skip


def cells(world, names=NAMES, count=4):
    return {(world.scope(name), JUNE + hour * HOUR) for name in names for hour in range(count)}


def asks_for(text):
    return lambda form: text in form['query']


def scopes_of(form):
    return form['query'].count('|') + 1


def fault(world, **of):
    made = prometheus.Fault(**of)
    world.source.faults.append(made)
    return made


def test_few_requests_for_many_cells(monitored):
    """50 scopes, 4 metrics, 10 resources, 24 periods: a request for each metric, one more, and a look once an hour."""
    names = ['s%d' % number for number in range(50)]
    kinds = ('cpu', 'disk', 'ram', 'net')
    for kind in kinds:
        for name in names:
            for number in range(10):
                monitored.add('%s-%d' % (name, number), name, contract.every(1.5, JUNE, JUNE + 24 * HOUR, HOUR), kind)
    metrics = monitored.metrics(*((kind, {}) for kind in kinds))
    collector = monitored.collector(metrics)
    for count in (9, 9 + 5):
        found = collector.collect(batch(monitored, metrics, names, 24))
        assert not found.troubles
        assert sum(len(item.begins) for item in found.columns) == 50 * 4 * 10 * 24
        assert sum(monitored.source.requests.values()) == count


def test_series_that_are_nobodys_are_told_of_once(monitored, metrics, caplog):
    monitored.add('ownerless', None, contract.every(64.0))
    collector = monitored.collector(metrics)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = collector.collect(batch(monitored, metrics))
            assert not found.troubles and rated(found) == cells(monitored)
    assert [record.getMessage() for record in caplog.records] == [
        'Metric cpu: some series in Prometheus have no label project_id: what they measure is billed to nobody.'
    ]


def test_a_short_trouble_is_nobodys_concern(monitored, metrics):
    for status in (500, 503):
        fault(monitored, status=status, times=1)
    fault(monitored, drop=True, times=1)
    fault(monitored, status=429, times=1)
    found = monitored.collector(metrics).collect(batch(monitored, metrics))
    assert not found.troubles and rated(found) == rated(found, 'disk') == cells(monitored)


def test_a_source_that_is_away_holds_everything(monitored, metrics):
    collector = monitored.collector(metrics)
    monitored.source.stop()
    found = collector.collect(batch(monitored, metrics))
    assert found.source_down and not found.columns
    assert {(item.status, item.permanent) for item in found.troubles} == {(FAILED, False)}
    assert sum(item.end - item.begin for item in found.troubles) == 2 * len(NAMES) * 4 * HOUR
    monitored.source.start()


def test_one_metric_that_fails_costs_no_other(monitored, metrics):
    fault(monitored, status=500, when=asks_for('max(max_over_time(%s' % monitored.metric('disk')))
    found = monitored.collector(metrics).collect(batch(monitored, metrics))
    assert rated(found) == cells(monitored) and not rated(found, 'disk')
    assert {(item.metric, item.status, item.permanent) for item in found.troubles} == {('disk', FAILED, False)}
    assert not found.source_down


def test_what_is_too_big_is_halved_and_the_size_remembered(monitored, metrics):
    monitored.source.most = 2
    collector = monitored.collector(metrics)
    for _ in range(2):
        found = collector.collect(batch(monitored, metrics))
        assert not found.troubles and rated(found) == rated(found, 'disk') == cells(monitored)
    asked = [scopes_of(form) for form in monitored.source.forms]
    assert asked.count(8) == 2


def test_a_slow_answer_is_asked_for_in_parts(monitored, metrics):
    fault(monitored, delay=3, when=lambda form: scopes_of(form) > 4)
    found = monitored.collector(metrics, timeout=1).collect(batch(monitored, metrics))
    assert not found.troubles and rated(found) == cells(monitored)


def test_an_answer_that_nobody_reads_to_its_end_is_asked_for_in_parts(monitored, metrics, monkeypatch):
    """Of one scope too long even by itself, the others are not lost."""
    monkeypatch.setattr(client, 'LARGEST', 1 << 18)

    def is_long(form):
        return scopes_of(form) > 2 or 'max_over_time(' in form['query'] and monitored.scope('c') in form['query']

    fault(monitored, change=lambda answer: {**answer, 'infos': ['x' * client.LARGEST]}, when=is_long)
    found = monitored.collector(metrics).collect(batch(monitored, metrics))
    others = tuple(name for name in NAMES if name != 'c')
    assert rated(found) == rated(found, 'disk') == cells(monitored, others)
    assert {(item.scope_id, item.status, item.permanent, item.error) for item in found.troubles} == {
        (monitored.scope('c'), FAILED, False, 'Prometheus: an answer of more than 262144 bytes.')
    }


def test_one_scope_that_cannot_be_evaluated_costs_no_other(monitored, metrics):
    body = '{"status":"error","errorType":"execution","error":"found duplicate series"}'
    fault(monitored, status=422, body=body, when=lambda form: monitored.scope('c') in form['query'])
    found = monitored.collector(metrics).collect(batch(monitored, metrics))
    others = tuple(name for name in NAMES if name != 'c')
    assert rated(found) == cells(monitored, others)
    assert {(item.scope_id, item.status, item.permanent) for item in found.troubles} == {
        (monitored.scope('c'), FAILED, True)
    }
    assert 'found duplicate series' in found.troubles[0].error


def test_warnings_make_cells_provisional_and_remarks_do_not(monitored, metrics, caplog):
    def warn(answer):
        return {**answer, 'warnings': ['store down', 'PromQL info: old remark'], 'infos': ['PromQL info: no counter']}

    fault(monitored, change=warn, when=asks_for('max_over_time(%s' % monitored.metric('disk')))
    with caplog.at_level(logging.WARNING):
        found = monitored.collector(metrics).collect(batch(monitored, metrics))
    assert rated(found) == rated(found, 'disk') == cells(monitored)
    assert {(item.metric, item.status, item.error) for item in found.troubles} == {
        ('disk', PROVISIONAL, 'Prometheus warns that this may not be all: store down')
    }
    assert [record.getMessage() for record in caplog.records] == [
        'Metric disk: Prometheus remarks: PromQL info: no counter',
        'Metric disk: Prometheus remarks: PromQL info: old remark',
    ]


def test_what_a_warning_says_may_be_missing_is_not_unknown(monitored):
    """A store is away when it is asked who has a metric that nobody seems to have."""
    metrics = monitored.metrics(('cpu', {}))
    fault(monitored, change=lambda answer: {**answer, 'warnings': ['store down']}, when=asks_for('count(count_over'))
    found = monitored.collector(metrics).collect(batch(monitored, metrics))
    assert {(item.scope_id, begin) for item in found.troubles for begin in range(item.begin, item.end, HOUR)} == (
        cells(monitored)
    )
    assert {(item.status, item.permanent, item.error) for item in found.troubles} == {
        (FAILED, False, 'Prometheus warns: store down')
    }


def test_histograms_are_refused(monitored, metrics):
    def change(answer):
        answer['data']['result'][0]['histograms'] = [[JUNE + HOUR - 0.001, {'count': '1'}]]
        return answer

    fault(monitored, change=change, when=asks_for('max_over_time(%s' % monitored.metric('disk')))
    found = monitored.collector(metrics).collect(batch(monitored, metrics))
    (trouble,) = found.troubles
    assert (trouble.metric, trouble.begin, trouble.end, trouble.permanent) == ('disk', JUNE, JUNE + HOUR, True)
    assert 'histogram' in trouble.error
    assert rated(found, 'disk') == cells(monitored) - {(trouble.scope_id, JUNE)}


@pytest.mark.parametrize(
    'change',
    [
        lambda answer: {'status': 'success'},
        lambda answer: [],
        lambda answer: {**answer, 'warnings': 7},
        lambda answer: None,
        lambda answer: _with(answer, values=[[JUNE + HOUR - 0.001, 1.5]]),
        lambda answer: _with(answer, values=[[JUNE + HOUR - 0.001, 'many']]),
        lambda answer: _with(answer, values=[[JUNE + HOUR - 0.001, 'Infinity']]),
        lambda answer: _with(answer, values=[[JUNE + HOUR - 0.001, '1e999']]),
        lambda answer: _with(answer, values=[[]]),
        lambda answer: _with(answer, values=[7]),
        lambda answer: _with(answer, values=[[JUNE + 2 * HOUR - 0.001, '1'], [JUNE + HOUR - 0.001, '1']]),
        lambda answer: _with(answer, metric={'project_id': 7}),
        lambda answer: _with(answer, metric=7),
    ],
)
def test_an_answer_that_makes_no_sense_bills_nobody(monitored, metrics, change):
    fault(monitored, change=change, when=asks_for('max_over_time(%s' % monitored.metric('disk')))
    found = monitored.collector(metrics).collect(batch(monitored, metrics))
    assert rated(found) == cells(monitored)
    assert rated(found, 'disk').isdisjoint((item.scope_id, item.begin) for item in found.troubles)
    assert {(item.metric, item.status, item.permanent) for item in found.troubles} <= {('disk', FAILED, False)}


def _with(answer, **changes):
    # Where one scope and period is asked for, too, it makes no sense.
    for item in answer['data']['result']:
        item.update(changes)
        if 'values' in changes and answer['data']['resultType'] == 'vector':
            item['value'] = changes['values'][0]
    return answer


def test_instants_that_a_proxy_moves_are_asked_for_one_by_one(monitored, metrics):
    monitored.source.aligns = True
    collector = monitored.collector(metrics)
    found = collector.collect(batch(monitored, metrics))
    assert not found.troubles and rated(found) == rated(found, 'disk') == cells(monitored)
    assert monitored.source.requests == {'query_range': 1, 'query': 8 + 2}


def test_a_proxy_that_moves_instants_now_and_then_is_seen_through(monitored, metrics):
    def move(answer):
        for item in answer['data']['result']:
            for value in item.get('values', ()):
                value[0] += 0.5
        return answer

    fault(monitored, change=move, times=1, when=asks_for('max_over_time(%s' % monitored.metric('cpu')))
    found = monitored.collector(metrics).collect(batch(monitored, metrics))
    assert not found.troubles and rated(found) == rated(found, 'disk') == cells(monitored)


def test_a_proxy_that_lets_read_only_is_asked_by_get(monitored, metrics):
    monitored.source.is_read_only = True
    collector = monitored.collector(metrics)
    for _ in range(2):
        found = collector.collect(batch(monitored, metrics))
        assert not found.troubles and rated(found) == cells(monitored)
    assert sum(monitored.source.requests.values()) == 9


def test_credentials_are_sent_and_never_told(monitored, metrics):
    monitored.source.credentials = 'Basic %s' % base64.b64encode('ü:pässword'.encode()).decode()
    source = batches.PrometheusCollector(metrics=metrics, client=monitored.client(auth=('ü', 'pässword')))
    assert rated(source.collect(batch(monitored, metrics))) == cells(monitored)
    found = monitored.collector(metrics).collect(batch(monitored, metrics))
    assert found.source_down
    assert {item.error for item in found.troubles} == {'Prometheus does not let us in: HTTP 401.'}


def test_a_redirect_is_not_followed(monitored, metrics):
    fault(monitored, status=302, headers={'Location': monitored.source.url + '/query'})
    found = monitored.collector(metrics).collect(batch(monitored, metrics))
    assert found.source_down and {item.error for item in found.troubles} == {'Prometheus: HTTP 302.'}


def test_a_batch_that_does_not_fit_into_memory_is_answered_in_parts(monitored, metrics):
    collector = monitored.collector(metrics, max_granules=1000)
    asked = batch(monitored, metrics, count=6)
    seen = set()
    todo = [asked]
    while todo:
        part = todo.pop()
        found = collector.collect(part)
        done = found.batch
        assert done.begin == part.begin and set(done.scope_ids) <= set(part.scope_ids)
        seen |= rated(found)
        rest = tuple(name for name in part.scope_ids if name not in done.scope_ids)
        if rest:
            todo.append(usage.Batch(rest, part.metrics, part.begin, HOUR, part.count))
        if done.count < part.count:
            todo.append(usage.Batch(done.scope_ids, part.metrics, done.end, HOUR, part.count - done.count))
    assert seen == cells(monitored, count=6)
    assert len(collector.collect(asked).batch.scope_ids) > 1


def test_requests_run_in_an_executor(monitored, metrics):
    with futurist.ThreadPoolExecutor(4) as executor:
        found = monitored.collector(metrics, executor=executor).collect(batch(monitored, metrics))
    assert not found.troubles and rated(found) == rated(found, 'disk') == cells(monitored)


def test_a_period_that_is_not_over_by_the_clock_of_prometheus_is_waited_for(monitored, metrics):
    begin = int(time.time()) // HOUR * HOUR - HOUR
    behind = utils.formatdate(begin + 60, usegmt=True)
    fault(monitored, change=lambda answer: answer, headers={'Date': behind})
    asked = usage.Batch((monitored.scope('a'),), tuple(metrics), begin - HOUR, HOUR, 2)
    collector = monitored.collector(metrics)
    found = collector.collect(asked)
    if collector._client.ahead:
        texts = {item.error for item in found.troubles if item.status is FAILED}
        assert texts == {'By the clock of Prometheus the period is not over yet; that of this host goes before it.'}


def test_the_classic_contract_is_served(monitored, metrics):
    collector = monitored.collector(metrics)
    (metric, _) = metrics
    begin, end = samples.instant(JUNE), samples.instant(JUNE + HOUR)
    name, points = collector.retrieve(metric.key, begin, end, monitored.scope('a'))
    assert name == metric.key and [point.qty for point in points] == [2]
    assert points[0].groupby['project_id'] == monitored.scope('a')
    with pytest.raises(exceptions.NoDataCollected):
        collector.retrieve(metric.key, begin, end, 'nobody')
    monitored.source.most = 0
    with pytest.raises(exceptions.CollectError):
        collector.retrieve(metric.key, begin, end, monitored.scope('a'))
    monitored.source.stop()
    with pytest.raises(exceptions.CollectError):
        collector.retrieve(metric.key, begin, end, monitored.scope('a'))
    monitored.source.start()


def test_requests_are_counted(monitored, metrics, tmp_path):
    directory = telemetry.prepare(str(tmp_path / 'figures'))
    telemetry.start(directory, telemetry.PROCESSOR)
    try:
        fault(monitored, status=500, times=1)
        monitored.collector(metrics).collect(batch(monitored, metrics))
        text, _ = telemetry.read(directory)
    finally:
        telemetry.stop()
    assert b'cloudkitty_source_requests_total{source="prometheus",status="200"} 5.0' in text
    assert b'cloudkitty_source_requests_total{source="prometheus",status="500"} 1.0' in text
    assert b'cloudkitty_source_seconds_count{source="prometheus"} 6.0' in text


def test_a_collector_without_a_connection_says_so(metrics, monitored):
    with pytest.raises(errors.ConfigurationError):
        batches.PrometheusCollector(metrics=metrics).collect(batch(monitored, metrics))


LABELS = strategies.fixed_dictionaries(
    {
        'project_id': strategies.sampled_from([None, '', 'a', 'b', 'ab', 'a|b', '.*', 'a"', 'elsewhere']),
        'id': strategies.sampled_from(['', '1', '2']),
        'flavor': strategies.sampled_from(['', 'small']),
    }
)
NUMBERS = strategies.one_of(
    strategies.integers(-5, 5).map(float),
    strategies.sampled_from([float('nan'), float('inf'), float('-inf'), 1e300, 1e-300, 0.1]),
)
OFFSETS = strategies.integers(-HOUR, 4 * HOUR).map(lambda second: JUNE + second)
EDGES = strategies.integers(-1, 4).map(lambda hour: JUNE + hour * HOUR)
SERIES = strategies.tuples(
    LABELS, strategies.dictionaries(strategies.one_of(OFFSETS, EDGES), NUMBERS, min_size=1, max_size=8)
)
ASKED = ('a', 'b', 'ab', 'a|b', '.*', 'a"')
FORMS = {
    'largest': {'groupby': ['id'], 'metadata': ['flavor']},
    'summed': {'groupby': ['flavor'], 'extra_args': {'aggregation_method': 'sum'}},
    'divided': {'extra_args': {'query_prefix': '1 /'}},
    'whole': {'extra_args': {'query_prefix': 'sum(', 'query_suffix': ')'}},
}


@settings(max_examples=40, deadline=None)
@given(strategies.lists(SERIES, max_size=12), strategies.booleans())
def test_whatever_exporters_report_each_cell_is_explained_and_nothing_moves(corpus, is_new):
    source = prometheus.FakePrometheus().start()
    try:
        source.is_new = is_new
        world = conftest.Monitored(source)
        for labels, values in corpus:
            labels = {name: value for name, value in labels.items() if value is not None}
            source.add(world.metric('x'), labels, values)
        metrics = world.metrics(*(('x', {'alt_name': name, **changes}) for name, changes in FORMS.items()))
        asked = usage.Batch(ASKED, metrics, JUNE, HOUR, 3)
        collector = world.collector(metrics)
        found = collector.collect(asked)
        assert not found.source_down
        troubles = {
            (item.scope_id, item.metric, begin): item
            for item in found.troubles
            for begin in range(item.begin, item.end, HOUR)
        }
        points = contract.points(found)
        for scope_id, name, groupby, _, begin in points:
            assert dict(groupby)['project_id'] == scope_id
            trouble = troubles.get((scope_id, name, begin))
            assert trouble is None or trouble.status is PROVISIONAL
        filled = {(key[0], key[1], key[-1]) for key in points}
        for scope_id in ASKED:
            for begin in asked.begins:
                own = [
                    [value for second, value in values.items() if begin <= second < begin + HOUR]
                    for labels, values in _merge(corpus)
                    if labels.get('project_id') == scope_id
                ]
                own = [values for values in own if values]
                for name in FORMS:
                    cell = (scope_id, name, begin)
                    if own:
                        # There is something: it is billed, or somebody says why not.
                        assert cell in filled or troubles[cell].status in (FAILED, UNKNOWN)
                        if name == 'largest' and all(abs(value) < 10 for values in own for value in values):
                            assert cell in filled
                        assert name != 'whole' or 'without label' in troubles[cell].error
                    else:
                        assert cell not in filled
                        assert cell not in troubles or troubles[cell].status is UNKNOWN
        for scope_id in (ASKED[len(corpus) % len(ASKED)],):
            for begin in asked.begins:
                alone = collector.collect(usage.Batch((scope_id,), metrics, begin, HOUR, 1))
                expected = {key: value for key, value in points.items() if (key[0], key[-1]) == (scope_id, begin)}
                assert contract.points(alone) == expected
                told = {(item.metric, item.status, item.error) for item in alone.troubles}
                assert told == {
                    (item.metric, item.status, item.error)
                    for cell, item in troubles.items()
                    if (cell[0], cell[2]) == (scope_id, begin)
                }
    finally:
        source.stop()


def _merge(corpus):
    """Return series as the source has them: of equal labels one, the last sample of an instant counts."""
    merged = {}
    for labels, values in corpus:
        known = {name: value for name, value in labels.items() if value}
        merged.setdefault(tuple(sorted(known.items())), {}).update(values)
    return [(dict(key), values) for key, values in merged.items()]


def test_a_client_needs_a_url():
    with pytest.raises(errors.ConfigurationError, match='prometheus_url'):
        client.from_options({'x': _Options(prometheus_url='localhost:9090')}, 'x')


class _Options:
    def __init__(self, **values):
        vars(self).update(values)
