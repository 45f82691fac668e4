# SPDX-License-Identifier: Apache-2.0
"""Odd words and values in every place where a caller may say something: refused by name or taken as they are.

Each parameter, part of a path, header and member of a body of every route gets each of them, the rest being good. An
answer is never a server error, tells nothing of the inside, and one that refuses names what it refuses.
"""

import copy
import json
import re
import urllib.parse

import pytest

from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.api import test_other_projects

ROUTES = test_other_projects.ROUTES
LONG = 5000
#: What texts may be, besides what they are for; those that mean something to a database, and all.
WORDS_FOR_SERVERS = (
    # SQL, and LIKE
    "'", '"', '`', "' OR '1'='1", "1; DROP TABLE storage_states; --", "' UNION SELECT 1,2,3 --", "\\'; SELECT 1",
    '1) OR (1=1', "sleep(10)", "'||(SELECT 1)||'", '/**/', '%', '_', '%%%s', '%(name)s', '\\%', ':name', '?',
    '$1', '@@version',
    # characters
    '\0', 'a\0b', '\ufffe\uffff', '\U0001f4a9', 'e\u0301', '\u202e', '\ufeff', '\x7f', '\x1b[31m', '\t', ' ',
    '\u2028', 'ſ', 'İ', 'ß' * 255, '\r\nX-Odd: 1', 'a\nb',
)  # fmt: skip
WORDS = (
    *WORDS_FOR_SERVERS,
    # paths, formats, templates, markup
    '../../../../etc/passwd', '..\\..\\boot.ini', '/etc/passwd', 'file:///etc/passwd', '.', '..', '%2e%2e%2f',
    '%s%n%x', '{0}', '{0.__class__}', '%(x)d', '{{7*7}}', '${7*7}', '<%= 7 %>', '#{7}', '<script>alert(1)</script>',
    '<!DOCTYPE a [<!ENTITY b "c">]>', '$(id)', '`id`', '|id', '__class__', '__proto__', "__import__('os')",
    # numbers and times
    '-1', '0', '1e999999999', '1e-999999999', 'NaN', '-Infinity', 'Infinity', '9' * 400, '0x10', '1_000', '٣',
    '½', '-0', '9223372036854775808', '2147483648', '0001-01-01', '9999-12-31T23:59:59', '2026-02-30',
    '2026-06-01T25:00', '24:00', '-1-1', '2026-06-01T00:00:00+99:99', '1780272000', 'now',
    # lists and pairs
    '', ',', ',,,', ':', 'a:b:c', 'a:', ':a', 'null', 'None', 'true', '[]', '{}', '[' * 100, 'a,' * 100, 'a' * LONG,
)  # fmt: skip
#: What members of a body may be besides words.
VALUES = (
    None, True, False, 0, -1, 1.5, -0.0, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, 5e-324, float('nan'),
    float('inf'), -float('inf'), [], [[]], [None], {}, {'': ''}, {'a': {'b': ['c']}}, ['a'] * 300,
    {'%s' % number: 0 for number in range(300)}, '\ud800', 'a\udfffb',
)  # fmt: skip
DEEP = '[' * 2000 + ']' * 2000
#: Nobody outside is told of these.
INSIDE = re.compile(
    'Traceback|sqlalchemy|sqlite3|pymysql|psycopg|SELECT .*FROM|INSERT INTO|site-packages|\\.py"|root:x', re.I
)
CONFIG = '/v1/rating/module_config/'
#: What answers name where no member is to blame: that there is no such one, and that it is no JSON at all.
AS_A_WHOLE = ('There is no member', 'The body ', 'The request ', 'The type ', 'already, and that is not finished')
#: Older names of members, which answers call by the other.
SAME = {'state': 'last_processed_timestamp'}
WINDOW = {'begin': '2026-06-01', 'end': '2026-07-01'}
#: Good values of parameters, where one has to be there that others get as far as they can.
NEEDED = {
    **dict.fromkeys(test_other_projects.NEEDED, WINDOW),
    **{
        'GET %shashmap/%s' % (CONFIG, kind): {'service_id': '{service}'}
        for kind in ('fields', 'groups', 'mappings', 'thresholds')
    },
    'POST /v1/collector/mappings': {'collector': 'gnocchi', 'service': 'cpu'},
    'GET /v2/explain': {'metric': 'instance', 'begin': '2026-06-01', 'scope_id': 'p1'},
}
IDS = {'module_id': 'hashmap', 'metric_id': 'cpu', 'scope_id': 'p1', 'service': 'cpu'}
FRAME = {
    'period': {'begin': '2026-02-01', 'end': '2026-02-02'},
    'usage': {
        'fee': [
            {
                'vol': {'unit': 'u', 'qty': 1},
                'rating': {'price': 1},
                'groupby': {'project_id': 'p'},
                'metadata': {'colour': 'red'},
            }
        ]
    },
}
#: Good bodies.
BODIES = {
    'POST %shashmap/services' % CONFIG: {'name': 'good'},
    'POST %shashmap/fields' % CONFIG: {'service_id': '{service}', 'name': 'good'},
    'POST %shashmap/groups' % CONFIG: {'name': 'good'},
    **dict.fromkeys(
        ('POST %shashmap/mappings' % CONFIG, 'PUT %shashmap/mappings/{mapping_id}' % CONFIG),
        {'service_id': '{service}', 'cost': '1', 'type': 'flat', 'tenant_id': 'good'},
    ),
    **dict.fromkeys(
        ('POST %shashmap/thresholds' % CONFIG, 'PUT %shashmap/thresholds/{threshold_id}' % CONFIG),
        {'service_id': '{service}', 'level': '1', 'cost': '1', 'type': 'flat', 'tenant_id': 'good'},
    ),
    'POST %spyscripts/scripts' % CONFIG: {'name': 'good', 'data': 'pass'},
    'POST /v1/rating/quote': {'resources': [{'service': 'traffic', 'volume': '1', 'desc': {'kind': 'xl'}}]},
    'POST /v2/dataframes': {'dataframes': [FRAME]},
    'PUT /v2/scope': {'scope_id': ['p1'], 'state': '2026-06-01'},
    'POST /v2/scope': {
        'scope_id': 'good',
        'scope_key': 'project_id',
        'fetcher': 'f',
        'collector': 'c',
        'last_processed_timestamp': '2026-06-01',
    },
    'PUT %spyscripts/scripts/{script_id}' % CONFIG: {'name': 'good', 'data': 'pass'},
    'PUT /v1/collector/states/{name}': {'name': 'gnocchi', 'enabled': True},
    'PUT /v1/collector/{name}/states': {'name': 'gnocchi', 'enabled': True},
    'PUT /v1/rating/modules/{module_id}': {'module_id': 'hashmap', 'enabled': True, 'priority': 1},
    'PUT /v2/rating/modules/{module_id}': {'enabled': True, 'priority': 1},
    'PUT /v2/adjustments': {'adjustment_ids': [1], 'action': 'apply'},
    'PATCH /v2/task/reprocesses': {'task_ids': [1], 'status': 'cancelled'},
    'POST /v2/task/reprocesses': {
        'scope_ids': 'p1',
        'start_reprocess_time': '2026-06-01',
        'end_reprocess_time': '2026-06-01T01:00:00',
        'reason': 'because',
    },
    'PATCH /v2/scope': {'scope_id': 'p1', 'active': True},
}


