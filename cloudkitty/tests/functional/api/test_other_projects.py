# SPDX-License-Identifier: Apache-2.0
"""Whatever a caller says, by whatever way, he is told nothing of another project and changes nothing of it.

Every attempt is made twice: of an API with data of other projects, and of one without. The answers must be the same to
the last byte. What cannot be the same, as both have the rules of other projects, must hold none of their marks.
"""

import itertools
import json
import re
import urllib.parse

import pytest
import sqlalchemy

from cloudkitty import coverage
from cloudkitty import storage
from cloudkitty import usage
from cloudkitty.api import policies
from cloudkitty.db import rating_modules
from cloudkitty.db import scopes
from cloudkitty.rating import chain
from cloudkitty.tests import dumps
from cloudkitty.tests import samples
from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.api import test_access
from cloudkitty.tests.functional.api import test_odd_requests
from cloudkitty.tests.functional.rating import test_hashmap
from cloudkitty.tests.unit.rating.hashmap import rules

ROUTES = test_access.ROUTES
DEFAULTS = test_access.DEFAULTS
#: Routes whose answers to those who are no administrators hold anything but a refusal.
OPEN = [
    name
    for name, route in ROUTES.items()
    if route.rule is None or DEFAULTS[route.rule] in (policies.EVERYBODY, policies.READER_OR_ADMIN)
]
#: Whom nobody but themselves and administrators may know of: a project like any other; for collations and LIKE the same
#: as p1, or part of it; what a caller without a project is taken for; and nobody's data.
OTHERS = ('project-b', 'P1', 'p1 ', 'ｐ1', 'p', '%', 'p_', 'nobody', 'None', 'null', 'ALL', '')
B = OTHERS[0]
#: What is in all data and rules of theirs, and in no request.
MARK = re.compile('secretb|SECRETB')
#: What tells rows and rule sets of the two from each other.
OWN = re.compile('[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|"created_at": "[^"]*"')
#: Larger than any number in the data of others, however it is added up.
LEAST = 10**11
PRICE, QUANTITY, COST = ('%d%s.25' % (digit, '0' * 11) for digit in (7, 8, 5))
#: Who is told something, and who is not.
CALLERS = {
    'insiders': ('reader', 'stranger', 'nobody-reader'),
    'outsiders': ('member', 'other', 'nobody', 'domain-admin', 'system-admin', 'garbage', None),
}
WINDOW = 'begin=2026-06-01&end=2026-07-01'
#: Ways to say another project where a caller may say text.
IDS = (
    B,
    *(id_ for id_ in OTHERS if id_ not in (B, '')),
    'PROJECT-B',
    'p1,%s' % B,
    '%s,p1' % B,
    "p1' OR '1'='1",
    '*',
    '..',
)
#: Words for a scope, in any API and any spelling.
WORDS = (
    *('tenant_id', 'tenant', 'project_id', 'project', 'scope_id', 'scope_ids', 'scope', 'customer', 'all_tenants'),
    *('TENANT_ID', 'Project_Id', 'groupby.project_id', 'project_id[]', 'project%5Fid', ' project_id', 'project_id\0'),
)
FILTERS = (
    *('%s:%s' % (word, B) for word in WORDS),
    *('project_id:%s' % id_ for id_ in IDS),
    *('project_id:p1,project_id:%s' % B, 'project_id:%s,project_id:p1' % B, 'project_id:', 'project_id:,id:'),
    *('id:resource-b', 'type:traffic', 'type:%', 'colour:blue', "x') OR ('1':'1", 'project_id:p1%%00%s' % B),
)
#: Name of an argument to what may be tried with it, of the text of a query; () for one that names nobody's data.
ATTEMPTS = {
    **dict.fromkeys(('tenant_id', 'scope_id', 'scope_ids'), IDS),
    **dict.fromkeys(('scope_key', 'fetcher', 'collector', 'service_id', 'field_id', 'group_id'), (B, '%', 'customer')),
    'filters': FILTERS,
    'attributes': (),
    'groupby': (
        *('project_id', 'id', 'type,id,project_id,colour,description', 'tenant_id,res_type', 'time', 'time-d,id'),
        *('scope_id', 'customer', 'PROJECT_ID', 'origin', 'series_id', 'time-m,project_id'),
    ),
    'custom_fields': (
        *('COUNT(*) AS n', 'SUM(price) AS a,MAX(qty) AS b,MIN(price) AS c', 'LAST(price) AS z,MEDIAN(qty) AS m'),
        *('SUM(price) AS project_id', 'SUM(price) FROM scope_days --', 'STDDEV(price) AS s'),
    ),
    'all_tenants': ('true', '1', 'True', 'on', 'yes', 'false&all_tenants=true', 'true&tenant_id=p1', 'true&tenant_id='),
    **dict.fromkeys(('metric', 'service', 'resource_type', 'metric_id', 'name'), ('traffic', 'other', '%', 'TRAFFIC')),
    'completeness': ('true',),
    'resolution': ('period', 'run', 'day'),
    'response_format': ('object',),
    'limit': ('1000', '1'),
    'offset': ('0', '1', '3'),
    'begin': ('1970-01-01', '2026-06-01T00:00:00%2B14:00', '1000-01-01'),
    'end': ('2999-01-01', '9998-01-01'),
    'status': ('rated', 'cancelled'),
    'order': ('asc',),
    **dict.fromkeys(
        ('module_id', 'mapping_id', 'threshold_id', 'script_id', 'service'), (B, 'hashmap', 'traffic', '%')
    ),
    **dict.fromkeys(
        ('filter_tenant', 'no_group', 'deleted', 'recursive', 'is_active', 'all', 'no_data', 'force', 'active'),
        ('true',),
    ),
    **dict.fromkeys(('created_by', 'updated_by', 'deleted_by', 'description', 'start'), ()),
    'Idempotency-Key': ('key-of-b',),
}
#: What each route needs to say anything.
NEEDED = {
    **dict.fromkeys([*test_access.FIGURES, *test_access.V2_FIGURES], WINDOW),
    test_access.EXPLAIN: 'metric=traffic&begin=2026-06-01T02:00:00',
}
#: Headers by which services behind the filter learn who asks, in spellings that some servers take for the same.
HEADERS = [
    {name: value}
    for names, value in (
        (('X-Project-Id', 'X-Tenant-Id', 'X_Project_Id', 'X-PROJECT-ID', 'X-Tenant', 'X-Project-Name'), B),
        (('X-Roles', 'X-Role', 'X_Roles', 'X-Service-Roles'), 'admin'),
        (('X-Identity-Status', 'X-Service-Identity-Status'), 'Confirmed'),
        (('X-Is-Admin-Project', 'OpenStack-System-Scope', 'X-Is-Admin'), 'True'),
        (('X-Service-Token', 'X-Subject-Token'), 'admin'),
        (('X-User-Id', 'X-Domain-Id', 'X-Service-Project-Id', 'X-Original-Url', 'X-Rewrite-Url'), B),
        (('X-HTTP-Method-Override', 'X-Method-Override'), 'PUT'),
    )
    for name in names
] + [
    {'X-Project-Id': B, 'X-Roles': 'admin,reader', 'X-Identity-Status': 'Confirmed', 'X-User-Id': 'user-of-b'},
    {'Accept': 'application/xml'}, {'Accept': 'text/csv'},
]  # fmt: skip
#: What is said in bodies of those who may not say anything.
VALUES = {
    **dict.fromkeys(('scope_ids', 'scope_id', 'tenant_id', 'project_id', 'fetcher', 'collector', 'scope_key'), B),
    'all_scopes': False, 'last_processed_timestamp': '2026-06-01', 'state': '2026-06-01', 'active': False,
    'start_reprocess_time': '2026-06-01', 'end_reprocess_time': '2026-06-01T02:00:00', 'reason': 'because',
    'recollect': False, 'task_ids': [1], 'adjustment_ids': [1], 'action': 'apply', 'closed_until': '2026-07-01',
    'status': 'CANCELLED', 'enabled': True, 'priority': 100, 'name': 'name',
    'dataframes': [{'period': {'begin': '2026-06-01', 'end': '2026-06-01T01:00:00'}, 'usage': {'traffic': [{
        'vol': {'unit': 'GiB', 'qty': 1}, 'rating': {'price': 1}, 'groupby': {'project_id': B}, 'metadata': {}}]}}],
    'resources': [{'service': 'traffic', 'volume': '1', 'desc': {'project_id': B, 'kind': 'xl'}}],
}  # fmt: skip
#: Quotes that try for the prices of another project.
QUOTES = (
    {'project_id': B}, {'tenant_id': B}, {'scope_id': B}, {'groupby': {'project_id': B}, 'metadata': {'tenant_id': B}},
    {'groupby': {'project_id': B, 'tenant_id': B, 'kind': 'xl'}}, {'metadata': {'project_id': B}},
)  # fmt: skip


