# SPDX-License-Identifier: Apache-2.0
"""What version 1 does beyond the contract: the meaning of rows, and what the columns have no room for."""

import dataclasses
import datetime
from decimal import Decimal
import json
import threading

import pytest
import sqlalchemy

from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty.db import coverage as ledger
from cloudkitty.db import scopes
from cloudkitty.storage import base
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import commit as writing
from cloudkitty.storage.v1 import driver
from cloudkitty.storage.v1 import models as old_models
from cloudkitty.storage.v1 import rates
from cloudkitty.tests import samples
from cloudkitty.tests.functional.storage import test_contract
from cloudkitty.tests.functional.storage import test_import

HOUR = samples.HOUR
JUNE = samples.JUNE
Status = coverage.Status

total = test_contract.total
row = test_import.row
insert = test_import.insert


@pytest.fixture
def storage(database):
    return driver.SQLAlchemyStorage(database)


def rows(database):
    """Return every row without its id, in order."""
    table = old_models.RatedDataFrame.__table__
    with database.reader() as session:
        query = sqlalchemy.select(*[column for column in table.columns if column.name != 'id']).order_by(table.c.id)
        return [dict(found) for found in session.execute(query).mappings()]


def waiting(database):
    """Return how many points are where those without a price are kept."""
    with database.reader() as session:
        return session.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(models.RatedDay))


def test_a_point_is_a_row_as_it_has_always_been(storage, database):
    points = samples.columns(quantities=('1.123456789',), prices=('0.25',), metadata={'flavor': 'small', 'id': 'm'})
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [points]))
    (found,) = rows(database)
    assert json.loads(found.pop('desc')) == {'flavor': 'small', 'id': 'a', 'project_id': 'p'}
    assert found == {
        'begin': datetime.datetime(2026, 6, 1),
        'end': datetime.datetime(2026, 6, 1, 1),
        'unit': 'u',
        'qty': Decimal('1.12346'),
        'res_type': 'cpu',
        'rate': 0.25,
        'tenant_id': 'p',
    }
    assert waiting(database) == 0
    (run,) = ledger.list_runs(database)
    assert run.altered  # rows are rounded: nobody may rate them again


@pytest.mark.parametrize(
    ('exact', 'kept'),
    [
        ('0.000005', '0'),
        ('0.000015', '0.00002'),
        ('0.000025', '0.00002'),
        ('-0.000015', '-0.00002'),
        ('9999999999.999994', '9999999999.99999'),
        ('123456789.12345', '123456789.12345'),
    ],
)
def test_quantities_are_rounded_half_even(storage, database, exact, kept):
    points = samples.columns(quantities=(exact,))
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [points]))
    assert rows(database)[0]['qty'] == Decimal(kept)
    assert total(storage)[0]['qty'] == Decimal(kept)


def test_sums_are_those_of_the_decimals_that_the_columns_denote(storage, database):
    points = [
        samples.columns(id=str(index), prices=(price,), quantities=(quantity,))
        for index, (price, quantity) in enumerate([('0.1', '0.1'), ('0.2', '0.7'), ('0.1', '0.1'), ('16.7772', '3')])
    ]
    storage.commit(samples.commit(samples.ready_states(database, 'p'), points))
    for words in ([], ['type'], ['id']):
        found = total(storage, words)
        assert sum(row['rate'] for row in found) == Decimal('17.1772')
        assert sum(row['qty'] for row in found) == Decimal('3.9')


@pytest.mark.parametrize(
    ('written', 'single'),
    [
        (0.1, '0.1'),
        (0.3, '0.3'),
        (1e-30, '1e-30'),
        (16777217, '16777216'),
        (123456789, '123456790'),
        (1 / 3, '0.33333334'),
        (1.23456, '1.23456'),
        (0, '0'),
        (-2.5, '-2.5'),
    ],
)
def test_prices_are_read_with_all_their_digits(database, written, single):
    insert(database, row(rate=written))
    column = rates.select(old_models.RatedDataFrame.rate, database.dialect)
    with database.reader() as session:
        found = rates.to_decimal(session.scalar(sqlalchemy.select(column)), database.dialect)
    assert found == (Decimal(single) if database.dialect == 'mysql' else Decimal(repr(written)))