@pytest.fixture
def api(make_api, ready_url, database_kind):
    made = make_api('noauth', url=ready_url).seed().rate()
    answer = deployment.ask(made, CONFIG + 'hashmap/services', 'POST', {'name': 'given'})
    made.service = answer.json['service_id']
    made.words = WORDS if database_kind == 'sqlite' else WORDS_FOR_SERVERS
    return made


def list_members(route):
    """Return names of the members of a route's body."""
    return list(route.body) if isinstance(route.body, dict) else [item.name for item in route.body._wsme_attributes]


def vary(value, names=()):
    """Yield (names on the way, copy of *value* with 'HERE' in place of one of its parts), for every part."""
    yield names, 'HERE'
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in parts:
        for found, changed in vary(item, (*names, *([key] if isinstance(key, str) else []))):
            made = copy.copy(value)
            made[key] = changed
            yield found, made
        if isinstance(value, dict):
            made = {name: thing for name, thing in value.items() if name != key}
            yield (*names, key), {**made, 'HERE': item}


def list_bodies(name, route, words):
    """Yield (names of what is varied, text) of every body."""
    good = BODIES[name]
    shapes = list(vary(good))
    shapes += [((member,), {**good, member: 'HERE'}) for member in list_members(route) if member not in good]
    for names, body in shapes:
        text = json.dumps(body)
        is_name = '"HERE":' in text
        for value in (*words, *VALUES):
            if isinstance(value, str) or not is_name:
                yield names, text.replace('"HERE"', json.dumps(value))
        if not is_name:
            yield names, text.replace('"HERE"', DEEP)


