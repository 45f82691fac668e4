# SPDX-License-Identifier: Apache-2.0
"""Puts a fleet together, lets faults strike it, waits until it is whole again, and asks the oracle."""

import collections
import contextlib
import dataclasses
import heapq
import itertools
import json
import pathlib
import random
import shutil
import statistics
import threading
import time

import sqlalchemy

from cloudkitty import period
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.db import reprocessings
from cloudkitty.db import scopes
from cloudkitty.tests import coordination
from cloudkitty.tests import rabbitmq
from cloudkitty.tests.faults import clients
from cloudkitty.tests.faults import clock as clocks
from cloudkitty.tests.faults import fleet as fleets
from cloudkitty.tests.faults import network as networks
from cloudkitty.tests.faults import oracle
from cloudkitty.tests.faults import servers
from cloudkitty.tests.faults import source as sources
from cloudkitty.tests.faults import strikes
from cloudkitty.tests.faults import world as worlds

HOUR = worlds.HOUR
IDENTITY = scopes.Identity('project_id', 'keystone', 'gnocchi')


@dataclasses.dataclass(frozen=True)
class Settings:
    """:ivar counts: {kind of fault: how often it strikes}.

    :ivar speed: seconds of the laboratory in one of the machine.
    :ivar gap: seconds of the machine between two strikes, on average.
    :ivar minutes: after which nothing strikes any more, however often it has.
    :ivar spell: seconds of strikes, after which all faults end and the fleet is waited for; 0: they go on and on.
    :ivar patience: seconds of the machine after the last fault in which everything has to be whole.
    :ivar pause, weights: of the clients.
    :ivar slow: share of the commits that take long.
    :ivar is_split: the hosts do not know of each other, and each takes itself for the only one.
    :ivar bug: that is planted.
    """

    seed: int = 0
    database: str = 'mariadb'
    counts: dict = dataclasses.field(default_factory=lambda: {'kill': 20})
    scopes: int = 8
    speed: float = 1800
    gap: float = 0.5
    minutes: float = 600
    spell: float = 0
    patience: float = 60
    clients: bool = True
    pause: float = 0.4
    weights: dict = dataclasses.field(default_factory=dict)
    member_timeout: int = 3
    slow: float = 0.2
    is_split: bool = False
    bug: str | None = None


@dataclasses.dataclass
class Report:
    """What came of a run.

    :ivar recoveries: {kind: seconds of the machine from the end of a fault until all that was due then was rated}.
    :ivar lulls: seconds from the end of the last fault of a spell until everything was whole, of each spell.
    :ivar history: {scope id: lines that tell what happened to it}.
    """

    settings: Settings
    struck: dict
    differences: list
    recoveries: dict
    lulls: list
    hours: int
    seconds: float
    points: int
    clients: dict
    problems: list
    whole_after: float | None
    history: dict = dataclasses.field(default_factory=dict)

    def count(self, *kinds):
        return sum(item.kind in kinds for item in self.differences)

    def to_json(self):
        return {
            'seed': self.settings.seed,
            'database': self.settings.database,
            'speed': self.settings.speed,
            'scopes': self.settings.scopes,
            'hours': self.hours,
            'points': self.points,
            'seconds': round(self.seconds),
            'struck': dict(sorted(self.struck.items())),
            'lost': self.count('lost'),
            'doubled': self.count('doubled'),
            'wrong amounts': self.count('amount', 'roll-up'),
            'stuck': self.count('stuck'),
            'other differences': self.count('coverage', 'clock', 'rules'),
            'whole after the last fault, seconds': self.whole_after and round(self.whole_after, 1),
            'spells': len(self.lulls),
            'whole after a spell, seconds': {
                'median': round(statistics.median(self.lulls), 1),
                'longest': round(max(self.lulls), 1),
                'all': [round(seconds, 1) for seconds in self.lulls],
            }
            if self.lulls
            else None,
            'longest recovery, seconds': {
                kind: round(max(found), 1) for kind, found in sorted(self.recoveries.items()) if found
            },
            'clients': dict(sorted(self.clients.items())),
        }


def _always():
    return True