def test_rows_of_any_release_can_be_read(storage, database):
    if database.dialect == 'sqlite':
        # A column of SQLite stays as it was made.
        rebuilt = 'CREATE TABLE again AS SELECT * FROM rated_data_frames'
        texts = [rebuilt, 'DROP TABLE rated_data_frames', 'ALTER TABLE again RENAME TO rated_data_frames']
    elif database.dialect == 'postgresql':
        texts = ['ALTER TABLE rated_data_frames ALTER COLUMN qty DROP NOT NULL']
    else:
        texts = ['ALTER TABLE rated_data_frames MODIFY qty DECIMAL(15,5) NULL']
    with database.engine.begin() as connection:
        for text in texts:
            connection.exec_driver_sql(text)
    numbered = [
        row(qty=None, rate=1.5),
        row(JUNE + HOUR, desc='no JSON at all'),
        row(JUNE + HOUR, desc='[1]', scope_id=None),
        row(JUNE + 2 * HOUR, 'p', '_NO_DATA_', '0', 0, '""', unit='None'),
        row(JUNE + 3 * HOUR, desc=test_import.DESC | {'month': '5', 'year': '1999'}),
        row(JUNE + 4 * HOUR, desc='{"flavor": "big"}'),
    ]
    insert(database, *(dict(item, id=number) for number, item in enumerate(numbered, 1)))
    assert [(line['type'], line['qty'], line['rate']) for line in total(storage, 'type')] == [
        ('cpu', 6, Decimal('1.9'))
    ]
    assert [line['rate'] for line in total(storage, 'project_id')] == [Decimal('0.1'), Decimal('1.8')]
    assert [(line['flavor'], line['rate']) for line in total(storage, 'flavor')] == [
        (None, Decimal('0.2')),
        ('big', Decimal('0.1')),
        ('small', Decimal('1.6')),
    ]
    found = storage.retrieve(*samples.window())
    assert found['total'] == 5
    points = [point for frame in found['dataframes'] for _, point in frame.iterpoints()]
    assert points[0].qty == 0 and points[0].price == Decimal('1.5')
    assert [point.groupby.get('desc') for point in points] == [None, '[1]', 'no JSON at all', None, None]
    assert points[3].groupby['month'] == '5' and points[0].groupby['month'] == '6'
    assert [point.groupby.get('project_id') for point in points] == ['p', None, 'p', 'p', 'p']
    assert storage.retrieve(*samples.window(), metric_types='_NO_DATA_')['dataframes'] == []
    assert total(storage, 'type', metric_types=['_NO_DATA_']) == []
    assert storage.get_tenants(*samples.window()) == ['', 'p']
    assert storage.get_tenants(*samples.window(JUNE + 2 * HOUR, 1)) == []
    assert len(storage.quantities(['p', ''], None, JUNE, JUNE + 24 * HOUR, priced=True)) == 5


def test_names_that_differ_in_case_stay_apart(storage, database):
    insert(database, row(), row(scope_id='P', rate=0.2), row(scope_id='p', res_type='CPU', rate=0.4))
    assert [(line['project_id'], line['type'], line['rate']) for line in total(storage, ['project_id', 'type'])] == [
        ('P', 'cpu', Decimal('0.2')),
        ('p', 'CPU', Decimal('0.4')),
        ('p', 'cpu', Decimal('0.1')),
    ]
    assert total(storage, filters={'project_id': 'P'})[0]['rate'] == Decimal('0.2')
    assert total(storage, metric_types='CPU')[0]['rate'] == Decimal('0.4')
    assert storage.retrieve(*samples.window(), filters={'project_id': 'P'})['total'] == 1
    assert storage.get_tenants(*samples.window()) == ['P', 'p']
    storage.delete(None, None, {'project_id': 'p'})
    assert [found['tenant_id'] for found in rows(database)] == ['P']


def test_a_metric_may_be_called_almost_like_nothing(storage, database):
    insert(database, row(res_type='_no_data_'), row(res_type='_NO_DATA_', scope_id='q'))
    assert [(line['type'], line['qty']) for line in total(storage, 'type')] == [('_no_data_', Decimal('1.5'))]
    assert storage.get_tenants(*samples.window()) == ['p']


def test_a_push_of_nothing_is_a_row_that_says_so(storage, database):
    begin, end = samples.window(hours=1)
    storage.push([dataframe.DataFrame(begin, end)], 'p')
    (found,) = rows(database)
    assert (found['res_type'], found['qty'], found['unit'], found['rate']) == ('_NO_DATA_', 0, 'None', 0)
    assert (found['desc'], found['tenant_id']) == ('""', 'p')
    assert (found['begin'], found['end']) == (datetime.datetime(2026, 6, 1), datetime.datetime(2026, 6, 1, 1))
    assert total(storage, 'type') == [] and storage.get_tenants(begin, end) == []
    assert storage.retrieve(begin, end)['dataframes'] == []


