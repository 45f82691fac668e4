# SPDX-License-Identifier: Apache-2.0
"""Programs that tests start end when they should, and never outlive who started them."""

import signal
import subprocess
import sys

from cloudkitty.tests import processes
from cloudkitty.tests.functional.cli import programs

SLEEP = [sys.executable, '-c', 'import time; print("ready", flush=True); time.sleep(600)']
STUBBORN = [
    sys.executable,
    '-c',
    'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print("ready", flush=True); time.sleep(600)',
]
PARENT = """
import signal, sys
from cloudkitty.tests import processes
found = processes.start('child', sys.argv[2:], sys.argv[1])
print(found.pid, found.born, flush=True)
signal.pause()
"""


def is_ready(log):
    return log.exists() and 'ready' in log.read_text()


def test_stopping_ends_a_program_and_its_log_is_kept(tmp_path):
    log = tmp_path / 'log'
    found = processes.start('sleep', SLEEP, log)
    programs.wait_until(lambda: is_ready(log))
    assert found.is_alive()
    found.stop()
    assert not found.is_alive()
    assert found.tail() == 'ready'


def test_a_program_that_ignores_sigterm_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, 'PATIENCE', 1)
    log = tmp_path / 'log'
    found = processes.start('stubborn', STUBBORN, log)
    programs.wait_until(lambda: is_ready(log))
    found.stop()
    assert not found.is_alive()


def test_a_program_ends_when_its_parent_is_killed(tmp_path):
    log = tmp_path / 'log'
    parent = subprocess.Popen([sys.executable, '-c', PARENT, log, *SLEEP], stdout=subprocess.PIPE, text=True)
    pid, born = parent.stdout.readline().split()
    child = processes.Process('child', int(pid), born, str(log))
    programs.wait_until(lambda: is_ready(log))
    assert child.is_alive()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    programs.wait_until(lambda: not child.is_alive())


def test_a_later_process_with_the_same_id_is_left_alone(tmp_path):
    log = tmp_path / 'log'
    found = processes.start('sleep', SLEEP, log)
    programs.wait_until(lambda: is_ready(log))
    earlier = processes.Process('earlier', found.pid, '1', str(log))
    assert not earlier.is_alive()
    earlier.stop()
    assert found.is_alive()
    found.stop()
