# SPDX-License-Identifier: Apache-2.0
"""Importing points from InfluxDB: from a real one of version 1, and from a small one of ours of version 2."""

import dataclasses
from decimal import Decimal
from typing import Any
import uuid

import pytest
import sqlalchemy

from cloudkitty import amount
from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.cli import history_import
from cloudkitty.clients.influxdb import flux
from cloudkitty.clients.influxdb import influxql
from cloudkitty.clients.influxdb import server as servers
from cloudkitty.db import coverage as ledger
from cloudkitty.storage.imports import influx
from cloudkitty.storage.imports import pieces
from cloudkitty.storage.imports import plan
from cloudkitty.storage.imports import totals
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.tests import flux as fake_flux
from cloudkitty.tests import influxdb
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
PATIENCE = 5.0, 30.0
TABLES = (models.SeriesRow, models.RatedDay, models.ScopeDay, models.ScopeMonth, models.ImportedPoint)


@dataclasses.dataclass
class Store:
    """An empty place for points."""

    write: Any
    delete: Any
    source: influx.Points


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    influxdb.install()
    found = influxdb.Server(tmp_path_factory.mktemp('influxdb'), 'root', 'secret').start()
    yield found
    found.stop()


@pytest.fixture(params=[pytest.param(1, marks=pytest.mark.cloud), 2])
def store(request):
    """Of either version."""

    def make(reader):
        return influx.Points(reader, 'project_id', HOUR, period.UTC)

    if request.param == 1:
        server, name = request.getfixturevalue('server'), 'cloud "%s"' % uuid.uuid4().hex
        quoted = name.replace('"', '\\"')
        server.query('CREATE DATABASE "%s"' % quoted)
        reader = influxql.Reader(servers.Server(server.url, PATIENCE, auth=('root', 'secret')), name, 'autogen')
        yield Store(
            lambda *found: server.write(name, found),
            lambda begin: server.query('DELETE FROM dataframes WHERE time = %ds' % begin, name),
            make(reader),
        )
        server.query('DROP DATABASE "%s"' % quoted)
    else:
        with fake_flux.Server() as server:
            headers = {'Authorization': 'Token secret'}
            reader = flux.Reader(servers.Server(server.url, PATIENCE, headers=headers), 'openstack', 'cloudkitty')
            yield Store(lambda *found: server.write(found), server.delete, make(reader))


def point(begin=JUNE, metric='cpu', qty=1.5, price=0.1, scope_id='p', id='a', metadata=None, **changes):
    groupby = {'id': id, 'project_id': scope_id}
    return influxdb.point(begin, metric, qty, price, groupby, metadata or {'flavor': 'small'}, **changes)


def run(database, store, largest=plan.LARGEST, dry_run=False, stop=None):
    """Import, at most *stop* pieces; return what became of the points, and the totals that differ."""
    found = plan.make(database, store.source, largest)
    importer = pieces.Importer(database, store.source, ['cpu', 'disk'], dry_run)
    outcome = pieces.Outcome()
    for _, done in importer.run(found.pieces[:stop], found.newest):
        outcome.add(done)
    months = totals.compare(database, store.source, found.begins)
    return outcome, [total for month in months for total in month if total.old != total.new]


def again(database, store):
    """As ``--again`` does."""
    begins = history_import.list_again(database, store.source, plan.make(database, store.source))
    pieces.forget(database, begins)
    return begins


def content(database):
    """Return every row that an import fills, without the ids of series."""
    with database.reader() as session:
        return {
            model.__tablename__: sorted(
                repr(
                    [
                        getattr(item, column.key)
                        for column in sqlalchemy.inspect(model).column_attrs
                        if 'id' != column.key
                    ]
                )
                for item in session.scalars(sqlalchemy.select(model))
            )
            for model in TABLES
        }


def points_of(database, hours=48):
    """Return (metric, groupby, metadata, unit, qty, price) of every point, in order."""
    storage = driver.SQLAlchemyStorage(database)
    begin, end = samples.window(JUNE, hours)
    result = []
    for frame in storage.retrieve(begin, end, paginate=False)['dataframes']:
        for name, found in frame.iterpoints():
            groupby = {key: value for key, value in found.groupby.items() if not key.endswith(('year', 'month'))}
            result.append((name, groupby, dict(found.metadata), found.unit, found.qty, found.price))
    return result


def test_a_point_becomes_a_point_of_a_series(database, store):
    metadata = {'flavor': 'm1 "große",\\', 'vcpus': 2, 'ratio': 0.1, 'public': True, 'gone': None, 'id': 'as a tag'}
    metadata['text'] = 'two\nlines, 50 % =\\"x'
    calendar = series.calendar(samples.instant(JUNE), period.UTC)
    groupby = {'id': 'a b,c="d"', 'project_id': 'p', 'empty': '', **calendar}
    assert len(calendar) == 4
    store.write(influxdb.point(JUNE, 'cpu', 1.5, 0.1, groupby, metadata, 'GiB', description='what it is'))
    assert run(database, store) == (pieces.Outcome(points=1), [])
    (found,) = points_of(database)
    expected = {**metadata, 'gone': ''}
    assert found == (
        'cpu', {'id': 'a b,c="d"', 'project_id': 'p', 'empty': ''}, expected, 'GiB', Decimal('1.5'), Decimal('0.1')
    )  # fmt: skip
    assert [type(found[2][name]) for name in expected] == [type(value) for value in expected.values()]
    with database.reader() as session:
        (row,) = session.scalars(sqlalchemy.select(models.SeriesRow))
        assert row.description == 'what it is' and 'month' not in row.groupby
    (cell,) = ledger.list_runs(database)
    assert cell == coverage.Run('p', 'cpu', JUNE, JUNE + HOUR, coverage.Status.RATED, None, True)


