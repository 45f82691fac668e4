# SPDX-License-Identifier: Apache-2.0
"""Many clients at once on one API: what they ask for, what they were told, and whether that can be true.

Every answer is kept with the instants between which it was worked out. :class:`Model` then asks of all of them
together: was each refused or accepted for a reason, is there one winner for each contested place, is what everybody
sees later what somebody was told, in an order that agrees with the clock.
"""

import contextlib
import dataclasses
import http.client
import itertools
import json
import random
import threading
import time

HASHMAP = '/v1/rating/module_config/hashmap/'
SCRIPTS = '/v1/rating/module_config/pyscripts/scripts'
#: {kind of object: (URL of its collection, name of its id)}.
KINDS = {
    'service': (HASHMAP + 'services', 'service_id'),
    'field': (HASHMAP + 'fields', 'field_id'),
    'group': (HASHMAP + 'groups', 'group_id'),
    'mapping': (HASHMAP + 'mappings', 'mapping_id'),
    'threshold': (HASHMAP + 'thresholds', 'threshold_id'),
    'script': (SCRIPTS, 'script_id'),
}
#: What can be changed, and by which member one write is told from another.
MARKS = {'mapping': 'cost', 'threshold': 'cost', 'script': 'data'}
_WINDOW = 'begin=2026-06-01&end=2026-07-01&all_tenants=true'
#: Reads, and what they ask for.
READS = {
    'GET total': '/v1/report/total?' + _WINDOW,
    'GET summary': '/v1/report/summary?groupby=tenant_id,res_type&' + _WINDOW,
    'GET tenants': '/v1/report/tenants?begin=2026-06-01&end=2026-07-01',
    'GET dataframes': '/v1/storage/dataframes?begin=2026-06-01&end=2026-07-01',
    'GET modules': '/v1/rating/modules',
    'GET services': KINDS['service'][0],
    'GET mappings': KINDS['mapping'][0],
    'GET thresholds': KINDS['threshold'][0],
    'GET scripts': SCRIPTS + '?no_data=true',
}
#: How often a client does what.
WEIGHTS = {
    **dict.fromkeys(READS, 2),
    'POST quote': 6,
    'POST service': 4, 'POST field': 5, 'POST group': 3, 'POST mapping': 14, 'POST threshold': 10, 'POST script': 3,
    'PUT mapping': 10, 'PUT threshold': 10, 'PUT script': 3,
    'DELETE service': 1, 'DELETE field': 2, 'DELETE group': 1, 'DELETE mapping': 6, 'DELETE threshold': 5,
    'DELETE script': 2,
    'GET mapping': 6, 'GET threshold': 6, 'GET script': 2,
}  # fmt: skip
#: {method: statuses of answers}; a refusal needs a reason.
STATUSES = {
    'GET': {200, 404},
    'POST': {200, 201, 400, 409},
    'PUT': {201, 302, 400, 404, 409},
    'DELETE': {204, 404},
}
_NEVER = float('inf')


@dataclasses.dataclass(frozen=True, eq=False)
class Event:
    """A request and its answer.

    :ivar name: method and kind of object.
    :ivar begin, end: monotonic seconds just before it was sent and just after the answer.
    :ivar answer: the JSON of the answer; text where it is none.
    """

    name: str
    client: str
    path: str
    body: dict | None
    status: int
    answer: object
    begin: float
    end: float

    @property
    def method(self):
        return self.name.partition(' ')[0]

    @property
    def kind(self):
        return self.name.partition(' ')[2]

    @property
    def target(self):
        """The id at the end of the path."""
        return self.path.partition('?')[0].rpartition('/')[2]

    @property
    def is_change(self):
        """Whether the client was told that something changed."""
        return self.method != 'GET' and self.kind in KINDS and self.status in (201, 204, 302)

    def is_before(self, other):
        """Return whether *other* was only sent when this was answered."""
        return self.end < other.begin


