# SPDX-License-Identifier: Apache-2.0
import contextlib
import decimal
import threading

from oslo_db import exception as db_exc
import pytest
import sqlalchemy

from cloudkitty import errors
from cloudkitty.db import engine
from cloudkitty.db import rule_revision
from cloudkitty.db import types

METADATA = sqlalchemy.MetaData()
AMOUNTS = sqlalchemy.Table(
    'amounts',
    METADATA,
    sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column('value', types.Amount()),
)


def test_sum_is_exact_on_every_server(empty_database):
    METADATA.create_all(empty_database.engine)
    values = [decimal.Decimal('0.1'), decimal.Decimal('123456789012345678901234.0000000000000000000000000001')]
    empty_database.repeat(lambda session: session.execute(AMOUNTS.insert(), [{'value': value} for value in values]))
    with empty_database.reader() as session:
        assert session.scalar(sqlalchemy.select(types.exact_sum(AMOUNTS.c.value))) == decimal.Decimal(
            '123456789012345678901234.1000000000000000000000000001'
        )


def test_error_rolls_the_transaction_back(empty_database):
    METADATA.create_all(empty_database.engine)
    with pytest.raises(ZeroDivisionError), empty_database.writer() as session:
        session.execute(AMOUNTS.insert(), {'value': decimal.Decimal(1)})
        raise ZeroDivisionError
    with empty_database.reader() as session:
        assert session.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(AMOUNTS)) == 0


def test_missing_table_says_which_commands_make_it(empty_database):
    expected = (db_exc.DBError, sqlalchemy.exc.SQLAlchemyError)
    with pytest.raises(expected) as caught, empty_database.reader() as session:
        session.execute(sqlalchemy.select(AMOUNTS))
    assert 'cloudkitty-storage-init' in engine.describe(caught.value)
    assert rule_revision.current(empty_database) == 0


@pytest.mark.parametrize(('once', 'runs'), [(False, 2), (True, 1)])
def test_what_must_not_be_done_twice_is_not_repeated_when_its_commit_was_lost(sqlite_url, once, runs):
    database = engine.Database(sqlite_url)
    METADATA.create_all(database.engine)
    done = []
    lost = [db_exc.DBConnectionError()]

    @sqlalchemy.event.listens_for(database.engine, 'commit')
    def lose(connection):
        if lost:
            raise lost.pop()

    with contextlib.suppress(db_exc.DBConnectionError):
        database.repeat(lambda session: (session.execute(AMOUNTS.delete()), done.append(1)), once=once)
    assert len(done) == runs
    database.dispose()


def test_writers_queue_instead_of_failing(empty_database):
    METADATA.create_all(empty_database.engine)
    empty_database.repeat(lambda session: session.execute(AMOUNTS.insert(), {'id': 1, 'value': decimal.Decimal(0)}))

    def increment(session):
        row = session.execute(sqlalchemy.select(AMOUNTS.c.value).with_for_update()).one()
        session.execute(AMOUNTS.update().values(value=row.value + 1))

    threads = [threading.Thread(target=lambda: [empty_database.repeat(increment) for _ in range(10)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with empty_database.reader() as session:
        assert session.scalar(sqlalchemy.select(AMOUNTS.c.value)) == 40


@pytest.mark.parametrize(
    ('given', 'driver'),
    [('mysql://u:p@h/d', 'mysql+pymysql'), ('postgresql://u:p@h/d', 'postgresql+psycopg2')],
)
def test_old_urls_get_the_drivers_we_speak(given, driver):
    url = sqlalchemy.make_url(engine.normalise_url(given))
    assert url.drivername == driver
    assert url.password == 'p'


@pytest.mark.parametrize(
    ('url', 'word'),
    [
        ('nonsense', 'URL'),
        ('mysql://root@host/name?nonsense=1', 'nonsense'),
        ('mysql://root@host/name?connect_timeout=soon', 'soon'),
    ],
)
def test_bad_url_names_the_option(url, word):
    with pytest.raises(errors.ConfigurationError, match=r'\[database\] connection.*%s' % word):
        engine.normalise_url(url)


@pytest.mark.parametrize(
    'query', ['', '?charset=utf8', '?connect_timeout=3&read_timeout=3', '?unix_socket=/s', '?ssl_ca=/c']
)
def test_parameters_of_the_driver_may_be_given(query):
    assert engine.normalise_url('mysql://root@host/name' + query).startswith('mysql+pymysql://root@host/name?')


def test_snapshot_sees_one_moment_and_others_see_what_is_new(empty_database):
    METADATA.create_all(empty_database.engine)
    count = sqlalchemy.select(sqlalchemy.func.count()).select_from(AMOUNTS)

    def add():
        with empty_database.writer() as session:
            session.execute(AMOUNTS.insert(), {'value': decimal.Decimal(1)})

    for number in range(3):
        with empty_database.snapshot() as session:
            before = session.scalar(count)
            add()
            assert session.scalar(count) == before == 2 * number
        with empty_database.reader() as session:
            before = session.scalar(count)
            # SQLite lets nobody write behind the back of a reader that has to see it.
            add()
            if empty_database.dialect != 'sqlite':
                assert session.scalar(count) == before + 1


@pytest.mark.parametrize('way', ['reader', 'snapshot', 'writer'])
def test_connection_that_is_cut_after_its_work_is_no_trouble(empty_database, monkeypatch, way):
    if empty_database.dialect == 'sqlite':
        pytest.skip('There is no connection to cut.')
    who, cut = {
        'mysql': ('SELECT connection_id()', 'KILL %d'),
        'postgresql': ('SELECT pg_backend_pid()', 'SELECT pg_terminate_backend(%d, 5000)'),
    }[empty_database.dialect]
    other = engine.Database(empty_database.engine.url.render_as_string(hide_password=False))
    numbers = []

    roll_back = empty_database.engine.dialect.do_rollback

    def kill(connection):
        roll_back(connection)
        while numbers:
            with other.writer() as killer:
                killer.execute(sqlalchemy.text(cut % numbers.pop()))

    # On its way back to the pool.
    monkeypatch.setattr(empty_database.engine.dialect, 'do_rollback', kill)
    with getattr(empty_database, way)() as session:
        number = session.scalar(sqlalchemy.text(who))
        numbers.append(number)
    assert numbers == []
    with empty_database.reader() as session:
        assert session.scalar(sqlalchemy.text(who)) != number
    other.dispose()
