# SPDX-License-Identifier: Apache-2.0
"""A host whose cable was pulled: the database gives its locks to others, and the host does not wait for ever."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pymysql
import pytest
import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.tests.faults import network as networks
from cloudkitty.tests.faults import servers
from cloudkitty.tests.functional import conftest

#: Seconds of silence that are borne here, and those after which a test gives up.
SILENCE, PATIENCE = 4, 60
#: What runs on the host: it gets hold of a row, and then says nothing any more, or waits for a long answer.
PROGRAM = """
import os
import sys
import time
from cloudkitty.db import engine
engine.SILENCE = %d
database = engine.Database(sys.argv[1])
with database.writer() as session:
    connection = session.connection()
    connection.exec_driver_sql('SELECT id FROM things WHERE id = 1 FOR UPDATE')
    print('locked', flush=True)
    try:
        connection.exec_driver_sql(sys.argv[2]) if sys.argv[2] else time.sleep(600)
    except engine.AWAY:
        print('away', flush=True)
        os._exit(0)
""" % (SILENCE)
LONG = {'mariadb': 'SELECT SLEEP(600)', 'postgresql': 'SELECT pg_sleep(600)'}


@pytest.fixture(params=['mariadb', 'postgresql'])
def server(request, tmp_path):
    """Return a server and a network with one host."""
    network = networks.Network(1)
    found = servers.KINDS[request.param](tmp_path / 'database', network)
    try:
        network.make()
        found.install()
        owner = engine.Database(found.url)
        with owner.writer() as session:
            session.execute(sqlalchemy.text('CREATE TABLE things (id INTEGER PRIMARY KEY)'))
            session.execute(sqlalchemy.text('INSERT INTO things VALUES (1)'))
        owner.dispose()
        yield found
    except (networks.NotAllowed, servers.NotInstalled) as error:
        conftest._miss(str(error))
    finally:
        found.stop()
        network.remove()


def _start(server, statement):
    """Start the program on the host; return it when it has the lock."""
    words = [*server.network.inside(0), sys.executable, '-c', PROGRAM, server.url, statement]
    found = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert found.stdout.readline() == 'locked\n'
    return found


def test_locks_of_a_host_that_is_cut_off_do_not_stay(server):
    found = _start(server, '')
    database = engine.Database(server.url)
    try:
        server.network.cut(0)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with database.writer() as session:
                    if server.kind == 'postgresql':
                        session.execute(sqlalchemy.text("SET LOCAL lock_timeout = '1s'"))
                    session.execute(sqlalchemy.text('SELECT id FROM things WHERE id = 1 FOR UPDATE'))
                break
            except Exception as error:
                if not engine.is_repeatable(error) or time.monotonic() > deadline:
                    raise
    finally:
        found.kill()
        found.wait()
        database.dispose()


def test_a_host_that_is_cut_off_gives_a_long_answer_up(server):
    found = _start(server, LONG[server.kind])
    try:
        server.network.cut(0)
        assert found.communicate(timeout=PATIENCE)[0] == 'away\n'
    finally:
        found.kill()
        found.wait()


def test_who_works_long_on_what_was_read_has_it_all_the_same(server, monkeypatch):
    monkeypatch.setattr(engine, 'SILENCE', 2)
    database = engine.Database(server.url)
    try:
        for give in (database.reader, database.snapshot):
            with give() as session:
                assert session.scalars(sqlalchemy.text('SELECT id FROM things')).all() == [1]
                time.sleep(4)
        with database.reader() as session:
            assert session.scalar(sqlalchemy.text('SELECT 2')) == 2
    finally:
        database.dispose()


@pytest.mark.parametrize('number', [engine._UNKNOWN_VARIABLE, 1227])
def test_a_server_without_such_a_limit_is_fine(number):
    """MySQL has no idle_transaction_timeout; whatever else it says is an error."""

    class Cursor:
        def execute(self, statement):
            raise pymysql.err.OperationalError(number, 'no')

        def close(self):
            pass

    connection = SimpleNamespace(cursor=Cursor)
    if number == engine._UNKNOWN_VARIABLE:
        engine._limit_silence(connection, 'mysql')
    else:
        with pytest.raises(pymysql.err.OperationalError):
            engine._limit_silence(connection, 'mysql')