class Client:
    """One connection to an API."""

    def __init__(self, port, name='somebody'):
        self.name = name
        self._connection = http.client.HTTPConnection('127.0.0.1', port, timeout=120)

    def ask(self, name, method, path, body=None):
        """Return the :class:`Event` of a request; *name* is what it is called in figures."""
        headers = {'X-User-Id': self.name}
        if body is not None:
            headers['Content-Type'] = 'application/json'
        content = None if body is None else json.dumps(body)
        begin = time.monotonic()
        self._connection.request(method, path, content, headers)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        end = time.monotonic()
        try:
            found = json.loads(text) if text else None
        except ValueError:
            found = text
        return Event(name, self.name, path, body, answer.status, found, begin, end)

    def close(self):
        self._connection.close()


def run(port, plans):
    """Let a client for each of *plans* go at once; return their events, client by client, and the seconds it took.

    :param plans: functions that take a :class:`Client` and yield or return events.
    """
    ready = threading.Barrier(len(plans) + 1)
    found = [[] for _ in plans]
    errors = []

    def work(number, plan):
        try:
            with contextlib.closing(Client(port, 'client-%02d' % number)) as client:
                ready.wait()
                found[number].extend(plan(client))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(plans)]
    for thread in threads:
        thread.start()
    ready.wait()
    begin = time.monotonic()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [event for part in found for event in part], time.monotonic() - begin


class Rush:
    """What clients ask for: they know of one another's objects, also of some that are gone meanwhile, and want the same
    few names and places.

    :param weights: see :data:`WEIGHTS`.
    """

    def __init__(self, seed=0, weights=None):
        self._seed = seed
        self._weights = weights or WEIGHTS
        self._numbers = itertools.count(1)
        self._known = {kind: [] for kind in KINDS}

    def run(self, port, count=32, requests=20):
        """Let *count* clients send so many requests each; return events and seconds as :func:`run` does."""
        return run(port, [lambda client: self._plan(client, requests)] * count)

    def _plan(self, client, requests):
        dice = random.Random('%d %s' % (self._seed, client.name))
        names, weights = list(self._weights), list(self._weights.values())
        for _ in range(requests):
            event = client.ask(*self.make(dice.choices(names, weights)[0], dice))
            self.note(event)
            yield event

    def note(self, event):
        """Know of what was made."""
        if event.method == 'POST' and event.status == 201:
            self._known[event.kind].append(event.answer[KINDS[event.kind][1]])

    def make(self, name, dice):
        """Return name, method, path and body of a request of that name, or of what has to be there before."""
        method, _, kind = name.partition(' ')
        if name in READS:
            return name, method, READS[name], None
        if kind == 'quote':
            desc = {'field-%d' % dice.randrange(3): 'value-%d' % dice.randrange(3)}
            resource = {'service': 'service-%d' % dice.randrange(6), 'desc': desc, 'volume': str(dice.randrange(1, 9))}
            return name, method, '/v1/rating/quote', {'resources': [resource]}
        url = KINDS[kind][0]
        if method == 'POST':
            body = getattr(self, '_make_' + kind)(dice)
            return (name, method, url, body) if body else self.make('POST service', dice)
        target = self._choose(kind, dice)
        if target is None:
            return self.make('POST ' + kind, dice)
        url += '/' + target
        if method == 'PUT':
            return name, method, url, getattr(self, '_change_' + kind)(dice)
        if name == 'DELETE group' and dice.random() < 0.5:
            url += '?recursive=true'
        return name, method, url, None

    def _choose(self, kind, dice):
        """Return the id of one of the latest objects of a kind, alive or not; None: there is none yet."""
        found = self._known[kind][-12:]
        return dice.choice(found) if found else None

    def _cost(self):
        """Return a cost that nobody else writes."""
        return '%d.5' % next(self._numbers)

    def _make_service(self, dice):
        return {'name': 'service-%d' % dice.randrange(6)}

    def _make_field(self, dice):
        service = self._choose('service', dice)
        return service and {'name': 'field-%d' % dice.randrange(3), 'service_id': service}

    def _make_group(self, dice):
        return {'name': 'group-%d' % dice.randrange(4)}

    def _make_rule(self, dice):
        kind = dice.choice(['service', 'field'])
        parent = self._choose(kind, dice)
        return parent and {
            '%s_id' % kind: parent,
            'group_id': self._choose('group', dice) if dice.random() < 0.4 else None,
            'tenant_id': dice.choice([None, None, 'tenant']),
            'type': dice.choice(['flat', 'rate']),
            'cost': self._cost(),
        }

    def _make_mapping(self, dice):
        body = self._make_rule(dice)
        if not body:
            return None
        if 'field_id' in body:
            body['value'] = 'value-%d' % dice.randrange(3)
        if dice.random() < 0.7:
            body |= self._year(dice)
        if dice.random() < 0.3:
            body['name'] = 'name-%d' % dice.randrange(6)
        return body

    @staticmethod
    def _year(dice):
        year = dice.randrange(3000, 3003)
        return {'start': '%d-01-01T00:00:00' % year, 'end': '%d-01-01T00:00:00' % (year + 1)}

    def _change_mapping(self, dice):
        return {'cost': self._cost(), 'description': 'changed %d' % next(self._numbers), **self._year(dice)}

    def _make_threshold(self, dice):
        body = self._make_rule(dice)
        return body and {**body, 'level': str(dice.randrange(1, 4))}

    def _change_threshold(self, dice):
        return {
            'level': str(dice.randrange(1, 4)),
            'cost': self._cost(),
            'type': dice.choice(['flat', 'rate']),
            'tenant_id': dice.choice([None, None, 'tenant']),
        }

    def _make_script(self, dice):
        body = {'name': 'script-%d' % dice.randrange(5), 'data': 'number = %d\n' % next(self._numbers)}
        return body if dice.random() < 0.3 else {**body, 'start': '3000-01-01T00:00:00'}

    def _change_script(self, dice):
        return {'name': 'script', 'data': 'number = %d\n' % next(self._numbers), 'start': '3000-01-01T00:00:00'}


