# SPDX-License-Identifier: Apache-2.0
"""A push with a key is done once, whatever happens: each driver on every server."""

import concurrent.futures
import datetime
from decimal import Decimal
import subprocess
import sys

from oslo_db import exception as db_exc
import pytest
import sqlalchemy

from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import pushes
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.v1 import driver as v1
from cloudkitty.tests import samples
from cloudkitty.tests.functional.storage import test_contract

KEY = pushes.Key('user', 'project', 'invoice 2026-06')
DRIVERS = {'v2': driver.SQLAlchemyStorage, 'v1': v1.SQLAlchemyStorage}

#: Pushes at the database of the first argument, and is killed when it is about to commit, or when it has.
PROGRAM = """
import os, sys
import sqlalchemy
from cloudkitty.db import engine
from cloudkitty.tests.functional.storage import test_pushes

def die(*args):
    os.kill(os.getpid(), 9)

url, name, moment = sys.argv[1:]
database = engine.Database(url)
if moment == 'before':
    sqlalchemy.event.listen(database.engine, 'commit', die)
test_pushes.DRIVERS[name](database).push(test_pushes.make_frames(), key=test_pushes.KEY)
die()
"""


@pytest.fixture(params=DRIVERS)
def name(request):
    return request.param


@pytest.fixture
def storage(database, name):
    return DRIVERS[name](database)


def make_frames(price='0.25', scopes=('p', 'q'), hours=(0, 1)):
    return [
        dataframe.DataFrame(
            *samples.window(samples.JUNE + hour * samples.HOUR, hours=1),
            {'fee': [dataframe.DataPoint('u', 1, price, {'project_id': scope_id}, {}) for scope_id in scopes]},
        )
        for hour in hours
    ]


def rate(storage):
    return sum(row['rate'] for row in test_contract.total(storage))


def count(database):
    with database.reader() as session:
        return session.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(ledger_models.Push))


def test_repeating_changes_nothing(storage, database):
    storage.push(make_frames(), key=KEY)
    # The same points, told in another way.
    storage.push(make_frames('0.2500', ('q', 'p'), (1, 0)), key=KEY)
    assert rate(storage) == 1 and count(database) == 1


def test_without_a_key_points_are_appended(storage, database):
    storage.push(make_frames())
    storage.push(make_frames())
    assert rate(storage) == 2 and count(database) == 0


def test_other_content_is_refused(storage):
    storage.push(make_frames(), key=KEY)
    for other in (make_frames('0.5'), make_frames(scopes=('p',)), make_frames(hours=(0, 2)), make_frames()[:1]):
        with pytest.raises(errors.Conflict, match='invoice 2026-06'):
            storage.push(other, key=KEY)
    assert rate(storage) == 1


def test_keys_of_two_callers_are_two(storage, database):
    for user_id, project_id in (('user', 'project'), ('user', 'other'), ('other', 'project'), (None, None)):
        storage.push(make_frames(), key=pushes.Key(user_id, project_id, KEY.text))
    assert rate(storage) == 4 and count(database) == 4


def test_a_push_of_nothing_has_a_key_too(storage):
    storage.push([], key=KEY)
    storage.push([], key=KEY)
    with pytest.raises(errors.Conflict):
        storage.push(make_frames(), key=KEY)


def test_what_is_refused_takes_no_key(storage):
    with pytest.raises(errors.BadRequest):
        storage.push(make_frames(scopes=('p', 'q' * 300)), key=KEY)
    storage.push(make_frames(), key=KEY)
    assert rate(storage) == 1


def test_at_once_it_is_done_once(storage, ready_url, name):
    databases = [engine.Database(ready_url) for _ in range(8)]
    scope_ids = ['p%d' % number for number in range(20)]

    def push(number):
        # Scopes, and so guards, in whatever order, and each key twice.
        order = scope_ids[number:] + scope_ids[:number]
        frames = make_frames(scopes=order)
        DRIVERS[name](databases[number]).push(frames, key=pushes.Key('user', 'project', 'key %d' % (number % 4)))

    with concurrent.futures.ThreadPoolExecutor(len(databases)) as executor:
        for future in [executor.submit(push, number) for number in range(len(databases))]:
            future.result()
    for database in databases:
        database.dispose()
    assert rate(storage) == 4 * 20 * 2 * Decimal('0.25')


def test_of_several_contents_at_once_one_is_stored(storage, ready_url, name):
    databases = [engine.Database(ready_url) for _ in range(6)]

    def push(number):
        try:
            DRIVERS[name](databases[number]).push(make_frames(2**number), key=KEY)
        except errors.Conflict:
            return 0
        return 4 * 2**number

    with concurrent.futures.ThreadPoolExecutor(len(databases)) as executor:
        stored = [future for future in executor.map(push, range(len(databases))) if future]
    for database in databases:
        database.dispose()
    assert [rate(storage)] == stored


@pytest.mark.parametrize('is_done', [True, False])
def test_a_commit_of_which_nobody_heard_is_not_done_twice(storage, database, is_done):
    lost = [db_exc.DBConnectionError()]

    @sqlalchemy.event.listens_for(database.engine, 'commit')
    def lose(connection):
        if lost:
            if is_done:
                connection.connection.commit()
            raise lost.pop()

    storage.push(make_frames(), key=KEY)
    sqlalchemy.event.remove(database.engine, 'commit', lose)
    assert not lost and rate(storage) == 1


@pytest.mark.parametrize('moment', ['before', 'after'])
def test_whoever_was_killed_is_repeated(storage, ready_url, name, moment):
    done = subprocess.run([sys.executable, '-c', PROGRAM, ready_url, name, moment], check=False, timeout=60)
    assert done.returncode == -9
    assert (rate(storage) if moment == 'after' else not test_contract.total(storage)) == 1
    storage.push(make_frames(), key=KEY)
    assert rate(storage) == 1


def test_old_keys_go_some_at_a_time(database, monkeypatch):
    monkeypatch.setattr(pushes, 'BATCH', 2)
    now = datetime.datetime.now(period.UTC).replace(microsecond=0)
    with database.writer() as session:
        for number in range(6):
            at = now - datetime.timedelta(days=number)
            session.add(ledger_models.Push(id=str(number), text='key', digest='', at=at))
    for left in (['0', '1', '2', '3'], ['0', '1', '2'], ['0', '1', '2']):
        pushes.forget(database, now - datetime.timedelta(days=2))
        with database.reader() as session:
            found = sorted(session.scalars(sqlalchemy.select(ledger_models.Push.id)))
        assert found == left
