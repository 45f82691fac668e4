# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus, filled with the methods of its stand-in (:mod:`cloudkitty.tests.prometheus`).

The past is put in as blocks, which ``promtool`` makes of a text; the server is started again to read them. What ends a
series, which no text can say, is written to it remotely.
"""

import json
import pathlib
import struct
import subprocess
import time

import requests

from cloudkitty.tests import processes
from cloudkitty.tests import prometheus

ROOT = pathlib.Path(__file__).parents[2]
#: The bits of the one NaN that ends a series (model/value/value.go).
_STALE = 0x7FF0000000000002
#: Takes samples that are older than those it has.
_CONFIG = {'storage': {'tsdb': {'out_of_order_time_window': '100y'}}}


class RealPrometheus:
    """A Prometheus with its data in *directory*, made where it is missing.

    :param port: where it listens on loopback; None: anywhere.
    :param config: what it is to do besides, such as to scrape.
    """

    def __init__(self, directory, port=None, config=None):
        self._directory = pathlib.Path(directory)
        self._config = {**_CONFIG, **(config or {})}
        self._port = port or processes.free_ports(1)[0]
        self._waiting = {}
        # (labels, seconds) of what ends series.
        self._ends = []
        self._process = None

    @property
    def url(self):
        return 'http://127.0.0.1:%d/api/v1' % self._port

    @property
    def process(self):
        return self._process

    def add(self, metric, labels, values):
        samples = {second: value for second, value in values.items() if value is not prometheus.STALE}
        ends = sorted(values.keys() - samples.keys())
        self._waiting.setdefault(metric, []).append((dict(labels), samples))
        if ends:
            self._ends.append(({**labels, '__name__': metric}, ends))

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
        self.start()
        if self._ends:
            content = b''.join(_field(1, _series(labels, seconds)) for labels, seconds in self._ends)
            headers = {'Content-Encoding': 'snappy', 'Content-Type': 'application/x-protobuf'}
            answer = requests.post(self.url + '/write', _pack(content), headers=headers, timeout=30)
            assert answer.status_code == 204, answer.text
            self._ends = []
        return self

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
        # JSON is YAML, too.
        config.write_text(json.dumps(self._config))
        log = self._directory / 'prometheus.log'
        arguments = [
            '/usr/bin/prometheus',
            '--config.file=%s' % config,
            '--storage.tsdb.path=%s' % (self._directory / 'data'),
            '--storage.tsdb.retention.time=100y',
            '--web.listen-address=127.0.0.1:%d' % self._port,
            '--web.enable-remote-write-receiver',
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


def _series(labels, seconds):
    """Return a message TimeSeries of remote writing that ends a series at *seconds*."""
    named = (_field(1, name.encode()) + _field(2, value.encode()) for name, value in sorted(labels.items()) if value)
    parts = [_field(1, label) for label in named]
    for second in seconds:
        parts.append(_field(2, b'\x09' + struct.pack('<Q', _STALE) + b'\x10' + _number(round(second * 1000))))
    return b''.join(parts)


def _field(number, content):
    """Return a field of a message of protocol buffers that has a length."""
    return _number(number << 3 | 2) + _number(len(content)) + content


def _number(value):
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def _pack(content):
    """Return *content* in the block format of snappy, not made any smaller."""
    parts = [_number(len(content))]
    for first in range(0, len(content), 60000):
        part = content[first : first + 60000]
        parts += [bytes([61 << 2]), struct.pack('<H', len(part) - 1), part]
    return b''.join(parts)
