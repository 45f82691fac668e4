# SPDX-License-Identifier: Apache-2.0
"""Clients of the API, each with a plan of its own; what they were told goes to the oracle, and what they never were."""

import contextlib
import datetime
from decimal import Decimal
import http.client
import json
import random
import threading
import time

from cloudkitty import period
from cloudkitty.tests.faults import oracle
from cloudkitty.tests.faults import world as worlds

HOUR = worlds.HOUR
HASHMAP = '/v1/rating/module_config/hashmap/'
#: Seconds that a client waits for an answer.
PATIENCE = 60
#: How often a client does what.
WEIGHTS = {'change_rule': 3, 'reset': 2, 'reprocess': 3, 'push': 6, 'push_with_key': 6, 'read': 4}


def _print(second):
    return datetime.datetime.fromtimestamp(second, period.UTC).replace(tzinfo=None).isoformat()


class Lost(Exception):
    """Nobody knows what became of a request."""


class Client:
    """:param place: function that returns address and port of the API."""

    def __init__(self, place):
        self._place = place

    def ask(self, method, path, body=None, headers=None):
        """Return status and parsed answer; raise Lost."""
        connection = http.client.HTTPConnection(*self._place(), timeout=PATIENCE)
        content = None if body is None else json.dumps(body)
        sent = {'Content-Type': 'application/json', 'X-User-Id': 'lab', **(headers or {})}
        try:
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Lost(str(error)) from error
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text) if text else None
        except ValueError:
            return answer.status, text.decode(errors='replace')

    def insist(self, method, path, body=None, headers=None, seconds=120):
        """Ask until there is an answer that is no trouble of the service."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(Lost):
                status, answer = self.ask(method, path, body, headers)
                if status < 500:
                    return status, answer
            if time.monotonic() > deadline:
                raise Lost('%s %s is never answered' % (method, path))
            time.sleep(0.2)


class Rules:
    """The rules of the laboratory, each a flat cost of one thing.

    :ivar costs: all that were ever sent.
    """

    def __init__(self, client):
        self._client = client
        self._number = 0
        self.costs = set()
        self._parents = {}
        self._places = []

    def make(self):
        """Make services, fields and the first rules, and enable the module."""
        start = _print(worlds.BEGIN - HOUR * 24)
        self._start = start
        for metric, (kind, _, attribute) in worlds.METRICS.items():
            _, service = self._client.insist('POST', HASHMAP + 'services', {'name': metric})
            if attribute is None:
                self._places.append(({'service_id': service['service_id']}, start))
                continue
            body = {'service_id': service['service_id'], 'name': attribute}
            _, field = self._client.insist('POST', HASHMAP + 'fields', body)
            for value in worlds.VALUES[kind]:
                self._places.append(({'field_id': field['field_id'], 'value': value}, start))
        for place, _ in self._places:
            self._create(place)
        self._client.insist('PUT', '/v1/rating/modules/hashmap', {'module_id': 'hashmap', 'enabled': True})

    def _create(self, place):
        self._number += 1
        cost = '%d.%03d' % (self._number // 100 + 1, self._number % 100)
        self.costs.add(Decimal(cost))
        body = {**place, 'cost': cost, 'type': 'flat', 'start': self._start}
        return self._client.insist('POST', HASHMAP + 'mappings?force=true', body)

    def change(self, dice):
        """Take a rule away and make another one in its place; in between there is none."""
        place, _ = dice.choice(self._places)
        (parent,) = (name for name in place if name.endswith('_id'))
        status, found = self._client.insist('GET', HASHMAP + 'mappings?%s=%s' % (parent, place[parent]))
        if status != 200:
            return
        for mapping in found['mappings']:
            if mapping.get('value') == place.get('value'):
                self._client.insist('DELETE', HASHMAP + 'mappings/' + mapping['mapping_id'])
        self._create(place)


class Crowd:
    """Clients that go on until they are told to stop.

    :param pause: seconds between two requests of a client, on average.
    :param weights: how often they do what, where that is not as usual.

    :ivar pushed: what they pushed, for the oracle.
    :ivar done: {what: how often it was acknowledged}, *unknown* where the answer was lost.
    """

    def __init__(self, seed, place, world, note, pause=0.4, weights=None):
        self._seed = seed
        self._client = Client(place)
        self._world = world
        self._note = note
        self._pause = pause
        self._weights = {**WEIGHTS, **(weights or {})}
        self._stopping = threading.Event()
        self._held = threading.Event()
        self._threads = []
        self._numbers = 0
        self._lock = threading.Lock()
        self.rules = Rules(self._client)
        self.pushed = []
        self.done = {}
        self.problems = []

    def start(self):
        # One changes rules and scopes, so that it knows what it changes; the other pushes and reads.
        kinds = (('change_rule', 'reset', 'reprocess'), ('push', 'push_with_key', 'read'))
        for number, names in enumerate(kinds):
            thread = threading.Thread(target=self._run, args=(number, names), daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self):
        """Let them end what they do."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def hold(self):
        """Let them begin nothing new until `go_on`."""
        self._held.set()

    def go_on(self):
        self._held.clear()

    def _run(self, number, names):
        dice = random.Random('client %d %d' % (self._seed, number))
        while not self._stopping.wait(dice.uniform(0, 2 * self._pause)):
            if self._held.is_set():
                continue
            name = dice.choices(names, [self._weights[item] for item in names])[0]
            try:
                status = getattr(self, '_' + name)(dice)
            except Lost:
                status = 'unknown'
            except Exception as error:
                self.problems.append('%s: %r' % (name, error))
                status = 'broken'
            key = '%s %s' % (name, status)
            with self._lock:
                self.done[key] = self.done.get(key, 0) + 1

    def _change_rule(self, dice):
        self.rules.change(dice)
        return 'done'

    def _clock(self, scope_id):
        status, found = self._client.ask('GET', '/v2/scope?scope_id=' + scope_id)
        if status != 200:
            return None
        return period.to_epoch(period.parse(found['results'][0]['last_processed_timestamp']))

    def _reset(self, dice):
        scope_id = dice.choice(self._world.scope_ids)
        clock = self._clock(scope_id)
        # Never forth: that would be to leave hours out, as asked.
        to = None if clock is None else clock - HOUR * dice.randrange(2, 10)
        if to is None or to < worlds.BEGIN:
            return 'nothing'
        self._note('%s is reset to %s' % (scope_id, _print(to)))
        body = {'scope_id': [scope_id], 'last_processed_timestamp': _print(to)}
        status, _ = self._client.ask('PUT', '/v2/scope', body)
        return status

    def _reprocess(self, dice):
        scope_id = dice.choice(self._world.scope_ids)
        clock = self._clock(scope_id)
        last = None if clock is None else clock - HOUR * dice.randrange(1, 6)
        first = None if clock is None else last - HOUR * dice.randrange(1, 12)
        if first is None or first < worlds.BEGIN:
            return 'nothing'
        recollects = dice.random() < 0.5
        self._note('%s is reprocessed from %s to %s' % (scope_id, _print(first), _print(last)))
        body = {
            'scope_ids': [scope_id],
            'start_reprocess_time': _print(first),
            'end_reprocess_time': _print(last),
            'reason': 'the laboratory wants it',
            'recollect': recollects,
        }
        status, _ = self._client.ask('POST', '/v2/task/reprocesses', body)
        return status

    def _make_push(self, dice):
        with self._lock:
            self._numbers += 1
            number = self._numbers
        scope_id = dice.choice(self._world.scope_ids)
        begin = worlds.BEGIN + HOUR * dice.randrange(48)
        found = oracle.Pushed(scope_id, begin, Decimal(number), Decimal(number) * 3 / 4, 0, 1)
        point = {
            'vol': {'unit': 'u', 'qty': str(found.qty)},
            'rating': {'price': str(found.price)},
            'groupby': {'project_id': scope_id, 'id': 'pushed-%d' % (number % 5)},
            'metadata': {},
        }
        when = {name: _print(second) + '+00:00' for name, second in (('begin', begin), ('end', begin + HOUR))}
        self.pushed.append(found)
        return found, {'dataframes': [{'period': when, 'usage': {'pushed': [point]}}]}

    def _push(self, dice):
        found, body = self._make_push(dice)
        status, answer = self._client.ask('POST', '/v2/dataframes', body)
        if status == 204:
            found.least = 1
        elif status < 500:
            self.problems.append('push: %s %s' % (status, answer))
            found.most = 0
        return status

    def _push_with_key(self, dice):
        found, body = self._make_push(dice)
        status, answer = self._client.insist('POST', '/v2/dataframes', body, {'Idempotency-Key': 'key-%s' % found.qty})
        if status == 204:
            found.least = 1
        else:
            self.problems.append('push with a key: %s %s' % (status, answer))
        return status

    def _read(self, dice):
        path = dice.choice(['/v1/report/summary?all_tenants=true', '/v2/summary', '/v2/scope', '/v2/coverage'])
        return self._client.ask('GET', path)[0]
