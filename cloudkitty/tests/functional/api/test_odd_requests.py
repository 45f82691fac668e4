# SPDX-License-Identifier: Apache-2.0
"""Requests that no library would send, as bytes, to the command ``cloudkitty-api``."""

import contextlib
import re
import socket

import pytest

from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.api import test_command

HEAD = b'Host: x\r\nConnection: close\r\n'
JSON = b'Content-Type: application/json\r\n'
SERVICES = b'/v1/rating/module_config/hashmap/services'


def get(path, headers=b''):
    return b'GET ' + path + b' HTTP/1.1\r\n' + HEAD + headers + b'\r\n'


def post(body, headers=JSON, path=SERVICES, length=None):
    count = len(body) if length is None else length
    return b'POST ' + path + b' HTTP/1.1\r\n' + HEAD + headers + b'Content-Length: %d\r\n\r\n' % count + body


#: Name to bytes.
REQUESTS = {
    'path with NUL': get(b'/v1/info/metrics/%00'),
    'path that is not UTF-8': get(b'/v1/info/metrics/%ff%fe'),
    'path with half an escape': get(b'/v1/info/metrics/%'),
    'path with an escaped slash': get(b'/v1/info%2fmetrics'),
    'path upwards': get(b'/v1/../../etc/passwd'),
    'path of dots': get(b'/v1/info/metrics/..%2f..%2fetc%2fpasswd'),
    'long path': get(b'/v1/info/metrics/' + b'a' * 60000),
    'deep path': get(b'/v1' + b'/a' * 5000),
    'whole URL': get(b'http://elsewhere/v1/info/metrics'),
    'long query': get(b'/v1/report/total?tenant_id=' + b'a' * 60000),
    'many parameters': get(b'/v1/report/total?' + b'&'.join(b'a%d=1' % number for number in range(3000))),
    'parameter without a value': get(b'/v1/report/total?begin'),
    'parameter that is not UTF-8': get(b'/v1/report/total?tenant_id=%ff'),
    'parameter with NUL': get(b'/v1/report/total?tenant_id=%00'),
    'parameter with a surrogate': get(b'/v1/report/total?tenant_id=%ed%a0%80'),
    'query that is one': get(b'/v1/report/total?%'),
    'date without an end': get(b'/v1/report/total?begin=9999-12-31T23:59:59-14:00'),
    'date before all': get(b'/v1/report/total?begin=0001-01-01T00:00:00%2B14:00'),
    'Accept of nonsense': get(b'/v1/info/metrics', b'Accept: ;;;q=,/\r\n'),
    'Accept of many': get(b'/v1/info/metrics', b'Accept: ' + b'a/b;q=0.1,' * 2000 + b'*/*\r\n'),
    'Accept twice': get(b'/v1/info/metrics', b'Accept: text/html\r\nAccept: application/json\r\n'),
    'header that is not ASCII': get(b'/v1/info/metrics', b'X-User-Id: \xff\xfe\r\n'),
    'actor that is long': post(b'{"name": "actor"}', JSON + b'X-User-Id: ' + b'u' * 5000 + b'\r\n'),
    'roles of nonsense': get(b'/v1/info/metrics', b'X-Roles: ,,,;\x01\r\n'),
    'project that is not UTF-8': get(b'/v1/report/total', b'X-Project-Id: \xff\r\n'),
    'prefix of a proxy': get(b'/', b'X-Forwarded-Prefix: /\\"<>\r\nX-Forwarded-Host: a"b\r\nForwarded: for=\r\n'),
    'request id of nonsense': get(b'/v1/info/metrics', b'X-OpenStack-Request-ID: \x07\r\n'),
    'body of UTF-16': post('{"name": "x"}'.encode('utf-16')),
    'body with a mark': post(b'\xef\xbb\xbf{"name": "mark"}'),
    'body that is not UTF-8': post(b'{"name": "\xff"}'),
    'body with NUL': post(b'{"name": "a\\u0000b"}'),
    'body with a surrogate': post(b'{"name": "\\ud800"}'),
    'body beyond the basic plane': post('{"name": "\U0001f431"}'.encode()),
    'deep body': post(b'[' * 100000),
    'deep object': post(b'{"name": ' + b'{"a":' * 50000 + b'1' + b'}' * 50000 + b'}'),
    'member twice': post(b'{"name": "a", "name": "b"}'),
    'huge integer': post(b'{"name": ' + b'9' * 10000 + b'}'),
    'huge number': post(b'{"service_id": null, "cost": 1e999999999}', path=SERVICES[:-8] + b'mappings'),
    'tiny number': post(b'{"service_id": null, "cost": 1e-999999999}', path=SERVICES[:-8] + b'mappings'),
    'long name': post(b'{"name": "' + b'a' * 100000 + b'"}'),
    'no JSON type': post(b'{"name": "x"}', b'Content-Type: \r\n'),
    'type of nonsense': post(b'{"name": "x"}', b'Content-Type: /;=,\r\n'),
    'charset of nonsense': post(b'{"name": "charset"}', b'Content-Type: application/json; charset=nonsense\r\n'),
    'form without an end': post(b'name', b'Content-Type: multipart/form-data; boundary=x\r\n'),
    'XML that expands': post(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', b'Content-Type: text/xml\r\n'),
    'body that ends early': post(b'{"name": ', length=1000),
    'negative length': post(b'{}', length=-5),
    'length of nonsense': b'POST ' + SERVICES + b' HTTP/1.1\r\n' + HEAD + JSON + b'Content-Length: many\r\n\r\n{}',
    'two lengths': b'POST ' + SERVICES + b' HTTP/1.1\r\n' + HEAD + b'Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}',
    'chunks': b'POST ' + SERVICES + b' HTTP/1.1\r\n' + HEAD + JSON
    + b'Transfer-Encoding: chunked\r\n\r\n10\r\n{"name": "chunk"\r\n1\r\n}\r\n0\r\n\r\n',
    'chunks of nonsense': b'POST ' + SERVICES + b' HTTP/1.1\r\n' + HEAD + JSON
    + b'Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n',
    'method of nonsense': b'GE\x01T / HTTP/1.1\r\n' + HEAD + b'\r\n',
    'old protocol': b'GET /v1/info/metrics HTTP/1.0\r\n\r\n',
    'no protocol': b'GET /v1/info/metrics\r\n\r\n',
    'no host': b'GET /v1/info/metrics HTTP/1.1\r\nConnection: close\r\n\r\n',
    'host of nonsense': b'GET / HTTP/1.1\r\nHost: a b:c"\r\nConnection: close\r\n\r\n',
    'nothing at all': b'\r\n\r\n',
}  # fmt: skip


@contextlib.contextmanager
def run(api):
    """Run the command on the files of *api*; give its port."""
    arguments = ('--config-file', str(api.config_file), '-p', '0', '-b', '127.0.0.1')
    with test_command.serve(*arguments) as (_, found, _):
        yield found


@pytest.fixture(scope='module')
def port():
    api = deployment.Api('noauth').seed()
    with run(api) as found:
        yield found
    api.close()


def send(port, data):
    """Return what is answered to *data*, until the server closes the connection."""
    answer = b''
    with socket.create_connection(('127.0.0.1', port), timeout=60) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except (BrokenPipeError, ConnectionResetError):
            # It does not have to read to the end what it refuses.
            pass
    return answer


@pytest.mark.parametrize('name', REQUESTS)
def test_answer_is_no_server_error_and_tells_nothing(port, name):
    answer = send(port, REQUESTS[name])
    found = re.match(rb'HTTP/1\.[01] (\d{3}) ', answer)
    assert found or not answer, answer
    if found:
        assert int(found[1]) < 500, answer
    for word in (b'Traceback', b'sqlalchemy', b'SELECT ', b'INSERT ', b'site-packages', b'/cloudkitty/', b'root:'):
        assert word not in answer
    # It goes on.
    assert b'200 OK' in send(port, get(b'/v1/info/metrics')).splitlines()[0]
