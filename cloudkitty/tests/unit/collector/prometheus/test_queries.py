# SPDX-License-Identifier: Apache-2.0
"""PromQL of metric definitions."""

import pytest

from cloudkitty import metric as metrics
from cloudkitty.collector.prometheus import arguments
from cloudkitty.collector.prometheus import queries

NEW, OLD = 900000, 899999


def make(name='x', groupby=('vm', 'project_id'), metadata=(), **extra_args):
    return metrics.Metric(name, name, 'u', groupby=groupby, metadata=metadata, extra_args=arguments.check(extra_args))


def test_the_text_of_the_specification():
    metric = make(
        'disk_io', metadata=('host',), aggregation_method='sum', query_function='round', range_function='rate',
        query_prefix='custom(', query_suffix=') * 2',
    )  # fmt: skip
    assert queries.build(metric, 'project_id', ['abc'], NEW) == (
        'custom( sum(round(rate(disk_io{project_id="abc"}[900s]))) by (vm, project_id, host) ) * 2'
    )
    metric = make(aggregation_method='avg')
    assert queries.build(metric, 'project_id', ['abc'], OLD) == (
        'avg(avg_over_time(x{project_id="abc"}[899999ms])) by (vm, project_id)'
    )


def test_names_of_scopes_are_taken_literally():
    assert queries.match('project_id', ['a"b\\c\n.*']) == 'project_id="a\\"b\\\\c\\n.*"'
    assert queries.match('project_id', ['a.b', 'c|d', 'e\\"']) == 'project_id=~"a\\\\.b|c\\\\|d|e\\\\\\\\\\""'


def test_names_that_only_version_3_takes_are_quoted():
    metric = make('disk.io', ('vm.name', 'project_id'))
    assert queries.build(metric, 'project_id', ['a'], NEW) == (
        'max(max_over_time({"disk.io",project_id="a"}[900s])) by ("vm.name", project_id)'
    )
    assert queries.count(metric, '', NEW) == 'count(count_over_time({"disk.io"}[900s]))'


@pytest.mark.parametrize(
    ('prefix', 'suffix', 'many_scopes', 'many_periods'),
    [
        ('', '', True, True),
        ('(', ') * 2', True, True),
        ('ceil(1.5e3 * ', ' / 60)', True, True),
        ('clamp_min(', ', 0)', True, True),
        ('', '> bool 0', True, True),
        ('- 2 ^ (', ')', True, True),
        ('sum(', ')', False, True),
        ('topk(3,', ')', False, True),
        ('', 'or vector(0)', False, True),
        ('', '* on(vm) group_left() price', False, True),
        ('', '* price', False, True),
        ('floor', '', False, True),
        ('custom(', ') * 2', False, True),
        ('', '* 2x', False, True),
        ('', 'offset 5m', False, True),
        ('', '/ scalar(price @ end())', False, False),
    ],
)
def test_what_a_query_may_ask_for_at_once(prefix, suffix, many_scopes, many_periods):
    form = queries.form(make(query_prefix=prefix, query_suffix=suffix))
    assert form == queries.Form(many_scopes, many_periods)
