# SPDX-License-Identifier: Apache-2.0
"""Tokens of a real Keystone: roles, scopes, and tokens that are none any more."""

from keystoneauth1 import session as sessions
from keystoneauth1.identity import v3
import pytest

from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.cloud import guarded

pytestmark = pytest.mark.cloud
WINDOW = 'begin=2026-06-01&end=2026-07-01'
TOTAL = '/v1/report/total?' + WINDOW
SUMMARY = '/v1/report/summary?groupby=tenant_id&' + WINDOW
FRAMES = '/v1/storage/dataframes?' + WINDOW
OPEN = ('/v1/info/config', '/v1/info/metrics', '/v1/info/metrics/instance')
CLOSED = (
    '/v1/collector/mappings',
    '/v1/rating/modules',
    '/v1/rating/module_config/hashmap/services',
    '/v1/rating/module_config/pyscripts/scripts',
    '/v1/rating/reload_modules',
    '/v1/report/tenants',
)


@pytest.fixture(scope='module')
def guarded_api(cloud):
    """(API that asks Keystone, ids of the projects that are rated: of the callers, and of others)."""
    own, other = cloud.create_project('roles'), cloud.create_project('roles-of-others')
    with guarded.make_api(cloud, 'cloudkitty-of-roles') as api:
        guarded.rate(api, own, other)
        yield api, own, other


def get(api, token, path):
    return deployment.ask(api, path, headers={'X-Auth-Token': token})


@pytest.mark.parametrize('role', ['admin', 'member', 'reader', 'rating'])
def test_roles_decide(cloud, guarded_api, role):
    api, own, other = guarded_api
    cloud.create_role(role)
    token = cloud.create_user('role-%s' % role, 'roles', role)[1].session().get_token()
    for path in OPEN:
        assert get(api, token, path).status_code == 200
    expected = {200, 204} if role == 'admin' else {403}
    assert all(get(api, token, path).status_code in expected for path in CLOSED)
    # Keystone implies member by admin, and reader by member.
    if role == 'rating':
        assert get(api, token, TOTAL).status_code == 403
        assert get(api, token, FRAMES).status_code == 403
        return
    assert get(api, token, TOTAL).json == '0.5'
    assert [row['tenant_id'] for row in get(api, token, SUMMARY).json['summary']] == [own]
    for path in (TOTAL, SUMMARY, FRAMES):
        answer = get(api, token, path + '&tenant_id=' + other)
        assert answer.status_code == (200 if role == 'admin' else 403)
        assert role == 'admin' or other not in answer.text
    answer = get(api, token, TOTAL + '&all_tenants=true')
    assert (answer.status_code, answer.json) == (200, '2') if role == 'admin' else answer.status_code == 403
    owners = {frame['tenant_id'] for frame in get(api, token, FRAMES).json['dataframes']}
    assert owners == ({own, other} if role == 'admin' else {own})


def scoped(cloud, **scope):
    """Return a token of the administrator for something that is no project."""
    admin = cloud.admin
    auth = v3.Password(
        auth_url=admin.auth_url, username=admin.username, password=admin.password, user_domain_name='Default', **scope
    )
    return sessions.Session(auth=auth).get_token()


def test_tokens_of_no_project_are_refused(cloud, guarded_api):
    api = guarded_api[0]
    user_id = cloud.keystone().get('/users', params={'name': cloud.admin.username}).json()['users'][0]['id']
    role_id = cloud.keystone().get('/roles', params={'name': 'admin'}).json()['roles'][0]['id']
    cloud.keystone().put('/domains/default/users/%s/roles/%s' % (user_id, role_id))
    cloud.keystone().put('/system/users/%s/roles/%s' % (user_id, role_id))
    for scope in ({'domain_id': 'default'}, {'system_scope': 'all'}):
        token = scoped(cloud, **scope)
        for path in (*OPEN, *CLOSED, TOTAL, FRAMES):
            answer = get(api, token, path)
            assert (answer.status_code, answer.json['faultcode']) == (403, 'Client'), path


def test_revoked_and_made_up_tokens_are_refused(cloud, guarded_api):
    api = guarded_api[0]
    session = cloud.create_user('role-revoked', 'roles', 'reader')[1].session()
    token = session.get_token()
    cloud.keystone().delete('/auth/tokens', headers={'X-Subject-Token': token})
    for bad in (token, 'garbage', 'gAAAAAB' + 'x' * 200):
        answer = get(api, bad, TOTAL)
        assert answer.status_code == 401
        assert answer.headers['WWW-Authenticate'].startswith('Keystone')
