# SPDX-License-Identifier: Apache-2.0
"""Hosts of processors, an API and their configuration: the real commands, as processes."""

import json
import os
import pathlib
import re
import signal
import socket
import sys
import time

from cloudkitty.tests import keystone
from cloudkitty.tests import processes
from cloudkitty.tests.faults import network as networks
from cloudkitty.tests.faults import world as worlds

ROOT = pathlib.Path(__file__).parents[3]
#: Seconds that a program may take to begin.
PATIENCE = 90
HOSTS = 2

BROKEN_METRICS = 'metrics: {cpu: {unit: 3'


def write_metrics(path):
    """Write metrics.yml."""
    lines = ['metrics:']
    for name, (kind, unit, _) in worlds.METRICS.items():
        lines += [
            '  %s:' % name,
            '    unit: %s' % unit,
            '    groupby: [id, project_id]',
            '    metadata: [%s]' % ', '.join(worlds.ATTRIBUTES[kind]),
            '    extra_args: {aggregation_method: mean, resource_type: %s, force_granularity: 3600}' % kind,
        ]
    path.write_text('\n'.join(lines) + '\n')


def children(pid):
    """Return the ids of the child processes of *pid*."""
    found = []
    for task in pathlib.Path('/proc/%d/task' % pid).glob('*/children'):
        try:
            found += [int(word) for word in task.read_text().split()]
        except OSError:
            # It has just ended.
            continue
    return sorted(found)


class Host:
    """A processor with its children, on a host whose clock may be wrong.

    :ivar process: the parent.
    """

    def __init__(self, fleet, number):
        self.number = number
        self._fleet = fleet
        self.metrics = fleet.directory / ('metrics-%d.yml' % number)
        write_metrics(self.metrics)
        self.process = None

    def start(self):
        conf = self._fleet.write_config('processor-%d' % self.number, metrics=self.metrics, host=self.number)
        self.process = self._fleet.start('processor', self.number, '--config-file', conf)

    def workers(self):
        """Return the ids of its children."""
        return children(self.process.pid)

    def ensure(self):
        """Start it again if it has ended; return whether it had."""
        if self.process.is_alive():
            return False
        self.start()
        return True


class Fleet:
    """:param network: of the hosts; the servers, the API and whoever asks are at its address.

    :param options: {name of a configuration: {section: {option: value}}}, beside what all have.
    """

    def __init__(
        self,
        directory,
        database_url,
        coordination_url,
        transport_url,
        hosts=HOSTS,
        workers=2,
        environment=None,
        is_split=False,
        network=None,
        options=None,
    ):
        self.directory = pathlib.Path(directory)
        self._database_url = database_url
        self._coordination_url = coordination_url
        self._transport_url = transport_url
        self._workers = workers
        self._is_split = is_split
        self._options = options or {}
        self._network = network or networks.Loopback()
        self._environment = {**os.environ, 'PYTHONWARNINGS': 'ignore', **(environment or {})}
        self._environment.pop('CLOUDKITTY_NATIVE_THREADS', None)
        self.source = None
        self.urls = {}
        self.api = None
        self.api_port = None
        self.hosts = [Host(self, number) for number in range(hosts)]

    def start_source(self, seed, scopes):
        """Start what stands for Keystone and Gnocchi."""
        arguments = ['-m', 'cloudkitty.tests.faults.source', self.directory, self._network.address, seed, scopes]
        log = self.directory / 'source.log'
        self.source = processes.start('source', [sys.executable, *arguments], log, env=self._environment)
        ready = self.directory / 'source.ready'
        self._wait_for(self.source, lambda: ready.exists() and ready.read_text())
        self.urls = json.loads(ready.read_text())

    def start_api(self):
        """Start the API and wait until it serves."""
        conf = self.write_config('api', metrics=self.hosts[0].metrics)
        log = self.directory / 'api.log'
        before = len(self._read_ports(log))
        self.api = self.start('api', 7, '--config-file', conf, '-p', self.api_port or 0, '-b', self._network.address)
        self._wait_for(self.api, lambda: len(self._read_ports(log)) > before)
        self.api_port = int(self._read_ports(log)[-1])

    def launch_api(self):
        """Start the API where it was before; return a function that says whether it serves."""
        self.api = self.start(
            'api', 7, '--config-file', self.directory / 'api.conf', '-p', self.api_port, '-b', self._network.address
        )

        def is_serving():
            try:
                socket.create_connection((self._network.address, self.api_port), timeout=1).close()
            except OSError:
                return False
            return True

        return is_serving

    @staticmethod
    def _read_ports(log):
        text = log.read_text(errors='replace') if log.exists() else ''
        return re.findall(r'Available at http://.*:(\d+)/', text)

    @staticmethod
    def _wait_for(process, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if not process.is_alive() or time.monotonic() > deadline:
                raise RuntimeError('%s does not start: %s' % (process.name, process.tail()))
            time.sleep(0.05)

    def start(self, kind, host, *arguments):
        """Start a command of the service on the laboratory's time."""
        command = [
            *([] if kind == 'api' else self._network.inside(host)),
            sys.executable,
            '-m',
            'cloudkitty.tests.faults.entry',
            kind,
            self.directory / 'clock',
            host,
            *arguments,
        ]
        log = self.directory / ('api.log' if kind == 'api' else '%s-%d.log' % (kind, host))
        return processes.start(log.stem, command, log, env=self._environment)

    def write_config(self, name, metrics, host=0):
        """Write options; return the path."""
        keystone_url = self.urls['keystone']
        sections = {
            'DEFAULT': {
                'transport_url': self._transport_url,
                'auth_strategy': 'noauth',
                'api_paste_config': ROOT / 'etc' / 'cloudkitty' / 'api_paste.ini',
                'host': name,
                'graceful_shutdown_timeout': 20,
            },
            'database': {'connection': self._database_url, 'max_retries': 0},
            'collect': {'metrics_conf': metrics, 'timezone': 'UTC'},
            'fetcher_keystone': {
                'auth_type': 'password',
                'auth_url': keystone_url + '/v3',
                'username': keystone.USER,
                'password': keystone.PASSWORD,
                'project_name': 'service',
                'user_domain_id': 'default',
                'project_domain_id': 'default',
                'region_name': 'One',
                'timeout': 10,
            },
            'collector_gnocchi': {
                'gnocchi_auth_type': 'basic',
                'gnocchi_user': 'admin',
                'gnocchi_endpoint': self.urls['gnocchi'],
                'timeout': 10,
            },
            'orchestrator': {
                # Redis numbers databases, which know nothing of each other.
                'coordination_url': '%s?db=%d' % (self._coordination_url, host if self._is_split else 0),
                'max_workers': self._workers,
                'max_workers_reprocessing': 1,
                # Several batches an hour.
                'batch_scopes': 3,
                # Most faults of the source last longer, so that cells are left behind and mended.
                'hold_max': 1,
            },
            **self._options.get(name, {}),
        }
        path = self.directory / ('%s.conf' % name)
        with path.open('w') as file:
            for section, values in sections.items():
                print('[%s]' % section, *('%s = %s' % pair for pair in values.items()), sep='\n', file=file)
        return path

    def stop(self):
        """End everything, stopped processes too."""
        for host in self.hosts:
            if host.process is not None and host.process.is_alive():
                for pid in (host.process.pid, *host.workers()):
                    _signal(pid, signal.SIGCONT)
                host.process.stop()
        for process in (self.api, self.source):
            if process is not None:
                process.stop()


def _signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


send = _signal
