# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus, filled with the methods of its stand-in (:mod:`cloudkitty.tests.prometheus`).

The past is put in as blocks, which ``promtool`` makes of a text; the server is started again to read them.
"""

import pathlib
import subprocess
import time

import requests

from cloudkitty.tests import processes

ROOT = pathlib.Path(__file__).parents[2]


class RealPrometheus:
    """A Prometheus with its data in *directory*, made where it is missing.

    :param port: where it listens on loopback; None: anywhere.
    """

    def __init__(self, directory, port=None):
        self._directory = pathlib.Path(directory)
        self._port = port or processes.free_ports(1)[0]
        self._waiting = {}
        self._process = None

    @property
    def url(self):
        return 'http://127.0.0.1:%d/api/v1' % self._port

    @property
    def process(self):
        return self._process

    def add(self, metric, labels, values):
        self._waiting.setdefault(metric, []).append((dict(labels), dict(values)))

    def settle(self):
        """Have everything that was put in answered."""
        if self._waiting:
            self.stop()
            self._directory.mkdir(parents=True, exist_ok=True)
            text = self._directory / 'waiting.om'
            text.write_text(''.join(self._write()))
            subprocess.run(
                ['promtool', 'tsdb', 'create-blocks-from', 'openmetrics', '--quiet', text, self._directory / 'data'],
                check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            text.unlink()
            self._waiting = {}
        return self.start()

    def _write(self):
        for metric, series in self._waiting.items():
            # A gauge may have any name.
            yield '# TYPE %s gauge\n' % metric
            for labels, values in series:
                named = ','.join('%s="%s"' % (name, _escape(value)) for name, value in labels.items())
                for second in sorted(values):
                    yield '%s{%s} %s %s\n' % (metric, named, values[second], second)
        yield '# EOF\n'

    def start(self, attached=True):
        if self._process is not None:
            return self
        subprocess.run([ROOT / 'tools/prometheus', 'install'], check=True, stdin=subprocess.DEVNULL)
        self._directory.mkdir(parents=True, exist_ok=True)
        config = self._directory / 'prometheus.yml'
        config.touch()
        log = self._directory / 'prometheus.log'
        arguments = [
            '/usr/bin/prometheus',
            '--config.file=%s' % config,
            '--storage.tsdb.path=%s' % (self._directory / 'data'),
            '--storage.tsdb.retention.time=100y',
            '--web.listen-address=127.0.0.1:%d' % self._port,
            '--log.level=warn',
        ]
        self._process = processes.start('prometheus', arguments, log, attached)
        end = time.monotonic() + 60
        while not self._is_ready():
            if not self._process.is_alive() or time.monotonic() > end:
                raise AssertionError('Prometheus does not start:\n%s' % self._process.tail())
            time.sleep(0.05)
        return self

    def _is_ready(self):
        try:
            return requests.get('http://127.0.0.1:%d/-/ready' % self._port, timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

    def stop(self):
        if self._process is not None:
            self._process.stop()
            self._process = None


def _escape(value):
    return value.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n')
