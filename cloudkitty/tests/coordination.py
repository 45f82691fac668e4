# SPDX-License-Identifier: Apache-2.0
"""Services of a test's own that know who is there: Redis, and etcd where it is installed."""

import contextlib
import shutil
import socket
import subprocess
import time


def _free_port():
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return found.getsockname()[1]


class Service:
    """A service on loopback.

    :param directory: for all that it writes.
    :ivar url: for ``coordination_url``.
    """

    program = ''
    scheme = ''

    def __init__(self, directory):
        self.directory = directory
        self.port = _free_port()
        self.url = '%s://127.0.0.1:%d' % (self.scheme, self.port)
        self.process = None

    @classmethod
    def is_installed(cls):
        return shutil.which(cls.program) is not None

    def start(self):
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(self.arguments(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError('%s does not start.' % self.program)
            time.sleep(0.05)

    def answers(self):
        with contextlib.suppress(OSError):
            socket.create_connection(('127.0.0.1', self.port), timeout=1).close()
            return True
        return False

    def stop(self):
        self.process.kill()
        self.process.wait()


class Redis(Service):
    program = 'redis-server'
    scheme = 'redis'

    def arguments(self):
        return [self.program, '--bind', '127.0.0.1', '--port', str(self.port), '--save', '', '--dir', self.directory]


class Etcd(Service):
    program = 'etcd'
    scheme = 'etcd3+http'

    def __init__(self, directory):
        super().__init__(directory)
        # Where its gateway is, of all releases that are in use.
        self.url += '?api_version=v3'

    def arguments(self):
        client, peer = ('http://127.0.0.1:%d' % port for port in (self.port, _free_port()))
        return [
            self.program, '--data-dir', str(self.directory / 'etcd'), '--name', 'one',
            '--listen-client-urls', client, '--advertise-client-urls', client,
            '--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', 'one=' + peer,
        ]  # fmt: skip


SERVICES = {'redis': Redis, 'etcd': Etcd}
