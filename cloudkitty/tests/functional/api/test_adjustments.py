# SPDX-License-Identifier: Apache-2.0
"""Adjustments and closings, as an operator asks for them, on every server."""

from decimal import Decimal

import pytest

from cloudkitty import adjustment
from cloudkitty import coverage
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import adjustments
from cloudkitty.tests import samples
from cloudkitty.tests.functional.api.deployment import ask

HOUR = samples.HOUR
JUNE = samples.JUNE


@pytest.fixture
def api(make_api, ready_url):
    """Two scopes, each with an hour of 1 cpu for 2, and an adjustment of it to 3 for 6."""
    made = make_api('noauth', url=ready_url, collect='timezone = UTC\n[fetcher]\nbackend = source')
    samples.ready_states(made.database, 'a', 'b')
    points = [samples.columns(name, quantities=(1,), prices=(2,)) for name in ('a', 'b')]
    made.storage.commit(samples.commit(samples.states(made.database, 'a', 'b'), points))
    adjustments.note(made.database, [propose('a'), propose('b', begin=JUNE + HOUR, points=())], [], 1780000000)
    return made


def propose(scope_id, begin=JUNE, points=(1,), after=3):
    before = [samples.columns(scope_id, quantities=points, prices=(2,))] if points else []
    run = coverage.Run(scope_id, 'cpu', begin, begin + HOUR, coverage.Status.RATED, samples.RULES)
    cell = adjustment.Cell(
        'the period is closed',
        adjustment.add_up(before),
        series.digest(before),
        run,
        [samples.columns(scope_id, begins=(begin,), quantities=(after,), prices=(2 * after,))],
    )
    return adjustment.Adjustment(scope_id, begin, begin + HOUR, {'cpu': cell})


def listed(api, query=''):
    answer = ask(api, '/v2/adjustments' + query)
    assert answer.status_code == 200, answer.text
    return answer.json


def decide(api, action, *ids, status=200):
    answer = ask(api, '/v2/adjustments', 'PUT', {'adjustment_ids': list(ids), 'action': action})
    assert answer.status_code == status, answer.text
    return answer.json


def total(api):
    found = api.storage.total(None, *samples.window(), paginate=False)
    return found['results'][0]['rate']


def test_pending_ones_are_listed_oldest_period_first(api):
    found = listed(api)
    assert found['total'] == 2
    first, second = found['results']
    assert (first['scope_id'], first['begin'], first['end']) == (
        'a',
        '2026-06-01T00:00:00+00:00',
        '2026-06-01T01:00:00+00:00',
    )
    assert first['metrics'] == [
        {
            'type': 'cpu',
            'cause': 'the period is closed',
            'before': {'points': 1, 'qty': 1, 'rate': 2},
            'after': {'points': 1, 'qty': 3, 'rate': 6},
        }
    ]
    assert (first['status'], first['decided_at'], first['decided_by']) == ('pending', None, None)
    assert first['noted_at'] == period.from_epoch(1780000000).isoformat()
    assert second['metrics'][0]['before'] == {'points': 0, 'qty': 0, 'rate': 0}


@pytest.mark.parametrize(
    ('query', 'scopes'),
    [
        ('?scope_id=a', ['a']),
        ('?scope_id=a,b', ['a', 'b']),
        ('?scope_id=c', []),
        ('?begin=2026-06-01T01:00:00', ['b']),
        ('?end=2026-06-01T01:00:00', ['a']),
        ('?limit=1&offset=1', ['b']),
        ('?status=applied,dropped', []),
        ('?status=pending&status=applied', ['a', 'b']),
    ],
)
def test_some_are_listed(api, query, scopes):
    assert [item['scope_id'] for item in listed(api, query)['results']] == scopes


@pytest.mark.parametrize('query', ['?status=open', '?begin=then', '?limit=0', '?scope=a'])
def test_odd_questions_are_refused(api, query):
    answer = ask(api, '/v2/adjustments' + query)
    assert answer.status_code == 400
    assert query[1:].partition('=')[0] in answer.text


def test_one_is_applied_and_one_dropped(api):
    first, second = (item['adjustment_id'] for item in listed(api)['results'])
    before = total(api)
    assert before == 4
    (applied,) = decide(api, 'apply', first)['results']
    assert (applied['status'], applied['decided_by']) == ('applied', 'unknown')
    assert total(api) == 8
    (dropped,) = decide(api, 'drop', second, first)['results']
    assert (dropped['scope_id'], dropped['status']) == ('b', 'dropped')
    assert total(api) == 8
    assert listed(api) == {'total': 0, 'results': []}
    assert decide(api, 'apply', first, second, 999) == {'total': 0, 'results': []}
    assert [item['status'] for item in listed(api, '?status=applied,dropped')['results']] == ['applied', 'dropped']


def test_what_was_changed_meanwhile_is_a_conflict(api):
    item = listed(api)['results'][0]
    points = [samples.columns('a', quantities=(5,), prices=(10,))]
    api.storage.commit(
        samples.commit(samples.states(api.database, 'a'), points, replace=True, cause='somebody', runs=None)
    )
    answer = decide(api, 'apply', item['adjustment_id'], status=409)
    assert 'adjustment_ids' in answer['message']
    assert total(api) == Decimal(12)
    assert listed(api)['total'] == 2


@pytest.mark.parametrize(
    'body',
    [
        {'action': 'apply'},
        {'adjustment_ids': [], 'action': 'apply'},
        {'adjustment_ids': [1]},
        {'adjustment_ids': [0], 'action': 'apply'},
        {'adjustment_ids': ['x'], 'action': 'apply'},
        {'adjustment_ids': [1], 'action': 'delete'},
        {'adjustment_ids': list(range(1, 1002)), 'action': 'drop'},
        {'adjustment_ids': [2**80], 'action': 'drop'},
    ],
)
def test_odd_decisions_are_refused(api, body):
    answer = ask(api, '/v2/adjustments', 'PUT', body)
    assert answer.status_code == 400, answer.text
    assert listed(api)['total'] == 2


def test_scope_is_closed_and_opened(api):
    def patch(until, status=200):
        answer = ask(api, '/v2/scope', 'PATCH', {'scope_id': 'a', 'closed_until': until})
        assert answer.status_code == status, answer.text
        return answer.json

    assert patch('2026-07-01T00:00:00+02:00')['closed_until'] == '2026-06-30T22:00:00+00:00'
    scopes = {item['scope_id']: item['closed_until'] for item in ask(api, '/v2/scope').json['results']}
    assert scopes == {'a': '2026-06-30T22:00:00+00:00', 'b': None}
    assert patch(None)['closed_until'] == '2026-06-30T22:00:00+00:00'
    assert patch('')['closed_until'] is None
    assert 'closed_until' in patch('soon', 400)['message']