class Pair:
    """The same API with and without data of other projects.

    :param options: of the file, besides.
    :param key: the scope key.
    """

    def __init__(self, url, options='', key='project_id'):
        self.others = deployment.Api('keystone', url=url, collect=options)
        self.alone = deployment.Api('keystone', collect=options)
        self.writes = []
        self.is_plain = url.startswith('sqlite') and not options
        for api in (self.alone, self.others):
            assert api.application
            api.storage = storage.from_options(api.conf, api.database)
            self._seed(api, key)
        self.before = list(dumps.read(self.others.url))
        sqlalchemy.event.listen(self.others.database.engine, 'before_cursor_execute', self._note)
        # The application has connections of its own.
        sqlalchemy.event.listen(sqlalchemy.Engine, 'before_cursor_execute', self._note)

    def _note(self, connection, cursor, statement, *args):
        word = statement.split()[0].upper()
        if word not in ('SELECT', 'BEGIN', 'ROLLBACK', 'COMMIT', 'PRAGMA', 'SET', 'EXPLAIN', 'SHOW', 'WITH'):
            self.writes.append(statement)

    def _seed(self, api, key):
        identity = scopes.Identity(key, 'keystone' if key == 'project_id' else 'source', 'gnocchi')
        made = rules.Rules().flat('0.1').flat(COST, tenant=B).flat('0.25', field='kind', value='xl')
        made = made.flat(COST, tenant=B, field='kind', value='SECRETB').threshold('flat', 5, '0.5')
        test_hashmap.store(api.database, [made.service('traffic')])
        rating_modules.set_enabled(api.database, 'hashmap', True)
        begin, length = samples.JUNE + 2 * samples.HOUR, samples.HOUR
        for owners in [('p1', 'p3')] + ([OTHERS] if api is self.others else []):
            is_other = 'p1' not in owners
            quantity, price = (QUANTITY, PRICE) if is_other else ('2', '0.5')
            if api.conf.storage.version == 1:
                # The table of old has no room for such quantities.
                quantity = '2'
            scopes.ensure(api.database, owners, identity, samples.instant(begin), length)
            states = [state for state in scopes.list_states(api.database, identity, owners) if state.scope.id in owners]
            assert len(states) == len(owners)
            columns = [
                samples.columns(
                    owner, metric, (begin,), (quantity,), (price,), unit='secretb' if is_other else 'GiB',
                    groupby={'id': 'secretb-%d' % number if is_other else 'id', key: owner, 'kind': 'xl'},
                    metadata={'colour': 'secretb' if is_other else 'red'},
                )
                for number, owner in enumerate(owners)
                for metric in ('traffic', *(['secretb.metric'] if is_other else ['image.size']))
            ]  # fmt: skip
            if not is_other:
                found = chain.load(api.database, deployment._RATING)
                columns = found.price(usage.Usage(usage.Batch(owners, (), begin, length, 1), columns, []))
                rule_set, columns = columns.rule_set, columns.columns
            else:
                rule_set = samples.RULES
            runs = [
                coverage.Run(owner, metric, begin, begin + length, status, rule_set)
                for owner in owners
                for metric, status in (
                    ('traffic', coverage.Status.RATED),
                    *((('secretb.failed', coverage.Status.FAILED),) if is_other else ()),
                )
            ]
            failures = [
                coverage.Failure(owner, 'secretb.failed', begin, begin, 1, begin + length, 'secretb: no answer')
                for owner in owners
                if is_other
            ]
            done = samples.commit(states, columns, begin, runs=runs)
            if failures:
                done = samples.commit(states, columns, begin, runs=runs, failures=failures)
            assert api.storage.commit(done).committed == set(owners)
        if api is self.others and key == 'project_id' and api.conf.storage.version == 2:
            answer = deployment.ask(
                api, '/v2/task/reprocesses', 'POST', headers={'X-Auth-Token': 'admin'},
                body={'scope_ids': B, 'start_reprocess_time': '2026-06-01T02:00:00', 'reason': 'secretb',
                      'end_reprocess_time': '2026-06-01T02:00:00'},
            )  # fmt: skip
            assert answer.status_code == 202, answer.text

    def ask(self, path, method, body, headers, kind='application/json'):
        """Return the two answers; with other projects first."""
        given = dict(headers)
        if body is not None:
            given['Content-Type'] = kind
        return [deployment.ask(api, path, method, body, given) for api in (self.others, self.alone)]

    def close(self):
        sqlalchemy.event.remove(self.others.database.engine, 'before_cursor_execute', self._note)
        sqlalchemy.event.remove(sqlalchemy.Engine, 'before_cursor_execute', self._note)
        self.others.close()
        self.alone.close()