def check(names, answer, said):
    """Return what is wrong with *answer*, None for nothing."""
    text = answer.text
    if answer.status_code >= 500 or INSIDE.search(text.replace(said, '')) or 'X-Odd' in answer.headers:
        return '%s: %d %s' % (said[:200], answer.status_code, text[:200])
    if (
        answer.status_code == 400
        and names
        and not any(part in text for part in (*names, *(SAME.get(part, part) for part in names), *AS_A_WHOLE))
    ):
        return '%s: %s is not named in %s' % (said[:200], names, text[:200])
    return None


@pytest.mark.parametrize('name', ROUTES)
def test_paths_and_parameters(api, name):
    route = ROUTES[name]
    arguments = re.findall(r'{(\w+)}', route.path)
    body = None
    if route.body is not None:
        body = json.dumps(BODIES[name]).replace('{service}', api.service).encode()
    found = []
    for varied in route.arguments:
        for word in api.words:
            headers = {}
            path = route.path
            for argument in arguments:
                value = word if argument == varied else IDS.get(argument, 'nope')
                path = path.replace('{%s}' % argument, urllib.parse.quote(value, safe=''))
            query = {key: value.replace('{service}', api.service) for key, value in NEEDED.get(name, {}).items()}
            if varied[0].isupper():
                if re.search('[\0\r\n]', word) or not word.isascii():
                    continue
                headers = {varied: word}
            elif varied not in arguments:
                query[varied] = word
            answer = deployment.ask(api, '%s?%s' % (path, urllib.parse.urlencode(query)), route.method, body, headers)
            found.append(check(() if varied in arguments else (varied,), answer, word))
    assert not any(found), '\n'.join(filter(None, found))


@pytest.mark.parametrize('name', [name for name, route in ROUTES.items() if route.body is not None])
def test_bodies(api, name):
    route = ROUTES[name]
    path = re.sub(r'{(\w+)}', lambda argument: IDS.get(argument[1], 'nope'), route.path)
    found = []
    for names, body in list_bodies(name, route, api.words):
        body = body.replace('{service}', api.service)
        answer = deployment.ask(api, path, route.method, body.encode())
        found.append(check(names, answer, body))
    assert not any(found), '\n'.join(filter(None, found))
    # What was taken can be shown.
    for other, shown in ROUTES.items():
        if shown.method == 'GET' and '{' not in shown.path:
            query = urllib.parse.urlencode(NEEDED.get(other, {})).replace('%7Bservice%7D', api.service)
            answer = deployment.ask(api, '%s?%s' % (shown.path, query))
            assert answer.status_code in (200, 204, 400, 404), (other, answer.text)
