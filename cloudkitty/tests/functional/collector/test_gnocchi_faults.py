# SPDX-License-Identifier: Apache-2.0
"""What becomes of a batch when Gnocchi is away, slow, too small or wrong."""

from decimal import Decimal
import time
import types

import futurist
import pytest

from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import usage
from cloudkitty.collector import exceptions
from cloudkitty.collector import gnocchi as driver
from cloudkitty.collector.gnocchi import batches
from cloudkitty.collector.gnocchi import requests
from cloudkitty.collector.gnocchi import server
from cloudkitty.tests import gnocchi
from cloudkitty.tests import samples
from cloudkitty.tests.functional.collector import conftest
from cloudkitty.tests.functional.collector import test_gnocchi_contract as contract

HOUR = samples.HOUR
JUNE = samples.JUNE
NAMES = tuple('abcdefgh')
FAILED = coverage.Status.FAILED


@pytest.fixture
def metrics(world):
    for name in NAMES:
        world.add(name, name, JUNE - HOUR, contract.every(2.0))
    return world.metrics(('cpu', {}), ('other', {}))


def batch(world, metrics, names=NAMES, count=4):
    return usage.Batch(tuple(world.scope(name) for name in names), tuple(metrics), JUNE, HOUR, count)


def rated(found):
    return {(item.series.scope_id, begin) for item in found.columns for begin in item.begins}


def cells(world, names=NAMES, count=4):
    return {(world.scope(name), JUNE + hour * HOUR) for name in names for hour in range(count)}


def names_scope(*scope_ids):
    """Return a condition: the request is for one of these scopes."""
    return lambda query, body: any(scope_id in str(body) for scope_id in scope_ids)


def is_large(count):
    """Return a condition: the request names more than *count* scopes."""
    return lambda query, body: len(body['search']['and'][0]['in']['project_id']) > count


def hours(query):
    begin, end = (requests_instant(query[key][0]) for key in ('start', 'stop'))
    return (end - begin) / HOUR


def requests_instant(text):
    return gnocchi.inventory.parse_instant(text)


def test_one_request_a_metric_and_an_inventory_answer_a_batch(world, metrics, fake):
    found = world.collector(metrics).collect(batch(world, metrics))
    assert rated(found) == cells(world)
    # "other" is asked about once: nobody has it.
    assert fake.requests == {'search': 1, 'aggregates': 1, 'metric': 1}


def test_requests_run_in_the_executor(world, metrics):
    with futurist.ThreadPoolExecutor(4) as executor:
        found = world.collector(metrics, executor=executor).collect(batch(world, metrics))
    assert rated(found) == cells(world)


def test_period_that_is_over_only_by_the_clock_of_this_host_is_waited_for(world, fake, monkeypatch):
    now = int(time.time())
    begin = now // HOUR * HOUR - HOUR
    world.add('a', 'a', begin - HOUR, {begin + number * HOUR: 2.0 for number in range(3)})
    metrics = world.metrics(('cpu', {}))
    ahead = types.SimpleNamespace(**{**vars(time), 'time': lambda: now + 6 * HOUR})
    for module in (batches, requests):
        monkeypatch.setattr(module, 'time', ahead)
    found = world.collector(metrics).collect(usage.Batch((world.scope('a'),), tuple(metrics), begin, HOUR, 3))
    assert rated(found) == {(world.scope('a'), begin)}
    (trouble,) = found.troubles
    assert (trouble.begin, trouble.end, trouble.status) == (begin + HOUR, begin + 3 * HOUR, FAILED)
    assert not trouble.permanent
    assert 'not over yet' in trouble.error


@pytest.mark.parametrize('kind', ['aggregates', 'search'])
def test_a_scope_that_cannot_be_had_costs_nobody_else(world, metrics, fake, kind):
    poison = world.scope('c')
    fake.faults.append(gnocchi.Fault(kind, status=500, when=names_scope(poison)))
    found = world.collector(metrics).collect(batch(world, metrics))
    assert rated(found) == cells(world, [name for name in NAMES if name != 'c'])
    (trouble,) = [item for item in found.troubles if item.metric == 'cpu' and item.status is FAILED]
    assert (trouble.scope_id, trouble.begin, trouble.end) == (poison, JUNE, JUNE + 4 * HOUR)
    assert not trouble.permanent and 'HTTP 500' in trouble.error
    assert not found.source_down


