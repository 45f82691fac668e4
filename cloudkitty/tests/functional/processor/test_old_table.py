# SPDX-License-Identifier: Apache-2.0
"""Whole passes with [storage] version = 1."""

from decimal import Decimal
import logging

import pytest
import sqlalchemy

from cloudkitty.db import rating_modules
from cloudkitty.storage.v1 import driver
from cloudkitty.storage.v1 import models
from cloudkitty.tests import samples
from cloudkitty.tests.functional.processor import deployment
from cloudkitty.tests.functional.processor import test_repair

HOUR = samples.HOUR
JUNE = samples.JUNE


@pytest.fixture
def cloud(database):
    return deployment.Deployment(database, 'a', 'b', driver_class=driver.SQLAlchemyStorage)


def count_rows(database):
    with database.reader() as session:
        return session.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(models.RatedDataFrame))


def test_scopes_are_rated_into_the_table(cloud):
    cloud.run()
    assert cloud.points() == [
        (0, scope_id, name, 1, price) for scope_id in 'ab' for name, price in (('cpu', 2), ('disk', 3))
    ]
    cloud.run(hours=24)
    assert cloud.clock_of('a') == 24
    assert cloud.total('project_id') == {('a',): 125, ('b',): 125}
    assert cloud.statuses('b', 'disk') == ['rated'] * 25
    assert count_rows(cloud.database) == 100


def test_failed_cells_are_repaired(cloud):
    test_repair.fail_and_move_on(cloud, 'a', 'cpu', JUNE)
    assert cloud.statuses('a', 'cpu')[0] == 'failed'
    cloud.set_cost('cpu', 100)
    cloud.run(hours=1)
    assert cloud.statuses('a', 'cpu') == ['rated'] * 10
    # With the rules of its period.
    assert (0, 'a', 'cpu', 1, 2) in cloud.points()
    assert cloud.failures() == []


def test_provisional_points_are_billed_and_replaced(cloud):
    cloud.source.fail('a', 'cpu', JUNE, status=test_repair.Status.PROVISIONAL)
    cloud.run()
    assert cloud.bill('a') == 5
    cloud.source.troubles.clear()
    cloud.source.quantities['a', 'cpu', JUNE] = 4
    cloud.run(hours=1)
    assert (0, 'a', 'cpu', 4, 8) in cloud.points()
    assert cloud.bill('a') == 11 + 5


def test_periods_that_a_module_failed_at_are_priced_when_the_rules_change(database):
    cloud = deployment.Deployment(
        database,
        'a',
        modules={**deployment.OURS, 'discount': test_repair.Discount},
        driver_class=driver.SQLAlchemyStorage,
    )
    rating_modules.set_enabled(database, 'discount', True)
    rating_modules.set_priority(database, 'discount', -1)
    test_repair.Discount.fails = True
    cloud.worker = cloud.make_worker()
    cloud.run()
    assert (cloud.statuses('a', 'cpu'), cloud.points(), count_rows(database)) == (['unrated'], [], 0)
    test_repair.Discount.fails = False
    cloud.set_cost('cpu', 4)
    cloud.run()
    assert cloud.points() == [(0, 'a', 'cpu', 1, 4), (0, 'a', 'disk', 1, 1.5)]
    assert (cloud.statuses('a', 'cpu'), count_rows(database), cloud.failures()) == (['rated'], 2, [])


def test_period_of_rows_is_repaired_by_collecting_it_as_a_whole(database):
    cloud = deployment.Deployment(
        database,
        'a',
        modules={**deployment.OURS, 'discount': test_repair.Discount},
        driver_class=driver.SQLAlchemyStorage,
    )
    test_repair.Discount.fails = False
    rating_modules.set_enabled(database, 'discount', True)
    rating_modules.set_priority(database, 'discount', -1)
    cloud.worker = cloud.make_worker()
    # More digits than the table keeps: what is stored must not be rated again.
    cloud.source.quantities['a', 'disk', JUNE] = '1.000004'
    test_repair.fail_and_move_on(cloud, 'a', 'cpu', JUNE)
    cloud.run(hours=1)
    hour = [point[2:] for point in cloud.points() if point[0] == 0]
    assert hour == [('cpu', 1, 2), ('disk', 1, Decimal('1.500006'))]
    assert cloud.source.batches[-1].metrics == cloud.metrics and cloud.source.batches[-1].begin == JUNE


def test_quantity_that_has_no_room_stops_nobody_and_is_mended(cloud, caplog):
    cloud.source.quantities['a', 'cpu', JUNE] = 10**10
    cloud.run(hours=3)
    assert (cloud.clock_of('a'), cloud.clock_of('b')) == (3, 3)
    assert cloud.statuses('a', 'cpu') == ['failed', 'rated', 'rated', 'rated']
    assert (cloud.bill('a'), cloud.bill('b')) == (18, 20)
    assert 'no room for a quantity of 10^10 or more' in caplog.text
    cloud.source.quantities.clear()
    cloud.run(hours=1)
    assert cloud.statuses('a', 'cpu') == ['rated'] * 5
    assert (cloud.bill('a'), cloud.failures()) == (25, [])


def test_quantity_that_never_has_room_is_lost_in_time(cloud, caplog):
    cloud.source.quantities['a', 'cpu', JUNE] = 10**10
    cloud.run(hours=3)
    (first,) = cloud.failures()
    assert (first.since, first.attempts) == (JUNE + 3 * HOUR + 1, 3)
    cloud.clock.advance(deployment.WINDOW)
    cloud.run()
    assert cloud.statuses('a', 'cpu')[0] == 'lost'
    assert cloud.failures() == []


def test_scope_id_that_is_too_long_is_an_error_once_and_stops_nobody(cloud, caplog):
    cloud.fetcher.ids.append('x' * 33)
    # It was rated into another storage before.
    samples.ready_states(cloud.database, 'y' * 33)
    cloud.fetcher.ids.append('y' * 33)
    cloud.run(hours=2)
    assert cloud.total('project_id') == {('a',): 15, ('b',): 15}
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert 'longer than the 32 characters' in told[0] and 'x' * 33 in told[0] and 'y' * 33 in told[0]
    assert cloud.clock_of('y' * 33) == -1
