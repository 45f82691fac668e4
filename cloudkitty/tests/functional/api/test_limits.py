# SPDX-License-Identifier: Apache-2.0
"""How much a caller may say at once: bodies, addresses, pages and filters, by options."""

import io
import json

import pytest
import webob

from cloudkitty.tests import routes
from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.api import test_odd_requests

OPTIONS = """[api]
max_body_size = 3000
max_document_size = 2000
max_url_size = 1500
max_page_size = 100
max_filter_values = 5
max_filter_length = 100
"""
ask = deployment.ask
LISTS = [route.path.replace('{scope_id}', 'p1') for route in routes.list_v2_routes() if 'limit' in route.arguments]
#: What a list cannot do without.
NEEDED = {'/v2/explain': 'metric=instance&begin=2026-06-01&scope_id=p1'}


@pytest.fixture
def api(make_api):
    return make_api('noauth', collect=OPTIONS).seed()


def send(api, path, method, length, is_chunked=False):
    """Return status and message of the answer to a JSON string of *length* bytes."""
    request = webob.Request.blank(path, method=method, content_type='application/json')
    request.body_file = io.BytesIO(b'"%s"' % (b'x' * (length - 2)))
    request.content_length = None if is_chunked else length
    request.environ['wsgi.input_terminated'] = True
    if is_chunked:
        request.headers['Transfer-Encoding'] = 'chunked'
    answer = request.get_response(api.application)
    return answer.status_code, answer.json.get('message', answer.json.get('faultstring'))


@pytest.mark.parametrize('is_chunked', [False, True])
@pytest.mark.parametrize(
    'path, method, limit, option',
    [
        ('/v2/dataframes', 'POST', 3000, 'max_body_size'),
        ('/v2/scope', 'PUT', 2000, 'max_document_size'),
        ('/v2/task/reprocesses', 'PATCH', 2000, 'max_document_size'),
        ('/v1/rating/quote', 'POST', 2000, 'max_document_size'),
        ('/v1/rating/module_config/pyscripts/scripts', 'POST', 2000, 'max_document_size'),
    ],
)
def test_body_has_a_limit(api, path, method, limit, option, is_chunked):
    assert send(api, path, method, limit, is_chunked)[0] == 400
    refused = (413, 'The body has more than %d bytes, [api] %s.' % (limit, option))
    assert send(api, path, method, limit + 1, is_chunked) == refused


def test_body_without_an_end_is_not_read_to_it(api):
    class Endless:
        given = 0

        def read(self, size=-1):
            assert size >= 0
            self.given += size
            return b'x' * size

    body = Endless()
    request = webob.Request.blank('/v2/dataframes', method='POST', content_type='application/json')
    request.body_file = body
    request.content_length = None
    request.environ['wsgi.input_terminated'] = True
    request.headers['Transfer-Encoding'] = 'chunked'
    assert request.get_response(api.application).status_code == 413
    assert body.given <= 3001


def test_server_refuses_what_is_too_large(api):
    with test_odd_requests.run(api) as port:
        head = b'POST /v2/dataframes HTTP/1.1\r\n' + test_odd_requests.HEAD + test_odd_requests.JSON
        chunked = head + b'Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n' % (4000, b'x' * 4000)
        for request in (head + b'Content-Length: 4000\r\n\r\n' + b'x' * 4000, chunked):
            answer = test_odd_requests.send(port, request)
            assert b' 413 ' in answer.splitlines()[0]
            message = json.loads(answer.partition(b'\r\n\r\n')[2])
            assert message == {'message': 'The body has more than 3000 bytes, [api] max_body_size.'}
        # Nothing is kept of one that will not end.
        answer = test_odd_requests.send(port, head + b'Content-Length: 6001\r\n\r\n')
        assert b' 413 ' in answer.splitlines()[0]


@pytest.mark.parametrize('path', ['/v1/info/metrics/', '/v2/rating/modules/'])
def test_address_has_a_limit(api, path):
    refused = ask(api, path + 'a' * (1501 - len(path)))
    text = 'Path and query have more than 1500 characters, [api] max_url_size.'
    assert (refused.status_code, refused.json.get('message', refused.json.get('faultstring'))) == (414, text)
    assert ask(api, path + 'a' * (1500 - len(path))).status_code == 404
    query = '&'.join('a%d=1' % number for number in range(1000))
    assert ask(api, '/v1/report/total?' + query).status_code == 414


@pytest.mark.parametrize('path', LISTS)
def test_page_has_a_limit(api, path):
    needed = NEEDED.get(path, 'offset=0')
    answer = ask(api, '%s?%s&limit=101' % (path, needed))
    text = 'limit: expected at most 100, [api] max_page_size, not 101.'
    assert (answer.status_code, answer.json) == (400, {'message': text})
    answer = ask(api, '%s?%s&limit=100' % (path, needed))
    assert answer.status_code in (200, 404), answer.text


@pytest.mark.parametrize(
    'query, text',
    [
        ('/v2/scope?scope_id=1,2,3,4,5,6', 'scope_id: expected at most 5 values, [api] max_filter_values.'),
        ('/v2/scope?scope_id=1,2,3&scope_id=4,5&scope_id=6', 'scope_id: expected at most 5 values, [api] max_filter_'),
        ('/v2/summary?filters=a:1,a:2,a:3,a:4,a:5,a:6', 'filters: expected at most 5 values, [api] max_filter_values.'),
        ('/v2/summary?groupby=a,b,c,d,e,f', 'groupby: expected at most 5 values, [api] max_filter_values.'),
        ('/v2/summary?filters=a:' + 'x' * 100, 'filters: expected at most 100 characters a value, [api] max_filter_l'),
        ('/v2/explain?any=' + 'x' * 101, 'any: expected at most 100 characters a value, [api] max_filter_length.'),
        ('/v1/report/total?tenant_id=' + 'x' * 101, 'tenant_id: expected at most 100 characters a value, [api] max_'),
    ],
)
def test_filters_have_limits(api, query, text):
    answer = ask(api, query)
    assert answer.status_code == 400
    assert answer.json.get('message', answer.json.get('faultstring')).startswith(text)


def test_clients_of_today_stay_within_the_defaults(make_api):
    api = make_api('noauth').seed()
    assert ask(api, '/v2/scope?limit=100000').status_code == 200
    ids = ','.join('%032d' % number for number in range(990)) + ',p1'
    assert len(ask(api, '/v2/scope?scope_id=' + ids).json['results']) == 1
    assert ask(api, '/v2/scope', 'PUT', {'scope_id': ids, 'state': '2026-06-01'}).status_code == 202
