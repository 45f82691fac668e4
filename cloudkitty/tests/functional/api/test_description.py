# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI description is that of the live routes, and what it says holds."""

import re

import openapi_spec_validator
import pytest
import yaml

from cloudkitty.tests import fuzz
from cloudkitty.tests import routes

#: The same requests each time: what a change breaks is to be seen with that change. ``tools/fuzz`` makes up others.
SEED = 20261125


@pytest.fixture(scope='module')
def description():
    return yaml.safe_load(fuzz.DESCRIPTIONS[1].read_text())


@pytest.mark.parametrize('version', fuzz.DESCRIPTIONS)
def test_it_is_one_of_openapi(version):
    description = yaml.safe_load(fuzz.DESCRIPTIONS[version].read_text())
    assert description['openapi'].startswith('3.1')
    openapi_spec_validator.validate(description)


def operations(description):
    """Return {(method, path): operation} of those of v1."""
    return {
        (method.upper(), path): operation
        for path, item in description['paths'].items()
        for method, operation in item.items()
        if path.startswith('/v1')
    }


def test_it_describes_every_route_and_no_other(description):
    live = {(route.method, route.path): route for route in routes.list_routes()}
    described = operations(description)
    assert set(described) == set(live)
    for key, operation in described.items():
        route = live[key]
        assert operation.get('x-policy') == route.rule, key
        assert str(route.status) in operation['responses'], key
        named = {parameter['name'] for parameter in operation.get('parameters', ())}
        body = operation.get('requestBody')
        if body is not None:
            reference = body['content']['application/json']['schema']['$ref']
            schema = description['components']['schemas'][reference.rpartition('/')[2]]
            if route.body is None:
                named |= set(schema['properties'])
            else:
                members = {attribute.name for attribute in route.body._wsme_attributes if not attribute.readonly}
                assert set(schema['properties']) == members, key
                required = {attribute.name for attribute in route.body._wsme_attributes if attribute.mandatory}
                assert set(schema.get('required', ())) == required, key
        assert named == set(route.arguments), key
        assert (body is None) == (route.body is None and route.method != 'POST'), key


def test_it_shows_what_answers_hold(description):
    live = {(route.method, route.path): route for route in routes.list_routes()}
    for key, operation in operations(description).items():
        route = live[key]
        content = operation['responses'][str(route.status)].get('content', {})
        assert bool(content) == (route.result is not None), key
        attributes = getattr(route.result, '_wsme_attributes', None)
        if attributes is not None:
            reference = content['application/json']['schema']['$ref']
            schema = description['components']['schemas'][reference.rpartition('/')[2]]
            assert set(schema['properties']) == {attribute.name for attribute in attributes}, key


def test_it_describes_every_route_of_v2_and_no_other():
    description = yaml.safe_load(fuzz.DESCRIPTIONS[2].read_text())
    live = {(route.method, route.path): route for route in routes.list_v2_routes()}
    described = {
        (method.upper(), path): (operation, item.get('parameters', ()))
        for path, item in description['paths'].items()
        for method, operation in item.items()
        if method != 'parameters'
    }
    assert set(described) == set(live)
    shared = description['components']['parameters']
    for key, (operation, common) in described.items():
        route = live[key]
        assert operation['x-policy'] == route.rule, key
        assert set(operation['responses']) == {str(route.status), 'default'}, key
        parameters = [*common, *operation.get('parameters', ())]
        named = [shared[item['$ref'].rpartition('/')[2]] if '$ref' in item else item for item in parameters]
        assert {item['name'] for item in named} == set(route.arguments), key
        assert ('requestBody' in operation) == (route.body is not None), key
        if route.body is not None:
            schema = operation['requestBody']['content']['application/json']['schema']
            assert set(schema['properties']) == set(route.body), key
            assert set(schema.get('required', ())) == {name for name in route.body if route.body[name].required}, key
            assert operation['requestBody']['content']['application/json']['example'], key


@pytest.mark.parametrize('version', fuzz.DESCRIPTIONS)
def test_names_of_operations_are_unique(version):
    description = yaml.safe_load(fuzz.DESCRIPTIONS[version].read_text())
    names = [
        operation['operationId']
        for item in description['paths'].values()
        for method, operation in item.items()
        if method != 'parameters'
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch('[a-z][a-z0-9_]*', name) for name in names)


@pytest.mark.parametrize(('version', 'statuses'), [(1, (200, 201, 400)), (2, (200, 202, 204, 400))])
def test_what_it_leads_to_is_never_a_server_error(database_url, tmp_path, version, statuses):
    path = tmp_path / 'output'
    with path.open('w') as output:
        is_fine = fuzz.run(1500 if version == 1 else 600, SEED, database_url, output, version)
    words = path.read_text()
    assert is_fine, 'tools/fuzz --version %d --seed %d\n%s' % (version, SEED, words)
    assert all('%d: ' % status in words for status in statuses), words


def rush(url, requests, seed):
    statuses = fuzz.rush(requests, seed, url)
    assert sum(statuses.values()) >= requests
    assert all(statuses[status] for status in (200, 202, 204, 400)), statuses


# 20,000 over the databases, half of those on SQLite by each of the processes that run the tests.


@pytest.mark.parametrize('part', [0, 1])
def test_many_requests_of_v2_are_never_a_server_error(sqlite_url, part):
    rush(sqlite_url, 8_000, SEED + part)


@pytest.mark.parametrize(
    'server',
    [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ('mariadb', 'postgresql')],
)
def test_many_requests_on_servers_are_never_a_server_error(request, server):
    rush(request.getfixturevalue('%s_url' % server), 2_000, SEED)