def test_an_hour_that_cannot_be_had_costs_no_other(world, metrics, fake):
    poison = world.scope('c')

    def when(query, body):
        begin, end = (requests_instant(query[key][0]) for key in ('start', 'stop'))
        return poison in str(body) and begin <= JUNE + 2 * HOUR < end

    fake.faults.append(gnocchi.Fault('aggregates', status=500, when=when))
    found = world.collector(metrics).collect(batch(world, metrics))
    assert cells(world) - rated(found) == {(poison, JUNE + 2 * HOUR)}


def test_a_metric_that_cannot_be_had_costs_no_other(world, metrics, fake):
    world.source.resources[world.id('a')].metrics[world.metric('other')] = ['x', 'standard', {JUNE: 1.0}]
    when = names_scope(world.metric('other'))
    fake.faults.append(gnocchi.Fault('aggregates', status=500, when=when))
    found = world.collector(metrics).collect(batch(world, metrics))
    assert rated(found) == cells(world)
    assert {(item.metric, item.status) for item in found.troubles} == {('other', FAILED)}


@pytest.mark.parametrize('status', [500, 503, 401])
def test_a_source_that_gives_nothing_is_down_and_soon_left_alone(world, metrics, fake, status):
    for kind in ('search', 'aggregates', 'metric'):
        fake.faults.append(gnocchi.Fault(kind, status=status))
    found = world.collector(metrics).collect(batch(world, metrics))
    assert found.source_down and not found.columns
    assert len(found.troubles) == 2 * len(NAMES)
    assert all(item.status is FAILED and not item.permanent for item in found.troubles)
    assert sum(fake.requests.values()) <= 3 * 7


def test_a_source_that_lists_but_does_not_measure_is_not_down(world, metrics, fake):
    fake.faults.append(gnocchi.Fault('aggregates', status=500))
    found = world.collector(metrics).collect(batch(world, metrics))
    assert not found.source_down and not found.columns
    assert fake.requests['aggregates'] <= 3 * 7


def test_what_is_too_big_is_halved_and_the_size_remembered(world, metrics, fake):
    fake.faults.append(gnocchi.Fault('aggregates', status=504, when=is_large(2)))
    collector = world.collector(metrics)
    assert rated(collector.collect(batch(world, metrics))) == cells(world)
    # 8 scopes, then 4 and 4, then 2 four times.
    assert fake.requests['aggregates'] == 1 + 2 + 4
    fake.requests.clear()
    assert rated(collector.collect(batch(world, metrics))) == cells(world)
    assert fake.requests['aggregates'] == 4
    fake.requests.clear()
    # It tries more again, and learns that it still is too much.
    assert rated(collector.collect(batch(world, metrics))) == cells(world)
    assert fake.requests['aggregates'] == 2 + 4


def test_the_size_grows_back(world, metrics, fake):
    fake.faults.append(gnocchi.Fault('aggregates', status=413, times=1))
    collector = world.collector(metrics)
    for _ in range(3):
        fake.requests.clear()
        assert rated(collector.collect(batch(world, metrics))) == cells(world)
    assert fake.requests['aggregates'] == 1


def test_time_is_halved_when_one_scope_is_too_big(world, metrics, fake):
    fake.faults.append(gnocchi.Fault('aggregates', status=502, when=lambda query, body: hours(query) > 1))
    found = world.collector(metrics).collect(batch(world, metrics, ['a']))
    assert rated(found) == cells(world, ['a'])


def test_a_slow_answer_is_too_big(world, metrics, fake):
    fake.faults.append(gnocchi.Fault('aggregates', delay=1.5, times=1))
    found = world.collector(metrics, timeout=1).collect(batch(world, metrics))
    assert rated(found) == cells(world) and fake.requests['aggregates'] == 3


def test_a_batch_ends_at_its_deadline(world, metrics, fake):
    fake.faults.append(gnocchi.Fault('search', delay=0.5))
    begin = time.monotonic()
    found = driver.GnocchiCollector(metrics=metrics, client=world.client(), timeout=0.2).collect(batch(world, metrics))
    assert found.source_down and len(found.troubles) == 2 * len(NAMES)
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(
    'fault',
    [
        gnocchi.Fault('aggregates', drop=True, times=1),
        gnocchi.Fault('aggregates', status=200, body='<html>', times=1),
        gnocchi.Fault('search', status=400, body='spurious', times=2),
        gnocchi.Fault('search', status=500, times=2),
    ],
)
def test_a_passing_trouble_is_asked_again(world, metrics, fake, fault):
    fake.faults.append(fault)
    found = world.collector(metrics).collect(batch(world, metrics))
    assert rated(found) == cells(world)


