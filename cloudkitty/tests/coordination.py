# SPDX-License-Identifier: Apache-2.0
"""Services of a test's own that know who is there: Redis, and etcd where it is installed."""

import contextlib
import pathlib
import shutil
import socket
import time

from cloudkitty.tests import processes

#: Seconds that one may take to start.
PATIENCE = 60


class Service:
    """A service on loopback.

    :param directory: for all that it writes.
    :param address: at which it listens.
    :ivar url: for ``coordination_url``.
    """

    program = ''
    scheme = ''

    def __init__(self, directory, address='127.0.0.1'):
        self.directory = pathlib.Path(directory)
        self.address = address
        self.port, self.peer_port = processes.free_ports(2)
        self.url = '%s://%s:%d' % (self.scheme, address, self.port)
        self._process = None

    @classmethod
    def is_installed(cls):
        return shutil.which(cls.program) is not None

    def start(self):
        """Start it and wait until it answers."""
        arguments = [shutil.which(self.program), *self.arguments()]
        self._process = processes.start(self.program, arguments, self.directory / self.program)
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if not self._process.is_alive() or time.monotonic() > deadline:
                raise RuntimeError('%s does not start: %s' % (self.program, self._process.tail()))
            time.sleep(0.05)

    def answers(self):
        with contextlib.suppress(OSError):
            socket.create_connection((self.address, self.port), timeout=1).close()
            return True
        return False

    def stop(self):
        self._process.stop()


class Redis(Service):
    program = 'redis-server'
    scheme = 'redis'

    def arguments(self):
        return [
            '--bind', self.address, '--port', self.port, '--save', '', '--dir', self.directory,
            '--protected-mode', 'no',
        ]  # fmt: skip


class Etcd(Service):
    program = 'etcd'
    scheme = 'etcd3+http'

    def arguments(self):
        client, peer = ('http://%s:%d' % (self.address, port) for port in (self.port, self.peer_port))
        return [
            '--data-dir', self.directory / 'data', '--name', 'one',
            '--listen-client-urls', client, '--advertise-client-urls', client,
            '--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', 'one=' + peer,
        ]  # fmt: skip


SERVICES = {'redis': Redis, 'etcd': Etcd}