@pytest.fixture(
    scope='module',
    params=[
        'sqlite',
        'sqlite, another scope key',
        'sqlite, storage version 1',
    ],
)
def pair(request, tmp_path_factory):
    kind, _, more = request.param.partition(', ')
    options, key = {
        'another scope key': ('scope_key = customer\n[fetcher]\nbackend = source', 'customer'),
        'storage version 1': ('[storage]\nversion = 1', 'project_id'),
        '': ('', 'project_id'),
    }[more]
    urls = conftest.make_url(kind, tmp_path_factory.mktemp('others'))
    made = Pair(next(urls), options, key)
    yield made
    made.close()
    next(urls, None)


def list_paths(route):
    """Yield the paths of *route*, with something of another project in place of each argument in it."""
    names = re.findall(r'\{(\w+)\}', route.path)
    for values in itertools.zip_longest(*(ATTEMPTS[name] for name in names), fillvalue=B) if names else [()]:
        path = route.path
        for name, value in zip(names, values, strict=True):
            path = path.replace('{%s}' % name, urllib.parse.quote(value, safe=''), 1)
        yield path
    if names:
        for dots in ('..%2f..%2f', '%2e%2e/', '//', 'p1/../'):
            yield re.sub(r'\{\w+\}', dots + B, route.path)