def test_a_period_of_which_all_points_were_skipped_is_a_row_that_says_so_until_it_has_points(storage, database):
    skipped = {('p', 'cpu', JUNE): 2, ('p', 'cpu', JUNE + HOUR): 1}
    points = samples.columns(metric='disk', begins=(JUNE + HOUR,))
    commit = samples.commit(samples.ready_states(database, 'p'), [points], periods=2, skipped=skipped)
    storage.commit(commit)
    assert [(found['res_type'], found['begin'].hour) for found in rows(database)] == [('disk', 1), ('_NO_DATA_', 0)]
    storage.commit(samples.commit(samples.states(database, 'p'), [samples.columns()], replace=True))
    assert [(found['res_type'], found['begin'].hour) for found in rows(database)] == [('disk', 1), ('cpu', 0)]


def test_an_empty_period_is_no_row(storage, database):
    run = coverage.Run('p', 'cpu', JUNE, JUNE + HOUR, Status.EMPTY)
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [], runs=[run]))
    assert rows(database) == []
    assert ledger.list_runs(database) == [run]


def test_what_has_no_room_fails_its_cell_and_nothing_else(storage, database, caplog):
    found = samples.ready_states(database, 'p', 'q')
    points = [
        samples.columns(begins=(JUNE, JUNE + HOUR), quantities=(1, '9999999999.999995')),
        samples.columns(begins=(JUNE + HOUR,), id='b'),
        samples.columns('q', begins=(JUNE, JUNE + HOUR)),
    ]
    assert storage.commit(samples.commit(found, points, periods=2)).committed == {'p', 'q'}
    assert [(line['project_id'], line['qty']) for line in total(storage, 'project_id')] == [('p', 1), ('q', 2)]
    runs = [(run.begin, run.status) for run in ledger.list_runs(database, ['p'])]
    assert runs == [(JUNE, Status.RATED), (JUNE + HOUR, Status.FAILED)]
    (failure,) = ledger.list_failures(database)
    assert (failure.scope_id, failure.begin, failure.attempts) == ('p', JUNE + HOUR, 1)
    assert 'a quantity of 10^10 or more' in failure.error
    assert 'p, metric cpu at 2026-06-01 01:00' in caplog.text
    again = samples.commit(samples.states(database, 'p'), points[:1], JUNE + HOUR, replace=True, cause='repair')
    again.columns = [samples.columns(begins=(JUNE + HOUR,), quantities=(10**10,))]
    again.changes = [dataclasses.replace(again.changes[0], moves_clock=False)]
    storage.commit(again)
    (later,) = ledger.list_failures(database)
    assert (later.since, later.attempts) == (failure.since, 2)
    mended = samples.commit(samples.states(database, 'p'), [], JUNE + HOUR, replace=True, runs=again.runs)
    mended.columns = [samples.columns(begins=(JUNE + HOUR,), quantities=(7,))]
    mended.changes = [dataclasses.replace(samples.commit(samples.states(database, 'p'), [], JUNE + HOUR).changes[0])]
    storage.commit(mended)
    assert ledger.list_failures(database) == []
    assert total(storage, filters={'project_id': 'p'})[0]['qty'] == 8


def test_what_has_no_room_replaces_nothing(storage, database):
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [samples.columns()]))
    before = ledger.list_runs(database)
    too_large = samples.columns(quantities=(10**10,))
    storage.commit(samples.commit(samples.states(database, 'p'), [too_large], replace=True, cause='repair'))
    assert [line['qty'] for line in total(storage)] == [1]
    assert ledger.list_runs(database) == before
    assert 'a quantity of 10^10' in ledger.list_failures(database)[0].error


def test_a_description_that_a_server_has_no_room_for_fails_its_cell(storage, database):
    points = [samples.columns(metadata={'text': 'x' * 70000}), samples.columns(metric='disk')]
    storage.commit(samples.commit(samples.ready_states(database, 'p'), points))
    statuses = {run.metric: run.status for run in ledger.list_runs(database)}
    assert statuses == {'cpu': Status.FAILED if database.dialect == 'mysql' else Status.RATED, 'disk': Status.RATED}


