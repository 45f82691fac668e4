# SPDX-License-Identifier: Apache-2.0
"""What third-party plugins import, under the paths they know."""

import importlib

import pytest
import voluptuous

from cloudkitty import collector


@pytest.mark.parametrize(
    'path',
    [
        'cloudkitty.collector.BaseCollector',
        'cloudkitty.collector.CONF_BASE_SCHEMA',
        'cloudkitty.collector.InvalidConfiguration',
        'cloudkitty.collector.METRIC_BASE_SCHEMA',
        'cloudkitty.collector.MetricDict',
        'cloudkitty.collector.NoDataCollected',
        'cloudkitty.collector.exceptions.CollectError',
        'cloudkitty.collector.gnocchi.GnocchiCollector',
        'cloudkitty.collector.validate_conf',
        'cloudkitty.dataframe.DataFrame',
        'cloudkitty.dataframe.DataPoint',
        'cloudkitty.fetcher.BaseFetcher',
        'cloudkitty.fetcher.gnocchi.GnocchiFetcher',
        'cloudkitty.fetcher.keystone.KeystoneFetcher',
        'cloudkitty.fetcher.prometheus.PrometheusFetcher',
        'cloudkitty.fetcher.source.SourceFetcher',
        'cloudkitty.rating.RatingProcessorBase',
        'cloudkitty.rating.RatingRestControllerBase',
        'cloudkitty.rating.hash.HashMap',
        'cloudkitty.rating.noop.Noop',
        'cloudkitty.storage.v1.sqlalchemy.SQLAlchemyStorage',
        'cloudkitty.storage.v2.BaseStorage',
    ],
)
def test_a_name_of_the_field_can_be_imported(path):
    module, _, name = path.rpartition('.')
    assert getattr(importlib.import_module(module), name)


def test_a_plugin_can_check_a_file_with_the_schema_it_knows():
    document = {'metrics': {'cpu': {'unit': 'u'}}}
    assert voluptuous.Schema(collector.CONF_BASE_SCHEMA)(document) == document
    with pytest.raises(voluptuous.Invalid, match='expected a mapping of metric names'):
        voluptuous.Schema(collector.CONF_BASE_SCHEMA)({'metrics': {'cpu': 'nonsense'}})


def test_a_plugin_gets_definitions_with_their_defaults():
    found = collector.validate_conf({'metrics': {'cpu': {'unit': 'u', 'alt_name': 'instance'}}})
    assert found['cpu@#instance']['groupby'] == ['project_id']
