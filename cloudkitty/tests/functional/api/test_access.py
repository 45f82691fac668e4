# SPDX-License-Identifier: Apache-2.0
"""Who may ask for what: every route by every kind of caller, as the policy table says.

Source: API contract, section 5.3.
"""

import re

import pytest

from cloudkitty.api import policies
from cloudkitty.tests import routes
from cloudkitty.tests import samples
from cloudkitty.tests.functional.api import deployment

WINDOW = {'begin': '2026-06-01', 'end': '2026-07-01'}
CALLERS = sorted(deployment.TOKENS)
#: Callers whose token is of a project; 'nobody' and 'nobody-reader' have a token of nothing at all.
OF_NO_PROJECT = ('domain-admin', 'system-admin')
DEFAULTS = {rule.name: rule.check_str for rule in policies.list_rules()}
ROUTES = {route.name: route for route in [*routes.list_routes(), *routes.list_v2_routes()]}
#: Routes that show the data of projects: what belongs to another one must never be in their answers.
FIGURES = ('GET /v1/report/total', 'GET /v1/report/summary', 'GET /v1/storage/dataframes')
#: The same of v2, which shows everybody no more than his own project, whatever he asks for.
V2_FIGURES = ('GET /v2/summary', 'GET /v2/dataframes', 'GET /v2/coverage')
#: The same for one instant, and for an administrator of a project that he names.
EXPLAIN = 'GET /v2/explain'
POINT = {'metric': 'instance', 'begin': '2026-06-01', 'scope_id': 'p1'}
#: How each project can be told in an answer: its id, its resources, its prices.
MARKS = {'p1': ('p1', '"a"', '0.125', '1.125'), 'p2': ('p2', '"b"'), 'p3': ('p3', '"z"', '33.333')}
PROJECT = {name: (token['token'].get('project') or {}).get('id') for name, token in deployment.TOKENS.items()}
ROLES = {name: {role['id'] for role in token['token']['roles']} for name, token in deployment.TOKENS.items()}


@pytest.fixture(scope='module')
def api():
    made = deployment.Api('keystone').seed()
    states = samples.ready_states(made.database, 'p3')
    points = [samples.columns('p3', 'instance', (samples.JUNE,), prices=('33.333',), id='z')]
    made.storage.commit(samples.commit(states, points))
    yield made
    made.close()


def ask(api, route, caller, **query):
    """Ask for *route* with something in place of each argument in its path, which need not exist."""
    path = re.sub(r'\{\w+\}', 'nope', route.path)
    if query:
        path += '?' + '&'.join('%s=%s' % pair for pair in query.items())
    headers = {'X-Auth-Token': caller} if caller else {}
    return deployment.ask(api, path, route.method, {} if route.body is not None else None, headers)


def is_allowed(rule, caller, project_id=None):
    """Return whether the table of the contract lets *caller* do what *rule* guards, with data of *project_id*."""
    if caller in OF_NO_PROJECT:
        return False
    check = DEFAULTS[rule]
    if check == policies.EVERYBODY:
        return True
    if check == policies.ADMIN:
        return 'admin' in ROLES[caller]
    assert check == policies.READER_OR_ADMIN, 'Say here who %s is for.' % rule
    owns = project_id is not None and project_id == PROJECT[caller]
    return 'admin' in ROLES[caller] or ('reader' in ROLES[caller] and owns)


def test_every_route_asks_a_rule_and_every_rule_is_asked():
    without = {name for name, route in ROUTES.items() if route.rule is None}
    # It says nothing, to whoever has a token.
    assert without == {'GET /v1/collector'}
    asked = {route.rule for route in ROUTES.values()} - {None}
    assert asked <= set(DEFAULTS)
    declared = {name for name in DEFAULTS if ':' in name}
    assert declared - asked == {'info:list_services_info', 'info:get_service_info'}
    shown = {name for name, route in ROUTES.items() if DEFAULTS.get(route.rule) == policies.READER_OR_ADMIN}
    assert shown == {*FIGURES, *V2_FIGURES, EXPLAIN}


@pytest.mark.parametrize('name', ROUTES)
def test_without_a_token_nobody_gets_anywhere(api, name):
    for token in (None, 'garbage'):
        answer = ask(api, ROUTES[name], token)
        assert answer.status_code == 401
        assert answer.headers['x-openstack-request-id'].startswith('req-')


