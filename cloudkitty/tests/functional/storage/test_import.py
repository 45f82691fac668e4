# SPDX-License-Identifier: Apache-2.0
"""Importing rows of the storage of old, on every server."""

import datetime
from decimal import Decimal
import json

import pytest
import sqlalchemy

from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import metric
from cloudkitty import period
from cloudkitty.db import coverage as ledger
from cloudkitty.db import history
from cloudkitty.db import scopes
from cloudkitty.storage.imports import frames
from cloudkitty.storage.imports import pieces
from cloudkitty.storage.imports import plan
from cloudkitty.storage.imports import totals
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import models as old_models
from cloudkitty.tests import databases
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
DEFINITIONS = (
    metric.Metric('cpu', 'cpu', 'u', groupby=('id', 'project_id'), metadata=('flavor',)),
    metric.Metric('disk', 'disk', 'u', groupby=('id', 'project_id')),
)
#: For looking only.
FRAMES = frames.Frames(DEFINITIONS, datetime.timezone.utc)
DESC = {'id': 'a', 'project_id': 'p', 'flavor': 'small', 'colour': 'grün'}
#: What an import fills.
TABLES = (models.SeriesRow, models.RatedDay, models.ScopeDay, models.ScopeMonth, models.ImportedFrame)


def row(begin=JUNE, scope_id='p', res_type='cpu', qty='1.5', rate=0.1, desc=DESC, length=HOUR, unit='u'):
    return {
        'begin': period.to_naive(period.from_epoch(begin)),
        'end': period.to_naive(period.from_epoch(begin + length)),
        'unit': unit,
        'qty': None if qty is None else Decimal(qty),
        'res_type': res_type,
        'rate': rate,
        'desc': desc if isinstance(desc, str) else json.dumps(desc),
        'tenant_id': scope_id,
    }


def insert(database, *rows):
    with database.writer() as session:
        session.execute(sqlalchemy.insert(old_models.RatedDataFrame.__table__), list(rows))


def run(database, largest=plan.LARGEST, dry_run=False, stop=None):
    """Import, at most *stop* pieces; return what became of the rows, and the totals that differ."""
    source = frames.Frames(DEFINITIONS, datetime.timezone.utc)
    found = plan.make(database, source, largest)
    importer = pieces.Importer(database, source, [item.type for item in DEFINITIONS], dry_run)
    outcome = pieces.Outcome()
    for _, done in importer.run(found.pieces[:stop], found.newest):
        outcome.add(done)
    months = totals.compare(database, source, found.begins)
    differing = [total for month in months for total in month if total.old != total.new]
    return outcome, differing


def content(database):
    """Return every row that an import fills, without the ids of series."""
    with database.reader() as session:
        return {
            model.__tablename__: sorted(
                repr(tuple(getattr(item, column.key) for column in sqlalchemy.inspect(model).column_attrs))
                for item in session.scalars(sqlalchemy.select(model))
            )
            for model in TABLES
        }


def points_of(database, hours=24):
    """Return (scope, metric, groupby, metadata, qty, price) of every point, in order."""
    storage = driver.SQLAlchemyStorage(database)
    begin, end = samples.window(JUNE, hours)
    result = []
    for frame in storage.retrieve(begin, end, paginate=False)['dataframes']:
        for name, point in frame.iterpoints():
            groupby = {key: value for key, value in point.groupby.items() if not key.endswith(('year', 'month'))}
            result.append((name, groupby, dict(point.metadata), point.qty, point.price))
    return result


def test_a_row_becomes_a_point_of_a_series(database):
    insert(database, row())
    outcome, differing = run(database)
    assert (outcome.points, differing) == (1, [])
    (found,) = points_of(database)
    assert found == (
        'cpu',
        {'id': 'a', 'project_id': 'p'},
        {'flavor': 'small', 'colour': 'grün'},
        Decimal('1.5'),
        Decimal('0.1'),
    )
    (cell,) = ledger.list_runs(database)
    assert cell == coverage.Run('p', 'cpu', JUNE, JUNE + HOUR, coverage.Status.RATED, None, True)


@pytest.mark.parametrize('rate', [0.1, 0.0369, 16777216.0, 1e-9, 123456.0, 0.0])
def test_prices_are_the_decimals_they_were_written_for(database, rate):
    insert(database, row(rate=rate))
    assert run(database)[1] == []
    assert points_of(database)[0][4] == Decimal(repr(rate))