def _make_network(is_needed):
    """Return a network with a namespace for each host, or loopback where that may not be made and is not needed."""
    found = networks.Network(fleets.HOSTS)
    try:
        found.make()
    except networks.NotAllowed as error:
        if is_needed:
            raise servers.NotInstalled(str(error)) from error
        return networks.Loopback()
    return found


class Watch(threading.Thread):
    """Looks how far the scopes are, and when what was due at the end of a fault was done."""

    PAUSE = 0.25

    def __init__(self, lab):
        super().__init__(daemon=True)
        self._lab = lab
        self._lock = threading.Lock()
        self._waiting = []
        self.recoveries = collections.defaultdict(list)
        self.clock = worlds.BEGIN
        self.open = None
        self._ending = threading.Event()

    def fault_ended(self, kind):
        """Take note that a fault is over: what is due now has to be rated soon."""
        with self._lock:
            self._waiting.append((self._lab.due(), time.monotonic(), kind))

    def run(self):
        while not self._ending.wait(self.PAUSE):
            self.look()

    def look(self):
        """Look once; a database that is away is looked at later."""
        try:
            found = scopes.count_clocks(self._lab.database, IDENTITY)
            self.open = ledger.count_all(self._lab.database)
        except Exception:
            # Whatever it is, that is what is being tried out here.
            return
        self.clock = min(map(period.to_epoch, found), default=worlds.BEGIN - HOUR) + HOUR
        now = time.monotonic()
        with self._lock:
            for item in list(self._waiting):
                if self.clock >= item[0]:
                    self._waiting.remove(item)
                    self.recoveries[item[2]].append(now - item[1])

    def end(self):
        self._ending.set()
        self.join()

    def left(self):
        """Return the kinds after which what was due has never been rated."""
        return [kind for _, _, kind in self._waiting]