@pytest.mark.parametrize('value', [0.1, 1e-07, 123456789.12345679, 1e22, 0.0, -2.5, 0.30000000000000004])
def test_numbers_keep_their_digits(sqlite, store, value):
    store.write(point(qty=value, price=value))
    assert run(sqlite, store) == (pieces.Outcome(points=1), [])
    assert points_of(sqlite)[0][4:] == (Decimal(repr(value)), Decimal(repr(value)))


def test_totals_are_exact(sqlite, store):
    store.write(*(point(JUNE + hour * HOUR, qty=0.1, price=0.1) for hour in range(30)))
    assert run(sqlite, store) == (pieces.Outcome(points=30), [])
    with sqlite.reader() as session:
        (month,) = session.scalars(sqlalchemy.select(models.ScopeMonth))
        assert (month.points, month.qty, month.price) == (30, Decimal('3.0'), Decimal('3.0'))


def test_an_empty_database_has_nothing(sqlite, store):
    found = plan.make(sqlite, store.source)
    assert (found.total, found.pieces) == (0, ())
    assert run(sqlite, store) == (pieces.Outcome(), [])


def test_a_point_lasts_as_long_as_it_says_else_a_period(sqlite, store):
    store.write(point(length=600), point(JUNE + 600, length=600), point(JUNE + HOUR, length=None))
    assert run(sqlite, store) == (pieces.Outcome(points=3), [])
    runs = [(run.begin - JUNE, run.end - JUNE) for run in ledger.list_runs(sqlite)]
    assert runs == [(0, 1200), (HOUR, 2 * HOUR)]


def test_a_dry_run_writes_nothing(sqlite, store):
    store.write(point(), point(scope_id='q'))
    before = content(sqlite)
    outcome, _ = run(sqlite, store, dry_run=True)
    assert outcome.points == 2 and content(sqlite) == before


def test_an_import_that_was_cut_off_goes_on(sqlite, store, tmp_path):
    some = [point(JUNE + hour * HOUR, scope_id=name) for hour in range(20, 28) for name in 'pq']
    store.write(*some)
    outcome, differing = run(sqlite, store, largest=4, stop=2)
    assert outcome.points == 8 and differing
    assert run(sqlite, store, largest=4) == (pieces.Outcome(points=8), [])
    assert run(sqlite, store) == (pieces.Outcome(), [])
    assert len(points_of(sqlite)) == 16


def test_points_that_come_later_are_imported_too(database, store):
    store.write(point(), point(metric='disk'))
    run(database, store)
    store.write(point(scope_id='q'), point(JUNE + HOUR))
    outcome, differing = run(database, store)
    assert (outcome, differing) == (pieces.Outcome(points=2), [])
    assert len(points_of(database)) == 4 and plan.make(database, store.source).count == 0


def test_a_cell_of_which_half_was_there_is_imported_anew(database, store):
    store.write(point(), point(scope_id='q'))
    run(database, store)
    store.write(point(id='b'))
    outcome, differing = run(database, store)
    (reason,) = outcome.left_out
    assert 'holds points of that scope, metric and period already' in reason and outcome.left_out[reason] == 2
    assert [(total.scope_id, total.old.points, total.new.points) for total in differing] == [('p', 2, 1)]
    assert again(database, store) == {JUNE}
    assert run(database, store) == (pieces.Outcome(points=3), [])


def test_points_that_vanished_are_told_and_imported_anew(sqlite, store):
    store.write(point(), point(JUNE + HOUR), point(JUNE + HOUR, scope_id='q'))
    run(sqlite, store)
    store.delete(JUNE + HOUR)
    store.write(point(JUNE + HOUR))
    found = plan.make(sqlite, store.source)
    assert list(found.broken.values()) == ['it had 2 rows when they were imported, and has 1 now']
    assert again(sqlite, store) == {JUNE + HOUR}
    assert run(sqlite, store) == (pieces.Outcome(points=1), [])
    assert len(points_of(sqlite)) == 2


def test_points_that_were_rated_again_in_their_place_are_imported_anew(sqlite, store):
    store.write(point(), point(JUNE + HOUR), point(JUNE + 24 * HOUR))
    run(sqlite, store)
    store.write(point(price=7))
    outcome, differing = run(sqlite, store)
    assert outcome == pieces.Outcome() and [total.old.price - total.new.price for total in differing] == [
        Decimal('6.9')
    ]
    assert again(sqlite, store) == {JUNE, JUNE + HOUR}
    assert run(sqlite, store) == (pieces.Outcome(points=2), [])
    assert points_of(sqlite)[0][5] == 7


