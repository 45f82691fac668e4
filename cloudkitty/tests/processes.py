# SPDX-License-Identifier: Apache-2.0
"""Processes that a test or the demo starts: known by id and birth, ended one by one, and gone when their parent is.

usage: python -m cloudkitty.tests.processes PARENT PROGRAM [ARGUMENT ...]

The last form becomes PROGRAM, which then ends when the thread that started it ends, even when that is killed.
"""

from collections.abc import Callable
import ctypes
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

#: Sends a signal when the thread that started this process ends (linux/prctl.h).
PR_SET_PDEATHSIG = 1
#: Seconds a process may take to end after SIGTERM.
PATIENCE = 60


@dataclasses.dataclass(frozen=True)
class Process:
    """A process that was started; *born* tells it from a later one with the same id."""

    name: str
    pid: int
    born: str
    log: str

    def is_alive(self):
        is_there = self.born is not None and _born(self.pid) == self.born
        # Afterwards: what has just ended is not to linger on, as its id would still be taken.
        _reap(self.pid)
        return is_there

    def tail(self, lines=20):
        """Return the last lines of its log, long ones cut."""
        found = pathlib.Path(self.log).read_text(errors='replace').splitlines()[-lines:]
        return '\n'.join(line[:400] for line in found)

    def signal(self, number):
        if self.is_alive():
            os.kill(self.pid, number)

    def stop(self):
        """End it: SIGTERM, and SIGKILL where that is not enough."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            for _ in range(PATIENCE * 20):
                if not self.is_alive():
                    for read in readers:
                        read(self.log)
                    return
                time.sleep(0.05)


def start(name, arguments, log, attached=True, **options):
    """Start a program in a session of its own, so that Ctrl-C reaches only who started it; return the process.

    :param log: path that its output goes to.
    :param attached: it ends when this thread ends.
    :param options: of :class:`subprocess.Popen`.
    """
    root = str(pathlib.Path(__file__).parents[2])
    if attached:
        # By path: the program's environment need not know this package.
        arguments = [sys.executable, __file__, str(os.getpid()), *arguments]
    with open(log, 'a') as output:
        child = subprocess.Popen(
            [str(word) for word in arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            **{'cwd': root, **options},
        )  # fmt: skip
    _children[child.pid] = child
    return Process(name, child.pid, _born(child.pid), str(log))


def free_ports(count):
    """Return so many ports of loopback on which nobody listens now."""
    sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(count)]
    ports = [found.getsockname()[1] for found in sockets]
    for found in sockets:
        found.close()
    return ports


#: Functions that are given the path of the log of each process that was stopped.
readers: list[Callable[[str], object]] = []
#: The children of this process: they must be waited for.
_children: dict[int, subprocess.Popen] = {}


def _reap(pid):
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]


def _born(pid):
    """Return when a process started, as the kernel writes it; None when it is gone or only waits to be reaped."""
    try:
        fields = pathlib.Path('/proc/%d/stat' % pid).read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return None if fields[0] == 'Z' else fields[19]


def _become(parent, program, *arguments):
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):
        sys.exit('Its parent is gone.')
    os.execv(program, [program, *arguments])


if __name__ == '__main__':
    _become(*sys.argv[1:])
