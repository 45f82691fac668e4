# SPDX-License-Identifier: Apache-2.0
"""The process that stands for Keystone and Gnocchi: it serves what the world has, and breaks answers as it is told.

usage: python -m cloudkitty.tests.faults.source DIRECTORY ADDRESS SEED SCOPES
"""

import collections
import http.server
import io
import json
import pathlib
import random
import sys
import threading
import time

from cloudkitty.tests import gnocchi
from cloudkitty.tests import keystone
from cloudkitty.tests.faults import clock as clocks
from cloudkitty.tests.faults import world as worlds

HOUR = worlds.HOUR
#: What can be wrong with an answer of Gnocchi, and of Keystone.
GNOCCHI = (
    'gnocchi-500', 'gnocchi-503', 'gnocchi-404', 'gnocchi-413', 'gnocchi-slow', 'gnocchi-cut', 'gnocchi-truncated',
    'gnocchi-wrong-json', 'gnocchi-nan', 'gnocchi-huge', 'gnocchi-doubled-groups', 'gnocchi-other-projects',
)  # fmt: skip
KEYSTONE = ('keystone-401', 'keystone-500', 'keystone-slow', 'keystone-empty', 'keystone-half')
STATUSES = {'500': 500, '503': 503, '404': 404, '413': 413}
#: Seconds of the machine.
SLOW = 2.5


class Control:
    """What is broken now: {kind: share of the requests}, in a file that the laboratory writes anew.

    :ivar struck: how often each kind broke an answer.
    """

    def __init__(self, directory, seed):
        self._path = pathlib.Path(directory) / 'source.json'
        self._counts = pathlib.Path(directory) / 'struck.json'
        self._dice = random.Random('source %d' % seed)
        self._read_at = None
        self._shares = {}
        self._lock = threading.Lock()
        self.struck = collections.Counter()

    def draw(self, kinds):
        """Return what is to happen to a request, one of *kinds*, or None."""
        with self._lock:
            stamp = self._path.stat().st_mtime_ns if self._path.exists() else None
            if stamp != self._read_at:
                self._shares, self._read_at = json.loads(self._path.read_text()), stamp
            for kind in kinds:
                if self._shares.get(kind) and self._dice.random() < self._shares[kind]:
                    return kind
        return None

    def count(self, kind):
        """Take note that an answer was broken."""
        with self._lock:
            self.struck[kind] += 1
            temporary = self._counts.with_suffix('.new')
            temporary.write_text(json.dumps(self.struck))
            temporary.rename(self._counts)


class Answer:
    """Takes what a handler would send, so that it can be broken before."""

    def __init__(self, handler):
        self.headers = handler.headers
        self.path = handler.path
        self.rfile = handler.rfile
        self.wfile = io.BytesIO()
        self.status = 200
        self.sent = []
        self.close_connection = False

    def send_response(self, status):
        self.status = status

    def send_header(self, name, value):
        self.sent.append((name, value))

    def end_headers(self):
        pass