class Laboratory:
    """:param directory: for all that is written.

    :param show: called with (strikes so far, strikes in all).
    """

    #: Steps of a host's clock, in seconds, at most.
    STEPS = (3000, 6 * HOUR, -3000, -3 * HOUR, -30 * HOUR)

    def __init__(self, settings, directory, show=lambda done, total: None):
        self.settings = settings
        self.directory = pathlib.Path(directory)
        self.world = worlds.World(settings.seed, settings.scopes)
        self.member_timeout = settings.member_timeout
        self._show = show
        self._log = []
        self._began = time.monotonic()
        self.shares = {}
        self.struck = collections.Counter()
        self.lulls = []
        self.problems = []
        self.network = _make_network('partition' in settings.counts)
        address = self.network.address
        self.server = servers.KINDS[settings.database](self._make_directory('database'), self.network)
        self.coordination = coordination.Redis(self._make_directory('redis'), address)
        needs_broker = 'broker' in settings.counts
        self.broker = rabbitmq.Node(self._make_directory('rabbitmq'), address) if needs_broker else None
        self._disk = contextlib.ExitStack()
        self.clock = self.database = self.fleet = self.crowd = self.watch = None

    def _make_directory(self, name):
        path = self.directory / name
        path.mkdir(parents=True)
        return path

    def note(self, text):
        """Keep a line for the history."""
        now = '' if self.clock is None else period.from_epoch(int(self.clock.now())).isoformat()
        self._log.append('%8.2f  %s  %s' % (time.monotonic() - self._began, now, text))

    def write_shares(self):
        path = self.directory / 'source.json'
        temporary = path.with_suffix('.new')
        temporary.write_text(json.dumps(self.shares))
        temporary.rename(path)

    def due(self):
        """Return the end of the last hour that is due at the true time."""
        return int(self.clock.now() - 1 - 2 * HOUR) // HOUR * HOUR + HOUR

    def run(self):
        """Do it all; return the report."""
        try:
            if 'disk' in self.settings.counts:
                self._disk.enter_context(servers.small_disk(self.server.directory, self.server.kind))
            self._start()
            self._strike_all()
            whole_after = self._settle()
            return self._examine(whole_after)
        finally:
            self._end()

    def _start(self):
        settings = self.settings
        self.server.install()
        self.database = engine.Database(self.server.url)
        migration.upgrade_all(self.database)
        scopes.ensure(self.database, self.world.scope_ids, IDENTITY, period.from_epoch(worlds.BEGIN), HOUR)
        self.coordination.start()
        if self.broker is not None:
            self.broker.start()
        self.write_shares()
        self.clock = clocks.Clock.create(self.directory / 'clock', worlds.BEGIN + 2 * HOUR, settings.speed)
        environment = {'CLOUDKITTY_LAB_MEMBER_TIMEOUT': str(settings.member_timeout)}
        environment['CLOUDKITTY_LAB_SLOW'] = str(settings.slow)
        if settings.bug:
            environment['CLOUDKITTY_LAB_BUG'] = settings.bug
        self.fleet = fleets.Fleet(
            self.directory, self.server.url, self.coordination.url, self.broker.url if self.broker else 'fake:/',
            environment=environment, is_split=settings.is_split, network=self.network,
        )  # fmt: skip
        self.fleet.start_source(settings.seed, settings.scopes)
        self.fleet.start_api()
        self.crowd = clients.Crowd(
            settings.seed, lambda: (self.network.address, self.fleet.api_port), self.world, self.note, settings.pause,
            settings.weights,
        )  # fmt: skip
        self.crowd.rules.make()
        for host in self.fleet.hosts:
            host.start()
        self.watch = Watch(self)
        self.watch.start()
        while self.watch.clock == worlds.BEGIN:
            self._check_alive()
            time.sleep(0.1)
        if settings.clients:
            self.crowd.start()

    def _check_alive(self):
        for host in self.fleet.hosts:
            if not host.process.is_alive():
                raise RuntimeError('Host %d ended: %s' % (host.number, host.process.tail()))

    def _strike_all(self):
        """Let faults strike until each has as often as it is to; those of the source count answers."""
        dice = random.Random('strikes %d' % self.settings.seed)
        counts = self.settings.counts
        total = sum(counts.values())
        ends, numbers, taken, coming = [], itertools.count(), set(), []
        deadline = time.monotonic() + 60 * self.settings.minutes
        following = time.monotonic()
        spell_ends = following + self.settings.spell if self.settings.spell else float('inf')
        while True:
            now = time.monotonic()
            while ends and ends[0][0] <= now:
                _, _, kind, place, end = heapq.heappop(ends)
                is_back = end()
                coming.append((kind, place, is_back if callable(is_back) else _always, now + servers.PATIENCE))
            for item in [item for item in coming if item[2]()]:
                coming.remove(item)
                taken.discard(item[1])
                self.note('%s is over' % item[0])
                self.watch.fault_ended(item[0])
            if any(item[3] < now for item in coming):
                raise RuntimeError('It does not come back: %s' % ', '.join(item[0] for item in coming))
            self._count()
            self._show(sum(min(self.struck[kind], count) for kind, count in counts.items()), total)
            left = {kind: count - self.struck[kind] for kind, count in counts.items() if self.struck[kind] < count}
            if now > deadline:
                left = {}
            if not left and not ends and not coming:
                return
            if now > spell_ends:
                if not ends and not coming:
                    self._rest()
                    spell_ends = time.monotonic() + self.settings.spell
            elif left and now >= following:
                following = now + dice.uniform(0, 2 * self.settings.gap)
                free = [kind for kind in sorted(left) if strikes.ALONE.get(kind) not in taken]
                if free:
                    # What is farthest behind comes most.
                    kind = dice.choices(free, [left[item] for item in free])[0]
                    self._strike(kind, dice, ends, numbers, taken)
            self._keep_hosts()
            time.sleep(0.02)

    def _keep_hosts(self):
        for host in self.fleet.hosts:
            if host.ensure():
                self.note('host %d had ended' % host.number)

    def _rest(self):
        """Let nothing strike and no client ask until everything is whole."""
        self.crowd.hold()
        self.note('a lull')
        began = time.monotonic()
        if not self._wait_until_whole(self.due()):
            self.problems.append('not whole %d s after the faults of a spell' % (time.monotonic() - began))
        elif time.monotonic() - began > self.settings.patience:
            self.problems.append('whole only %d s after the faults of a spell' % (time.monotonic() - began))
        self.lulls.append(time.monotonic() - began)
        self.note('the lull is over')
        self.crowd.go_on()

    def _wait_until_whole(self, end):
        """Wait until all that is due before *end* is done, all that was asked for too; return whether it is."""
        deadline = time.monotonic() + 3 * self.settings.patience
        while time.monotonic() < deadline:
            self.watch.look()
            if self.watch.clock >= end and self.watch.open == 0 and not self._has_tasks():
                return True
            self._keep_hosts()
            time.sleep(0.1)
        return False

    def _strike(self, kind, dice, ends, numbers, taken):
        found = strikes.KINDS[kind](self, dice)
        if found is None:
            return
        self.note(kind)
        if kind not in sources.GNOCCHI + sources.KEYSTONE:
            self.struck[kind] += 1
        place = strikes.ALONE.get(kind)
        taken.add(place)
        heapq.heappush(ends, (time.monotonic() + found[0], next(numbers), kind, place, found[1]))

    def _count(self):
        self.struck.update(
            {kind: count - self.struck[kind] for kind, count in strikes.read_struck(self.directory).items()}
        )

    def _settle(self):
        """Wait until all that was due at the end of the faults is done; return the seconds, None: it never was."""
        self.crowd.stop()
        self.note('no more faults, no more clients')
        began, end = time.monotonic(), self.due()
        whole = time.monotonic() - began if self._wait_until_whole(end) else None
        self._target = end
        for host in self.fleet.hosts:
            host.process.stop()
        return whole

    def _has_tasks(self):
        try:
            found = reprocessings.list_tasks(self.database, None, True, 0, 100_000)
        except sqlalchemy.exc.SQLAlchemyError:
            return True
        return not all(task.is_finished for task in found)

    def _examine(self, whole_after):
        self.watch.end()
        found = oracle.read(self.database)
        differences = oracle.compare(
            self.world, found, self._target, self.crowd.pushed, self.crowd.rules.costs, self._list_kept()
        )
        report = Report(
            self.settings,
            self.struck,
            differences,
            self.watch.recoveries,
            self.lulls,
            (self._target - worlds.BEGIN) // HOUR,
            time.monotonic() - self._began,
            sum(row[8] for row in found['days']),
            self.crowd.done,
            self._list_problems(),
            whole_after,
        )
        for scope_id in {item.scope_id for item in differences}:
            report.history[scope_id] = self._tell(scope_id, found)
        (self.directory / 'history.log').write_text('\n'.join(self._log) + '\n')
        return report

    def _list_kept(self):
        """Return (scope id, begin) of periods of which a reprocessing left cells as they were: its source failed."""
        owners = {task.id: task.scope_id for task in reprocessings.list_tasks(self.database)}
        return {
            (owners[task_id], begin)
            for task_id, found in reprocessings.list_kept(self.database, list(owners), 100_000).items()
            for item in found
            for begin in range(item.begin, item.end, HOUR)
        }

    def _list_problems(self):
        """Return what is wrong though every amount is right."""
        result = self.problems + self.crowd.problems + ['never recovered after %s' % kind for kind in self.watch.left()]
        deadlocks = self.server.count_deadlocks()
        if deadlocks and 'locks' not in self.settings.counts:
            result.append('%d deadlocks, though nobody provoked any' % deadlocks)
        return result

    def _tell(self, scope_id, found):
        """Return the lines on what happened to a scope."""
        others = [name for name in self.world.scope_ids if name != scope_id]
        lines = [line for line in self._log if not any(name in line for name in others)]
        lines += ['coverage: %s' % (tuple(row[1:]),) for row in found['coverage'] if row[0] == scope_id]
        lines += ['replaced: %s' % (tuple(row[1:]),) for row in found['history'] if row[0] == scope_id]
        return lines

    def _end(self):
        if self.crowd is not None:
            self.crowd._stopping.set()
        if self.watch is not None and self.watch.is_alive():
            self.watch.end()
        if self.fleet is not None:
            self.fleet.stop()
        if self.database is not None:
            self.database.dispose()
        for found in (self.coordination, self.broker, self.server):
            if found is not None and getattr(found, '_process', found) is not None:
                found.stop()
        self._disk.close()
        self.network.remove()
        if getattr(self.server, 'made', None):
            shutil.rmtree(self.server.made, ignore_errors=True)
