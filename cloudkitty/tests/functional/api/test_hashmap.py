# SPDX-License-Identifier: Apache-2.0
"""Rules made over REST: what they price, on every server, and that no request breaks anything."""

from decimal import Decimal
import itertools
import json
import urllib.parse

import hypothesis
from hypothesis import strategies
import pytest

from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty.api import app
from cloudkitty.db import rule_revision
from cloudkitty.rating import chain
from cloudkitty.rating.hash import HashMap
from cloudkitty.rating.hashmap import mappings
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import thresholds
from cloudkitty.tests.functional.api.deployment import ask
from cloudkitty.tests.functional.rating import test_chain
from cloudkitty.tests.unit.rating.hashmap import rules
from cloudkitty.tests.unit.rating.hashmap import test_examples
from cloudkitty.tests.unit.rating.hashmap.rules import Rules

BASE = '/v1/rating/module_config/hashmap'
UUID = '8c0c8d5a-7e1c-4f43-9a57-3f2f6a0f1c11'


@pytest.fixture
def api(make_api, ready_url):
    """An API that lets everybody in, once on every server."""
    return make_api('noauth', url=ready_url, collect='timezone = %s' % test_chain.CONF.collect.timezone)


def make(api, path, **body):
    """Make an object and return it as the API shows it."""
    answer = ask(api, BASE + path, 'POST', body)
    assert answer.status_code == 201, answer.text
    assert ask(api, answer.location).json == answer.json
    return answer.json


class Maker:
    """Makes rules over REST."""

    def __init__(self, api):
        self.api = api
        self.groups = {}

    def make(self, service):
        """Make a :class:`pricing.Service` with all its rules, in the order of their ids."""
        made = make(self.api, '/services', name=service.name)
        found = [(rule, {'service_id': made['service_id']}) for rule in (*service.mappings, *service.thresholds)]
        for field in service.fields:
            parent = make(self.api, '/fields', name=field.name, service_id=made['service_id'])
            found += [(rule, {'field_id': parent['field_id']}) for rule in (*field.mappings, *field.thresholds)]
        for rule, parent in sorted(found, key=lambda pair: pair[0].id):
            self._make_rule(rule, **parent)

    def _make_rule(self, rule, **body):
        body |= {'type': rule.kind.value, 'cost': str(rule.cost), 'tenant_id': rule.tenant, 'group_id': None}
        if rule.group != pricing.DEFAULT_GROUP:
            if rule.group not in self.groups:
                self.groups[rule.group] = make(self.api, '/groups', name=rule.group)['group_id']
            body['group_id'] = self.groups[rule.group]
        if isinstance(rule, pricing.Mapping):
            make(self.api, '/mappings', value=rule.value, **body)
        else:
            make(self.api, '/thresholds', level=str(rule.level), **body)


class Ten(test_chain.Third):
    """Puts a price of 10 on every point."""

    def process(self, data):
        result = dataframe.DataFrame(data.start, data.end)
        for metric, point in data.iterpoints():
            result.add_point(point.set_price(10), metric)
        return result


def enable(api, name, priority=1):
    body = {'module_id': name, 'enabled': True, 'priority': priority}
    assert ask(api, '/v1/rating/modules/%s' % name, 'PUT', body).status_code == 302


def test_worked_examples_made_over_rest(api):
    enable(api, 'hashmap')
    maker = Maker(api)
    for name, (given, *_) in test_examples.EXAMPLES.items():
        maker.make(given.service(name))
    loaded = chain.load(api.database, test_chain.CONF)
    for name, (_, quantity, point, expected) in test_examples.EXAMPLES.items():
        columns = rules.make_columns(quantity, metric=name, **point)
        assert test_chain.price(loaded, columns) == [(Decimal(expected),)], name


def test_worked_examples_22_and_25_made_over_rest(api):
    Maker(api).make(Rules().flat(2).service())
    enable(api, 'hashmap')
    columns = rules.make_columns(3, 3)
    columns.begins = (rules.BEGIN, rules.BEGIN)
    assert test_chain.price(chain.load(api.database, test_chain.CONF), columns) == [(6, 6)]
    installed = {**test_chain.OURS, 'third': Ten}
    test_chain.rating_modules.set_enabled(api.database, 'third', True)
    test_chain.rating_modules.set_priority(api.database, 'third', 5)
    loaded = chain.load(api.database, test_chain.CONF, installed=installed)
    assert test_chain.price(loaded, rules.make_columns(6)) == [(22,)]


