# SPDX-License-Identifier: Apache-2.0
"""The rules of :mod:`cloudkitty.tests.functional.cloud.bill`, made through the REST API."""

from cloudkitty.tests.functional.cloud import bill

HASHMAP = '/v1/rating/module_config/hashmap'
#: Long before anything is rated.
START = '2020-01-01T00:00:00'


class Rules:
    """Makes rules by *call(method, path, body)*, which returns the parsed answer."""

    def __init__(self, call):
        self._call = call

    def make_all(self, first_project_id):
        """Make every rule and enable the module; the first project has a price of its own."""
        instance = self._service('instance')
        flavor = self._field(instance, 'flavor_name')
        for name, cost in bill.FLAVORS.items():
            self._mapping(field_id=flavor, value=name, cost=cost)
        self._mapping(field_id=flavor, value='m1.small', cost=bill.SPECIAL, tenant_id=first_project_id)
        group = self._call('POST', '%s/groups' % HASHMAP, {'name': 'support'})['group_id']
        self._mapping(service_id=instance, cost=bill.SUPPORT, group_id=group)
        volume = self._service('volume.size')
        self._mapping(service_id=volume, cost=bill.GIB)
        self._mapping(field_id=self._field(volume, 'volume_type'), value='ssd', cost=bill.SSD, type='rate')
        threshold = {'service_id': volume, 'level': bill.MANY, 'cost': bill.DISCOUNT, 'type': 'rate'}
        self._call('POST', '%s/thresholds' % HASHMAP, threshold)
        for name, cost in bill.FLAT.items():
            self._mapping(service_id=self._service(name), cost=cost)
        self._call('PUT', '/v1/rating/modules/hashmap', {'module_id': 'hashmap', 'enabled': True})

    def _service(self, name):
        return self._call('POST', '%s/services' % HASHMAP, {'name': name})['service_id']

    def _field(self, service_id, name):
        return self._call('POST', '%s/fields' % HASHMAP, {'service_id': service_id, 'name': name})['field_id']

    def _mapping(self, **body):
        self._call('POST', '%s/mappings?force=true' % HASHMAP, {'start': START, **body})
