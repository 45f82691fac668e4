# SPDX-License-Identifier: Apache-2.0
"""``extra_args`` for Prometheus."""

import pathlib

import pytest

from cloudkitty.collector.prometheus import arguments
from cloudkitty.conf import metrics

SHIPPED = pathlib.Path(__file__).parents[5] / 'etc/cloudkitty/prom_metrics.yml'


def test_defaults():
    assert arguments.check({}) == {'aggregation_method': 'max', 'query_prefix': '', 'query_suffix': ''}


@pytest.mark.parametrize(
    ('extra_args', 'expected'),
    [
        ({'aggregation_method': 'mean'}, 'aggregation_method: expected one of avg, count, max'),
        ({'query_function': 'sin'}, 'query_function: expected one of abs'),
        ({'range_function': 'increase'}, 'range_function: expected one of changes'),
        ({'query_prefix': 1}, 'query_prefix: expected text'),
        ({'query_suffix': None}, 'query_suffix: expected text'),
        ({'aggregation': 'max'}, 'aggregation: there is no such key; expected one of aggregation_method'),
        ({'query': 'sum(x[$period])'}, 'query: expected aggregation_method'),
    ],
)
def test_what_is_wrong_is_named(extra_args, expected):
    with pytest.raises(ValueError) as caught:
        arguments.check(extra_args)
    assert str(caught.value).startswith(expected)


def test_the_shipped_file_loads():
    found = metrics.load(str(SHIPPED), 'tenant_id', arguments.check)
    assert [(item.name, item.type, item.unit, item.groupby, item.metadata) for item in found.metrics] == [
        ('openstack_nova_server_status', 'instance', 'instance', ('uuid', 'user_id', 'tenant_id'),
         ('flavor_id', 'name')),
        ('openstack_cinder_limits_volume_used_gb', 'storage', 'GiB', ('tenant_id',), ()),
        ('openstack_glance_image_bytes', 'image.size', 'B', ('tenant_id',), ()),
    ]  # fmt: skip
    assert found.metrics[0].mutate_map == {0: 1, 11: 1, 12: 1, 16: 1}
