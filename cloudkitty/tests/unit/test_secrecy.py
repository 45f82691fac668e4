# SPDX-License-Identifier: Apache-2.0
"""The watch over logs sees what is planted for it, and fails the test that did it."""

import logging
import pathlib
import subprocess
import sys

from oslo_log import log
import pytest

from cloudkitty.tests import secrecy

SECRET = secrecy.make('planted-one')
#: Two tests that leak, each its way, and one that does not.
TESTS = """
import logging
import sys
from cloudkitty.tests import processes
from cloudkitty.tests import secrecy
SECRET = secrecy.make('planted-one')

def test_a_record(caplog):
    logging.getLogger('cloudkitty.db').debug('Connecting as %s', SECRET)
    assert not caplog.records

def test_a_process(tmp_path):
    code = 'import sys, time; print(sys.argv[1], file=sys.stderr, flush=True); time.sleep(100)'
    found = processes.start('teller', [sys.executable, '-c', code, SECRET], tmp_path / 'log')
    while not (tmp_path / 'log').read_text():
        pass
    found.stop()

def test_nothing():
    logging.getLogger('cloudkitty').error('All is well: %s', 'sEcReT')
"""


@pytest.fixture
def watch():
    # The one of the run stands aside: it would fail these tests.
    secrecy.WATCH.stop()
    made = secrecy.Watch()
    made.start()
    yield made
    made.stop()
    secrecy.WATCH.start()


def raise_error():
    raise ValueError('No such user: %s' % SECRET)


def test_message_and_arguments_are_read(watch):
    logging.getLogger('a.library').warning('Said %s', SECRET)
    logging.getLogger('a.library').debug('Said %s, and nobody wants it', SECRET)
    assert watch.take() == ['logger a.library, WARNING: secret planted-one']
    assert watch.take() == []


def test_traceback_is_read(watch):
    try:
        raise_error()
    except ValueError:
        logging.getLogger('a.library').exception('It failed')
    assert watch.take() == ['logger a.library, ERROR: secret planted-one']


def test_our_own_loggers_are_read_below_their_level(watch, caplog):
    log.getLogger('cloudkitty.api').debug('Said %(what)s', {'what': SECRET})
    assert caplog.records == []
    assert watch.take() == ['logger cloudkitty.api, DEBUG: secret planted-one']


def test_loggers_that_hand_on_nothing_are_read(watch, monkeypatch):
    monkeypatch.setattr(logging.getLogger('a.library'), 'propagate', False)
    logging.getLogger('a.library').error(SECRET)
    assert watch.take() == ['logger a.library, ERROR: secret planted-one']


def test_record_that_cannot_be_formatted_is_read(watch, monkeypatch):
    monkeypatch.setattr(logging, 'raiseExceptions', False)
    logging.getLogger('a.library').error('%d of %s', SECRET)
    assert watch.take() == ['logger a.library, ERROR: secret planted-one']


def test_files_are_read(watch, tmp_path):
    (tmp_path / 'log').write_bytes(b'\xff\n%s\n' % SECRET.encode())
    watch.read_file(tmp_path / 'log')
    watch.read_file(tmp_path / 'no such file')
    assert watch.take() == ['output %s: secret planted-one' % (tmp_path / 'log')]


def test_a_test_that_leaks_fails(tmp_path):
    tests = pathlib.Path(secrecy.__file__).parent
    (tmp_path / 'conftest.py').write_text((tests / 'conftest.py').read_text())
    (tmp_path / 'test_planted.py').write_text(TESTS)
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-rfE', '--show-capture=no', '-p', 'no:cacheprovider', tmp_path],
        capture_output=True, text=True, cwd=tests.parents[1], check=False,
    )  # fmt: skip
    assert '2 failed, 1 passed' in done.stdout, done.stdout
    assert 'Secrets in logs: logger cloudkitty.db, DEBUG: secret planted-one.' in done.stdout
    assert 'log: secret planted-one.' in done.stdout
    assert SECRET not in done.stdout