@pytest.mark.parametrize(
    'answer',
    [
        {'surprise': 1},
        [{'group': {}}],
        [None],
        [{'group': {'id': [], 'project_id': 'x'}, 'measures': {}}],
    ],
)
def test_an_answer_that_makes_no_sense_is_a_failure(world, metrics, fake, answer):
    fake.faults.append(gnocchi.Fault('aggregates', change=lambda whole: answer))
    found = world.collector(metrics).collect(batch(world, metrics))
    failed = [item for item in found.troubles if item.status is FAILED]
    assert {item.scope_id for item in failed} == {world.scope(name) for name in NAMES}
    words = ('no sense', 'not JSON')
    assert not found.columns and not any(item.permanent for item in failed)
    assert all(any(word in item.error for word in words) for item in failed)


def spoil(value):
    """Return a change of an answer: the first value of the first group becomes *value*."""

    def change(answer):
        answer[0]['measures']['measures']['aggregated'][0][2] = value
        return answer

    return change


@pytest.mark.parametrize('value', [float('nan'), float('inf'), float('-inf'), 1e25, 1e300])
@pytest.mark.parametrize('factor', [1, '1/3'])
def test_a_value_that_is_no_amount_fails_its_cell_alone(world, metrics, fake, value, factor):
    world.add('neighbour', 'a', JUNE - HOUR, contract.every(1.0))
    fake.faults.append(gnocchi.Fault('aggregates', change=spoil(value)))
    metrics = world.metrics(('cpu', {'factor': factor}))
    found = world.collector(metrics).collect(batch(world, metrics))
    (trouble,) = found.troubles
    assert (trouble.begin, trouble.end, trouble.permanent) == (JUNE, JUNE + HOUR, True)
    assert cells(world) - rated(found) == {(trouble.scope_id, JUNE)}


def test_values_are_taken_digit_by_digit(world, metrics, fake):
    fake.faults.append(gnocchi.Fault('aggregates', change=spoil(0.1 + 0.2)))
    found = world.collector(metrics).collect(batch(world, metrics, ['a']))
    (column,) = found.columns
    assert column.quantities[0] == Decimal('0.30000000000000004')


def regroup(**changes):
    def change(answer):
        answer[0]['group'].update(changes)
        return answer

    return change


@pytest.mark.parametrize('changes', [{'project_id': 'somebody else'}, {'id': 'nobody knows'}, {'project_id': None}])
def test_points_of_strangers_are_left_out_with_one_warning(world, metrics, fake, changes, caplog):
    fake.faults.append(gnocchi.Fault('aggregates', change=regroup(**changes)))
    found = world.collector(metrics).collect(batch(world, metrics, ['a', 'b']))
    assert len({scope_id for scope_id, _ in rated(found)}) == 1
    assert not [item for item in found.troubles if item.metric == 'cpu']
    assert len([record for record in caplog.records if 'left out' in record.getMessage()]) == 1


def test_the_same_group_twice_counts_once(world, metrics, fake):
    fake.faults.append(gnocchi.Fault('aggregates', change=lambda answer: [*answer, answer[0]]))
    found = world.collector(metrics).collect(batch(world, metrics))
    assert sum(len(item.begins) for item in found.columns) == len(cells(world)) and rated(found) == cells(world)


def test_two_answers_for_one_resource_bill_neither(world, metrics, fake):
    def change(answer):
        other = {'group': answer[0]['group'], 'measures': {'measures': {'aggregated': []}}}
        other['measures']['measures']['aggregated'] = [
            [instant, granularity, value + 1]
            for instant, granularity, value in answer[0]['measures']['measures']['aggregated'][:2]
        ]
        return [*answer, other]

    fake.faults.append(gnocchi.Fault('aggregates', change=change))
    found = world.collector(metrics).collect(batch(world, metrics, ['a']))
    assert rated(found) == {(world.scope('a'), JUNE + hour * HOUR) for hour in (2, 3)}
    (trouble,) = [item for item in found.troubles if item.metric == 'cpu']
    assert 'two answers' in trouble.error


