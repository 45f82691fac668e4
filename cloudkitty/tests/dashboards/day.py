# SPDX-License-Identifier: Apache-2.0
"""A day of a fleet of the fault laboratory, its end of month in it, which Prometheus watches."""

import contextlib
import functools
import itertools
import json
import threading
import time

from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.db import scopes
from cloudkitty.tests import coordination
from cloudkitty.tests import processes
from cloudkitty.tests import real_prometheus
from cloudkitty.tests.dashboards import panels
from cloudkitty.tests.dashboards import relay
from cloudkitty.tests.faults import clients
from cloudkitty.tests.faults import clock as clocks
from cloudkitty.tests.faults import fleet as fleets
from cloudkitty.tests.faults import laboratory
from cloudkitty.tests.faults import servers
from cloudkitty.tests.faults import world as worlds

HOUR = worlds.HOUR
#: What is drawn: from noon of the last day of June to noon of the first of July. What is before it warms up.
BEGIN = worlds.BEGIN + 36 * HOUR
END = BEGIN + 24 * HOUR
WARM_UP = 3 * HOUR
#: Seconds of the laboratory in one of the machine.
SPEED = 200
SEED, SCOPES = 1, 10
#: Kinds of broken answers: (hour in which it begins, hours, share of the answers).
SOURCE_FAULTS = {
    'gnocchi-500': (3, 2.5, 1),
    'gnocchi-slow': (7.5, 1, 0.3),
    'keystone-half': (11, 1, 1),
    'gnocchi-503': (18, 2, 0.3),
}
#: Hours in which the rest happens.
REPROCESSING, DATABASE_ENDS, DATABASE_COMES, CUTS = 9.5, 14, 14.6, (20, 20.3, 20.6)
#: What clients of the API ask for, over and over; not all of it is there.
OFTEN, SELDOM = '/v2/summary', ('/v2/scope', '/v1/report/summary?all_tenants=true', '/v2/scope', '/v2/scope/nobody')
PATHS = [path for seldom in SELDOM for path in (OFTEN, OFTEN, seldom)]
#: Seconds of the machine between two requests to the API.
PAUSE = 0.05


class Day(contextlib.ExitStack):
    """:param directory: for all that is written.

    :ivar monitor: the Prometheus.
    """

    def __init__(self, directory):
        super().__init__()
        self._directory = directory
        self._shares = {}
        for name in ('database', 'redis'):
            (directory / name).mkdir()
        self.server = servers.MariaDB(directory / 'database')
        self._redis = coordination.Redis(directory / 'redis')
        self.clock = self.fleet = self.monitor = None

    def run(self):
        """Begin and let the day pass."""
        self._start()
        for hour, text, happen in sorted(self._plan(), key=lambda item: item[0]):
            self._wait_until(BEGIN + hour * HOUR)
            print('%s  %s' % (period.from_epoch(int(self.clock.now())).strftime('%H:%M'), text), flush=True)
            happen()
        self._wait_until(END)

    def _write_shares(self):
        path = self._directory / 'source.json'
        path.with_suffix('.new').write_text(json.dumps(self._shares))
        path.with_suffix('.new').rename(path)

    def _wait_until(self, instant):
        while self.clock.now() < instant:
            time.sleep(0.05)
            for host in self.fleet.hosts:
                host.ensure()

    def _plan(self):
        """Yield (hour, text, function) of all that happens."""
        for kind, (hour, hours, share) in SOURCE_FAULTS.items():
            yield hour, '%s begins' % kind, functools.partial(self._set_share, kind, share)
            yield hour + hours, '%s is over' % kind, functools.partial(self._set_share, kind, 0)
        yield REPROCESSING, 'six hours are reprocessed', self._reprocess
        yield DATABASE_ENDS, 'the database is stopped', self.server.stop
        yield DATABASE_COMES, 'the database is started', self.server.start
        for hour in CUTS:
            yield hour, 'connections are cut', self.server.cut

    def _set_share(self, kind, share):
        self._shares[kind] = share
        self._write_shares()

    def _reprocess(self):
        body = {
            'scope_ids': ['ALL'],
            'start_reprocess_time': period.from_epoch(BEGIN).isoformat(),
            'end_reprocess_time': period.from_epoch(BEGIN + 6 * HOUR).isoformat(),
            'reason': 'the source had failed',
            'recollect': True,
        }
        status, answer = self._client().insist('POST', '/v2/task/reprocesses', body)
        if status >= 400:
            raise RuntimeError('It is not reprocessed: %s' % answer)

    def _client(self):
        return clients.Client(lambda: ('127.0.0.1', self.fleet.api_port))

    def _start(self):
        self.callback(self.server.stop)
        self.server.install()
        database = engine.Database(self.server.url)
        migration.upgrade_all(database)
        world = worlds.World(SEED, SCOPES)
        begin = period.from_epoch(BEGIN - WARM_UP - 4 * HOUR)
        scopes.ensure(database, world.scope_ids, laboratory.IDENTITY, begin, HOUR)
        database.dispose()
        self._redis.start()
        self.callback(self._redis.stop)
        self._write_shares()
        self.clock = clocks.Clock.create(self._directory / 'clock', BEGIN - WARM_UP, SPEED)
        ports = processes.free_ports(fleets.HOSTS)
        sections = {'processor-%d' % number: {'port': port} for number, port in enumerate(ports)}
        sections['api'] = {'directory': self._directory / 'api-figures'}
        self.fleet = fleets.Fleet(
            self._directory, self.server.url, self._redis.url, 'fake:/', workers=1,
            environment={'TMPDIR': str(self._directory)},
            options={name: {'metrics': {'enabled': True, **found}} for name, found in sections.items()},
        )  # fmt: skip
        self.callback(self.fleet.stop)
        self.fleet.start_source(SEED, SCOPES)
        self.fleet.start_api()
        clients.Rules(self._client()).make()
        for host in self.fleet.hosts:
            host.start()
        self._watch([*ports, self.fleet.api_port])
        threading.Thread(target=self._ask, daemon=True).start()

    def _watch(self, ports):
        """Have Prometheus scrape these ports."""
        relays = [relay.Relay('http://127.0.0.1:%d/metrics' % port, self.clock) for port in ports]
        for found in relays:
            self.callback(found.stop)
        every = '%dms' % (1000 * panels.SCRAPE / SPEED)
        config = {
            'global': {'scrape_interval': every, 'scrape_timeout': every},
            'scrape_configs': [
                {'job_name': job, 'static_configs': [{'targets': ['127.0.0.1:%d' % found.port for found in taken]}]}
                for job, taken in (('cloudkitty-processor', relays[:-1]), ('cloudkitty-api', relays[-1:]))
            ],
        }
        self.monitor = real_prometheus.RealPrometheus(self._directory / 'prometheus', config=config)
        self.callback(self.monitor.stop)
        self.monitor.start()

    def _ask(self):
        """Ask the API now and then, to the end of the process."""
        for path in itertools.cycle(PATHS):
            time.sleep(PAUSE)
            with contextlib.suppress(clients.Lost):
                self._client().ask('GET', path)