def test_a_point_without_a_price_waits_with_all_its_digits(storage, database):
    points = samples.columns(quantities=('1.123456789',), prices=(None,))
    run = coverage.Run('p', 'cpu', JUNE, JUNE + HOUR, Status.UNRATED)
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [points], runs=[run]))
    assert (rows(database), waiting(database)) == ([], 1)
    (found,) = storage.quantities(['p'], ['cpu'], JUNE, JUNE + HOUR)
    assert found.quantities == (Decimal('1.123456789'),)
    priced = dataclasses.replace(found, prices=(Decimal(2),))
    storage.commit(samples.commit(samples.states(database, 'p'), [priced], replace=True, cause='repair'))
    assert (len(rows(database)), waiting(database)) == (1, 0)
    storage.commit(samples.commit(samples.states(database, 'p'), [points], replace=True, runs=[run]))
    assert (len(rows(database)), waiting(database)) == (0, 1)
    storage.delete(samples.instant(JUNE), None, {'project_id': 'p'})
    assert waiting(database) == 0


def test_rows_that_a_release_of_old_left_behind_the_clock_are_replaced(storage, database, caplog):
    insert(database, row(rate=9.0), row(res_type='disk', rate=4.0), row(JUNE + HOUR, rate=9.0))
    storage.commit(samples.commit(samples.ready_states(database, 'p'), [samples.columns()]))
    assert 'behind the clocks of 1 scopes are replaced' in caplog.text
    assert sorted((found['res_type'], found['begin'].hour, found['rate']) for found in rows(database)) == [
        ('cpu', 0, 0.5),
        ('cpu', 1, 9.0),
        ('disk', 0, 4.0),
    ]


def test_what_somebody_pushed_goes_with_a_deletion(storage, database):
    point = dataframe.DataPoint('u', 1, '0.25', {'project_id': 'p'}, {})
    storage.push([dataframe.DataFrame(*samples.window(hours=1), {'fee': [point]})])
    storage.push([dataframe.DataFrame(*samples.window(hours=1), {'fee': [point]})])
    assert total(storage)[0]['rate'] == Decimal('0.5')
    storage.delete(samples.instant(JUNE), samples.instant(JUNE + HOUR), {'project_id': 'p'})
    assert rows(database) == []


def test_rows_of_scopes_that_nobody_knows_any_more_can_be_deleted(storage, database):
    insert(database, row(scope_id='gone'), row(scope_id='other'))
    storage.delete(None, None, {'project_id': 'gone'})
    assert [found['tenant_id'] for found in rows(database)] == ['other']
    storage.delete(samples.instant(JUNE), samples.instant(JUNE + HOUR))
    assert rows(database) == []


def test_a_deletion_of_a_scope_that_never_was_makes_none(storage, database):
    storage.delete(None, None, {'project_id': 'nobody'})
    assert scopes.list_ids(database) == []


def test_a_scope_id_that_is_too_long_is_refused_by_name(storage, database):
    name = 'x' * 33
    with pytest.raises(errors.BadRequest, match='%s has more than the 32 characters' % name):
        storage.commit(samples.commit(samples.ready_states(database, name), [samples.columns(name)]))
    for groupby, scope_id in (({'project_id': name}, None), ({}, name)):
        point = dataframe.DataPoint('u', 1, 1, groupby, {})
        with pytest.raises(errors.BadRequest, match=name):
            storage.push([dataframe.DataFrame(*samples.window(hours=1), {'fee': [point]})], scope_id)
    storage.push([dataframe.DataFrame(*samples.window(hours=1))], 'x' * 32)
    assert len(rows(database)) == 1


def test_a_rival_that_commits_first_has_the_scope(storage, database, monkeypatch):
    """The rival waits for the guard while the first is half-way, and finds that the scope moved."""
    found = samples.ready_states(database, 'p')
    commits = [samples.commit(found, [samples.columns(id=name)]) for name in 'ab']
    results = []
    rival = threading.Thread(target=lambda: results.append(driver.SQLAlchemyStorage(database).commit(commits[1])))
    write = writing.transaction.write_ledger

    def start_rival(*args):
        if not rival.is_alive() and not results:
            monkeypatch.setattr(writing.transaction, 'write_ledger', write)
            rival.start()
            rival.join(0.5)
        write(*args)

    monkeypatch.setattr(writing.transaction, 'write_ledger', start_rival)
    first = storage.commit(commits[0])
    rival.join(60)
    assert first.committed == {'p'}
    assert results == [base.CommitResult(frozenset(), frozenset({'p'}))]
    assert [json.loads(found['desc'])['id'] for found in rows(database)] == ['a']


def test_a_commit_that_breaks_leaves_nothing(storage, database, monkeypatch):
    found = samples.ready_states(database, 'p')

    def fail(*args):
        raise RuntimeError('power cut')

    monkeypatch.setattr(writing.transaction, 'finish', fail)
    with pytest.raises(RuntimeError):
        storage.commit(samples.commit(found, [samples.columns()]))
    assert rows(database) == [] and ledger.list_runs(database) == []
    assert samples.states(database, 'p') == found