def test_a_batch_that_is_too_large_for_memory_is_answered_in_parts(world, metrics, fake, monkeypatch):
    whole = batch(world, metrics)
    # A resource weighs as much as four granules: 8 * 4 + 8 for each period.
    assert world.collector(metrics, max_granules=32 + 4 * 8).collect(whole).batch == whole
    for granules, count in ((32 + 3 * 8, 7), (32 + 8, 5), (17, 2)):
        found = world.collector(metrics, max_granules=granules).collect(whole).batch
        assert (found.count, found.scope_ids) == (4, tuple(world.scope(name) for name in NAMES[:count]))
    monkeypatch.setattr(batches, 'WINDOW', 2)
    assert world.collector(metrics, max_granules=32 + 3 * 8).collect(whole).batch.count == 3
    monkeypatch.setattr(batches, 'WINDOW', 1)
    assert world.collector(metrics, max_granules=32 + 8).collect(whole).batch.count == 1
    collector = world.collector(metrics, max_granules=17)
    found = collector.collect(whole)
    assert (found.batch.count, found.batch.scope_ids) == (1, tuple(world.scope(name) for name in 'abc'))
    assert rated(found) == cells(world, 'abc', 1)
    assert {item.scope_id for item in found.troubles} == set(found.batch.scope_ids)
    # From then on it does not even read the resources of more.
    fake.faults.append(gnocchi.Fault('search', status=500, when=names_scope(world.scope('d'))))
    assert rated(collector.collect(whole)) == cells(world, 'abc', 1)


def test_a_scope_that_is_too_large_for_memory_is_answered_for_one_period(world, metrics):
    found = world.collector(metrics, max_granules=1).collect(batch(world, metrics))
    assert found.batch.scope_ids == (world.scope('a'),) and rated(found) == cells(world, 'a', 1)


def test_one_cell_that_is_too_large_for_memory_is_asked_in_parts(world, fake):
    for number in range(10):
        world.add(str(number), 'a', JUNE - HOUR if number < 8 else JUNE + 5 * HOUR, contract.every(2.0))
    metrics = world.metrics(('cpu', {'extra_args': {'force_granularity': 300}}))
    found = world.collector(metrics, max_granules=24).collect(batch(world, metrics, ['a'], 3))
    assert found.batch.count == 1
    assert sum(len(item.begins) for item in found.columns) == 10
    # Two resources have 24 granules an hour.
    assert fake.requests['aggregates'] == 5


def test_an_archive_policy_list_that_is_hidden_leaves_the_others_alone(world, fake):
    for name in NAMES:
        world.add(name, name, JUNE - HOUR, contract.every(2.0), policy='hours' if name == 'c' else 'standard')
    fake.faults.append(gnocchi.Fault('archive_policy', status=403))
    metrics = world.metrics(('cpu', {'extra_args': {'force_granularity': 300}}))
    found = world.collector(metrics).collect(batch(world, metrics))
    assert rated(found) == cells(world, [name for name in NAMES if name != 'c'])
    (trouble,) = found.troubles
    assert trouble.permanent and 'Granularities are missing' in trouble.error


@pytest.mark.parametrize(
    ('begin', 'length', 'granularity', 'words'),
    [
        (JUNE, HOUR, 1000, 'collect] period'),
        (JUNE, 1800, 3600, 'collect] period'),
        (JUNE + 60, HOUR, HOUR, '60 s past'),
    ],
)
def test_granules_that_do_not_fit_the_periods_are_refused(world, fake, begin, length, granularity, words):
    world.add('a', 'a', JUNE - HOUR, contract.every(2.0))
    metrics = world.metrics(('cpu', {'extra_args': {'force_granularity': granularity}}))
    found = world.collector(metrics).collect(usage.Batch((world.scope('a'),), metrics, begin, length, 2))
    (trouble,) = found.troubles
    assert trouble.permanent and trouble.end == begin + 2 * length
    assert 'force_granularity' in trouble.error and words in trouble.error
    assert not fake.requests and not found.source_down


def test_a_source_that_cannot_say_whether_a_metric_exists_is_not_taken_for_empty(world, metrics, fake):
    fake.faults.append(gnocchi.Fault('metric', status=500))
    found = world.collector(metrics).collect(batch(world, metrics, ['a', 'nobody']))
    (trouble,) = found.troubles
    assert (trouble.scope_id, trouble.metric, trouble.status) == (world.scope('a'), 'other', FAILED)
    assert not trouble.permanent


def test_a_server_without_history_is_asked_by_resource():
    source = gnocchi.FakeGnocchi(is_old=True).start()
    try:
        world = conftest.World(source)
        contract.fill(world)
        metrics = world.metrics(('cpu', {'groupby': ['id', 'flavor']}), ('nowhere', {}))
        collector = world.collector(metrics)
        wide = collector.collect(contract.batch(world, metrics, ('a', 'b', 'c')))
        assert {item.metric for item in wide.troubles} == {'nowhere'}
        # An hour belongs to the flavor at its end.
        flavors = {
            (begin - JUNE) // HOUR: item.series.groupby['flavor']
            for item in wide.columns
            if item.series.groupby['id'] == world.id('resized')
            for begin in item.begins
        }
        assert flavors == {0: 'small', 1: 'big', 2: 'big', 3: 'big', 4: 'big', 5: 'big'}
        narrow = {}
        for name in ('a', 'b', 'c'):
            for begin in range(JUNE, JUNE + contract.PERIODS * HOUR, HOUR):
                narrow |= contract.points(collector.collect(contract.batch(world, metrics, [name], begin, 1)))
        assert narrow == contract.points(wide)
    finally:
        source.stop()