def test_the_example_of_the_users_guide(noauth):
    enable(noauth, 'hashmap')
    maker = Maker(noauth)
    instance = (
        Rules()
        .flat('0.01')
        .flat('0.08', field='flavor_name', value='m1.large')
        .flat('0.06', field='flavor_name', value='m1.large', tenant='project')
        .threshold('flat', 4, '0.02', field='vcpus', group='licences')
        .threshold('flat', 8, '0.05', field='vcpus', group='licences')
    )
    volume = Rules().flat('0.0002').rate(3, field='volume_type', value='ssd').threshold('rate', 1000, '0.9')
    maker.make(instance.service('instance'))
    maker.make(volume.service('volume.size'))
    loaded = chain.load(noauth.database, test_chain.CONF)

    def price(metric, quantity=1, scope='other', **metadata):
        columns = rules.make_columns(quantity, metric=metric, scope=scope, metadata=metadata)
        return test_chain.price(loaded, columns)[0][0]

    assert price('instance', flavor_name='m1.small', vcpus='1') == Decimal('0.01')
    assert price('instance', flavor_name='m1.large', vcpus='4') == Decimal('0.10')
    assert price('instance', flavor_name='m1.large', vcpus='4', scope='project') == Decimal('0.08')
    assert price('instance', flavor_name='m1.huge', vcpus='16') == Decimal('0.06')
    assert price('volume.size', 100, volume_type='hdd') == Decimal('0.02')
    assert price('volume.size', 100, volume_type='ssd') == Decimal('0.06')
    assert price('volume.size', 2000, volume_type='ssd') == Decimal('1.08')


def test_a_rule_prices_from_its_start_to_its_end(api):
    enable(api, 'hashmap')
    service = make(api, '/services', name='srv')['service_id']
    start, end = (period.from_epoch(rules.BEGIN + hours * rules.HOUR).isoformat() for hours in (1, 3))
    mapping = make(api, '/mappings', service_id=service, cost=5, start=start, end=end)

    def prices():
        return test_chain.price(chain.load(api.database, test_chain.CONF), rules.make_columns(1, 1, 1, 1))

    assert prices() == [(0, 5, 5, 0)]
    assert ask(api, BASE + '/mappings/' + mapping['mapping_id'], 'DELETE').status_code == 204
    assert prices() == [(0, 0, 0, 0)]


def test_processors_are_told_of_every_change(noauth, monkeypatch):
    casts = test_chain.Casts()
    made = app.make_deployment

    def make_deployment(conf):
        found = made(conf)
        monkeypatch.setattr(found.notifier, 'cast', casts.cast)
        return found

    monkeypatch.setattr(app, 'make_deployment', make_deployment)
    service = make(noauth, '/services', name='a')['service_id']
    mapping = make(noauth, '/mappings', service_id=service, cost=1)['mapping_id']
    ask(noauth, BASE + '/mappings', 'PUT', {'mapping_id': mapping, 'cost': 1, 'end': '3000-01-01'})
    ask(noauth, BASE + '/services', 'DELETE', {'service_id': service})
    assert casts.sent == [('reload_module', {'namespace': 'rating', 'fanout': True, 'name': 'hashmap'})] * 4
    ask(noauth, BASE + '/services', 'DELETE', {'service_id': service})
    ask(noauth, BASE + '/services')
    assert len(casts.sent) == 4


def test_dates_are_of_the_deployments_zone(make_api):
    api = make_api('noauth', collect='timezone = Asia/Tokyo')
    service = make(api, '/services', name='a')['service_id']
    made = make(api, '/mappings', service_id=service, cost=1, start='3000-01-01T00:00:00Z', end='3000-06-01')
    assert (made['start'], made['end']) == ('3000-01-01T09:00:00', '3000-06-01T23:59:59')
    for query, count in (('start=3000-01-01T00:00:00Z', 1), ('start=3000-01-01T00:00:01Z', 0), ('start=3000-01-01', 1)):
        assert len(ask(api, '%s/mappings?%s' % (BASE, query)).json['mappings']) == count


def test_actor_is_printed_whole(keystone):
    headers = {'X-Auth-Token': 'admin'}
    service = ask(keystone, BASE + '/services', 'POST', {'name': 'a'}, headers).json['service_id']
    made = ask(keystone, BASE + '/mappings', 'POST', {'service_id': service, 'cost': 1}, headers).json
    assert made['created_by'] == 'user-of-admin-member-reader'


# Requests that make no sense

NASTY = (
    None, True, 0, -1, 1.5, 10**400, '', ' ', 'x', 'x' * 70000, '\0', '\ud800', '\U0001f600', "'; --", '%', 'NaN',
    '-Infinity', '1e400', '1e-400', '0e999999', '999999999999.99999999', UUID, UUID.upper(), '{%s}' % UUID,
    '0001-01-01', '0001-01-01T00:00:00+14:00', '9999-12-31T23:59:59-14:00', '9999-12-31', '2026-02-30', '24:00',
    [], {}, [None], {'a': []}, [[[[]]]],
)  # fmt: skip
#: Those of them that servers do not all take alike.
NASTY_TO_SERVERS = (0, 'x' * 70000, '\0', '\ud800', '\U0001f600', '1e-400', UUID, '0001-01-01', '9999-12-31')
MEMBERS = {
    '/services': ('service_id', 'name'),
    '/fields': ('field_id', 'name', 'service_id'),
    '/groups': ('group_id', 'name', 'recursive'),
    '/mappings': [
        *mappings.MappingRequest.__dataclass_fields__,
        'mapping_id',
        'type',
        'deleted',
        'created_by',
        'force',
    ],
    '/thresholds': [*thresholds.ThresholdRequest.__dataclass_fields__, 'threshold_id', 'type'],
}