def list_queries(name, route):
    """Yield queries that name another project's data."""
    needed = NEEDED.get(name, '')
    yield needed
    for argument in route.arguments:
        if '{%s}' % argument in route.path or argument in routes_headers(route):
            continue
        rest = '&'.join(part for part in needed.split('&') if not part.startswith(argument + '='))
        for value in ATTEMPTS[argument]:
            yield '%s&%s=%s' % (rest, argument, quote(value))
        if argument in ('tenant_id', 'scope_id', 'scope_ids'):
            for pair in (('p1', B), (B, 'p1'), ('', B)):
                yield '%s&%s' % (rest, '&'.join('%s=%s' % (argument, value) for value in pair))
        if argument == 'filters':
            for pair in (('project_id:p1', 'project_id:' + B), ('project_id:' + B, 'project_id:p1')):
                yield '%s&%s' % (rest, '&'.join('filters=' + value for value in pair))
        if argument == 'groupby':
            for filters in FILTERS[::5]:
                yield '%s&groupby=project_id,id,type&filters=%s' % (rest, quote(filters))
    for word in WORDS:
        yield '%s&%s=%s' % (needed, word.replace('\0', '%00').replace(' ', '%20'), B)


def quote(value):
    """Return *value* as a query has it; escapes and further parameters in it stay."""
    return urllib.parse.quote(value, safe="%&=:,*()'")


def routes_headers(route):
    return [argument for argument in route.arguments if argument[0].isupper()]


