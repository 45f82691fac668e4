# SPDX-License-Identifier: Apache-2.0
"""What every fetcher does, those of others and the fake one included."""

from oslo_config import cfg
import pytest

from cloudkitty import errors
from cloudkitty import fetcher
from cloudkitty import plugins
from cloudkitty import service
from cloudkitty.fetcher import keystone as keystone_fetcher
from cloudkitty.tests import fakes
from cloudkitty.tests import keystone


class Classic:
    """A fetcher of the field: no base class, no order, duplicates."""

    name = 'classic'

    def __init__(self):
        self.calls = 0

    def get_tenants(self):
        return ['b', 'a', 'b']


class Broken:
    def get_tenants(self):
        raise RuntimeError('out of order')


def load(tmp_path, lines):
    path = tmp_path / 'cloudkitty.conf'
    path.write_text('\n'.join(lines))
    conf = service.prepare_service([], [str(path)], cfg.ConfigOpts(), 'test')
    return fetcher.load(conf)


def keystone_lines(server, *more):
    return [
        '[fetcher]',
        'backend = keystone',
        '[fetcher_keystone]',
        'auth_type = password',
        'auth_url = %s/v3' % server.url,
        'username = cloudkitty',
        'password = %s' % keystone.PASSWORD,
        'project_name = service',
        'user_domain_name = Default',
        'project_domain_name = Default',
        *more,
    ]


def gnocchi_lines(server, *more):
    return [
        '[fetcher]',
        'backend = gnocchi',
        '[fetcher_gnocchi]',
        'gnocchi_auth_type = basic',
        'gnocchi_user = admin',
        'gnocchi_endpoint = %s' % server.url,
        *more,
    ]


def prometheus_lines(server, *more):
    return [
        '[fetcher]',
        'backend = prometheus',
        '[fetcher_prometheus]',
        'metric = project_info',
        'prometheus_url = %s/api/v1' % server.url,
        *more,
    ]


def vector(*labels, **more):
    """Return the answer of Prometheus that has a series for each of *labels*."""
    result = [{'metric': found, 'value': [0, '1']} for found in labels]
    return {'status': 'success', 'data': {'resultType': 'vector', 'result': result}, **more}


@pytest.fixture
def server():
    found = keystone.Keystone()
    found.start()
    yield found
    found.stop()


@pytest.fixture(params=['keystone', 'gnocchi', 'prometheus', 'source', 'classic', 'fake'])
def found(request, tmp_path, monkeypatch):
    """A fetcher of each kind that lists *a* and *b*."""
    if request.param == 'keystone':
        server = request.getfixturevalue('server')
        server.grant('b', 'a')
        return load(tmp_path, keystone_lines(server))
    if request.param == 'gnocchi':
        server = request.getfixturevalue('stand_in')
        for number, scope_id in enumerate('bab'):
            server.create_resource('instance', 'r%d' % number, scope_id, 0)
        return load(tmp_path, gnocchi_lines(server))
    if request.param == 'prometheus':
        server = request.getfixturevalue('answers')
        server.give(vector({'project_id': 'b'}, {'project_id': 'a'}))
        return load(tmp_path, prometheus_lines(server))
    if request.param == 'source':
        return load(tmp_path, ['[fetcher]', 'backend = source', '[fetcher_source]', 'sources = b,a,,b'])
    if request.param == 'classic':
        monkeypatch.setattr(plugins, 'load_class', lambda namespace, name: Classic)
        return load(tmp_path, ['[fetcher]', 'backend = classic'])
    return fakes.FakeFetcher('a', 'b')


def test_scopes_are_sorted_and_unique(found):
    assert found.get_tenants() == ['a', 'b']


def test_list_is_the_callers_own(found):
    found.get_tenants().clear()
    assert found.get_tenants() == ['a', 'b']


def test_error_of_a_classic_fetcher_is_a_transient_one(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, 'load_class', lambda namespace, name: Broken)
    with pytest.raises(errors.TransientSourceError, match='out of order'):
        load(tmp_path, ['[fetcher]', 'backend = broken']).get_tenants()


def test_what_is_no_id_costs_a_classic_fetcher_no_other_scope(tmp_path, monkeypatch):
    monkeypatch.setattr(Classic, 'get_tenants', lambda self: ['b', None, 'a'])
    monkeypatch.setattr(plugins, 'load_class', lambda namespace, name: Classic)
    assert {'a', 'b'} <= set(load(tmp_path, ['[fetcher]', 'backend = classic']).get_tenants())


def test_fetcher_that_is_gone_is_refused_with_the_alternatives(tmp_path):
    with pytest.raises(errors.ConfigurationError, match='use source.*gnocchi, keystone, prometheus, source'):
        load(tmp_path, ['[fetcher]', 'backend = fake'])


def test_name_is_the_one_that_states_are_kept_under():
    assert keystone_fetcher.KeystoneFetcher.name == 'keystone'