def test_points_of_a_day_share_a_row_and_every_total_is_exact(database):
    insert(database, *(row(JUNE + hour * HOUR, qty='0.1', rate=0.1) for hour in range(30)))
    assert run(database) == (pieces.Outcome(points=30), [])
    with database.reader() as session:
        days = session.execute(
            sqlalchemy.select(models.RatedDay.points, models.RatedDay.price).order_by(models.RatedDay.day)
        ).all()
        (month,) = session.execute(sqlalchemy.select(models.ScopeMonth.price, models.ScopeMonth.points)).all()
    assert [tuple(day) for day in days] == [(24, Decimal('2.4')), (6, Decimal('0.6'))]
    assert tuple(month) == (Decimal('3.0'), 30)


def test_equal_rows_of_one_period_stay_several(database):
    insert(database, row(), row())
    assert run(database) == (pieces.Outcome(points=2), [])
    assert len(points_of(database)) == 2


def test_texts_that_differ_by_case_or_language_are_several_scopes_and_metrics(database):
    insert(database, row(scope_id='p'), row(scope_id='P'), row(scope_id='é'), row(res_type='CPU'), row(scope_id=None))
    assert run(database) == (pieces.Outcome(points=5), [])
    assert set(scopes.list_ids(database)) == {'p', 'P', 'é', ''}


def test_calendar_attributes_are_not_stored(database):
    days = [str((period.from_epoch(JUNE + hour * HOUR)).timetuple().tm_yday) for hour in (0, 24)]
    desc = [DESC | {'day_of_the_year': day, 'month': '6', 'year': '2026', 'week_of_the_year': '22'} for day in days]
    insert(database, row(desc=desc[0]), row(JUNE + HOUR, desc=desc[0]), row(JUNE + 24 * HOUR, desc=desc[1]))
    assert run(database) == (pieces.Outcome(points=3), [])
    with database.reader() as session:
        assert session.scalars(sqlalchemy.select(models.SeriesRow.metadata_)).all() == [
            '{"colour":"gr\\u00fcn","flavor":"small"}'
        ]


@pytest.mark.parametrize('desc', ['', '[1]', '{"a": ', '"x"', 'null'])
def test_a_description_that_is_no_object_is_kept_whole(database, desc):
    insert(database, row(desc=desc))
    assert run(database) == (pieces.Outcome(points=1), [])
    assert points_of(database)[0][2] == {'desc': desc}


def test_rows_without_data_are_coverage_of_every_metric_that_has_no_points(database):
    insert(database, row(res_type='_NO_DATA_', qty='0', rate=0.0, desc='""', unit='None'), row(res_type='disk'))
    outcome, differing = run(database)
    assert (outcome.points, outcome.empty, differing) == (1, 1, [])
    assert [(cell.metric, cell.status) for cell in ledger.list_runs(database)] == [
        ('cpu', coverage.Status.EMPTY),
        ('disk', coverage.Status.RATED),
    ]


def test_it_goes_on_where_it_was_stopped_and_a_second_run_does_nothing(database):
    rows = [row(JUNE + hour * HOUR, scope_id=owner, qty=hour + 1) for hour in range(60) for owner in 'pq']
    insert(database, *rows)
    outcome, differing = run(database, largest=7, stop=5)
    assert 0 < outcome.points < 120 and differing
    outcome, differing = run(database, largest=11)
    assert 0 < outcome.points < 120 and not differing
    before = content(database)
    assert run(database) == (pieces.Outcome(), [])
    assert content(database) == before
    assert history._count_imported(database) == (120, 0)


def test_pieces_of_every_size_give_the_same(database):
    insert(database, *(row(JUNE + hour * HOUR, scope_id=owner, qty=hour) for hour in range(50) for owner in 'pq'))
    run(database, largest=3)
    by_threes = points_of(database, 100)
    with database.writer() as session:
        for model in TABLES:
            session.execute(sqlalchemy.delete(model))
    run(database)
    assert points_of(database, 100) == by_threes and len(by_threes) == 100


def test_rows_that_come_later_are_imported_by_the_next_run(database):
    insert(database, row())
    run(database)
    insert(database, row(res_type='disk'), row(JUNE + HOUR))
    assert run(database) == (pieces.Outcome(points=2), [])
    assert len(points_of(database)) == 3


def test_cells_that_hold_points_of_ours_are_kept_and_named(database):
    found = samples.ready_states(database, 'p')
    storage = driver.SQLAlchemyStorage(database)
    storage.commit(samples.commit(found, [samples.columns(prices=('7',))]))
    insert(database, row(), row(JUNE + HOUR))
    outcome, differing = run(database)
    assert outcome.points == 1
    ((reason, count),) = outcome.left_out.items()
    assert count == 1 and 'already' in reason
    assert outcome.examples[reason] == ['p, cpu at 2026-06-01T00:00:00+00:00']
    assert [(total.scope_id, total.metric, total.year, total.month) for total in differing] == [('p', 'cpu', 2026, 6)]
    assert [point[4] for point in points_of(database)] == [Decimal(7), Decimal('0.1')]
    # And again, without a new row.
    assert history._count_imported(database) == (1, 1)
    assert run(database)[1] == differing