def test_the_classic_contract_gives_points(world, metrics):
    collector = world.collector(metrics)
    start, end = samples.instant(JUNE), samples.instant(JUNE + HOUR)
    name, (point,) = collector.retrieve(metrics[0].key, start, end, world.scope('a'))
    assert (name, point.qty, point.unit) == (metrics[0].key, 2, 'u')
    assert point.groupby['project_id'] == world.scope('a') and point.groupby['month'] == '6'
    assert set(collector.conf) == {item.key for item in metrics}
    with pytest.raises(exceptions.NoDataCollected):
        collector.retrieve(metrics[0].key, start, end, world.scope('nobody'))


def test_the_classic_contract_raises_what_fails(world, metrics, fake):
    fake.faults.append(gnocchi.Fault('search', status=500))
    window = samples.instant(JUNE), samples.instant(JUNE + HOUR)
    with pytest.raises(errors.TransientSourceError):
        world.collector(metrics).fetch_all(metrics[0].key, *window, world.scope('a'))
    fake.faults.clear()
    (wrong,) = world.metrics(('cpu', {'groupby': ['nonsense']}))
    with pytest.raises(errors.PermanentSourceError):
        world.collector([wrong]).fetch_all(wrong.key, *window, world.scope('a'))


def test_a_subclass_of_the_field_is_asked_cell_by_cell(world, metrics):
    class Doubling(driver.GnocchiCollector):
        def fetch_all(self, *args, **kwargs):
            return super().fetch_all(*args, **kwargs) * 2

    collector = Doubling(metrics=metrics, client=world.client())
    found = collector.collect(batch(world, metrics, ['a'], 2))
    assert sum(len(item.begins) for item in found.columns) == 4


def test_a_mistake_of_ours_is_not_taken_for_the_source(world, metrics, monkeypatch):
    def wrong(*args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(requests.Client, 'items', wrong)
    with pytest.raises(ZeroDivisionError):
        world.collector(metrics).collect(batch(world, metrics))


def test_periods_off_the_grid_are_one_cause_however_many_there_are(world, fake):
    metrics = world.metrics(('cpu', {'extra_args': {'force_granularity': HOUR}}))
    collector = world.collector(metrics)
    batches = [usage.Batch((world.scope('a'),), metrics, JUNE + 60 + hour * HOUR, HOUR, 1) for hour in range(3)]
    assert len({collector.collect(item).troubles[0].error for item in batches}) == 1


def test_a_source_that_is_slow_is_asked_for_less_at_a_time(world, metrics, fake, monkeypatch):
    monkeypatch.setattr(server.Pace, 'LEAST', 1)
    collector = world.collector(metrics)
    # A resource takes a tenth of a second, and a quarter of the time-out is a quarter of a second.
    monkeypatch.setattr(server.Pace, 'note', lambda *args: None)
    monkeypatch.setattr(server.Pace, 'FIRST', 0.1)
    collector._client.timeout = 1
    found = collector.collect(batch(world, metrics, NAMES, 1))
    assert rated(found) == cells(world, NAMES, 1)
    assert fake.requests['aggregates'] == 4
    # One scope with many resources is asked for by their ids.
    for number in range(3):
        world.add('more-%d' % number, 'a', JUNE - HOUR, contract.every(2.0))
    fake.requests.clear()
    found = collector.collect(batch(world, metrics, 'a', 1))
    assert len(found.columns) == 4
    assert fake.requests['aggregates'] == 2


def test_a_source_that_is_down_is_not_pressed(world, metrics, fake):
    collector = world.collector(metrics)
    fake.faults.append(gnocchi.Fault('search', status=503))
    found = collector.collect(batch(world, metrics))
    assert {item.status for item in found.troubles} == {FAILED} and not any(item.permanent for item in found.troubles)
    first = sum(fake.requests.values())
    found = collector.collect(batch(world, metrics))
    assert all('not asked' in item.error for item in found.troubles)
    assert sum(fake.requests.values()) == first
    # It is asked again after a while; here that is over at once.
    collector._client._gate._closed_until = 0
    fake.faults.clear()
    assert rated(collector.collect(batch(world, metrics))) == cells(world)
