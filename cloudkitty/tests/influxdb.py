# SPDX-License-Identifier: Apache-2.0
"""An InfluxDB 1.6 of a test's own, on loopback, and points in it as the storage of old wrote them.

``tools/influxdb install`` installs it.
"""

import pathlib
import subprocess
import time

import requests

from cloudkitty.tests import processes

ROOT = pathlib.Path(__file__).parents[2]
#: Seconds that it may take to start.
PATIENCE = 60
_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{directory}/meta"
[data]
  dir = "{directory}/data"
  wal-dir = "{directory}/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = {auth}
  log-enabled = false
"""


def install():
    """Install it where it is missing; raises CalledProcessError."""
    subprocess.run([ROOT / 'tools/influxdb', 'install'], check=True, stdin=subprocess.DEVNULL)


class Server:
    """A server of its own.

    :param directory: for all that it writes.
    :param user, password: an administrator; everybody may do everything without one.
    """

    def __init__(self, directory, user=None, password=None):
        self._directory = pathlib.Path(directory)
        self._auth = (user, password) if user else None
        self.port, self._rpc = processes.free_ports(2)
        self.url = 'http://127.0.0.1:%d' % self.port
        self.process = None

    def start(self):
        """Start it and wait until it answers."""
        path = self._directory / 'influxdb.conf'
        path.write_text(
            _CONFIG.format(
                directory=self._directory, port=self.port, rpc=self._rpc, auth='true' if self._auth else 'false'
            )
        )
        command = ['/usr/bin/influxd', 'run', '-config', str(path)]
        self.process = processes.start('influxd', command, self._directory / 'output')
        deadline = time.monotonic() + PATIENCE
        while not self._is_answering():
            if not self.process.is_alive() or time.monotonic() > deadline:
                raise RuntimeError('InfluxDB does not start: %s' % self.process.tail())
            time.sleep(0.05)
        if self._auth:
            self.query('CREATE USER "%s" WITH PASSWORD \'%s\' WITH ALL PRIVILEGES' % self._auth)
        return self

    def stop(self):
        if self.process is not None:
            self.process.stop()

    def _is_answering(self):
        try:
            return requests.get(self.url + '/ping', timeout=5).status_code == 204
        except requests.ConnectionError:
            return False

    def query(self, text, database=None):
        """Return the answer to an InfluxQL statement; raise ValueError with the server's text where it refuses."""
        answer = requests.post(
            self.url + '/query', params={'q': text, 'db': database, 'epoch': 's'}, auth=self._auth, timeout=PATIENCE
        ).json()
        if 'error' in answer or any('error' in result for result in answer.get('results', ())):
            raise ValueError(str(answer))
        return answer

    def write(self, database, points, policy=None):
        """Write points, 500 at once."""
        lines = [to_line(*found) for found in points]
        for first in range(0, len(lines), 500):
            answer = requests.post(
                self.url + '/write',
                params={'db': database, 'precision': 's', 'rp': policy},
                data='\n'.join(lines[first : first + 500]).encode(),
                auth=self._auth,
                timeout=PATIENCE,
            )
            if answer.status_code != 204:
                raise ValueError(answer.text)


def point(begin, metric, qty, price, groupby, metadata=None, unit='u', length=3600, description=None, **more):
    """Return (begin, tags, fields) of a point as the storage of old wrote it, whichever version of the API it spoke.

    :param length: of the period, in seconds; None as older releases had it.
    :param more: fields in place of what they would be; None leaves one out.
    """
    metadata = metadata or {}
    tags = {name: str(value) for name, value in {**groupby, 'type': metric}.items() if value not in (None, '')}
    fields = {
        **metadata,
        'qty': float(qty),
        'price': float(price),
        'unit': unit,
        'description': description,
        'groupby': '|'.join(groupby),
        'metadata': '|'.join(metadata),
        '__ck_collect_period': length,
        **more,
    }
    return begin, tags, {name: value for name, value in fields.items() if value is not None}


def to_line(begin, tags, fields):
    """Return a point in the line protocol."""
    return 'dataframes%s %s %d' % (
        ''.join(',%s=%s' % (_escape(name), _escape(tags[name])) for name in sorted(tags)),
        ','.join('%s=%s' % (_escape(name), _to_field(value)) for name, value in fields.items()),
        begin,
    )


def _escape(text):
    for letter in ('\\', ' ', ',', '='):
        text = text.replace(letter, '\\' + letter)
    return text


def _to_field(value):
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, int):
        return '%di' % value
    if isinstance(value, float):
        return repr(value)
    return '"%s"' % str(value).replace('\\', '\\\\').replace('"', '\\"')
