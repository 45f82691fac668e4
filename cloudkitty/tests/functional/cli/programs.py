# SPDX-License-Identifier: Apache-2.0
"""The installed commands as processes, with a configuration of the test's own."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from cloudkitty.tests import databases
from cloudkitty.tests import secrecy

METRICS = """metrics:
  cpu:
    unit: u
    groupby: [id, project_id]
  disk:
    unit: u
    groupby: [id, project_id]
"""


def wait_until(condition, seconds=60):
    """Wait until *condition()* is true and return what it gave; fail when it never is."""
    for _ in range(seconds * 20):
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    pytest.fail('It did not happen.')


def program(name):
    return str(pathlib.Path(sys.executable).with_name(name))


class Programs:
    """A directory with ``cloudkitty.conf`` and ``metrics.yml``; the collector ``memory`` is a fake one.

    :ivar options: {section: {option: value}}.
    """

    def __init__(self, directory, url=None):
        self.directory = directory
        self.conf = directory / 'cloudkitty.conf'
        self.metrics = directory / 'metrics.yml'
        self.metrics.write_text(METRICS)
        self.options = {
            'DEFAULT': {'transport_url': 'fake:/'},
            'database': {'connection': url or 'sqlite:///%s' % (directory / 'cloudkitty.sqlite')},
            'collect': {'collector': 'memory', 'metrics_conf': self.metrics, 'timezone': 'UTC'},
            'fetcher': {'backend': 'source'},
            'fetcher_source': {'sources': 'a,b'},
            'orchestrator': {
                'coordination_url': 'file://%s' % (directory / 'locks'),
                'max_workers': 2,
                'max_workers_reprocessing': 0,
            },
        }
        self.environment = {**os.environ, 'PYTHONWARNINGS': 'ignore', 'PYTHONPATH': str(self._make_plugins())}
        self.environment.pop('CLOUDKITTY_NATIVE_THREADS', None)
        self._running = []

    def _make_plugins(self):
        """Make what looks like an installed package with the fake collector, and return where."""
        place = self.directory / 'plugins'
        info = place / 'fake_plugins-1.0.dist-info'
        info.mkdir(parents=True)
        (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: fake-plugins\nVersion: 1.0\n')
        (info / 'entry_points.txt').write_text(
            '[cloudkitty.collector.backends]\nmemory = cloudkitty.tests.fakes:PluginCollector\n'
        )
        return place

    def set(self, section, **options):
        self.options.setdefault(section, {}).update(options)

    def write(self):
        """Write the configuration file; return its path."""
        lines = []
        for section, options in self.options.items():
            lines.append('[%s]' % section)
            lines += ['%s = %s' % pair for pair in options.items()]
        self.conf.write_text('\n'.join(lines) + '\n')
        return self.conf

    def run(self, name, *arguments, conf=None):
        """Run a command to its end."""
        done = subprocess.run(
            [program(name), '--config-file', str(conf or self.write()), *arguments],
            env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        secrecy.WATCH.read(done.stdout + done.stderr, 'output of %s' % name)
        return done

    def prepare(self):
        """Have the tables that :meth:`install` makes, without waiting for the commands."""
        databases.ready(self.options['database']['connection']).dispose()

    def install(self):
        """Make the tables by the commands of the operator."""
        for name, arguments in (('cloudkitty-dbsync', ['upgrade']), ('cloudkitty-storage-init', [])):
            done = self.run(name, *arguments)
            assert done.returncode == 0, done.stderr

    def start(self, name, *arguments, conf=None):
        """Start a command and return it running."""
        found = Running([program(name), '--config-file', str(conf or self.write()), *arguments], self)
        self._running.append(found)
        return found

    def end(self):
        for found in self._running:
            found.end()


class Running:
    """A running command; its output goes to a file."""

    def __init__(self, arguments, programs):
        self.log = programs.directory / ('output-%d' % len(programs._running))
        with self.log.open('w') as output:
            self.process = subprocess.Popen(
                arguments, env=programs.environment, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    @property
    def output(self):
        return self.log.read_text()

    def children(self):
        """Return the ids of its child processes."""
        found = []
        for task in pathlib.Path('/proc/%d/task' % self.process.pid).glob('*/children'):
            found += [int(pid) for pid in task.read_text().split()]
        return sorted(found)

    def wait_for(self, text, times=1, seconds=60):
        """Wait until it has written *text*, so many times."""
        wait_until(lambda: self.output.count(text) >= times or self.process.poll() is not None, seconds)
        assert self.output.count(text) >= times, self.output

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=60):
        """Wait for its end and return its status."""
        return self.process.wait(seconds)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        secrecy.WATCH.read_file(self.log)


def is_alive(pid):
    """Return whether a process runs; one that only waits to be reaped does not."""
    try:
        return pathlib.Path('/proc/%d/stat' % pid).read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


SIGTERM, SIGHUP, SIGKILL = signal.SIGTERM, signal.SIGHUP, signal.SIGKILL
