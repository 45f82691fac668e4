# SPDX-License-Identifier: Apache-2.0
"""extra_args of Gnocchi."""

import pytest

from cloudkitty import errors
from cloudkitty.collector import gnocchi
from cloudkitty.collector.gnocchi import arguments
from cloudkitty.conf import metrics

DEFAULTS = {
    'resource_type': 'instance',
    'resource_key': 'id',
    'aggregation_method': 'max',
    're_aggregation_method': 'max',
    'force_granularity': 3600,
    'use_all_resource_revisions': True,
    'custom_query': '',
    'period_method': 'first',
}


def test_defaults_are_filled_in():
    assert arguments.check({'resource_type': 'instance'}) == DEFAULTS


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('resource_key', 'original_resource_id'),
        ('aggregation_method', 'rate:mean'),
        ('aggregation_method', '99pct'),
        ('aggregation_method', 'rate:1pct'),
        ('re_aggregation_method', 'rate:sum'),
        ('re_aggregation_method', 'first'),
        ('force_granularity', 0),
        ('use_all_resource_revisions', False),
        ('custom_query', '(* 2 (aggregate RE_AGGREGATION_METHOD (metric METRIC_NAME AGGREGATION_METHOD)))'),
        ('period_method', 'sum'),
    ],
)
def test_what_may_be_said(key, value):
    assert arguments.check({'resource_type': 'instance', key: value}) == DEFAULTS | {key: value}


@pytest.mark.parametrize(
    ('key', 'value', 'expected'),
    [
        ('resource_type', '', 'text'),
        ('resource_type', None, 'text'),
        ('resource_key', 3, 'text'),
        ('aggregation_method', 'average', 'one of mean'),
        ('aggregation_method', '100pct', 'percentile'),
        ('aggregation_method', ['max'], 'one of mean'),
        ('re_aggregation_method', '99pct', 'one of mean'),
        ('force_granularity', -1, 'seconds'),
        ('force_granularity', 3600.0, 'seconds'),
        ('force_granularity', True, 'seconds'),
        ('force_granularity', '3600', 'seconds'),
        ('use_all_resource_revisions', 'no', 'true or false'),
        ('custom_query', 1, 'text'),
        ('period_method', 'last', 'one of first'),
        ('query', 'x', 'another collector'),
        ('surprise', 1, 'no such key'),
    ],
)
def test_what_may_not_be_said(key, value, expected):
    with pytest.raises(ValueError, match='^%s: .*%s' % (key, expected)):
        arguments.check({'resource_type': 'instance', key: value})


def test_resource_type_is_needed():
    with pytest.raises(ValueError, match='^resource_type: expected, and missing'):
        arguments.check({})


def test_a_wrong_argument_is_named_with_its_metric():
    definition = {'unit': 'u', 'extra_args': {'resource_type': 'instance', 'force_granularity': 'hour'}}
    with pytest.raises(errors.ConfigurationError, match='metric cpu: extra_args.force_granularity: expected whole'):
        metrics.parse({'metrics': {'cpu': definition}}, 'project_id', gnocchi.GnocchiCollector.check_extra_args)


def test_the_shipped_metrics_are_fine():
    found = metrics.load('etc/cloudkitty/metrics.yml', 'project_id', gnocchi.GnocchiCollector.check_extra_args)
    assert found.metrics[0].extra_args == DEFAULTS | {'aggregation_method': 'mean', 'force_granularity': 300}


def test_the_definitions_are_checked_the_classic_way():
    definition = {'unit': 'u', 'extra_args': {'resource_type': 'instance'}}
    checked = gnocchi.GnocchiCollector.check_configuration({'metrics': {'cpu': definition}})
    assert checked['cpu']['extra_args'] == DEFAULTS
    assert checked['cpu']['groupby'] == ['id', 'project_id']