def test_what_the_new_storage_has_stays(sqlite, store):
    (state,) = samples.ready_states(sqlite, 'p')
    storage = driver.SQLAlchemyStorage(sqlite)
    storage.commit(samples.commit([state], [samples.columns('p', begins=(JUNE,))], periods=1))
    store.write(point(), point(JUNE + HOUR))
    outcome, differing = run(sqlite, store)
    assert (outcome.points, sum(outcome.left_out.values()), len(differing)) == (1, 1, 1)
    assert [found[5] for found in points_of(sqlite)] == [Decimal('0.5'), Decimal('0.1')]


def test_odd_points_are_left_out_and_named(sqlite, store):
    long = 'x' * 300
    store.write(
        point(),
        point(metric='huge', qty=1e24),
        point(metric='dear', price=1e30),
        point(metric='timeless', length=0),
        point(metric=''),
        point(metric='free', price=0),
        point(scope_id=long),
    )
    outcome, differing = run(sqlite, store)
    assert outcome.points == 2
    assert sorted(outcome.left_out.values()) == [1] * 5
    assert outcome.examples['the price cannot be stored'] == ['dear at %s' % samples.instant(JUNE).isoformat()]
    assert outcome.examples['the quantity is no number'] == ['huge at %s' % samples.instant(JUNE).isoformat()]
    assert len(differing) == 5


def test_points_without_a_scope_belong_to_nobody(sqlite, store):
    store.write(influxdb.point(JUNE, 'cpu', 1, 2, {'id': 'a'}), influxdb.point(JUNE, 'disk', 1, 2, {}))
    assert run(sqlite, store) == (pieces.Outcome(points=2), [])
    assert [(found[0], found[1], found[2]) for found in points_of(sqlite)] == [
        ('cpu', {'id': 'a'}, {}), ('disk', {}, {})
    ]  # fmt: skip
    (remark,) = store.source.list_remarks()
    assert '2 points have no tag project_id' in remark


def test_a_wrong_name_or_credential_is_one_clear_line(server_of_either):
    for reader, words in server_of_either:
        with pytest.raises(errors.SourceError) as caught:
            reader.find_bounds()
        assert words in str(caught.value) and 'wrong-secret' not in str(caught.value)
        assert '\n' not in str(caught.value)


@pytest.fixture(params=[pytest.param(1, marks=pytest.mark.cloud), 2])
def server_of_either(request):
    """Readers that are refused, and a word of what they are told."""
    if request.param == 1:
        url = request.getfixturevalue('server').url
        known, unknown = (servers.Server(url, PATIENCE, auth=('root', word)) for word in ('secret', 'wrong-secret'))
        request.getfixturevalue('server').query('CREATE DATABASE there')
        yield (
            (influxql.Reader(unknown, 'there', 'autogen'), 'HTTP 401: authorization failed'),
            (influxql.Reader(known, 'nowhere', 'autogen'), 'database not found: nowhere'),
            (influxql.Reader(known, 'there', 'other'), 'retention policy not found: other'),
        )
        return
    with fake_flux.Server() as server:
        known, unknown = (
            servers.Server(server.url, PATIENCE, headers={'Authorization': 'Token ' + word})
            for word in ('secret', 'wrong-secret')
        )
        yield (
            (flux.Reader(unknown, 'openstack', 'cloudkitty'), 'HTTP 401: unauthorized access'),
            (flux.Reader(known, 'other', 'cloudkitty'), 'HTTP 404: organization name'),
            (flux.Reader(known, 'openstack', 'other'), 'HTTP 404: could not find bucket'),
        )


def test_an_answer_that_breaks_off_is_no_import(sqlite):
    with fake_flux.Server() as server:
        server.write(point(scope_id=name) for name in 'pqr')
        headers = {'Authorization': 'Token secret'}
        reader = flux.Reader(servers.Server(server.url, PATIENCE, headers=headers), 'openstack', 'cloudkitty')
        store = Store(None, None, influx.Points(reader, 'project_id', HOUR, period.UTC))
        found = plan.make(sqlite, store.source)
        server.cut = 300
        importer = pieces.Importer(sqlite, store.source, ['cpu'])
        with pytest.raises(errors.TransientSourceError, match='breaks off'):
            list(importer.run(found.pieces, found.newest))
        server.cut = None
        assert run(sqlite, store) == (pieces.Outcome(points=3), [])


def test_nobody_answers():
    reader = influxql.Reader(servers.Server('http://127.0.0.1:1', (1, 1)), 'there', 'autogen')
    with pytest.raises(errors.TransientSourceError, match='InfluxDB at 127.0.0.1:1 does not answer'):
        reader.find_bounds()


def test_an_amount_without_any_limit_is_not_turned_into_one():
    assert influx._to_amount('nonsense') is None and influx._to_amount(10**24) is None
    assert influx._to_amount(0) == amount.ZERO
