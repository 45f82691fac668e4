# SPDX-License-Identifier: Apache-2.0
"""What Prometheus is told of the database, on every server."""

from prometheus_client import core

from cloudkitty.processor import planner
from cloudkitty.processor import standing
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.tests import fakes
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE


def read(database, second):
    found = standing.Standing(
        core, database, samples.IDENTITY, planner.Schedule(HOUR, 2), fakes.FakeClock(samples.instant(second)), 10
    )
    return {
        (sample.name, *sample.labels.values()): sample.value for family in found.collect() for sample in family.samples
    }


def read_prices(database, second):
    return {key[1]: value for key, value in read(database, second).items() if 'price' in key[0]}


def test_prices_of_this_month_and_the_last(database):
    storage = driver.SQLAlchemyStorage(database)
    begins = tuple(range(JUNE - 2 * HOUR, JUNE + 3 * HOUR, HOUR))
    points = [samples.columns(name, begins=begins, prices=(1, '0.25', 2, 3, '-0.5')) for name in 'pq']
    states = samples.ready_states(database, 'p', 'q', first=begins[0])
    storage.commit(samples.commit(states, points, begins[0], periods=5))
    assert read_prices(database, JUNE + 3 * HOUR) == {'2026-05': 2.5, '2026-06': 9}
    # So that what its first hour costs is seen as growth.
    assert read_prices(database, JUNE + 30 * 24 * HOUR) == {'2026-06': 9, '2026-07': 0}
    assert read_prices(database, JUNE + 90 * 24 * HOUR) == {}
