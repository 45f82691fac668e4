# SPDX-License-Identifier: Apache-2.0
"""What answers of Prometheus mean."""

import json

import pytest

from cloudkitty.clients import prometheus

Refusal = prometheus.Refusal

#: Words in what is quoted say nothing.
DUPLICATES = (
    'found duplicate series for the match group {resource="limits} exceed"} on the right hand-side of the operation: '
    '[{__name__="resource_limits", maximum="1"}, {__name__="resource_limits", maximum="2"}];many-to-many matching not '
    'allowed: matching labels must be unique on one side'
)
THANOS = 'expanding series: proxy Series(): rpc error: code = %s desc = %s'


def answer(result, kind='matrix', **more):
    return json.dumps({'status': 'success', 'data': {'resultType': kind, 'result': result}, **more}).encode()


def error(kind, text):
    return json.dumps({'status': 'error', 'errorType': kind, 'error': text}).encode()


def test_numbers_keep_their_digits_and_instants_are_milliseconds():
    body = (
        b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"vm":"a"},'
        b'"values":[[1700003599.999,"12345678912.5"],[1700007200,"NaN"],[1700010799.1,"1e-07"]]}]}}'
    )
    found = prometheus.parse_answer(200, body)
    assert found.series == [
        ({'vm': 'a'}, [[1700003599999, '12345678912.5'], [1700007200000, 'NaN'], [1700010799100, '1e-07']], [])
    ]
    assert found.warnings == found.infos == ()


def test_vector_and_scalar_read_alike():
    vector = prometheus.parse_answer(200, answer([{'metric': {'vm': 'a'}, 'value': [7, '1']}], 'vector'))
    assert vector.series == [({'vm': 'a'}, [[7000, '1']], [])]
    assert prometheus.parse_answer(200, answer([7, '1'], 'scalar')).series == [({}, [[7000, '1']], [])]


def test_warnings_and_infos_are_told_apart():
    found = prometheus.parse_answer(200, answer([], warnings=['one\nstore failed'], infos=['no counter']))
    assert (found.warnings, found.infos) == (('one store failed',), ('no counter',))


def test_what_victoriametrics_calls_partial_is_a_warning():
    assert prometheus.parse_answer(200, answer([], isPartial=False)).warnings == ()
    assert prometheus.parse_answer(200, answer([], isPartial=True)).warnings == ('isPartial: a node did not answer',)


def test_histogram_is_no_number():
    found = prometheus.parse_answer(200, answer([{'metric': {}, 'histograms': [[7, {'count': '1'}]]}]))
    assert found.series == [({}, [], [[7000, {'count': '1'}]])]


@pytest.mark.parametrize(
    ('status', 'body', 'refusal'),
    [
        (400, error('bad_data', 'parse error: unexpected end'), Refusal.CONFIGURATION),
        (400, error('bad_data', 'exceeded maximum resolution of 11,000 points per timeseries'), Refusal.TOO_BIG),
        (422, error('execution', 'multiple matches for labels'), Refusal.EXECUTION),
        (422, error('execution', 'query processing would load too many samples into memory'), Refusal.TOO_BIG),
        (422, error('execution', DUPLICATES), Refusal.EXECUTION),
        (503, error('timeout', 'query timed out'), Refusal.TOO_BIG),
        (503, error('unavailable', 'TSDB not ready'), Refusal.TROUBLE),
        # Mimir, as its documentation has them.
        (422, error('execution', 'the query exceeded the maximum number of chunks (limit: 9)'), Refusal.TOO_BIG),
        (400, error('bad_data', 'the total query time range exceeds the limit (query length: 9h)'), Refusal.TOO_BIG),
        (400, error('bad_data', 'the query is too long (err-mimir-max-query-expression-size-bytes)'), Refusal.TOO_BIG),
        (429, error('too_many_requests', 'the request has been rejected'), Refusal.TROUBLE),
        # Cortex: its front end gives no JSON.
        (422, error('execution', 'the query hit the max number of series limit (limit: 9)'), Refusal.TOO_BIG),
        (400, b'the query time range exceeds the limit (query length: 9h, limit: 8h)', Refusal.TOO_BIG),
        (400, b'something else', Refusal.TROUBLE),
        # Thanos: what its stores say.
        (422, error('execution', THANOS % ('ResourceExhausted', 'exceeded series limit')), Refusal.TOO_BIG),
        (422, error('execution', THANOS % ('ResourceExhausted', 'message larger than max (9 vs. 8)')), Refusal.TOO_BIG),
        (422, error('execution', THANOS % ('Unavailable', 'transport is closing')), Refusal.TROUBLE),
        # VictoriaMetrics, as its flags are documented.
        (422, error('422', 'cannot select more than -search.maxSamplesPerQuery=9 samples'), Refusal.TOO_BIG),
        (422, error('422', 'matching timeseries exceeds 9; increase -search.maxUniqueTimeseries'), Refusal.TOO_BIG),
        (422, error('422', 'error when executing query: not enough memory for processing 9 points'), Refusal.TOO_BIG),
        (422, error('422', 'cannot parse "sum(": missing closing bracket'), Refusal.CONFIGURATION),
        (422, error('422', 'duplicate time series on the left side of "*"'), Refusal.EXECUTION),
        (422, error('422', 'unparsed data left: ")"'), Refusal.CONFIGURATION),
        (422, error('422', 'error when executing query="parse_errors": duplicate time series'), Refusal.EXECUTION),
        (503, error('503', 'cannot obtain full response from vmstorage'), Refusal.TROUBLE),
        (429, error('429', '-search.maxConcurrentRequests=9 requests are executed'), Refusal.TROUBLE),
        (400, error('400', 'missing "query" arg'), Refusal.CONFIGURATION),
        (400, error('bad_data', '1:5: parse error: unexpected identifier "limit"'), Refusal.CONFIGURATION),
        (504, b'<html>', Refusal.TOO_BIG),
        (413, b'', Refusal.TOO_BIG),
        (500, error('internal', 'disk'), Refusal.TROUBLE),
        (404, b'404 page not found', Refusal.TROUBLE),
        (302, b'', Refusal.TROUBLE),
        (401, b'Unauthorized', Refusal.AWAY),
        (200, b'', Refusal.TROUBLE),
        (200, b'[]', Refusal.TROUBLE),
        (200, b'\xff', Refusal.TROUBLE),
        (200, b'{"status":"success","data":{"resultType":"matrix","result":[', Refusal.TROUBLE),
        (200, b'{"status":"success"}', Refusal.TROUBLE),
        (200, answer([{'metric': 'x', 'values': []}]), Refusal.TROUBLE),
        (200, answer([{'values': []}]), Refusal.TROUBLE),
        (200, answer([7, 'text'], 'string'), Refusal.CONFIGURATION),
        (200, error('timeout', 'slow'), Refusal.TOO_BIG),
    ],
)
def test_refusals(status, body, refusal):
    with pytest.raises(prometheus.RequestFailed) as caught:
        prometheus.parse_answer(status, body)
    assert caught.value.refusal is refusal
    assert '\n' not in str(caught.value)


def test_text_of_promql_is_quoted():
    assert prometheus.quote('a"b\\c\nd') == '"a\\"b\\\\c\\nd"'
