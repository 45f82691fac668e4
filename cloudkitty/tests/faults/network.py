# SPDX-License-Identifier: Apache-2.0
"""Hosts of the laboratory with a network each, whose cable can be pulled: what is sent then is lost without a word."""

import os
import random
import shutil
import subprocess

LOOPBACK = '127.0.0.1'


class NotAllowed(Exception):
    """Networks cannot be made here."""


def _run(*words):
    done = subprocess.run(['ip', *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotAllowed('ip %s: %s' % (' '.join(words), done.stderr.strip()))
    return done.stdout


class Network:
    """A bridge, and a namespace with one end of a cable for each host; the servers are at the bridge.

    :ivar address: of the servers.
    :ivar prefix: of all addresses, with its length.
    """

    def __init__(self, hosts):
        self._mark = '%x%04x' % (os.getpid(), random.randrange(2**16))
        self._bridge = 'ckb%s' % self._mark
        first = '10.%d.%d' % (random.randrange(128, 250), random.randrange(256))
        self.address = first + '.1'
        self.prefix = first + '.0/24'
        self._hosts = range(hosts)
        self._first = first

    def make(self):
        """Make it; raise NotAllowed where only the superuser may, or nobody."""
        if not shutil.which('ip') or not shutil.which('nsenter'):
            raise NotAllowed('iproute2 and util-linux are not installed.')
        try:
            _run('link', 'add', self._bridge, 'type', 'bridge')
            _run('address', 'add', self.address + '/24', 'dev', self._bridge)
            _run('link', 'set', self._bridge, 'up')
            for number in self._hosts:
                self._make_host(number)
        except NotAllowed:
            self.remove()
            raise

    def _make_host(self, number):
        space, cable = self._space(number), self._cable(number)
        _run('netns', 'add', space)
        _run('link', 'add', cable, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space)
        _run('link', 'set', cable, 'master', self._bridge, 'up')
        _run('-n', space, 'address', 'add', '%s.%d/24' % (self._first, 10 + number), 'dev', 'eth0')
        _run('-n', space, 'link', 'set', 'lo', 'up')
        _run('-n', space, 'link', 'set', 'eth0', 'up')

    def _space(self, number):
        return '%s-%d' % (self._bridge, number)

    def _cable(self, number):
        return 'ckv%s%d' % (self._mark, number)

    def inside(self, number):
        """Return the words before a command that make it run on a host."""
        return [shutil.which('nsenter'), '--net=/run/netns/%s' % self._space(number), '--']

    def cut(self, number):
        """Pull a host's cable."""
        _run('link', 'set', self._cable(number), 'down')

    def join(self, number):
        """Plug it in again."""
        _run('link', 'set', self._cable(number), 'up')

    def remove(self):
        """Take it away; what was never made is fine."""
        words = [('netns', 'delete', self._space(number)) for number in self._hosts]
        for found in [*words, ('link', 'delete', self._bridge)]:
            subprocess.run(['ip', *found], capture_output=True, check=False)


class Loopback:
    """One network for all: where none can be made."""

    address = LOOPBACK
    prefix = None

    def make(self):
        """Nothing has to be made."""

    def inside(self, number):
        return []

    def remove(self):
        """Nothing was made."""
