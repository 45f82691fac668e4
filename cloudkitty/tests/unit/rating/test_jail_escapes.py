# SPDX-License-Identifier: Apache-2.0
"""What scripts try: it is over when the jail says so, their points fail or are right, and others go on."""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import time
import uuid

import pytest

from cloudkitty.rating import jail as jails
from cloudkitty.tests.unit.rating import test_jail

NOBODY = 65534
MARK = 'CK_ESCAPE'
#: A process of a session of its own, whose parents are gone; its program is a shell that sleeps.
DAEMON = """
import os, time
reader, writer = os.pipe()
if not os.fork():
    os.setsid()
    if not os.fork():
        os.close(reader)
        os.execv("/bin/sh", ["sh", "-c", "sleep 600 & sleep 600; echo"])
    os.abort()
os.close(writer)
os.wait()
"""
#: Name to (script, what its failure says, None for none that matters or '' for none).
ATTEMPTS = {
    'daemon': (DAEMON, ''),
    'daemon, then too long': (DAEMON + 'while True: pass', 'it took longer than 2 seconds'),
    'daemon, then no more': (DAEMON + 'os.kill(os.getpid(), 9)', 'its process was ended by SIGKILL'),
    'daemon, then an error': (DAEMON + '1 / 0', 'ZeroDivisionError'),
    'fork': ('import os\nos.fork()', ''),
    'fork that goes on': ('import os\nif not os.fork():\n    while True: pass', ''),
    'many forks': ('import os\nfor _ in range(4): os.fork()', ''),
    'fork that says something': (
        'import os\nif not os.fork():\n    data["usage"]["cpu"][0]["rating"]["price"] = 666\nelse: os.wait()', '',
    ),
    'threads': (
        'import threading\ndef run():\n    while True: pass\n'
        'for _ in range(3): threading.Thread(target=run).start()', '',
    ),
    'threads that end with the process': (
        'import threading, time\n'
        'for _ in range(3): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()', '',
    ),
    'pool': ('import multiprocessing\nmultiprocessing.Pool(2).map(abs, [1])', None),
    'SIGKILL for its parent': ('import os, time\nos.kill(os.getppid(), 9)\ntime.sleep(600)', 'its process was'),
    'SIGTERM for its parent': ('import os, time\nos.kill(os.getppid(), 15)\ntime.sleep(600)', 'its process was'),
    'SIGSTOP for its parent': ('import os\nos.kill(os.getppid(), 19)', ''),
    'SIGKILL for its group': ('import os\nos.killpg(0, 9)', 'its process was ended by SIGKILL'),
    'SIGSTOP for itself': ('import os\nos.kill(os.getpid(), 19)', 'it took longer than 2 seconds'),
    'no descriptors': ('import os\nos.closerange(0, 200)', 'its process ended with status 1'),
    'another program': ('import os\nos.execv("/bin/true", ["true"])', 'its process ended with status 0'),
    'another program for long': ('import os\nos.execv("/bin/sleep", ["sleep", "600"])', None),
    'end without a word': ('import ctypes\nctypes.CDLL(None)._exit(0)', 'its process ended with status 0'),
    'crash': ('import ctypes\nctypes.string_at(0)', 'its process was ended by SIGSEGV'),
    'no alarm': (
        'import signal\nsignal.setitimer(signal.ITIMER_REAL, 0)\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\n'
        'while True: pass', 'it took longer than 2 seconds',
    ),
    'much memory': ('x = bytearray(1 << 30)', 'MemoryError'),
    'much memory elsewhere': ('import mmap\nmmap.mmap(-1, 1 << 30)', 'OSError: [Errno 12] Cannot allocate memory'),
    'many descriptors': ('import os\nwhile True: os.open("/", 0)', 'OSError: [Errno 24] Too many open files'),
    'large file': (
        'with open({file!r}, "wb") as file:\n    while True: file.write(bytes(1 << 20))',
        'OSError: [Errno 27] File too large',
    ),
    'large file with holes': ('import os\nos.truncate({file!r}, 1 << 40)', 'OSError: [Errno 27] File too large'),
    'higher limits': (
        'import resource as r\nr.setrlimit(r.RLIMIT_FSIZE, (r.getrlimit(r.RLIMIT_FSIZE)[1],) * 2)', '',
    ),
    'much output': ('import sys\nfor _ in range(100): print("x" * 10**6, file=sys.stderr)', ''),
    'deep frame': (
        'x = []\nfor _ in range(10**5): x = [x]\ndata["usage"]["cpu"][0]["metadata"]["x"] = x', 'RecursionError',
    ),
}  # fmt: skip


