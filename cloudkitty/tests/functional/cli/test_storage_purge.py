# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-storage-purge`` as a process."""

import json

import pytest

from cloudkitty.db import engine
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.tests import samples
from cloudkitty.tests.functional.storage import test_purge

COMMAND = 'cloudkitty-storage-purge'
CUT = '2026-06-13'


@pytest.fixture
def installed(everywhere):
    everywhere.set('storage', backend='sqlalchemy')
    everywhere.prepare()
    return everywhere


@pytest.fixture
def database(installed):
    found = engine.Database(installed.options['database']['connection'])
    test_purge.rate(found, driver.SQLAlchemyStorage(found), 'p', days=20)
    yield found
    found.dispose()


def count(database):
    return len(test_purge.content(database)['days'])


def test_it_tells_asks_and_deletes(installed, database):
    # Nobody has to be rated in the future of the tests.
    before = count(database)
    done = installed.run(COMMAND, '--before', CUT + 'T17:30:00', '--dry-run')
    assert done.returncode == 0, done.stderr
    assert 'Before 2026-06-13T00:00:00+00:00' in done.stdout
    assert '| rated_days        |   24 |' in done.stdout
    done = installed.run(COMMAND, '--before', CUT)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        'cloudkitty-storage-purge: Nobody is there to answer: --yes says yes. Nothing was deleted.'
    )
    assert count(database) == before == 40
    done = installed.run(COMMAND, '--before', CUT, '--yes', '--format', 'json')
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found['before'], found['refused']) == ('2026-06-13T00:00:00+00:00', {})
    assert (found['deleted']['rated_days'], found['deleted']['series']) == (24, 12)
    assert '24 rows of rated_days' in done.stderr
    assert count(database) == 16


def test_scopes_that_wait_for_reprocessing_are_named(installed, database):
    day = samples.instant(samples.JUNE)
    test_purge.reprocessings.schedule(database, samples.IDENTITY, ['p'], day, day, samples.HOUR, 'why', None)
    done = installed.run(COMMAND, '--before', CUT, '--yes')
    assert done.returncode == 1
    assert 'Data of 1 scopes stays as it is, such as that of p: Task 1 is to reprocess it' in done.stderr
    assert count(database) == 40


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        ([], '--before is missing'),
        (['--before', 'x'], "--before: 'x' is no instant"),
        (['--before', '2999-01-01'], '--before: 2999-01-01T00:00:00+00:00 is not between 1970 and today'),
        (['--before', '1969-01-01'], 'is not between 1970 and today'),
    ],
)
def test_wrong_instant_is_one_line(programs, arguments, text):
    done = programs.run(COMMAND, *arguments, '--yes')
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (1, '', 1)
    assert text in done.stderr
