# SPDX-License-Identifier: Apache-2.0
"""A RabbitMQ of a test's own, on loopback, that can be stopped and started again."""

import os
import pathlib
import socket
import time
import uuid

from cloudkitty.tests import processes

#: Seconds that it may take to start.
PATIENCE = 120


class NotInstalled(Exception):
    """This machine has no RabbitMQ."""


def find_server():
    """Return the path of the server's script; raise NotInstalled.

    Not the command that Debian puts before it: that one becomes another user, and starts what systemd starts.
    """
    found = sorted(pathlib.Path('/usr/lib/rabbitmq/lib').glob('rabbitmq_server-*/sbin/rabbitmq-server'))
    if not found:
        raise NotInstalled('RabbitMQ is not installed.')
    return found[-1]


class Node:
    """A node of its own name, ports and files.

    :param directory: for all that it writes.
    :param address: at which it listens.
    :ivar url: for ``transport_url``.
    :ivar process: None before the start.
    """

    def __init__(self, directory, address='127.0.0.1'):
        self._server = find_server()
        self._directory = pathlib.Path(directory)
        self._port, distribution = processes.free_ports(2)
        self._address = address
        self.url = 'rabbit://guest:guest@%s:%d/' % (address, self._port)
        # The guest may come from elsewhere than loopback.
        (self._directory / 'rabbitmq.conf').write_text('loopback_users = none\n')
        (self._directory / 'plugins').write_text('[].\n')
        self._environment = {
            **os.environ,
            'HOME': str(self._directory),
            'RABBITMQ_NODENAME': 'cloudkitty-%s@localhost' % uuid.uuid4().hex[:12],
            'RABBITMQ_NODE_IP_ADDRESS': address,
            'RABBITMQ_NODE_PORT': str(self._port),
            'RABBITMQ_DIST_PORT': str(distribution),
            'RABBITMQ_MNESIA_BASE': str(self._directory / 'mnesia'),
            'RABBITMQ_LOG_BASE': str(self._directory / 'log'),
            'RABBITMQ_LOGS': str(self._directory / 'rabbitmq.log'),
            'RABBITMQ_PID_FILE': str(self._directory / 'pid'),
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(self._directory / 'plugins'),
            'RABBITMQ_CONFIG_FILE': str(self._directory / 'rabbitmq.conf'),
            'RABBITMQ_CONF_ENV_FILE': '/dev/null',
            'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS': '-kernel inet_dist_use_interface {127,0,0,1} +sbwt none',
            # One process, without a shell around it that would have to be stopped too.
            'RUNNING_UNDER_SYSTEMD': '1',
            'NOTIFY_SOCKET': '',
            # One that has to be started for this node stays on loopback.
            'ERL_EPMD_ADDRESS': '127.0.0.1',
        }
        self.process = None

    def launch(self):
        """Start it; return its process."""
        self.process = processes.start(
            'rabbitmq', [str(self._server)], self._directory / 'output', env=self._environment, cwd=self._directory
        )
        return self.process

    def start(self):
        """Start it and wait until it answers."""
        self.launch()
        deadline = time.monotonic() + PATIENCE
        while not self.is_answering():
            if not self.process.is_alive() or time.monotonic() > deadline:
                raise RuntimeError('RabbitMQ does not start: %s' % self.process.tail())
            time.sleep(0.1)

    def is_answering(self):
        """Return whether it speaks AMQP, and not only listens."""
        try:
            with socket.create_connection((self._address, self._port), timeout=5) as found:
                found.sendall(b'AMQP\x00\x00\x09\x01')
                return bool(found.recv(1))
        except OSError:
            return False

    def stop(self):
        """Stop it; again, or before the start, is fine."""
        if self.process is not None:
            self.process.stop()