@pytest.fixture
def jail(monkeypatch):
    monkeypatch.setenv(MARK, uuid.uuid4().hex)
    monkeypatch.setattr(jails, '_GRACE', 1)
    made = jails.Jail(jails.Limits(timeout=2, memory=128 << 20, environment=(MARK,)))
    yield made
    made.close()


def list_marked():
    """Return the commands of all processes but this one that have the variable of this test."""
    word, found = ('%s=%s' % (MARK, os.environ[MARK])).encode(), []
    for path in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            if path.name != str(os.getpid()) and word in (path / 'environ').read_bytes():
                found.append((path / 'cmdline').read_bytes())
        except OSError:
            continue
    return found


@pytest.mark.parametrize('name', ATTEMPTS)
def test_attempt_comes_to_nothing(jail, tmp_path, name):
    source, expected = ATTEMPTS[name]
    file = tmp_path / 'file'
    file.touch()
    good = 'for point in data["usage"]["cpu"]: point["rating"]["price"] = point["vol"]["qty"] * 3'
    tasks = [test_jail.make_task(1, owner=1), test_jail.make_task(0, owner=2), test_jail.make_task(1, owner=3)]
    results = test_jail.run(jail, source.replace('{file!r}', repr(str(file))), good, tasks=tasks)
    assert [test_jail.price_of(results[place]) for place in (0, 2)] == [6, 6]
    if expected == '':
        assert test_jail.price_of(results[1]) == 0
    else:
        assert isinstance(results[1], jails.Failure) or expected is None
        assert (expected or '') in getattr(results[1], 'text', '')
    assert file.stat().st_size <= 16 << 20
    assert test_jail.price_of(test_jail.run(jail, good)[0]) == 6
    jail.close()
    deadline = time.monotonic() + 60
    while list_marked() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list_marked() == []


#: A worker of another user, which says what scripts of its jail came to.
WORKER = """
import ctypes, json, os, sys
from cloudkitty.rating import jail as jails
from cloudkitty.tests.unit.rating import test_jail
program, user, sources = json.loads(sys.stdin.read())
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
# As in a program that had this user from its start.
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
jails._python = lambda: program
jail = jails.Jail(jails.Limits(timeout=5, processes=16, environment=('CK_ESCAPE',)))
results = {}
for name, source in sources.items():
    (found,) = test_jail.run(jail, source.replace('{worker}', str(os.getpid())))
    results[name] = found.text if isinstance(found, jails.Failure) else 'price %s' % test_jail.price_of(found)
jail.close()
print(json.dumps(results))
"""


def find_program():
    """Return an interpreter that NOBODY can run."""
    user = {'user': NOBODY, 'group': NOBODY, 'extra_groups': []} if os.geteuid() == 0 else {}
    for program in (sys.executable, '/usr/bin/python3', '/usr/local/bin/python3'):
        with contextlib.suppress(OSError):
            code = 'import sys; open(%r).close(); sys.exit(sys.version_info < (3, 10))' % jails._CHILD
            if subprocess.run([program, '-c', code], capture_output=True, cwd='/', check=False, **user).returncode == 0:
                return program
    return pytest.skip('There is no Python that another user may run.')


def run_as_nobody(sources):
    done = subprocess.run(
        [sys.executable, '-c', WORKER], input=json.dumps((find_program(), NOBODY, sources)), check=False, timeout=150,
        capture_output=True, text=True, cwd=pathlib.Path(jails.__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_the_kernel_refuses_to_users_but_root(monkeypatch):
    monkeypatch.setenv(MARK, uuid.uuid4().hex)
    found = run_as_nobody(
        {
            'memory of the service': 'open("/proc/{worker}/mem", "rb")',
            'environment of the service': 'open("/proc/{worker}/environ", "rb").read()',
            'descriptors of the service': 'import os\nos.listdir("/proc/{worker}/fd")',
            'fork bomb': 'import os\nwhile True: os.fork()',
            'bomb of threads': (
                'import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,)).start()'
            ),
            'higher limits': 'import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (10**5, 10**5))',
            'nothing': 'pass',
        }
    )
    for name in ('memory', 'environment', 'descriptors'):
        assert 'PermissionError' in found.pop('%s of the service' % name)
    assert 'BlockingIOError' in found.pop('fork bomb')
    assert "can't start new thread" in found.pop('bomb of threads')
    assert 'not allowed to raise maximum limit' in found.pop('higher limits')
    assert found == {'nothing': 'price 0'}
    assert list_marked() == []
