# SPDX-License-Identifier: Apache-2.0
"""The fetcher prometheus against answers of which a real one gives only some."""

import pytest

from cloudkitty import errors
from cloudkitty.tests.functional.fetcher import test_contract

load = test_contract.load
prometheus_lines = test_contract.prometheus_lines
vector = test_contract.vector


def test_the_query_names_metric_filters_and_label(answers, tmp_path):
    answers.give(vector({'domain': 'a'}))
    lines = prometheus_lines(answers, 'scope_attribute = domain', r'filters = region:"one",path:a\b')
    assert load(tmp_path, lines).get_tenants() == ['a']
    ((path, form),) = answers.requests
    assert path == '/api/v1/query'
    # It is the server's clock that counts.
    assert 'time' not in form
    assert form['query'] == r'max(project_info{path="a\\b", region="\"one\""}) by (domain)'


def test_series_without_the_label_name_nobody(answers, tmp_path):
    answers.give(vector({'project_id': 'a'}, {}, {'project_id': ''}))
    assert load(tmp_path, prometheus_lines(answers)).get_tenants() == ['a']


@pytest.mark.parametrize(
    'given',
    [
        '<html>',
        (503, {'status': 'error', 'errorType': 'unavailable', 'error': 'not ready'}),
        (400, {'status': 'error', 'errorType': 'bad_data', 'error': 'parse error'}),
        (401, {}),
        vector({'project_id': 'a'}, warnings=['one of three stores does not answer']),
        vector({'project_id': ['a']}),
        {'status': 'success', 'data': {'resultType': 'vector', 'result': [{'value': [0, '1']}]}},
        {'status': 'success', 'data': {}},
    ],
)
def test_an_answer_that_may_not_be_all_is_no_list(answers, tmp_path, given):
    answers.give(given)
    with pytest.raises(errors.SourceError) as caught:
        load(tmp_path, prometheus_lines(answers)).get_tenants()
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('line', 'words'),
    [
        ('metric =', 'metric: expected the name of a metric'),
        ('metric = up{job="a"}', 'metric: expected the name of a metric'),
        ('scope_attribute = a-b', 'scope_attribute:.*is no name of a label'),
        ('filters = a-b:c', 'filters:.*is no name of a label'),
        ('prometheus_url = localhost:9090', 'prometheus_url: expected the URL'),
    ],
)
def test_a_wrong_option_is_named(answers, tmp_path, line, words):
    with pytest.raises(errors.ConfigurationError, match=words):
        load(tmp_path, prometheus_lines(answers, line))