def list_bodies(name, route):
    """Yield (body, type) of what may be said in a body, whether the route takes one or not."""
    if name == 'POST /v1/rating/quote':
        for desc in QUOTES:
            for more in ({}, {'tenant_id': B}, {'project_id': B}):
                yield {'resources': [{'service': 'traffic', 'volume': '1', 'desc': desc, **more}]}, 'application/json'
        return
    if isinstance(route.body, dict):
        members = list(route.body)
    elif route.body is not None:
        members = [attribute.name for attribute in route.body._wsme_attributes]
    else:
        members = [argument for argument in route.arguments if '{%s}' % argument not in route.path]
    said = {member: VALUES[member] for member in members if member in VALUES}
    yield said, 'application/json'
    yield {'tenant_id': B}, 'application/json'
    yield {'filters': ['project_id:' + B], 'all_tenants': True}, 'application/json'
    yield ('tenant_id=%s&filters=project_id:%s&scope_id=%s' % (B, B, B)).encode(), 'application/x-www-form-urlencoded'
    if said:
        yield {**said, 'tenant_id': B, 'project_id': B}, 'application/json'


def list_attempts(name, route):
    """Yield (method, path, body, type, headers) of every attempt at *route*."""
    needed = NEEDED.get(name, '')
    for path in list_paths(route):
        yield route.method, '%s?%s' % (path, needed), None, None, {}
    path = re.sub(r'\{\w+\}', B, route.path)
    # What is refused whatever one says needs fewer words.
    for query in itertools.islice(list_queries(name, route), 0, None, 1 if name in OPEN else 6):
        yield route.method, '%s?%s' % (path, query), None, None, {}
    for body, kind in list_bodies(name, route):
        yield route.method, '%s?%s' % (path, needed), body, kind, {}
    for headers in HEADERS if name in OPEN else HEADERS[::3]:
        yield route.method, '%s?%s' % (path, needed), None, None, headers
        if name in test_access.V2_FIGURES:
            yield route.method, '%s?%s&filters=project_id:%s' % (path, needed, B), None, None, headers
    for other in ('HEAD', 'OPTIONS', 'PROPFIND'):
        yield other, '%s?%s' % (path, needed), None, None, {}


def look(answer):
    """Return what the caller is told, without what is new each time."""
    headers = {name: value for name, value in answer.headers.items() if name.lower() != 'x-openstack-request-id'}
    return answer.status_code, OWN.sub('*', answer.text), headers


def check_marks(answer, attempt):
    """Raise AssertionError if *answer* holds a mark of others."""
    text = OWN.sub('*', answer.text + str(answer.headers))
    assert not MARK.search(text), (attempt, text)
    for number in re.findall(r'(?<![\w-])\d+(?:\.\d+)?(?:[eE]\+?\d+)?', text):
        assert float(number) < LEAST, (attempt, text)


@pytest.mark.parametrize('callers', CALLERS)
@pytest.mark.parametrize('name', ROUTES)
def test_nothing_of_others_is_told_or_changed(pair, name, callers):
    route = ROUTES[name]
    if not pair.is_plain and name not in OPEN:
        pytest.skip('It is refused before anybody looks at what there is.')
    if name.partition(' ')[2].startswith('/v2') and pair.others.conf.storage.version == 1:
        pytest.skip('There is no v2 over the table of old.')
    callers = CALLERS[callers] if name in OPEN else CALLERS[callers][:1]
    count = 0
    # Where only the database or an option differs, fewer words do.
    for attempt in itertools.islice(list_attempts(name, route), 0, None, 1 if pair.is_plain else 4):
        method, path, body, kind, headers = attempt
        for caller in callers:
            token = {'X-Auth-Token': caller} if caller else {}
            found, alone = pair.ask(path, method, body, {**headers, **token}, kind)
            assert found.status_code < 500, (caller, attempt, found.text)
            assert look(found) == look(alone), (caller, attempt)
            check_marks(found, (caller, attempt))
            assert pair.writes == [], (caller, attempt)
            if method == 'OPTIONS':
                # Browsers ask before they have a token.
                assert found.body in (b'', b'{}') or found.status_code >= 400, (caller, attempt)
            elif caller in ('garbage', None):
                assert found.status_code in (401, 404), (caller, attempt)
            elif name not in OPEN and method == route.method:
                assert found.status_code in (400, 401, 403, 404, 405, 406), (caller, attempt, found.text)
            count += 1
    assert list(dumps.read(pair.others.url)) == pair.before
    assert count >= 5


