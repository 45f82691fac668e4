# SPDX-License-Identifier: Apache-2.0
"""The way back: ``cloudkitty-dbsync drop`` as a process, on every server."""

from decimal import Decimal
import re

from oslo_db import exception as db_exc
import pytest
import sqlalchemy

from cloudkitty.cli import drop
from cloudkitty.db import engine
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import models as old_models
from cloudkitty.tests import dumps
from cloudkitty.tests import samples
from cloudkitty.tests.functional.storage import test_import

HOUR = samples.HOUR
JUNE = samples.JUNE
OURS = ('scopes', 'series', 'rated_days', 'coverage', 'cloudkitty_ledger_alembic', 'cloudkitty_series_alembic')
Frame = old_models.RatedDataFrame


@pytest.fixture
def installed(everywhere):
    everywhere.set('storage', backend='sqlalchemy')
    everywhere.prepare()
    return everywhere


@pytest.fixture
def database(installed):
    found = engine.Database(installed.options['database']['connection'])
    yield found
    found.dispose()


def rate(database, *columns, periods=1):
    """Commit *columns* of scopes that are made for it."""
    ids = sorted({item.series.scope_id for item in columns})
    states = samples.ready_states(database, *ids)
    result = driver.SQLAlchemyStorage(database).commit(samples.commit(states, columns, periods=periods))
    assert not result.dropped


def rows(database):
    with database.reader() as session:
        query = sqlalchemy.select(Frame.tenant_id, Frame.res_type, Frame.begin, Frame.qty, Frame.rate, Frame.desc)
        return session.execute(query.order_by(Frame.begin, Frame.tenant_id)).all()


def tables(database):
    with database.engine.connect() as connection:
        return sqlalchemy.inspect(connection).get_table_names()


def test_it_asks_first(installed, database):
    done = installed.run('cloudkitty-dbsync', 'drop')
    assert done.returncode == 1
    assert '--yes says yes. Nothing was dropped.' in done.stderr
    assert re.search(r'rated_days +\| +0', done.stdout) and 'are lost' in done.stdout
    assert set(OURS) <= set(tables(database))


def test_tables_of_old_stay_and_ours_can_be_made_again(installed, database, tmp_path):
    rate(database, samples.columns())
    url = database.engine.url.render_as_string(hide_password=False)
    dumps.write(url, tmp_path / 'before')
    done = installed.run('cloudkitty-dbsync', 'drop', '--yes')
    assert done.returncode == 0, done.stderr
    dumps.write(url, tmp_path / 'after')
    before, after = dumps.Dump(tmp_path / 'before'), dumps.Dump(tmp_path / 'after')
    assert set(before.tables) - set(after.tables) >= set(OURS)
    for table in after.tables:
        assert list(after.rows(table)) == list(before.rows(table))
    installed.install()
    assert set(OURS) <= set(tables(database))
    assert installed.run('cloudkitty-dbsync', 'check').returncode == 0


def test_a_database_without_our_tables_is_told_so(everywhere):
    everywhere.run('cloudkitty-dbsync', 'upgrade')
    done = everywhere.run('cloudkitty-dbsync', 'drop', '--yes')
    assert done.returncode == 1 and 'no tables that only this release knows' in done.stderr


def test_what_was_rated_is_written_and_comes_back_by_an_import(installed, database):
    exact = Decimal('1.123456789')
    rate(
        database,
        samples.columns(begins=(JUNE, JUNE + HOUR), quantities=(exact, 2), prices=('0.1', '0.25')),
        samples.columns('q', quantities=(3,), prices=('7',)),
        periods=2,
    )
    done = installed.run('cloudkitty-dbsync', 'drop', '--write-frames', '--yes')
    assert done.returncode == 0, done.stderr
    assert '3 rows are written, 0 were there.' in done.stderr
    assert '1 quantities are rounded, each by 0.000003211 at most; together they differ by 0.000003211.' in done.stderr
    assert '0 prices are rounded' in done.stderr
    found = rows(database)
    assert [(row.tenant_id, row.res_type, row.qty) for row in found] == [
        ('p', 'cpu', Decimal('1.12346')),
        ('q', 'cpu', Decimal(3)),
        ('p', 'cpu', Decimal(2)),
    ]
    assert found[0].rate == pytest.approx(0.1)
    assert found[0].desc == '{"flavor": "small", "id": "a", "project_id": "p"}'
    installed.install()
    done = installed.run('cloudkitty-storage-import')
    assert done.returncode == 0 and '3 points, quantity 6.12346, price 7.35.' in done.stderr, done.stderr


