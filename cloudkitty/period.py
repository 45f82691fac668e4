# SPDX-License-Identifier: Apache-2.0
"""Periods and instants: half-open stretches of time, aware and in UTC.

Two forms of an instant exist. Where one is handled by itself it is an aware :class:`datetime.datetime` in UTC; where
thousands are (columns of points, coverage runs) it is an *epoch second*, an int. :func:`to_epoch` and
:func:`from_epoch` turn one into the other.
"""

from collections.abc import Iterator
import dataclasses
import datetime

UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
DAY = 86400


def to_epoch(instant: datetime.datetime) -> int:
    """Return *instant* (aware) as whole seconds since the epoch, rounded down."""
    if instant.tzinfo is None:
        raise ValueError('The instant %s has no time zone.' % instant)
    return int((instant - EPOCH) // datetime.timedelta(seconds=1))


def from_epoch(seconds: int) -> datetime.datetime:
    """Return the aware UTC instant *seconds* after the epoch."""
    return EPOCH + datetime.timedelta(seconds=seconds)


def to_naive(instant: datetime.datetime) -> datetime.datetime:
    """Return *instant* (aware) as naive UTC, the form of the historical tables."""
    return instant.astimezone(UTC).replace(tzinfo=None)


def from_naive(instant: datetime.datetime) -> datetime.datetime:
    """Return the aware instant of naive UTC *instant*."""
    return instant.replace(tzinfo=UTC)


def parse(text: str) -> datetime.datetime:
    """Return the instant that ISO 8601 *text* names: no offset means UTC, parts of a second are dropped.

    Raises ValueError for anything else.
    """
    instant = datetime.datetime.fromisoformat(text.strip())
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    try:
        return instant.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError('%s is not an instant of the years 1 to 9999 in UTC.' % text) from None


@dataclasses.dataclass(frozen=True, order=True)
class Period:
    """``[begin, end)``, both aware."""

    begin: datetime.datetime
    end: datetime.datetime

    @property
    def length(self) -> datetime.timedelta:
        return self.end - self.begin

    def next(self) -> 'Period':
        """Return the period of the same length that begins where this one ends."""
        return Period(self.end, self.end + self.length)


def of_length(begin: datetime.datetime, seconds: int) -> Period:
    """Return the period of *seconds* that begins at *begin*."""
    return Period(begin, begin + datetime.timedelta(seconds=seconds))


def floor(instant: datetime.datetime, seconds: int) -> datetime.datetime:
    """Return the last instant at or before *instant* that is a multiple of *seconds* since the epoch."""
    epoch = to_epoch(instant)
    return from_epoch(epoch - epoch % seconds)


def is_due(begin: datetime.datetime, seconds: int, wait_periods: int, now: datetime.datetime) -> bool:
    """Return whether the period that begins at *begin* may be rated at *now*.

    It waits *wait_periods* times its length, counted from its begin, and a second more: the comparison is strict and
    *now* is cut to whole seconds.

    Source: processor contract, section 2.1.
    """
    return begin + wait_periods * datetime.timedelta(seconds=seconds) < now.replace(microsecond=0)


def month_start(instant: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    """Return, in UTC, the first midnight in *zone* of the month that *instant* falls in there."""
    local = instant.astimezone(zone)
    return local.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(UTC)


def next_month_start(instant: datetime.datetime, zone: datetime.tzinfo) -> datetime.datetime:
    """Return, in UTC, the first midnight in *zone* of the month after the one that *instant* falls in there."""
    local = instant.astimezone(zone)
    year, month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)
    return local.replace(year=year, month=month, day=1, hour=0, minute=0, second=0, microsecond=0, fold=0).astimezone(
        UTC
    )


def window(
    begin: datetime.datetime | None, end: datetime.datetime | None, now: datetime.datetime, zone: datetime.tzinfo
) -> tuple[datetime.datetime, datetime.datetime]:
    """Return (begin, end); what is missing is that of the month in *zone* that *now* falls in."""
    return begin or month_start(now, zone), end or next_month_start(now, zone)


def first_period(now: datetime.datetime, seconds: int, zone: datetime.tzinfo) -> datetime.datetime:
    """Return the begin of the first period to rate of a scope discovered at *now*.

    It is the start of the month in *zone*, rounded down to a multiple of *seconds* since the epoch.

    Source: processor contract, section 2.2.
    """
    return floor(month_start(now, zone), seconds)


def split_days(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield (begin, end), in epoch seconds, of the parts of ``[begin, end)`` in each UTC day."""
    while begin < end:
        stop = min(end, (begin // DAY + 1) * DAY)
        yield begin, stop
        begin = stop
