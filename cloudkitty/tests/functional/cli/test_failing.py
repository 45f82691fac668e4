# SPDX-License-Identifier: Apache-2.0
"""However a command fails, it says so in one line that tells what to do."""

import logging
import re

from oslo_config import cfg
import pytest

from cloudkitty.cli import dbsync
from cloudkitty.cli import status
from cloudkitty.cli import storage
from cloudkitty.cli import storage_import
from cloudkitty.cli import storage_purge
from cloudkitty.tests.functional import conftest

#: Console scripts with arguments that have them work on the database.
COMMANDS = {
    'cloudkitty-dbsync': (dbsync.main, ['version']),
    'cloudkitty-status': (status.main, ['scopes']),
    'cloudkitty-storage-import': (storage_import.main, []),
    'cloudkitty-storage-init': (storage.main, []),
    'cloudkitty-storage-purge': (storage_purge.main, ['--before', '2025-01-01', '--yes']),
}
SERVICES = ('cloudkitty-api', 'cloudkitty-processor')
#: Those that commands have write to stderr.
LOGGERS = ('', 'alembic', 'cloudkitty')
AWAY = {
    'mariadb': 'mysql+pymysql://root:hidden@127.0.0.1:1/cloudkitty',
    'postgresql': 'postgresql://root:hidden@127.0.0.1:1/cloudkitty',
    'sqlite': 'sqlite:////nowhere/at/all.sqlite',
}


@pytest.fixture
def fail(programs, capfd):
    """Run a command that fails, in this process; return the one line that it says."""
    programs.set('storage', backend='sqlalchemy')
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers]

    def run(name, *arguments, expected=1, conf=None):
        function, usual = COMMANDS[name]
        try:
            found = function(
                ['--config-file', str(conf or programs.write()), *(arguments or usual)], conf=cfg.ConfigOpts()
            )
        except SystemExit as error:
            found = error.code
        said = capfd.readouterr()
        assert found == expected, said.err
        assert (said.out, len(said.err.splitlines())) == ('', 1), said.err
        assert said.err.startswith(name)
        assert 'hidden' not in said.err
        return said.err

    yield run
    # What commands write to goes with the test.
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)


def wrong(name):
    """Status of a wrong option."""
    return 255 if name == 'cloudkitty-status' else 1


@pytest.mark.parametrize('name', COMMANDS)
@pytest.mark.parametrize('text', ['nonsense', '[database]\nmax_pool_size = many'])
def test_broken_file(programs, fail, name, text):
    conf = programs.directory / 'broken.conf'
    conf.write_text(text + '\n')
    said = fail(name, conf=conf, expected=1 if name == 'cloudkitty-status' and 'many' in text else wrong(name))
    assert 'broken.conf' in said or '[database] max_pool_size' in said


@pytest.mark.parametrize('name', COMMANDS)
def test_missing_file(programs, fail, name):
    assert 'missing.conf' in fail(name, conf=programs.directory / 'missing.conf', expected=wrong(name))


@pytest.mark.parametrize('name', COMMANDS)
def test_unknown_option(fail, name):
    text = fail(name, '--nonsense', *COMMANDS[name][1], expected=2)
    assert '--nonsense' in text
    assert text.endswith('--help tells what there is.\n')


@pytest.mark.parametrize('name', COMMANDS)
@pytest.mark.parametrize('text', ['nonsense', 'oracle://host/cloudkitty', 'mysql://host:port/cloudkitty'])
def test_wrong_url(programs, fail, name, text):
    programs.set('database', connection=text)
    assert '[database] connection' in fail(name)


@pytest.mark.parametrize('name', COMMANDS)
@pytest.mark.parametrize('kind', AWAY)
def test_database_that_is_away(programs, fail, name, kind):
    programs.set('database', connection=AWAY[kind])
    assert '[database] connection' in fail(name)


@pytest.mark.mariadb
@pytest.mark.parametrize('name', COMMANDS)
def test_wrong_password(programs, fail, name):
    conftest.require(conftest.SERVERS['mariadb'][1], 'mariadb')
    programs.set('database', connection='mysql://nobody:hidden@127.0.0.1/cloudkitty')
    text = fail(name)
    assert re.search('[Dd]enied', text)
    assert '[database] connection' in text


@pytest.mark.parametrize('name', ['cloudkitty-status', 'cloudkitty-storage-import', 'cloudkitty-storage-purge'])
def test_missing_tables(fail, name):
    assert 'cloudkitty-dbsync upgrade and cloudkitty-storage-init' in fail(name)


@pytest.mark.parametrize(
    ('name', 'arguments', 'text'),
    [
        ('cloudkitty-status', ['coverage', '--month', '2026-13'], "--month: '2026-13' is no month"),
        ('cloudkitty-status', ['coverage', '--month', 'May'], 'expected YYYY-MM'),
        ('cloudkitty-dbsync', ['upgrade', '--module', 'nobody'], 'no module "nobody"'),
        ('cloudkitty-dbsync', ['upgrade', '--revision', 'x'], '--revision x needs --module'),
    ],
)
def test_wrong_value(programs, fail, name, arguments, text):
    programs.prepare()
    assert text in fail(name, *arguments)


@pytest.mark.parametrize(
    ('name', 'arguments'),
    [
        ('cloudkitty-status', ['scopes', '--format', 'xml']),
        ('cloudkitty-status', ['upgrade', 'all']),
        ('cloudkitty-dbsync', ['nonsense']),
        ('cloudkitty-dbsync', ['stamp', '--module', 'hashmap']),
        ('cloudkitty-storage-purge', ['--format', 'xml']),
    ],
)
def test_wrong_word_on_the_command_line(fail, name, arguments):
    assert fail(name, *arguments, expected=2).endswith('--help tells what there is.\n')


def test_where_it_was_is_told_with_debug(programs):
    programs.set('database', connection=AWAY['sqlite'])
    done = programs.run('cloudkitty-status', '--debug', 'scopes')
    assert 'Traceback' in done.stderr
    assert done.stderr.splitlines()[-1].startswith('cloudkitty-status: The database says: ')


@pytest.mark.parametrize('name', SERVICES)
def test_services_fail_so_too(programs, name):
    programs.set('api', port='many')
    for arguments, expected, text in ((['--nonsense'], 2, '--nonsense'), ([], 1, '[api] port')):
        done = programs.run(name, *arguments)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (expected, '', 1), done.stderr
        assert text in done.stderr