def test_rows_that_were_imported_are_not_written_twice(installed, database):
    rate(database, samples.columns())
    installed.run('cloudkitty-dbsync', 'drop', '--write-frames', '--yes')
    installed.install()
    assert installed.run('cloudkitty-storage-import').returncode == 0
    rate(database, samples.columns(metric='disk', begins=(JUNE + HOUR,)), periods=2)
    done = installed.run('cloudkitty-dbsync', 'drop', '--write-frames', '--yes')
    assert '1 rows are written, 1 were there.' in done.stderr, done.stderr
    assert len(rows(database)) == 2


def test_rows_that_differ_stay_unless_they_are_to_be_replaced(installed, database):
    rate(database, samples.columns(begins=(JUNE, JUNE + HOUR)), periods=2)
    with database.writer() as session:
        first, second = samples.window(hours=1)
        session.add(
            Frame(
                begin=first.replace(tzinfo=None),
                end=second.replace(tzinfo=None),
                unit='u',
                qty=Decimal(9),
                res_type='cpu',
                rate=9.0,
                desc='{}',
                tenant_id='p',
            )
        )
    done = installed.run('cloudkitty-dbsync', 'drop', '--write-frames', '--yes')
    assert done.returncode == 1
    assert 'p, cpu at 2026-06-01T00:00:00+00:00: other rows are there.' in done.stderr
    assert set(OURS) <= set(tables(database))
    assert [row.qty for row in rows(database)] == [9, 1]
    done = installed.run('cloudkitty-dbsync', 'drop', '--write-frames', '--replace', '--yes')
    assert done.returncode == 0, done.stderr
    assert [row.qty for row in rows(database)] == [1, 1]
    assert not set(OURS) & set(tables(database))


def test_rows_that_were_deleted_since_their_import_do_not_come_back(installed, database):
    rate(database, samples.columns(begins=(JUNE, JUNE + HOUR)), periods=2)
    installed.run('cloudkitty-dbsync', 'drop', '--write-frames', '--yes')
    installed.install()
    assert installed.run('cloudkitty-storage-import').returncode == 0
    driver.SQLAlchemyStorage(database).delete(samples.instant(JUNE + HOUR), None, {'project_id': 'p'})
    done = installed.run('cloudkitty-dbsync', 'drop', '--write-frames', '--yes')
    assert done.returncode == 1
    assert 'p, cpu at 2026-06-01T01:00:00+00:00: other rows are there.' in done.stderr
    done = installed.run('cloudkitty-dbsync', 'drop', '--write-frames', '--replace', '--yes')
    assert done.returncode == 0, done.stderr
    assert [row.begin.hour for row in rows(database)] == [0]


def test_rows_that_the_import_left_out_are_not_replaced(installed, database):
    rate(database, samples.columns(prices=('7',)))
    with database.writer() as session:
        session.execute(sqlalchemy.insert(Frame.__table__), [test_import.row()])
    assert installed.run('cloudkitty-storage-import').returncode == 1
    done = installed.run('cloudkitty-dbsync', 'drop', '--write-frames', '--replace', '--yes')
    assert done.returncode == 1
    assert 'p, cpu: 1 points cannot be written: other rows that the import left out.' in done.stderr
    assert len(rows(database)) == 1


def test_what_cannot_be_written_is_named_and_nothing_is_dropped(installed, database):
    rate(
        database,
        samples.columns('p' * 33),
        samples.columns('q', quantities=('1e10',)),
        samples.columns('r', prices=(None,)),
        samples.columns('s'),
    )
    done = installed.run('cloudkitty-dbsync', 'drop', '--write-frames', '--yes')
    assert done.returncode == 1
    assert '%s, cpu: 1 points cannot be written: a scope id of more than 32 characters.' % ('p' * 33) in done.stderr
    assert 'q, cpu: 1 points cannot be written: a quantity of 10^10 or more.' in done.stderr
    assert '1 points have no price yet' in done.stderr and 'Nothing was dropped' in done.stderr
    assert [row.tenant_id for row in rows(database)] == ['s']
    with database.reader() as session:
        assert session.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(models.RatedDay)) == 4


def test_a_drop_that_was_cut_off_is_finished_by_the_next_and_does_not_fool_an_upgrade(installed, database):
    statements = []

    def cut(connection, cursor, statement, parameters, context, many):
        if 'DROP TABLE' in statement:
            statements.append(statement)
            if len(statements) == 4:
                raise RuntimeError('killed')

    sqlalchemy.event.listen(database.engine, 'before_cursor_execute', cut)
    with pytest.raises((RuntimeError, db_exc.DBError), match='killed'):
        drop.drop(database)
    sqlalchemy.event.remove(database.engine, 'before_cursor_execute', cut)
    installed.install()
    assert set(OURS) <= set(tables(database))
    assert installed.run('cloudkitty-dbsync', 'drop', '--yes').returncode == 0
    assert not set(OURS) & set(tables(database))