def test_periods_rated_by_ours_on_the_same_day_are_no_difference(database):
    found = samples.ready_states(database, 'p')
    storage = driver.SQLAlchemyStorage(database)
    storage.commit(samples.commit(found, [samples.columns(prices=('7',))]))
    insert(database, row(JUNE + HOUR))
    assert run(database) == (pieces.Outcome(points=1), [])


def test_the_clock_stays_and_whoever_rates_meanwhile_notices(database):
    (state,) = samples.ready_states(database, 'p')
    insert(database, row(JUNE - HOUR))
    run(database)
    (after,) = samples.states(database, 'p')
    assert after.last_processed == state.last_processed and after.epoch == state.epoch + 1


def test_rows_that_cannot_be_stored_are_left_out_and_named(database):
    insert(
        database,
        row(),
        row(length=-HOUR),
        row(length=40 * 24 * HOUR),
        row(rate=1e30),
        row(res_type='disk '),
    )
    outcome, differing = run(database)
    assert outcome.points == 1 and sum(outcome.left_out.values()) == 4
    assert len(outcome.examples) == 3
    assert {total.metric for total in differing} == {'cpu', 'disk '}


@pytest.mark.mariadb
def test_a_quantity_that_is_null_becomes_nothing(mariadb_url):
    database = databases.ready(mariadb_url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql('ALTER TABLE rated_data_frames MODIFY qty DECIMAL(15,5) NULL')
    insert(database, row(qty=None))
    outcome, differing = run(database)
    assert (outcome.points, outcome.nulls, differing) == (1, 1, [])
    database.dispose()


def test_a_dry_run_writes_nothing(database):
    insert(database, row(), row(length=-HOUR))
    before = content(database)
    outcome, _ = run(database, dry_run=True)
    assert outcome.points == 1 and sum(outcome.left_out.values()) == 1
    assert content(database) == before and scopes.list_ids(database) == []


def test_rows_that_vanished_are_an_error_that_names_them(database):
    insert(database, row(), row())
    run(database)
    with database.writer() as session:
        frame = old_models.RatedDataFrame
        session.execute(
            sqlalchemy.delete(frame).where(frame.id == session.scalar(sqlalchemy.select(frame.id).limit(1)))
        )
    insert(database, row(JUNE + HOUR))
    outcome, differing = run(database)
    # What has nothing to do with it is imported.
    assert outcome.points == 1 and len(differing) == 1
    assert list(plan.make(database, FRAMES).broken.values()) == ['it had 2 rows when they were imported, and has 1 now']
    again(database)
    assert run(database) == (pieces.Outcome(points=1), [])
    assert len(points_of(database)) == 2


def again(database):
    with database.reader() as session:
        pieces.forget(database, {*plan.make(database, FRAMES).broken, *plan.list_left_out(session, FRAMES.marks)})


def test_rows_with_lower_ids_that_come_late_are_imported_anew(database):
    insert(database, {**row(), 'id': 100}, {**row(res_type='disk'), 'id': 105})
    run(database)
    later = [{**row(JUNE + HOUR, scope_id='q'), 'id': 110}, {**row(JUNE + HOUR), 'id': 111}]
    insert(database, {**row(res_type='late'), 'id': 102}, *later)
    outcome, _ = run(database)
    assert outcome.points == 2
    (reason,) = plan.make(database, FRAMES).broken.values()
    assert reason == 'rows came to it later whose ids are lower than those that were imported'
    again(database)
    assert run(database) == (pieces.Outcome(points=3), [])
    assert sorted(point[0] for point in points_of(database)) == ['cpu', 'cpu', 'cpu', 'disk', 'late']


def test_rows_that_join_an_imported_cell_are_added_to_it(database):
    insert(database, row())
    run(database)
    insert(database, row(desc={'id': 'b'}, qty='5'))
    assert run(database) == (pieces.Outcome(points=1), [])
    assert sorted(point[3] for point in points_of(database)) == [Decimal('1.5'), Decimal(5)]


def test_what_was_left_out_for_a_reason_that_is_gone_is_imported_anew(database):
    found = samples.ready_states(database, 'p')
    storage = driver.SQLAlchemyStorage(database)
    storage.commit(samples.commit(found, [samples.columns(prices=('7',))]))
    insert(database, row(), row(res_type='disk'))
    assert sum(run(database)[0].left_out.values()) == 1
    storage.delete(samples.instant(JUNE), None, {'project_id': 'p'})
    again(database)
    assert run(database) == (pieces.Outcome(points=2), [])
    assert history._count_imported(database) == (2, 0)


def test_what_is_not_as_it_was_imported_is_not_taken_out(database):
    found = samples.ready_states(database, 'p')
    insert(database, row(res_type='disk'))
    run(database)
    driver.SQLAlchemyStorage(database).commit(samples.commit(samples.states(database, 'p'), [samples.columns()]))
    pieces.forget(database, [JUNE])
    assert [point[0] for point in points_of(database)] == ['cpu']
    assert [cell.metric for cell in ledger.list_runs(database)] == ['cpu']
    assert found


def test_points_behind_the_clock_are_rated_anew(database):
    """An older release was stopped after it wrote points and before it set the clock."""
    samples.ready_states(database, 'p')
    insert(database, row(), row(desc={'id': 'b'}), row(JUNE + HOUR))
    run(database)
    storage = driver.SQLAlchemyStorage(database)
    result = storage.commit(samples.commit(samples.states(database, 'p'), [samples.columns(prices=('7',))]))
    assert result.committed == {'p'}
    assert [point[4] for point in points_of(database)] == [Decimal(7), Decimal('0.1')]
    with database.engine.connect() as connection:
        causes = set(connection.exec_driver_sql('SELECT cause FROM rated_history').scalars())
    assert causes == {'imported, then rated'}
    # What is rated is rated: whoever has not seen it does not rate it once more.
    with pytest.raises(errors.Conflict):
        state = samples.states(database, 'p')[0]
        storage.commit(samples.commit([state], [samples.columns()]))


def test_two_imports_of_the_same_rows_import_them_once(database):
    insert(database, *(row(JUNE + hour * HOUR) for hour in range(5)))
    source = frames.Frames(DEFINITIONS, datetime.timezone.utc)
    found = plan.make(database, source, 2)
    first, second = (pieces.Importer(database, source, ['cpu', 'disk']) for _ in range(2))
    counts = [outcome.points for _, outcome in first.run(found.pieces, found.newest)]
    assert [outcome.points for _, outcome in second.run(found.pieces, found.newest)] == counts
    assert history._count_imported(database) == (5, 0)
    assert len(points_of(database)) == 5
    insert(database, row())
    run(database)
    with pytest.raises(errors.Conflict, match='Another import'):
        list(second.run(found.pieces, found.newest))


def test_rows_without_data_that_overlap_others_cover_what_is_left(database):
    def empty(hour, hours):
        return row(JUNE + hour * HOUR, res_type='_NO_DATA_', qty='0', desc='""', length=hours * HOUR)

    insert(
        database,
        row(length=2 * HOUR),
        empty(1, 1),
        empty(5, 3),
        row(JUNE + 6 * HOUR),
        empty(22, 4),
        empty(23, 3),
        row(JUNE + 24 * 30 * HOUR - 2 * HOUR, length=4 * HOUR),
        empty(24 * 30 - 1, 3),
    )
    outcome, differing = run(database)
    assert (outcome.points, outcome.empty, differing) == (3, 5, [])
    found = [
        ((run.begin - JUNE) // HOUR, (run.end - JUNE) // HOUR, run.status.value)
        for run in ledger.list_runs(database, metric='cpu')
    ]
    assert found == [
        (0, 2, 'rated'),
        (5, 6, 'empty'),
        (6, 7, 'rated'),
        (7, 8, 'empty'),
        (22, 26, 'empty'),
        (718, 720, 'rated'),
        (720, 722, 'rated'),
    ]


@pytest.mark.postgresql
def test_a_quantity_that_is_no_number_is_left_out(postgresql_url):
    database = databases.ready(postgresql_url)
    insert(database, row(qty='NaN'), row(JUNE + HOUR))
    outcome, differing = run(database)
    assert (outcome.points, dict(outcome.left_out)) == (1, {'the quantity is no number': 1})
    assert len(differing) == 1
    assert [point[3] for point in points_of(database)] == [Decimal('1.5')]
    database.dispose()


def test_rows_at_the_end_of_time_are_not_imported(database):
    insert(database, row())
    with database.writer() as session:
        session.execute(
            sqlalchemy.insert(old_models.RatedDataFrame.__table__),
            [
                {**row(), 'begin': datetime.datetime(year, 12, 31, 23, 59, 59), 'end': datetime.datetime(9999, 12, 31)}
                for year in (1969, 2200, 9999)
            ],
        )
    assert run(database) == (pieces.Outcome(points=1), [])
    assert [item.row_count for item in plan.make(database, FRAMES).outside] == [1, 1, 1]


def test_an_import_mends_what_the_ledger_misses(database):
    samples.ready_states(database, 'p')
    ledger.note_failures(database, [coverage.Failure('p', 'cpu', JUNE, JUNE, 1, JUNE, 'away')])
    insert(database, row())
    assert run(database) == (pieces.Outcome(points=1), [])
    assert ledger.list_failures(database) == []
