# SPDX-License-Identifier: Apache-2.0
"""What the commands tell of themselves, and how little they need for it."""

import configparser
import importlib.metadata
import pathlib
import subprocess
import sys

import pytest

from cloudkitty.tests.functional.cli import programs as cli_programs

ROOT = pathlib.Path(__file__).parents[4]
#: Libraries, and parts of ours, that only work needs: together they take a second and more.
WORK = {
    'alembic',
    'cloudkitty.api',
    'cloudkitty.conf',
    'cloudkitty.db',
    'cloudkitty.messaging',
    'cloudkitty.processor',
    'cloudkitty.rating',
    'cloudkitty.storage',
    'cotyledon',
    'eventlet',
    'gnocchiclient',
    'keystoneauth1',
    'keystonemiddleware',
    'oslo_db',
    'oslo_messaging',
    'oslo_middleware',
    'oslo_policy',
    'pecan',
    'prettytable',
    'requests',
    'sqlalchemy',
    'tooz',
    'tqdm',
    'waitress',
    'webob',
}
#: What a command needs all the same: green threads are patched first of all.
NEEDED = {'cloudkitty-processor': {'eventlet'}}


def list_commands():
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    lines = setup['entry_points']['console_scripts'].split('\n')
    return sorted(line.partition(' = ')[0] for line in lines if line)


COMMANDS = list_commands()


def run(name, *arguments):
    """Return what a command writes, and the names of the modules it imports."""
    done = subprocess.run(
        [sys.executable, '-X', 'importtime', cli_programs.program(name), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith('import time:')]
    return done.stdout, {line.rpartition('|')[2].strip() for line in lines}


@pytest.mark.parametrize('name', COMMANDS)
def test_version_and_help_need_no_library_of_the_work(name):
    said, modules = run(name, '--version')
    assert said.strip() == importlib.metadata.version('cloudkitty')
    said, more = run(name, '--help')
    assert said.startswith('usage: %s ' % name)
    assert 'cloudkitty.cli' in modules & more
    found = {work for work in WORK if any(('%s.' % module).startswith('%s.' % work) for module in modules | more)}
    assert found == NEEDED.get(name, set())


@pytest.mark.parametrize(
    ('name', 'argument', 'option'),
    [
        ('cloudkitty-api', '--help', '--port'),
        ('cloudkitty-dbsync', '--help', '{upgrade,stamp,revision,version,check,drop}'),
        ('cloudkitty-processor', '--help', '--config-file'),
        ('cloudkitty-status', '--help', '{upgrade,scopes,coverage}'),
        ('cloudkitty-storage-import', '--help', '--again'),
        ('cloudkitty-storage-init', '--help', '--config-file'),
        ('cloudkitty-storage-purge', '--help', '--before'),
    ],
)
def test_help_shows_what_the_command_takes(name, argument, option):
    assert option in run(name, argument)[0]
