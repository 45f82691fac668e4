# SPDX-License-Identifier: Apache-2.0
from decimal import Decimal
import fractions
import pathlib

import pytest
import yaml

from cloudkitty import errors
from cloudkitty.collector import gnocchi
from cloudkitty.conf import metrics

SHIPPED = pathlib.Path(__file__).parents[4] / 'etc/cloudkitty/metrics.yml'
CPU = {'unit': 'instance', 'extra_args': {'resource_type': 'instance'}}


def parse(definitions):
    return metrics.parse({'metrics': definitions}, 'project_id', gnocchi.GnocchiCollector.check_extra_args).metrics


def test_the_shipped_file_is_valid_and_complete():
    found = metrics.load(str(SHIPPED), 'project_id', gnocchi.GnocchiCollector.check_extra_args).metrics
    assert [metric.name for metric in found] == [
        'cpu',
        'image.size',
        'volume.size',
        'network.outgoing.bytes.rate',
        'network.incoming.bytes.rate',
        'ip.floating',
        'radosgw.objects.size',
    ]
    assert found[0].type == 'instance'
    assert found[1].factor == fractions.Fraction(1, 1048576)


def test_the_file_of_rocky_is_valid():
    document = yaml.safe_load("""
metrics:
  cpu:
    unit: instance
    alt_name: instance
    groupby: [id, project_id]
    metadata: [flavor, flavor_id, vcpus]
    mutate: NUMBOOL
    extra_args: {resource_type: instance, aggregation_method: max, scope_key: project_id}
  network.outgoing.bytes:
    unit: MB
    factor: 1/1000000
    groupby: [id, project_id]
    metadata: [instance_id]
    extra_args: {resource_type: instance_network_interface}
""")
    assert len(parse(document['metrics'])) == 2


def test_keys_of_scope_and_resource_join_the_groupby():
    (metric,) = parse({'cpu': CPU})
    assert metric.groupby == ('id', 'project_id')


def test_a_metric_may_be_collected_twice_under_other_names():
    first, second = parse({'cpu': [CPU, CPU | {'alt_name': 'cores', 'factor': 2}]})
    assert (first.key, second.key) == ('cpu', 'cpu@#cores')


def test_a_map_takes_numbers():
    (metric,) = parse({'cpu': CPU | {'mutate': 'MAP', 'mutate_map': {0: 1, 2.5: 9, 'x': 4}}})
    assert metric.mutate_map == {Decimal(0): Decimal(1), Decimal('2.5'): Decimal(9)}


@pytest.mark.parametrize(
    'definition, words',
    [
        ({'extra_args': {'resource_type': 'x'}}, 'unit: expected'),
        (CPU | {'unit': ''}, 'unit: expected text'),
        (CPU | {'foo': 1}, 'foo: there is no such key'),
        (CPU | {'factor': '1/0'}, 'factor: expected a number'),
        (CPU | {'factor': True}, 'factor: expected a number'),
        (CPU | {'mutate': 'ROUND'}, 'mutate: expected one of'),
        (CPU | {'mutate': 'MAP'}, 'mutate_map: expected'),
        (CPU | {'mutate_map': {1: 2}}, 'mutate_map: expected'),
        (CPU | {'metadata': {'a': 'b'}}, 'metadata: expected a list'),
        (CPU | {'groupby': ['a'], 'metadata': ['a']}, 'metadata: a is in groupby'),
        (CPU | {'extra_args': {}}, 'extra_args.resource_type'),
        (CPU | {'extra_args': {'resource_type': 'x', 'query': 'y'}}, 'extra_args.query'),
        (CPU | {'extra_args': {'resource_type': 'x', 'scope_key': 'tenant_id'}}, 'extra_args.scope_key'),
        (CPU | {'extra_args': {'resource_type': 'x', 'force_granularity': -1}}, 'extra_args.force_granularity'),
        (CPU | {'extra_args': {'resource_type': 'x', 'aggregation_method': 'mode'}}, 'extra_args.aggregation_method'),
        (CPU | {'unit': 'a' * 256}, 'unit: expected at most 255'),
        (CPU | {'unit': 'a\0'}, 'unit: expected text without NUL'),
        (CPU | {'alt_name': 'a' * 256}, 'alt_name: expected at most 255'),
        (CPU | {'alt_name': 'a' * 255}, 'expected a name of at most 255'),
        ('text', 'definition: expected a mapping'),
        ([], 'expected one definition'),
        ([CPU, CPU], 'already exists'),
    ],
)
def test_a_wrong_definition_names_metric_key_and_expectation(definition, words):
    with pytest.raises(errors.ConfigurationError) as caught:
        parse({'cpu': definition})
    assert 'metrics.yml: metric cpu' in str(caught.value)
    assert words in str(caught.value)


def test_two_metrics_cannot_share_a_type():
    with pytest.raises(errors.ConfigurationError, match='already exists'):
        parse({'cpu': CPU | {'alt_name': 'x'}, 'ram': CPU | {'alt_name': 'x'}})


@pytest.mark.parametrize('text', ['', '[]', 'metrics: []', 'metrics: {}', 'a: 1', '{', 'metrics: {1: {}}'])
def test_a_file_that_is_no_metrics_file_is_named(tmp_path, text):
    path = tmp_path / 'metrics.yml'
    path.write_text(text)
    with pytest.raises(errors.ConfigurationError) as caught:
        metrics.load(str(path), 'project_id')
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('{', 'not YAML'),
        ('a: 2020-99-99', 'not YAML'),
        ('a: !!int x', 'not YAML'),
        ('a: !!timestamp x', 'not YAML'),
        ('[' * 3000, 'not YAML'),
        ('metrics:\n  cpu: {unit: a}\n  ram: {unit: b}\n  cpu: {unit: c}\n', '"cpu" stands twice'),
        ('metrics:\n  cpu: {unit: a, unit: b}\n', '"unit" stands twice'),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path, text, words):
    path = tmp_path / 'metrics.yml'
    path.write_text(text)
    with pytest.raises(errors.ConfigurationError, match=words) as caught:
        metrics.read(str(path))
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_keys_that_are_merged_may_be_given_again(tmp_path):
    path = tmp_path / 'metrics.yml'
    path.write_text('metrics:\n  cpu: &cpu {unit: a, alt_name: x}\n  ram: {<<: *cpu, unit: b}\n')
    assert metrics.read(str(path))['metrics']['ram'] == {'unit': 'b', 'alt_name': 'x'}


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(errors.ConfigurationError, match='Copy etc/cloudkitty/metrics.yml'):
        metrics.load(str(tmp_path / 'none.yml'), 'project_id')
