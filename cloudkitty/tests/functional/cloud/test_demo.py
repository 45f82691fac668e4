# SPDX-License-Identifier: Apache-2.0
"""The demo as a program: what it prints, and that nothing of it stays."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from cloudkitty.tests.functional import conftest as functional
from cloudkitty.tests.functional.cli import programs as cli_programs

pytestmark = pytest.mark.cloud


class Demo:
    """A running demo that keeps all it has in *directory*."""

    def __init__(self, directory, *arguments):
        self.directory = directory / 'temporary'
        self.directory.mkdir()
        self.output = directory / 'output'
        with self.output.open('w') as output:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'cloudkitty.tests.demo', *arguments],
                env={**os.environ, 'TMPDIR': str(self.directory), 'PYTHONUNBUFFERED': '1'},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def wait(self):
        """Return its status and what it printed."""
        return self.process.wait(570), self.output.read_text()

    def wait_for(self, text):
        cli_programs.wait_until(lambda: text in self.output.read_text() or self.process.poll() is not None, 300)
        assert self.process.poll() is None, self.output.read_text()

    def processes(self):
        """Return the ids of the living processes that were started with a path in its directory."""
        found = []
        for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
            try:
                words = path.read_bytes()
            except OSError:
                continue
            if os.fsencode(self.directory) in words and cli_programs.is_alive(int(path.parent.name)):
                found.append(int(path.parent.name))
        return found


@pytest.fixture
def arguments():
    return ()


@pytest.fixture
def demo(tmp_path, arguments):
    functional.require_cloud()
    found = Demo(tmp_path, *arguments)
    yield found
    if found.process.poll() is None:
        found.process.kill()
        found.process.wait()


@pytest.mark.parametrize('arguments', [(), ('--source', 'prometheus')], ids=['gnocchi', 'prometheus'])
def test_demo_prints_a_bill_that_matches_and_leaves_nothing(demo):
    status, output = demo.wait()
    assert status == 0, output
    assert 'The bill matches' in output
    assert '360 of 360 hours of projects rated' in output
    assert '72 unknown' in output
    assert demo.processes() == []
    assert list(demo.directory.iterdir()) == []


def test_demo_that_is_interrupted_leaves_nothing(demo):
    demo.wait_for('Loading')
    assert demo.processes()
    os.killpg(demo.process.pid, signal.SIGINT)
    status, output = demo.wait()
    assert status == 130, output
    assert demo.processes() == []
    assert list(demo.directory.iterdir()) == []


def test_demo_that_is_killed_takes_its_processes_along(demo):
    demo.wait_for('of 360 hours')
    started = demo.processes()
    assert len(started) > 4
    demo.process.kill()
    cli_programs.wait_until(lambda: not demo.processes())