class Thing:
    """An object that was made.

    :ivar first: what it was then.
    :ivar writes: the event that made it, and those that changed it.
    :ivar deaths: events that took it away, by what it hung on perhaps.
    :ivar loss: the event that took its group away and left it.
    """

    def __init__(self, made):
        self.made = made
        self.kind = made.kind
        self.first = made.answer
        self.id = self.first[KINDS[made.kind][1]]
        self.writes = [made]
        self.deaths = []
        self.loss = None

    def place(self, write):
        """Return what nobody else may have, dates apart, while *write* holds."""
        first = self.first
        parent = first.get('service_id') or first.get('field_id')
        if self.kind in ('service', 'group', 'script'):
            return self.kind, first['name']
        if self.kind == 'field':
            return self.kind, parent, first['name']
        if self.kind == 'mapping':
            return self.kind, parent, first['value'] or '', first['tenant_id'], first['group_id']
        tenant = write.body['tenant_id']
        return self.kind, parent, int(write.body['level']), tenant, None if tenant else first['group_id']

    def window(self, write):
        """Return begin and end of what *write* says of dates, as text that can be compared."""
        if self.kind != 'mapping':
            return '', '~'
        return write.body.get('start') or self.first['start'], write.body.get('end') or '~'

    @property
    def last_sure(self):
        """The instant until which it was there for sure."""
        return min((event.begin for event in self.deaths), default=_NEVER)

    def may_be(self, event):
        """Return whether it may have been there at some instant while *event* was worked out."""
        return self.made.begin < event.end and not any(death.is_before(event) for death in self.deaths)

    def is_sure(self, event):
        """Return whether it was there all the while that *event* was worked out."""
        return self.made.is_before(event) and self.last_sure > event.end

    def holds(self, write):
        """Return the instants between which *write* held for sure."""
        later = [other.begin for other in self.writes if other is not write and not other.is_before(write)]
        return write.end, min(later, default=self.last_sure)

    def may_hold(self, write, event):
        """Return whether *write* may have held at some instant while *event* was worked out."""
        return (
            write.begin < event.end
            and self.may_be(event)
            and not any(write.is_before(other) and other.is_before(event) for other in self.writes)
        )