def test_administrators_see_what_the_others_must_not(pair):
    """The marks are where they would be found."""
    admin = {'X-Auth-Token': 'admin'}
    paths = ['/v1/report/total?all_tenants=true', '/v1/report/summary?all_tenants=true', '/v1/storage/dataframes?']
    if pair.others.conf.storage.version == 2:
        paths += ['/v2/summary?groupby=unit', '/v2/dataframes?', '/v2/coverage?']
        assert 'secretb' in deployment.ask(pair.others, '/v2/coverage?' + WINDOW, headers=admin).text
    for path in paths:
        found, alone = pair.ask('%s&%s' % (path, WINDOW), 'GET', None, admin)
        assert (found.status_code, alone.status_code) == (200, 200), (path, found.text)
        with pytest.raises(AssertionError):
            check_marks(found, path)
        check_marks(alone, path)


def test_every_argument_is_tried():
    """A route with an argument that is not known here needs a line in the table."""
    arguments = {argument for route in ROUTES.values() for argument in route.arguments}
    assert arguments - set(ATTEMPTS) == set()
    members = {member for route in ROUTES.values() if isinstance(route.body, dict) for member in route.body}
    assert members - set(VALUES) == set()


@pytest.mark.parametrize(
    'path', ['/healthcheck/../v1/report/total', '//v1/report/total', '/v2//summary', '/v1/../v1/report/total', '/%2f',
             '/v1/%2e%2e/v2/summary', '/healthcheck/v1/report/total', '/v1/report/total/', '/V1/report/total',
             '/v1/;/report/total', '/.//v1/report/total', '/v1?/report/total', '/v2#/summary']
)  # fmt: skip
@pytest.mark.parametrize('spoof', [False, True])
def test_open_doors_lead_nowhere(pair, path, spoof):
    headers = {'X-Project-Id': B, 'X-Roles': 'admin', 'X-Identity-Status': 'Confirmed'} if spoof else {}
    found, alone = pair.ask(path, 'GET', None, headers)
    assert look(found) == look(alone)
    check_marks(found, path)
    assert found.status_code in (200, 300, 401, 404, 405)
    if found.status_code == 200:
        assert b'"links"' in found.body or b'"v1"' in found.body or found.body in (b'OK', b'{}')


def test_what_only_a_socket_can_say():
    """Headers twice, with underscores, folded, and requests within requests, of the command itself."""
    api = deployment.Api('keystone').seed()
    target = b'/v1/report/summary?all_tenants=false&groupby=tenant_id&' + WINDOW.encode()
    spoofs = (
        b'X-Project-Id: p2\r\nX-Project-Id: p2\r\n', b'X_Project_Id: p2\r\nX_Roles: admin\r\n',
        b'X-Roles: admin\r\nX-Project-Id: p2\r\nX-Identity-Status: Confirmed\r\n', b'X_Auth_Token: admin\r\n',
        b'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', b'X-Service-Token: admin\r\n',
        b'X-Forwarded-Prefix: /x\r\nX-Original-URL: /v1/report/tenants\r\n', b'Connection: X-Auth-Token\r\n',
    )  # fmt: skip
    try:
        with test_odd_requests.run(api) as port:
            for spoof in spoofs:
                headers = b'X-Auth-Token: reader\r\n' + spoof
                answer = test_odd_requests.send(port, test_odd_requests.get(target, headers))
                assert b'p2' not in answer and b'"1.0"' not in answer, (spoof, answer)
                found = answer.split(b' ', 2)[1] if answer else b'400'
                assert found in (b'200', b'400', b'401', b'403'), (spoof, answer)
                assert found != b'200' or b'p1' in answer, (spoof, answer)
                # Without a token.
                answer = test_odd_requests.send(port, test_odd_requests.get(target, spoof))
                assert not answer or answer.split(b' ', 2)[1] in (b'400', b'401'), (spoof, answer)
    finally:
        api.close()


def test_bodies_that_are_tried_are_json():
    json.dumps([VALUES, QUOTES])
