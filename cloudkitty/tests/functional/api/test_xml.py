# SPDX-License-Identifier: Apache-2.0
"""XML says what JSON says, for every GET.

Source: API contract, section 1.4.
"""

import re
from xml.etree import ElementTree

import pytest

from cloudkitty.tests import routes
from cloudkitty.tests.functional.api import deployment

ask = deployment.ask
HASHMAP = '/v1/rating/module_config/hashmap'
SCRIPTS = '/v1/rating/module_config/pyscripts/scripts'
WINDOW = 'begin=2026-06-01&end=2026-07-01'


@pytest.fixture(scope='module')
def api():
    """An API with one of everything; its ids stand in for the arguments of paths."""
    made = deployment.Api('noauth').seed()
    made.ids = {'service': 'compute', 'name': 'gnocchi', 'metric_id': 'instance', 'module_id': 'hashmap'}

    def make(kind, path, **body):
        answer = ask(made, path, 'POST', body)
        assert answer.status_code in (200, 201), answer.text
        if '%s_id' % kind in answer.json:
            made.ids['%s_id' % kind] = answer.json['%s_id' % kind]
        return answer.json

    make('mapping', '/v1/collector/mappings', service='compute', collector='gnocchi')
    make('service', HASHMAP + '/services', name='instance')
    make('field', HASHMAP + '/fields', name='flavor', service_id=made.ids['service_id'])
    make('group', HASHMAP + '/groups', name='net <&> "é"')
    parents = {'field_id': made.ids['field_id'], 'group_id': made.ids['group_id']}
    make('mapping', HASHMAP + '/mappings', cost=1.5, value='m1.tiny', end='2999-12-31', **parents)
    make('threshold', HASHMAP + '/thresholds', cost='0.25', level=2, **parents)
    make('script', SCRIPTS, name='own', data='x = 1 < 2\n')
    yield made
    made.close()


def to_plain(element):
    """Return what *element* says, texts as they are; its members by name, repeated ones in a list."""
    if element.get('nil') == 'true':
        assert len(element) == 0 and not element.text
        return None
    if len(element) == 0:
        return element.text or ''
    if all(child.tag == 'item' for child in element):
        if all({part.tag for part in child} == {'key', 'value'} for child in element):
            return {child.find('key').text: to_plain(child.find('value')) for child in element}
        return [to_plain(child) for child in element]
    return {child.tag: to_plain(child) for child in element}


def from_json(value):
    """Return JSON *value* as XML can say it: all texts; an empty list or map is nothing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return {name: from_json(item) for name, item in value.items()} or ''
    if isinstance(value, list):
        return [from_json(item) for item in value] or ''
    return str(value)


GETS = [route for route in routes.list_routes() if route.method == 'GET' and route.result is not None]


@pytest.mark.parametrize('accept', ['application/xml', 'text/xml'])
@pytest.mark.parametrize('route', GETS, ids=lambda route: route.path)
def test_xml_says_what_json_says(api, route, accept):
    path = re.sub(r'\{(\w+)\}', lambda found: api.ids[found[1]], route.path)
    if route.path.startswith(('/v1/report', '/v1/storage')):
        path += '?' + WINDOW
    elif route.path == HASHMAP + '/fields':
        path += '?service_id=' + api.ids['service_id']
    elif route.path == '/v1/collector/states':
        path += '?name=gnocchi'
    plain = ask(api, path)
    assert (plain.status_code, plain.content_type) == (200, 'application/json'), plain.text
    answer = ask(api, path, headers={'Accept': accept})
    assert answer.status_code == 200, answer.text
    assert answer.headers['Content-Type'] == '%s; charset=UTF-8' % accept
    root = ElementTree.fromstring(answer.body)
    assert root.tag == 'result'
    expected = from_json(plain.json)
    if isinstance(expected, dict) and route.path == '/v1/info/config':
        # Maps are lists of pairs; what stands in them is as it likes.
        assert set(to_plain(root)) == set(expected)
        return
    assert to_plain(root) == expected


@pytest.mark.parametrize(
    ('path', 'status'),
    [
        (HASHMAP + '/services/nope', 404),
        (HASHMAP + '/fields', 400),
        ('/v1/report/total?begin=soon', 400),
        ('/v1/nope', 405),
        ('/v1/info/metrics/a/b', 404),
    ],
)
def test_faults_are_xml_too(api, path, status):
    answer = ask(api, path, headers={'Accept': 'application/xml'})
    assert answer.status_code == status
    assert answer.headers['Content-Type'] == 'application/xml; charset=UTF-8'
    root = ElementTree.fromstring(answer.body)
    assert [root.tag, *(child.tag for child in root)] == ['error', 'faultcode', 'faultstring', 'debuginfo']
    assert root.find('faultcode').text == 'Client'


@pytest.mark.parametrize(
    ('accept', 'content_type'),
    [
        ('*/*', 'application/json'),
        ('application/json', 'application/json'),
        ('application/xml;q=0.5, application/json;q=0.4', 'application/xml'),
        ('text/xml, application/json;q=0.9', 'text/xml'),
        ('text/html, application/json;q=0.1', 'application/json'),
        ('text/html', None),
        ('image/*', None),
    ],
)
def test_accept_decides(api, accept, content_type):
    answer = ask(api, '/v1/rating/modules', headers={'Accept': accept})
    assert answer.status_code == (406 if content_type is None else 200)
    assert content_type in (None, answer.content_type)
    if content_type is None:
        assert answer.json['faultcode'] == 'Client'