def list_nasty(api):
    return NASTY if api.database.dialect == 'sqlite' else NASTY_TO_SERVERS


def is_well(answer):
    """Return whether *answer* is none of a broken service, and has a fault where there is one."""
    if answer.status_code >= 400:
        return answer.status_code < 500 and answer.json['faultcode'] == 'Client'
    return True


def make_some(api):
    service = make(api, '/services', name='srv')['service_id']
    field = make(api, '/fields', name='kind', service_id=service)['field_id']
    good = {'field_id': field, 'value': 'v', 'cost': 1}
    mapping = make(api, '/mappings', **good, start='3000-01-01')['mapping_id']
    threshold = make(api, '/thresholds', field_id=field, level=1, cost=1)['threshold_id']
    return {
        '/services': {'name': 'n'},
        '/fields': {'name': 'n', 'service_id': service},
        '/groups': {'name': 'n'},
        '/mappings': good | {'mapping_id': mapping},
        '/thresholds': {'field_id': field, 'level': 2, 'cost': 1, 'threshold_id': threshold},
    }


def test_values_that_make_no_sense_break_nothing(api):
    good = make_some(api)
    for path, members in MEMBERS.items():
        for member, value in itertools.product(members, list_nasty(api)):
            body = good[path] | {member: value}
            for method in ('POST', 'PUT') if 'cost' in body else ('POST',):
                answer = ask(api, BASE + path + '?force=1' * (path == '/mappings'), method, body)
                assert is_well(answer), (method, path, member, value, answer.text)
    # Whatever was taken can be read, and rules can be made of it.
    for path in ('/services', '/groups', '/mappings?deleted=1', '/thresholds'):
        assert ask(api, BASE + path).status_code == 200
    enable(api, 'hashmap')
    assert chain.load(api.database, test_chain.CONF).rule_set


def test_queries_that_make_no_sense_break_nothing(api):
    make_some(api)
    filters = [*mappings.MappingFilter.__dataclass_fields__, 'is_active', 'all']
    texts = [value for value in list_nasty(api) if isinstance(value, str) and len(value) < 1000 and value != '\ud800']
    for text in texts:
        quoted = urllib.parse.quote(text, safe='')
        for path in ('/mappings', '/thresholds'):
            for name in filters:
                answer = ask(api, '%s%s?filter_tenant=1&%s=%s' % (BASE, path, name, quoted))
                assert is_well(answer), (path, name, text, answer.text)
        for path in MEMBERS:
            for method in ('GET', 'DELETE'):
                answer = ask(api, '%s%s/%s' % (BASE, path, quoted), method)
                assert is_well(answer), (method, path, text, answer.text)


SCALAR = (
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text()
    | strategies.sampled_from([value for value in NASTY if not isinstance(value, list | dict)])
)
JSON = SCALAR | strategies.lists(SCALAR, max_size=3) | strategies.dictionaries(strategies.text(), SCALAR, max_size=3)


def test_bodies_at_random_break_nothing(noauth):
    make_some(noauth)
    known = sorted({name for members in MEMBERS.values() for name in members})

    @hypothesis.settings(max_examples=200, deadline=None)
    @hypothesis.given(
        strategies.sampled_from(['GET', 'POST', 'PUT', 'DELETE']),
        strategies.sampled_from([*MEMBERS, '/types', '/groups/mappings', '/mappings/group', '/services/x/fields']),
        JSON | strategies.dictionaries(strategies.sampled_from(known), JSON, max_size=6),
    )
    def check(method, path, body):
        answer = ask(noauth, BASE + path, method, json.dumps(body).encode())
        assert is_well(answer), answer.text

    check()


def test_refusals_change_nothing(noauth):
    good = make_some(noauth)
    before = rule_revision.current(noauth.database)
    for path, body in (
        ('/mappings', good['/mappings'] | {'group_id': UUID}),
        ('/thresholds', good['/thresholds'] | {'level': 1}),
        ('/fields', good['/fields'] | {'name': 'kind'}),
    ):
        assert ask(noauth, BASE + path, 'POST', body).status_code in (400, 409)
    assert rule_revision.current(noauth.database) == before


def test_module_names_this_controller():
    assert HashMap.config_controller == 'cloudkitty.api.v1.hashmap:HashMapController'
