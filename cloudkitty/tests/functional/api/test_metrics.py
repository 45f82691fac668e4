# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads of the API."""

from prometheus_client import parser
import pytest
import webob

from cloudkitty import errors
from cloudkitty import telemetry
from cloudkitty.api import middleware
from cloudkitty.api import rest
from cloudkitty.api.v1 import root as v1_root
from cloudkitty.api.v2 import root as v2_root


@pytest.fixture
def counting(make_api, tmp_path):
    """An API that counts."""
    api = make_api('noauth').seed()
    with api.config_file.open('a') as file:
        file.write('[metrics]\nenabled = true\ndirectory = %s\n' % (tmp_path / 'figures'))
    yield api
    telemetry.stop()


def ask(api, path, address='127.0.0.1', **headers):
    request = webob.Request.blank(path, environ={'REMOTE_ADDR': address}, headers=headers)
    return request.get_response(api.application)


def read(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def requests(found):
    return {
        tuple(value for _, value in key[1:]): count
        for key, count in found.items()
        if key[0] == 'cloudkitty_api_requests_total'
    }


def test_requests_are_counted_by_method_route_and_status(counting):
    paths = ['/v1/report/total', '/v1/report//total/', '/v2/scope/p1', '/v2/scope?limit=x', '/']
    for number in range(3):
        paths += ['/nowhere/%d' % number, '/v1/nowhere%d' % number]
    for path in paths:
        ask(counting, path)
    found = read(ask(counting, '/metrics').text)
    assert requests(found) == {
        ('GET', '/v1/report', '200'): 2,
        ('GET', '/v2/scope', '404'): 1,
        ('GET', '/v2/scope', '400'): 1,
        ('GET', '/', '200'): 1,
        ('GET', 'other', '404'): 3,
        ('GET', 'other', '405'): 3,
    }
    assert found['cloudkitty_api_seconds_count', ('route', '/v1/report')] == 2


def test_only_networks_that_are_named_are_answered(counting):
    assert ask(counting, '/metrics', '::1').status_int == 200
    for address in ('10.0.0.1', '', '2001:db8::1', 'unix'):
        assert ask(counting, '/metrics', address).status_int == 404
    for headers in ({'X-Forwarded-For': '127.0.0.1'}, {'Forwarded': 'for=127.0.0.1'}, {'Via': '1.1 a'}):
        assert ask(counting, '/metrics', **headers).status_int == 404


def test_every_route_has_a_name_of_its_own():
    v1 = {
        name for name in dir(v1_root.V1Controller) if isinstance(getattr(v1_root.V1Controller, name), rest.Controller)
    }
    v2 = {path.split('/')[0] for path in v2_root.ROUTES}
    assert v1 and middleware.Telemetry.ROUTES == v1 | v2


def test_there_is_no_such_path_unless_wanted(noauth):
    assert ask(noauth, '/metrics').status_int == 404


@pytest.mark.parametrize(
    'options',
    ['api_clients = 10.0.0.0/40', 'api_clients = here', 'path = metrics', 'path = /metrics/', 'path = //m', 'port = x'],
)
def test_wrong_options_stop_the_start(make_api, options):
    api = make_api('noauth')
    with api.config_file.open('a') as file:
        file.write('[metrics]\nenabled = true\n%s\n' % options)
    with pytest.raises(errors.ConfigurationError, match='metrics'):
        _ = api.application