@pytest.mark.parametrize('caller', CALLERS)
@pytest.mark.parametrize('name', [name for name in ROUTES if name not in (*FIGURES, *V2_FIGURES, EXPLAIN)])
def test_rule_decides(api, name, caller):
    route = ROUTES[name]
    answer = ask(api, route, caller)
    if route.rule is None or is_allowed(route.rule, caller):
        # What was asked for need not exist or make sense.
        assert answer.status_code not in (401, 403) and answer.status_code < 500, answer.text
    else:
        assert answer.status_code == 403, answer.text
        if name.partition(' ')[2].startswith('/v2'):
            assert set(answer.json) == {'message'}
        else:
            assert answer.json['faultcode'] == 'Client'
            assert set(answer.json) == {'faultcode', 'faultstring', 'debuginfo'}


@pytest.mark.parametrize('caller', CALLERS)
@pytest.mark.parametrize('project_id', ['p1', 'p2', 'p3', None, 'all'])
@pytest.mark.parametrize('name', FIGURES)
def test_nobody_sees_figures_of_another_project(api, name, project_id, caller):
    route = ROUTES[name]
    query = dict(WINDOW)
    if project_id == 'all':
        if 'all_tenants' not in route.arguments:
            pytest.skip('It knows no all_tenants.')
        query['all_tenants'] = 'true'
    elif project_id:
        query['tenant_id'] = project_id
    if name == 'GET /v1/report/summary':
        query['groupby'] = 'tenant_id,res_type'
    answer = ask(api, route, caller, **query)
    wanted = {'all': None, None: PROJECT[caller]}.get(project_id, project_id)
    is_admin = 'admin' in ROLES[caller] and caller not in OF_NO_PROJECT
    if is_admin:
        assert answer.status_code == 200
        return
    if is_allowed(route.rule, caller, wanted):
        assert answer.status_code == 200
    elif project_id is None and PROJECT[caller] is None and name.endswith('/dataframes') and caller == 'nobody-reader':
        assert answer.json == {'dataframes': []}
    else:
        assert answer.status_code == 403
    for other, marks in MARKS.items():
        if other != PROJECT[caller]:
            found = [mark for mark in marks if mark in answer.text and mark != wanted]
            assert answer.status_code == 403 or found == [], answer.text


@pytest.mark.parametrize('project_id', ['nobody', 'None', ''])
@pytest.mark.parametrize('name', FIGURES)
def test_who_has_no_project_is_not_taken_for_one_with_such_a_name(make_api, name, project_id):
    made = make_api('keystone')
    states = samples.ready_states(made.database, project_id)
    points = [samples.columns(project_id, 'instance', (samples.JUNE,), prices=('33.333',), id='z')]
    made.storage.commit(samples.commit(states, points))
    answer = ask(made, ROUTES[name], 'nobody-reader', **WINDOW, tenant_id=project_id)
    assert answer.status_code == 403 or '33.333' not in answer.text, answer.text
    if project_id:
        assert '33.333' in ask(made, ROUTES[name], 'admin', **WINDOW, tenant_id=project_id).text


@pytest.mark.parametrize('caller', CALLERS)
@pytest.mark.parametrize('project_id', ['p1', 'p2', 'p3', None])
@pytest.mark.parametrize('name', V2_FIGURES)
def test_v2_shows_nobody_more_than_his_own_project(api, name, project_id, caller):
    query = dict(WINDOW)
    if project_id:
        query['filters'] = 'project_id:%s' % project_id
    if name == 'GET /v2/summary':
        query['groupby'] = 'project_id,id'
    answer = ask(api, ROUTES[name], caller, **query)
    owns = PROJECT[caller] or 'nobody'
    if not is_allowed(ROUTES[name].rule, caller, PROJECT[caller]) and caller != 'nobody-reader':
        assert answer.status_code == 403
        return
    assert answer.status_code == 200
    seen = {mark for mark, texts in MARKS.items() if any('"%s"' % text.strip('"') in answer.text for text in texts)}
    if 'admin' in ROLES[caller]:
        assert seen == ({project_id} if project_id else set(MARKS))
    else:
        assert seen == ({owns} & set(MARKS))
        assert bool(seen) == bool(answer.json['total'])


