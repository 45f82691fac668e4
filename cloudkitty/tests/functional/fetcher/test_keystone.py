# SPDX-License-Identifier: Apache-2.0
"""The fetcher keystone against a stand-in that speaks the Identity API over HTTP."""

import urllib.parse

import pytest

from cloudkitty import errors
from cloudkitty.tests import keystone
from cloudkitty.tests.functional.fetcher import test_contract

load = test_contract.load
keystone_lines = test_contract.keystone_lines


@pytest.fixture
def server():
    found = keystone.Keystone()
    found.start()
    yield found
    found.stop()


def paths(server):
    return [urllib.parse.urlsplit(path).path for _, path in server.requests]


def test_only_projects_in_which_the_service_user_has_the_role_are_rated(server, tmp_path):
    server.grant('a', 'c')
    server.grant('b', role='role-other')
    server.grant('d', user='somebody-else')
    server.grants.append((keystone.USER, 'role-rating', None))
    assert load(tmp_path, keystone_lines(server)).get_tenants() == ['a', 'c']


def test_grants_in_projects_that_cannot_be_listed_do_not_count(server, tmp_path):
    server.grant('a', 'b')
    del server.projects['b']
    assert load(tmp_path, keystone_lines(server)).get_tenants() == ['a']


def test_number_of_requests_does_not_depend_on_that_of_projects(server, tmp_path):
    server.grant(*('project-%d' % number for number in range(500)))
    found = load(tmp_path, keystone_lines(server))
    assert len(found.get_tenants()) == 500
    found.get_tenants()
    assert paths(server) == ['/v3/projects', '/v3/roles', '/v3/role_assignments'] * 2
    assert server.tokens == 1


def test_role_may_be_ignored(server, tmp_path):
    server.projects = {'a': True, 'b': False}
    found = load(tmp_path, keystone_lines(server, 'ignore_rating_role = true'))
    assert found.get_tenants() == ['a', 'b']
    assert paths(server) == ['/v3/projects']


def test_disabled_projects_may_be_ignored(server, tmp_path):
    server.grant('a', 'b')
    server.projects['b'] = False
    assert load(tmp_path, keystone_lines(server)).get_tenants() == ['a', 'b']
    assert load(tmp_path, keystone_lines(server, 'ignore_disabled_tenants = true')).get_tenants() == ['a']


def test_roles_of_that_name_in_every_domain_count(server, tmp_path):
    server.roles['role-of-domain'] = 'rating'
    server.grant('a')
    server.grant('b', role='role-of-domain')
    assert load(tmp_path, keystone_lines(server)).get_tenants() == ['a', 'b']


def test_pages_are_followed(server, tmp_path):
    server.grant('a', 'b', 'c', 'd', 'e')
    server.page = 2
    assert load(tmp_path, keystone_lines(server)).get_tenants() == ['a', 'b', 'c', 'd', 'e']
    assert paths(server).count('/v3/projects') == 3


def test_pages_that_go_round_in_circles_make_no_sense(server, tmp_path):
    text = '{"projects": [{"id": "a"}], "links": {"next": "%s/v3/projects"}}' % server.url
    server.answers['/v3/projects'] = (200, text)
    with pytest.raises(errors.TransientSourceError, match='makes no sense'):
        load(tmp_path, keystone_lines(server)).get_tenants()


@pytest.mark.parametrize('path', ['/v3/projects', '/v3/roles', '/v3/role_assignments'])
@pytest.mark.parametrize('status', [500, 502, 503])
def test_server_error_is_transient(server, tmp_path, path, status):
    server.grant('a')
    server.answers[path] = (status, 'oops')
    with pytest.raises(errors.TransientSourceError, match='HTTP %d' % status):
        load(tmp_path, keystone_lines(server)).get_tenants()


@pytest.mark.parametrize(
    'text',
    ['', '{"projects": [{"id": "a"', '[]', '{}', '{"projects": null}', '{"projects": [1]}', '{"projects": [{}]}'],
)
def test_half_an_answer_is_transient(server, tmp_path, text):
    server.answers['/v3/projects'] = (200, text)
    with pytest.raises(errors.TransientSourceError, match='makes no sense'):
        load(tmp_path, keystone_lines(server)).get_tenants()


def test_no_answer_is_transient(server, tmp_path):
    found = load(tmp_path, keystone_lines(server))
    server.stop()
    with pytest.raises(errors.TransientSourceError, match='does not answer') as caught:
        found.get_tenants()
    assert keystone.PASSWORD not in str(caught.value)
    server._server.shutdown = lambda: None


def test_wrong_password_is_permanent(server, tmp_path):
    lines = [line.replace(keystone.PASSWORD, 'wrong') for line in keystone_lines(server)]
    with pytest.raises(errors.PermanentSourceError, match=r'refuses \[fetcher_keystone\]: HTTP 401') as caught:
        load(tmp_path, lines).get_tenants()
    assert 'wrong' not in str(caught.value)


def test_user_that_may_not_list_is_permanent(server, tmp_path):
    server.answers['/v3/projects'] = (403, '{"error": {"code": 403, "message": "no"}}')
    with pytest.raises(errors.PermanentSourceError, match='HTTP 403'):
        load(tmp_path, keystone_lines(server)).get_tenants()


def test_cloud_without_the_role_says_what_to_do(server, tmp_path):
    server.roles = {}
    server.projects = {'a': True}
    with pytest.raises(errors.PermanentSourceError, match='no role named rating'):
        load(tmp_path, keystone_lines(server)).get_tenants()


def test_expired_token_is_renewed(server, tmp_path):
    server.grant('a')
    found = load(tmp_path, keystone_lines(server))
    found.get_tenants()
    server.answers['/v3/projects'] = (401, '{"error": {"code": 401, "message": "expired"}}')
    with pytest.raises(errors.PermanentSourceError):
        found.get_tenants()
    assert server.tokens == 2
    server.answers.clear()
    assert found.get_tenants() == ['a']


def test_version_2_is_3_with_a_warning(server, tmp_path, capfd):
    server.grant('a')
    assert load(tmp_path, keystone_lines(server, 'keystone_version = 2')).get_tenants() == ['a']
    shown = ''.join(capfd.readouterr())
    assert shown.count('WARNING') == 1
    assert '[fetcher_keystone] keystone_version 2 is gone; 3 is used.' in shown


def test_section_of_2018_works(server, tmp_path):
    server.grant('a')
    lines = [
        '[tenant_fetcher]',
        'backend = keystone',
        '[keystone_fetcher]',
        'username = cloudkitty',
        'password = %s' % keystone.PASSWORD,
        'tenant = service',
        'region = One',
        'url = %s/v3' % server.url,
        'keystone_version = 3',
    ]
    assert load(tmp_path, lines).get_tenants() == ['a']


def test_missing_credentials_name_the_section(tmp_path):
    with pytest.raises(errors.ConfigurationError, match=r'\[fetcher_keystone\] auth_type is not set'):
        load(tmp_path, ['[fetcher]', 'backend = keystone'])
