# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-api`` as a process, for tests and benchmarks."""

import contextlib
import pathlib
import re
import sys
import time

from cloudkitty.tests import processes

#: Seconds that it may take to start.
PATIENCE = 60


class Server:
    """A command that serves.

    :ivar port: on loopback.
    """

    def __init__(self, process, port):
        self.process = process
        self.port = port

    def read_log(self):
        """Return what it has printed and logged."""
        return pathlib.Path(self.process.log).read_text()


@contextlib.contextmanager
def serve(config_file, directory, name='cloudkitty-api'):
    """Run the command with options of *config_file* on a free port of loopback; give the :class:`Server`."""
    command = pathlib.Path(sys.executable).with_name('cloudkitty-api')
    arguments = [str(command), '--config-file', str(config_file), '-p', '0', '-b', '127.0.0.1']
    with listen(arguments, pathlib.Path(directory) / ('%s.log' % name), name) as server:
        yield server


@contextlib.contextmanager
def listen(arguments, log, name):
    """Run a program that says where it listens, as the command does; give the :class:`Server`."""
    process = processes.start(name, arguments, log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r'Available at http://.*:(\d+)/', pathlib.Path(process.log).read_text())):
            if not process.is_alive() or time.monotonic() > deadline:
                raise RuntimeError('%s does not serve: %s' % (name, process.tail()))
            time.sleep(0.05)
        yield Server(process, int(found.group(1)))
    finally:
        process.stop()