class Model:
    """What clients were told; :meth:`check` says what of it cannot be true.

    :param events: everything that was answered, of all clients of this database.
    """

    def __init__(self, events):
        self.events = events
        made = [event for event in events if event.method == 'POST' and event.status == 201]
        self.things = {thing.id: thing for thing in map(Thing, made)}
        for event in events:
            thing = self.things.get(event.target)
            if thing is not None and event.is_change and event.method == 'PUT':
                thing.writes.append(event)
            elif thing is not None and event.is_change and event.method == 'DELETE':
                self._take_away(thing, event)

    def _take_away(self, gone, event):
        gone.deaths.append(event)
        key = KINDS[gone.kind][1]
        for thing in self.things.values():
            if thing is gone or gone.kind not in ('service', 'field', 'group') or thing.first.get(key) != gone.id:
                continue
            if gone.kind == 'group' and 'recursive' not in event.path:
                thing.loss = event
            else:
                self._take_away(thing, event)

    def count_changes(self):
        """Return how many requests were told that they changed something."""
        return sum(event.is_change for event in self.events)

    def check(self):
        """Return a line on each answer that cannot be true."""
        found = [self._check_statuses(), self._check_refusals(), self._check_winners(), self._check_reads()]
        return [
            '%s: %s %s %s %s -> %d %s'
            % (text, event.client, event.method, event.path, event.body, event.status, event.answer)
            for text, event in itertools.chain(*found)
        ]

    def _check_statuses(self):
        for event in self.events:
            if event.status not in STATUSES[event.method]:
                yield 'nobody expects such an answer', event
        for thing in self.things.values():
            if len([death for death in thing.deaths if death.target == thing.id]) > 1:
                yield 'it was deleted twice', thing.made
            for event in thing.writes:
                if not thing.may_be(event) and event is not thing.made:
                    yield 'it was changed when it was gone', event

    def _check_refusals(self):
        for event in self.events:
            if event.status == 404:
                thing = self.things.get(event.target)
                if thing is None or thing.last_sure > event.end:
                    yield 'it is there', event
            elif event.status == 409 and not self._is_taken(event):
                yield 'nobody was in its place', event
            elif event.status == 400 and not self._is_wrong(event):
                yield 'there is nothing wrong with it', event

    def _is_wrong(self, event):
        """Return whether a request names something that may have been gone, or changes what is in force."""
        if event.method == 'PUT':
            return self.things[event.target].first.get('start', '3000') < '3000'
        named = [value for name, value in event.body.items() if name.endswith('_id')]
        return any(self.things[id_].last_sure < event.end for id_ in named if id_ in self.things)

    def _is_taken(self, event):
        asking = self.things.get(event.target)
        if asking is None:
            nothing = dict.fromkeys(('value', 'service_id', 'field_id', 'group_id', 'tenant_id', 'name'))
            asking = Thing(
                dataclasses.replace(event, answer={**nothing, 'start': '0', **event.body, _key(event): None})
            )
        wanted, window = asking.place(event), asking.window(event)
        for thing in self.things.values():
            if thing.kind != event.kind or thing is asking or not thing.may_be(event):
                continue
            if thing.kind == 'mapping' and thing.first['name'] == event.body.get('name'):
                return True
            for write in thing.writes:
                place = thing.place(write)
                # Who lost his group is without one from then on.
                has_moved = thing.loss is not None or asking.loss is not None
                is_same = place[:4] == wanted[:4] if has_moved else place == wanted
                if is_same and thing.may_hold(write, event) and _overlap(window, thing.window(write)):
                    return True
        return False

    def _check_winners(self):
        """Look for two that had the same place, or name, at the same time for sure."""
        held = {}
        for thing in self.things.values():
            for write in thing.writes:
                claim = thing, write, thing.holds(write), thing.window(write)
                held.setdefault(thing.place(write), []).append(claim)
            if thing.kind == 'mapping':
                claim = thing, thing.made, (thing.made.end, thing.last_sure), ('', '~')
                held.setdefault(('name', thing.first['name']), []).append(claim)
        for place, claims in held.items():
            for (one, _, span, window), (other, write, rival, dates) in itertools.combinations(claims, 2):
                if one is not other and _overlap(span, rival) and _overlap(window, dates):
                    yield 'its place %s was that of %s' % (place, one.id), write

    def _check_reads(self):
        """Look for reads of what nobody wrote, of what was written over or deleted before, and for what is missing."""
        for event in self.events:
            kind = event.kind.rstrip('s')
            if event.method != 'GET' or event.status != 200 or kind not in KINDS:
                continue
            is_list = kind != event.kind
            shown = event.answer[event.kind] if is_list else [event.answer]
            for entry in shown:
                problem = self._contradicts(kind, entry, event) if MARKS.get(kind) in entry else None
                thing = self.things.get(entry[KINDS[kind][1]])
                if thing is not None and not thing.may_be(event) and not entry.get('deleted'):
                    problem = 'it shows %s, which was deleted' % thing.id
                if problem:
                    yield problem, event
            ids = {entry[KINDS[kind][1]] for entry in shown}
            for thing in self.things.values() if is_list else ():
                if thing.kind == kind and thing.id not in ids and thing.is_sure(event):
                    yield '%s is missing' % thing.id, event

    def _contradicts(self, kind, shown, event=None):
        """Return why *shown*, an object as *event* (None: the end) shows it, cannot be so; None if it can."""
        thing = self.things.get(shown[KINDS[kind][1]])
        if thing is None:
            return 'nobody was told of it'
        mark = MARKS[kind]
        write = next((write for write in thing.writes if _same(mark, write.body[mark], shown[mark])), None)
        if write is None:
            return 'it shows what nobody was told is written'
        if event is not None and write.begin > event.end:
            return 'it shows what was written later'
        over = [other for other in thing.writes if write.is_before(other) and (event is None or other.is_before(event))]
        if over:
            return 'it shows what was written over by %s' % over[0].body
        for name, value in write.body.items():
            is_ignored = (kind == 'script' and name == 'name') or (name == 'group_id' and thing.loss is not None)
            if not is_ignored and not _same(name, value, shown[name]):
                return '%s is of another write than %s' % (name, mark)
        if kind != 'threshold' and write is not thing.made and shown['updated_by'] != write.client:
            return 'it was changed by %s' % write.client
        return None

    def check_end(self, listed):
        """Return a line on each difference between what clients were told and what is there after all of it.

        :param listed: {kind: objects in the order in which the API lists them}; fields of all services together.
        """
        result = []
        for kind, (_, key) in KINDS.items():
            there = [entry[key] for entry in listed[kind]]
            alive = {thing.id for thing in self.things.values() if thing.kind == kind and not thing.deaths}
            result += ['%s %s is there twice' % (kind, id_) for id_ in set(there) if there.count(id_) > 1]
            result += ['%s is lost' % self.things[id_].first for id_ in alive - set(there)]
            result += ['%s %s is there still' % (kind, id_) for id_ in set(there) - alive]
            for entry in listed[kind]:
                problem = self._check_entry(kind, entry) if entry[key] in self.things else None
                if problem:
                    result.append('%s %s: %s' % (kind, entry, problem))
            if kind != 'field':
                result += _check_order([self.things[id_].made for id_ in there if id_ in self.things])
        return result

    def _check_entry(self, kind, entry):
        thing = self.things[entry[KINDS[kind][1]]]
        if kind not in MARKS:
            return None if entry == thing.first else 'it was made as %s' % thing.first
        if kind != 'script' and entry['group_id'] != (None if thing.loss else thing.first['group_id']):
            return 'its group is another'
        return self._contradicts(kind, entry)


def _check_order(made):
    """Return a line on each event of *made* that stands behind one that was sent after its answer."""
    result = []
    latest = None
    for event in made:
        if latest is not None and event.is_before(latest):
            result.append('%s stands behind %s' % (event.answer, latest.answer))
        if latest is None or event.begin > latest.begin:
            latest = event
    return result


def _key(event):
    return KINDS[event.kind][1]


def _overlap(one, other):
    return max(one[0], other[0]) < min(one[1], other[1])


def _same(name, one, other):
    """Return whether two values of a member are equal, as the API prints them or as clients write them."""
    if name in ('cost', 'level') and one is not None and other is not None:
        return float(one) == float(other)
    return (one or None) == (other or None)