@pytest.mark.parametrize('caller', CALLERS)
@pytest.mark.parametrize('project_id', ['p1', 'p2', 'p3', None])
def test_explanations_show_nobody_more_than_his_own_project(api, project_id, caller):
    query = {**POINT, 'scope_id': project_id} if project_id else {'metric': 'instance', 'begin': '2026-06-01'}
    answer = ask(api, ROUTES[EXPLAIN], caller, **query)
    if not is_allowed('explain:get', caller, PROJECT[caller]) and caller != 'nobody-reader':
        assert answer.status_code == 403
    elif 'admin' in ROLES[caller]:
        assert answer.status_code == (200 if project_id else 400)
        assert not project_id or {found['point']['scope_id'] for found in answer.json['results']} == {project_id}
    elif PROJECT[caller] is None:
        assert answer.json == {'total': 0, 'results': []}
    else:
        assert {found['point']['scope_id'] for found in answer.json['results']} == {PROJECT[caller]}


@pytest.mark.parametrize('rule', sorted(name for name in DEFAULTS if ':' in name))
def test_policy_file_overrides_every_rule(rule):
    asked = [name for name, route in ROUTES.items() if route.rule == rule]
    if not asked:
        pytest.skip('It is declared, and never asked.')
    made = deployment.Api('keystone', default='[oslo_policy]\npolicy_file = policy.yaml\n')
    try:
        (made.directory / 'policy.yaml').write_text('"%s": "role:other or role:none"' % rule)
        for name in asked:
            assert ask(made, ROUTES[name], 'admin', **window_of(name)).status_code == 403, name
            answer = ask(made, ROUTES[name], 'other', **window_of(name))
            assert answer.status_code not in (401, 403) and answer.status_code < 500, name
    finally:
        made.close()


def window_of(name):
    if name == EXPLAIN:
        return POINT
    return WINDOW if name in FIGURES + V2_FIGURES else {}


#: What a policy file of CloudKitty 8 may hold, in JSON.
ROCKY = """{
    "context_is_admin": "role:admin",
    "admin_or_owner": "is_admin:True or tenant:%(tenant_id)s",
    "default": "",
    "info:list_services_info": "",
    "info:get_service_info": "",
    "info:list_metrics_info": "",
    "info:get_metric_info": "",
    "info:get_config": "",
    "rating:list_modules": "role:admin",
    "rating:get_module": "role:admin",
    "rating:update_module": "role:admin",
    "rating:quote": "",
    "rating:module_config": "role:admin",
    "report:list_tenants": "role:admin",
    "report:get_summary": "rule:admin_or_owner",
    "report:get_total": "rule:admin_or_owner",
    "collector:list_mappings": "role:admin",
    "collector:get_mapping": "role:admin",
    "collector:manage_mapping": "role:admin",
    "collector:get_state": "role:admin",
    "collector:update_state": "role:admin",
    "storage:list_data_frames": "",
    "billing:list_modules": "role:forgotten"
}"""


@pytest.mark.parametrize('name', ['policy.json', 'policy.yaml'])
def test_policy_file_of_rocky_works(name):
    made = deployment.Api('keystone', default='[oslo_policy]\npolicy_file = %s\n' % name)
    try:
        (made.directory / name).write_text(ROCKY)
        made.seed()
        total = ROUTES['GET /v1/report/total']
        # Owners need no role there.
        assert ask(made, total, 'other', **WINDOW).json == '1.125'
        assert ask(made, total, 'other', tenant_id='p2', **WINDOW).status_code == 403
        assert ask(made, total, 'other', all_tenants='true', **WINDOW).status_code == 403
        assert ask(made, total, 'admin', tenant_id='p2', **WINDOW).json == '1'
        assert ask(made, total, 'nobody', **WINDOW).status_code == 403
        modules = ROUTES['GET /v1/rating/modules']
        assert ask(made, modules, 'other').status_code == 403
        assert ask(made, modules, 'admin').status_code == 200
        # The rule was open there; what is shown is not.
        frames = ask(made, ROUTES['GET /v1/storage/dataframes'], 'other', **WINDOW).json['dataframes']
        assert {frame['tenant_id'] for frame in frames} == {'p1'}
    finally:
        made.close()
