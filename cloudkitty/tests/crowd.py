# SPDX-License-Identifier: Apache-2.0
"""Many clients that change rules while others read: what each was told is compared with what is there afterwards."""

import collections
import concurrent.futures
import random
import threading
import time

import requests

HASHMAP = '/v1/rating/module_config/hashmap'
SCRIPTS = '/v1/rating/module_config/pyscripts/scripts'
WINDOW = 'begin=2026-06-01&end=2026-07-01'
#: Names that everybody fights for.
CONTESTED = ['contested-%d' % number for number in range(4)]
READS = {
    'total': ('GET', '/v1/report/total?all_tenants=true&' + WINDOW, None),
    'summary': ('GET', '/v1/report/summary?all_tenants=true&groupby=tenant_id,res_type&' + WINDOW, None),
    'frames': ('GET', '/v1/storage/dataframes?' + WINDOW, None),
    'quote': ('POST', '/v1/rating/quote', {'resources': [{'service': 'contested-0', 'volume': 2}]}),
    'mappings': ('GET', HASHMAP + '/mappings', None),
    'modules': ('GET', '/v1/rating/modules', None),
}


class Client:
    """One of the crowd: it has rules of its own, which nobody else touches, and fights for others.

    :ivar told: {URL of a rule of its own: what it was told last; None: that it is deleted}.
    :ivar changes: how many changes of rules were accepted.
    """

    def __init__(self, crowd, number):
        self._crowd = crowd
        self._random = random.Random('%s-%d' % (crowd.seed, number))
        self._session = requests.Session()
        self._name = 'client-%d' % number
        self._count = 0
        self._parents = {}
        self.told = {}
        self.changes = 0

    def ask(self, kind, method, path, body=None, expected=(200,)):
        begin = time.perf_counter()
        answer = self._session.request(
            method, self._crowd.url + path, json=body, timeout=120, allow_redirects=False, headers=self._crowd.headers
        )
        self._crowd.note(kind, time.perf_counter() - begin, answer, expected)
        if method != 'GET' and kind in CHANGES and answer.status_code in (201, 204, 302):
            self.changes += 1
        return answer

    def run(self, count):
        """Make *count* steps, some of them of several requests."""
        made = self.ask('service', 'POST', HASHMAP + '/services', {'name': self._name}, (201,)).json()
        self._parents = {'service_id': made['service_id']}
        group = self.ask('group', 'POST', HASHMAP + '/groups', {'name': self._name}, (201,)).json()
        self._parents['group_id'] = group['group_id']
        steps = [self._make_rule, self._change_rule, self._delete_rule, self._fight, self._read, self._read]
        for _ in range(count):
            self._random.choice(steps)()
        self._session.close()

    def _unique(self):
        self._count += 1
        return '%s-%d' % (self._name, self._count)

    def _make_rule(self):
        kind = self._random.choice(['mapping', 'threshold', 'script', 'field'])
        if kind == 'field':
            body = {'service_id': self._parents['service_id'], 'name': self._unique()}
            path = HASHMAP + '/fields'
        elif kind == 'mapping':
            field = self._field()
            body = {'field_id': field, 'value': self._unique(), 'cost': self._cost(), 'start': '2999-01-01'}
            body['group_id'] = self._parents['group_id']
            path = HASHMAP + '/mappings'
        elif kind == 'threshold':
            self._count += 1
            body = {**self._parents, 'level': self._count, 'cost': self._cost()}
            path = HASHMAP + '/thresholds'
        else:
            body = {'name': self._unique(), 'data': 'x = %d' % self._count, 'start': '2999-01-01'}
            path = SCRIPTS
        made = self.ask(kind, 'POST', path, body, (201,)).json()
        self.told['%s/%s' % (path, made['%s_id' % kind])] = made

    def _field(self):
        for url, told in self.told.items():
            if '/fields/' in url and told:
                return told['field_id']
        made = self.ask(
            'field', 'POST', HASHMAP + '/fields', {'service_id': self._parents['service_id'], 'name': 'own'}, (201,)
        ).json()
        self.told['%s/fields/%s' % (HASHMAP, made['field_id'])] = made
        return made['field_id']

    def _cost(self):
        return '%d.%d' % (self._random.randrange(1000), self._random.randrange(1000))

    def _own(self, *kinds):
        return [url for url, told in self.told.items() if told and any('/%s/' % kind in url for kind in kinds)]

    def _change_rule(self):
        urls = self._own('mappings', 'thresholds', 'scripts')
        if not urls:
            return
        url = self._random.choice(urls)
        told = self.told[url]
        kind = url.split('/')[-2].rstrip('s')
        body = {name: value for name, value in told.items() if name != 'checksum'}
        if kind == 'script':
            body['data'] += '\nx += 1'
        else:
            body['cost'] = self._cost()
        answer = self.ask(kind, 'PUT', url, body, (201, 302))
        if answer.status_code == 201:
            self.told[url] = answer.json()
        else:
            self.told[url] = told | {'cost': body['cost']}

    def _delete_rule(self):
        urls = self._own('mappings', 'thresholds', 'scripts')
        if urls:
            url = self._random.choice(urls)
            self.ask(url.split('/')[-2].rstrip('s'), 'DELETE', url, expected=(204,))
            self.told[url] = None

    def _fight(self):
        """Make or delete a service that everybody wants, and the rule of it that can be only once."""
        name = self._random.choice(CONTESTED)
        self.ask('service', 'POST', HASHMAP + '/services', {'name': name}, (201, 409))
        found = [
            service['service_id']
            for service in self.ask('services', 'GET', HASHMAP + '/services').json()['services']
            if service['name'] == name
        ]
        assert len(found) <= 1, 'two services %s' % name
        if found:
            body = {'service_id': found[0], 'cost': self._cost()}
            self.ask('mapping', 'POST', HASHMAP + '/mappings', body, (201, 400, 409))
            if self._random.random() < 0.3:
                self.ask('service', 'DELETE', '%s/services/%s' % (HASHMAP, found[0]), expected=(204, 404))

    def _read(self):
        kind = self._random.choice(list(READS))
        self.ask(kind, *READS[kind])

    def check(self, shown):
        """Return what differs from what it was told.

        :param shown: {URL: rule} of all that are there.
        """
        problems = []
        for url, told in self.told.items():
            if told is None:
                if url in shown:
                    problems.append('%s was deleted, and is there' % url)
                continue
            found = shown.get(url)
            same = found is not None and all(_is_same(found[name], told[name]) for name in told if name in COMPARED)
            if not same:
                problems.append('%s: told %r, found %r' % (url, told, found))
        return problems