class Source(gnocchi.FakeGnocchi):
    """A Gnocchi that knows the world, as far as it has happened."""

    def __init__(self, world, clock, control):
        super().__init__()
        self._world = world
        self._clock = clock
        self._control = control
        self._dice = random.Random('answers %d' % world.seed)
        self._happens = []
        self._happening = threading.Lock()
        self.create_policy('standard', (HOUR,))
        for kind, names in worlds.ATTRIBUTES.items():
            self.create_type(kind, names)
        for resource in world.resources.values():
            for number, (at, value) in enumerate(resource.changes):
                self._happens.append((at, resource.id, number, value))
        self._happens.sort(reverse=True)

    def _advance(self):
        """Make what has begun or changed by now."""
        with self._happening:
            while self._happens and self._happens[-1][0] <= self._clock.now():
                at, name, number, value = self._happens.pop()
                found = self._world.resources[name]
                values = {worlds.ATTRIBUTES[found.type][0]: value}
                if number:
                    self.revise(name, at, **values)
                else:
                    metrics = [metric for metric, kind in worlds.METRICS.items() if kind[0] == found.type]
                    self.create_resource(found.type, name, found.scope_id, at, metrics, **values)

    def _read(self, name, metric, method, again, granularity, begin, end):
        resource = self._owners()[metric[0]]
        now = self._clock.now()
        for at in range(int(begin) // HOUR * HOUR, int(end), HOUR):
            value = self._world.quantity(resource, name, at)
            if at <= now and value is not None:
                # Of an hour that is not over nobody knows everything.
                yield at, float(HOUR), float(value) / (1 if at + HOUR <= now else 2)

    def _owners(self):
        found = self.__dict__.setdefault('_known', {})
        if len(found) < sum(len(item.metrics) for item in list(self.resources.values())):
            for item in list(self.resources.values()):
                for values in item.metrics.values():
                    found[values[0]] = self._world.resources[item.id]
        return found

    def handle(self, handler):
        self._advance()
        kind = self._control.draw(GNOCCHI)
        answer = Answer(handler)
        super().handle(answer)
        content = answer.wfile.getvalue()
        status, cut = answer.status, False
        if kind is not None:
            status, content, cut, happened = self._break(kind.removeprefix('gnocchi-'), handler, status, content)
            if happened:
                self._control.count(kind)
        handler.send_response(status)
        for name, value in answer.sent:
            if name != 'Content-Length':
                handler.send_header(name, value)
        handler.send_header('Content-Length', str(len(content)))
        handler.end_headers()
        if cut:
            handler.wfile.write(content[: len(content) // 2])
            handler.close_connection = True
            return
        handler.wfile.write(content)

    def _break(self, kind, handler, status, content):
        """Return status, content, whether the connection is cut in it, and whether anything is wrong at all."""
        if kind in STATUSES:
            return STATUSES[kind], b'<html>%s</html>' % kind.encode(), False, True
        if kind == 'slow':
            time.sleep(SLOW)
            return status, content, False, True
        if kind == 'cut':
            return status, content, True, True
        if kind == 'truncated':
            return status, content[: len(content) // 2], False, True
        if kind == 'wrong-json':
            return status, self._dice.choice([b'{"error": 1}', b'"oops"', b'[1, 2]', b'[{"group": null}]']), False, True
        if '/aggregates' not in handler.path or status != 200:
            return status, content, False, False
        found = json.loads(content)
        groups = [item for item in found if item['measures']['measures']['aggregated']]
        if not groups:
            return status, content, False, False
        one = self._dice.choice(groups)
        rows = one['measures']['measures']['aggregated']
        if kind == 'nan':
            self._dice.choice(rows)[2] = float('nan')
        elif kind == 'huge':
            self._dice.choice(rows)[2] = 1e30
        elif kind == 'doubled-groups':
            found.insert(self._dice.randrange(len(found) + 1), one)
        else:
            group = {**one['group'], 'id': 'nobody', 'project_id': 'somebody else'}
            found.append({**one, 'group': group})
        return status, json.dumps(found).encode(), False, True


def make_keystone(control, scope_ids, address):
    """Return a Keystone that lists *scope_ids* and breaks answers."""
    found = keystone.Keystone(address)
    found.grant(*scope_ids)
    dice = random.Random('keystone')
    plain = found._server.RequestHandlerClass

    class Handler(plain):
        def answer(self, status, body, headers=()):
            kind = control.draw(KEYSTONE) if self.command == 'GET' and status == 200 else None
            if kind == 'keystone-401':
                status, body = 401, {'error': {'code': 401, 'message': 'The token has expired.'}}
            elif kind == 'keystone-500':
                status, body = 500, 'oops'
            elif kind == 'keystone-slow':
                time.sleep(SLOW)
            elif kind in ('keystone-empty', 'keystone-half') and isinstance(body, dict):
                names = [name for name in ('role_assignments', 'projects') if name in body]
                kind = kind if names else None
                for name in names:
                    kept = 0 if kind == 'keystone-empty' else len(body[name]) // 2
                    body = {**body, name: dice.sample(body[name], kept)}
            if kind is not None:
                control.count(kind)
            super().answer(status, body, headers)

    found._server.RequestHandlerClass = Handler
    return found


def main(directory, address, seed, scopes):
    directory = pathlib.Path(directory)
    clock = clocks.Clock(directory / 'clock')
    # The header by which the collector tells whether two hosts agree on the time.
    http.server.BaseHTTPRequestHandler.date_time_string = lambda self, timestamp=None: time.strftime(
        '%a, %d %b %Y %H:%M:%S GMT', time.gmtime(clock.now())
    )
    world = worlds.World(int(seed), int(scopes))
    control = Control(directory, world.seed)
    source = Source(world, clock, control).start(address=address)
    fake = make_keystone(control, world.scope_ids, address)
    fake.start()
    (directory / 'source.ready').write_text(json.dumps({'gnocchi': source.url, 'keystone': fake.url}))
    threading.Event().wait()


if __name__ == '__main__':
    main(*sys.argv[1:])
