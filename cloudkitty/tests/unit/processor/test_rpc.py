# SPDX-License-Identifier: Apache-2.0

import pytest

from cloudkitty.processor import rpc


@pytest.mark.parametrize(
    ('method', 'args'),
    [
        ('reload_modules', {}),
        ('reload_module', {'name': 'hashmap'}),
        ('enable_module', {'name': 'hashmap'}),
        ('disable_module', {'name': 'hashmap'}),
    ],
)
def test_every_message_has_the_rules_looked_at(method, args):
    calls = []
    getattr(rpc.RatingEndpoint(lambda: calls.append(1), lambda resources: 0), method)({}, **args)
    assert calls == [1]


def test_endpoint_takes_messages_of_both_eras():
    target = rpc.RatingEndpoint.target
    assert (target.namespace, target.version) == ('rating', '1.1')


@pytest.mark.parametrize(
    'data', [3, None, [3], {}, [{'usage': 3}], {'usage': {'cpu': [{}]}}, {'usage': {'cpu': [{'vol': {}}]}}]
)
def test_what_is_no_frame_is_said_to_be_none(data):
    with pytest.raises(ValueError, match='res_data is no frame'):
        rpc.read_resources(data)
