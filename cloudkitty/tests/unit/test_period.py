# SPDX-License-Identifier: Apache-2.0
import datetime
import zoneinfo

import pytest

from cloudkitty import period


def instant(text):
    return period.parse(text)


def test_epoch_and_back():
    moment = instant('2026-11-01T00:00:00')
    assert period.from_epoch(period.to_epoch(moment)) == moment


def test_naive_instant_is_refused():
    with pytest.raises(ValueError):
        period.to_epoch(datetime.datetime(2026, 11, 1))


@pytest.mark.parametrize(
    ('now', 'due'),
    [('2026-11-01T03:00:00', False), ('2026-11-01T03:00:01', True)],
)
def test_period_is_due_strictly_after_the_wait(now, due):
    assert period.is_due(instant('2026-11-01T01:00:00'), 3600, 2, instant(now)) is due


def test_fractions_of_a_second_do_not_make_a_period_due():
    now = instant('2026-11-01T03:00:00').replace(microsecond=999999)
    assert not period.is_due(instant('2026-11-01T01:00:00'), 3600, 2, now)


@pytest.mark.parametrize(
    ('zone', 'expected'),
    [
        ('UTC', '2026-11-01T00:00:00'),
        ('Europe/Paris', '2026-10-31T23:00:00'),
        ('Asia/Kolkata', '2026-10-31T18:00:00'),  # local midnight is 18:30, rounded down to the hour
    ],
)
def test_first_period_is_the_local_month_start_on_the_grid(zone, expected):
    assert period.first_period(instant('2026-11-24T12:00:00'), 3600, zoneinfo.ZoneInfo(zone)) == instant(expected)


def test_month_ends_at_the_next_local_midnight_across_dst():
    paris = zoneinfo.ZoneInfo('Europe/Paris')
    assert period.next_month_start(instant('2026-03-10T00:00:00'), paris) == instant('2026-03-31T22:00:00')
    assert period.next_month_start(instant('2026-10-10T00:00:00'), paris) == instant('2026-10-31T23:00:00')


def test_split_days():
    day = period.to_epoch(instant('2026-11-01T00:00:00'))
    assert list(period.split_days(day + 7200, day + 86400 + 3600)) == [
        (day + 7200, day + 86400),
        (day + 86400, day + 90000),
    ]


@pytest.mark.parametrize('text', ['0001-01-01T00:00:00+14:00', '9999-12-31T23:00:00-10:00'])
def test_instant_outside_of_the_calendar_is_refused(text):
    with pytest.raises(ValueError, match='years 1 to 9999'):
        period.parse(text)
