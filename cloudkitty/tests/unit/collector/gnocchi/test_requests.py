# SPDX-License-Identifier: Apache-2.0
"""What Gnocchi's answers mean."""

from decimal import Decimal
import json
import types

import pytest

from cloudkitty.collector.gnocchi import requests

Refusal = requests.Refusal


def body(description):
    return json.dumps({'code': 400, 'title': 'Bad Request', 'description': description}).encode()


@pytest.mark.parametrize(
    ('status', 'description', 'expected'),
    [
        (404, "Metric ['cpu'] does not exist", Refusal.NOTHING),
        (404, "Metrics ['a', 'b'] does not exist", Refusal.NOTHING),
        (400, {'cause': 'Metrics not found', 'detail': ['cpu']}, Refusal.LACKING),
        (400, {'cause': 'Resource type does not exist', 'detail': 'x'}, Refusal.NO_TYPE),
        (404, 'Resource type x does not exist', Refusal.NO_TYPE),
        (400, 'Resource type instance has no revision_end attribute', Refusal.NO_HISTORY),
        (400, "Resource type <class 'X'> has no flavour attribute", Refusal.CONFIGURATION),
        (400, "Invalid pagination: `Sort key supplied is invalid: x'", Refusal.CONFIGURATION),
        (400, {'cause': 'Invalid operations', 'reason': 'Fail to parse'}, Refusal.CONFIGURATION),
        (400, {'cause': 'Invalid input', 'reason': 'x'}, Refusal.CONFIGURATION),
        (400, {'cause': 'Metrics cannot be aggregated', 'reason': 'Granularities are missing'}, Refusal.METRICS),
        (404, {'cause': 'Metrics with unknown aggregation', 'detail': [['m', 'x']]}, Refusal.METRICS),
        (404, {'cause': 'Unknown metrics', 'detail': ['m']}, Refusal.METRICS),
        (400, 'something else', Refusal.TROUBLE),
        (404, 'not found', Refusal.TROUBLE),
        (409, '', Refusal.TROUBLE),
        (500, 'x', Refusal.TROUBLE),
        (501, {'cause': 'Metrics not found'}, Refusal.TROUBLE),
        *((status, 'x', Refusal.TOO_BIG) for status in (408, 413, 414, 502, 503, 504)),
        (401, '', Refusal.AWAY),
        (403, '', Refusal.AWAY),
    ],
)
def test_an_error_is_told_by_its_status_and_cause(status, description, expected):
    error = requests.explain(status, body(description))
    assert error.refusal is expected
    assert str(status) in str(error) and '\n' not in str(error)


@pytest.mark.parametrize('content', [b'', b'<html>Bad Request</html>', b'{"description"', b'[]', b'null', b'\xff'])
def test_an_error_that_says_nothing_is_trouble(content):
    assert requests.explain(400, content).refusal is Refusal.TROUBLE


def test_metrics_that_an_error_names_are_known():
    error = requests.explain(404, body({'cause': 'Metrics with unknown aggregation', 'detail': [['m1', 'x'], 'm2', 3]}))
    assert error.metric_ids == {'m1', 'm2'}


def test_only_a_clock_that_goes_well_before_that_of_the_last_answer_is_ahead(monkeypatch):
    client = requests.Client(None)
    monkeypatch.setattr(requests, 'time', types.SimpleNamespace(time=lambda: 1_780_272_000, monotonic=lambda: 0.0))
    # 2026-06-01T00:00Z.
    found = []
    for date in ('Sun, 31 May 2026 18:00:00 GMT', 'Sun, 31 May 2026 23:55:01 GMT', 'Mon, 01 Jun 2026 06:00:00 GMT'):
        client._note_clock(date)
        found.append(client.ahead)
    assert found == [6 * 3600, 0, 0]


def test_clocks_that_differ_are_told_once_and_believed_for_a_while(monkeypatch, caplog):
    client = requests.Client(None)
    ticks = [0.0]
    monkeypatch.setattr(requests, 'time', types.SimpleNamespace(time=lambda: 1_780_272_000, monotonic=lambda: ticks[0]))
    # 2026-06-01T00:00Z.
    for date in (None, 'yesterday', 'Mon, 01 Jun 2026 00:04:59 GMT', 'Sun, 31 May 2026 23:55:01 GMT'):
        client._note_clock(date)
        assert client.clocks_agree
    client._note_clock('Mon, 01 Jun 2026 00:05:02 GMT')
    client._note_clock('Mon, 01 Jun 2026 00:00:00 GMT')
    client._note_clock('Mon, 01 Jun 2026 01:00:00 GMT')
    assert not client.clocks_agree and caplog.text.count('302 s apart') == 1 and len(caplog.records) == 1
    ticks[0] += requests.APART_LIFE + 1
    client._note_clock('Mon, 01 Jun 2026 00:00:00 GMT')
    assert client.clocks_agree


def test_an_endless_error_is_cut():
    assert len(str(requests.explain(400, body('x' * 10000)))) < 500


@pytest.mark.parametrize('text', ['[]', '[ ]', '[1]', '[1.50, {"a": [2e3]}]', ' [ 1 ,\n2 ] '.strip(), '[NaN]'])
def test_items_are_those_of_the_list(text):
    whole = json.loads(text, parse_float=Decimal, parse_constant=Decimal)
    assert repr(list(requests._iterate(text))) == repr(whole)


@pytest.mark.parametrize('text', ['[1 2]', '[1,]', '[1][2]', '[{]', '[1]]'])
def test_a_list_that_goes_wrong_is_an_error(text):
    with pytest.raises(ValueError):
        list(requests._iterate(text))


@pytest.mark.parametrize(
    ('link', 'marker'),
    [
        (None, None),
        ('http://gnocchi/v1/search/resource/x?limit=2', None),
        ('http://gnocchi/v1/search/resource/x?in=%7B%27a%27%3A+1%7D&limit=2&marker=abc%401', 'abc@1'),
    ],
)
def test_of_a_link_only_the_marker_counts(link, marker):
    assert requests._marker(link) == marker