CHANGES = ('service', 'field', 'group', 'mapping', 'threshold', 'script')
COMPARED = ('name', 'cost', 'level', 'value', 'data', 'checksum', 'service_id', 'field_id', 'group_id')


def _is_same(one, other):
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return one == other


class Crowd:
    """*size* clients of the API at *url*.

    :ivar times: {kind of request: [seconds]}.
    :ivar problems: answers that should not have come.
    """

    def __init__(self, url, size=32, seed=0, headers=None):
        self.url = url
        self.seed = seed
        self.headers = headers or {}
        self.times = collections.defaultdict(list)
        self.statuses = collections.Counter()
        self.problems = []
        self.clients = [Client(self, number) for number in range(size)]
        self._lock = threading.Lock()

    def note(self, kind, seconds, answer, expected):
        with self._lock:
            self.times[kind].append(seconds)
            self.statuses[answer.status_code] += 1
            if answer.status_code not in expected:
                request = answer.request
                self.problems.append(
                    '%s %s: %d %s' % (request.method, request.path_url, answer.status_code, answer.text[:300])
                )

    def run(self, steps):
        """Let each client make *steps*, all at the same time."""
        with concurrent.futures.ThreadPoolExecutor(len(self.clients)) as executor:
            for done in [executor.submit(client.run, steps) for client in self.clients]:
                done.result()
        return self

    def check(self):
        """Return all that is wrong with the answers, and with what is there now."""
        shown = {}
        by_service = collections.Counter()
        services = self._list(HASHMAP + '/services', 'services')
        for service in services:
            for field in self._list('%s/fields?service_id=%s' % (HASHMAP, service['service_id']), 'fields'):
                shown['%s/fields/%s' % (HASHMAP, field['field_id'])] = field
        for mapping in self._list(HASHMAP + '/mappings', 'mappings'):
            shown['%s/mappings/%s' % (HASHMAP, mapping['mapping_id'])] = mapping
            by_service[mapping['service_id']] += bool(mapping['service_id'])
        for threshold in self._list(HASHMAP + '/thresholds', 'thresholds'):
            shown['%s/thresholds/%s' % (HASHMAP, threshold['threshold_id'])] = threshold
        for script in self._list(SCRIPTS, 'scripts'):
            shown['%s/%s' % (SCRIPTS, script['script_id'])] = script
        problems = list(self.problems)
        for client in self.clients:
            problems += client.check(shown)
        names = [service['name'] for service in services]
        problems += ['service %s is there twice' % name for name in set(names) if names.count(name) > 1]
        ids = {service['service_id'] for service in services}
        problems += ['mappings of service %s: %d' % pair for pair in by_service.items() if pair[1] > 1]
        problems += ['orphans of service %s' % id_ for id_ in by_service if id_ and id_ not in ids]
        return problems

    def changes(self):
        """Return how many changes of rules were accepted."""
        return sum(client.changes for client in self.clients)

    def _list(self, path, member):
        return requests.get(self.url + path, timeout=120, headers=self.headers).json()[member]
