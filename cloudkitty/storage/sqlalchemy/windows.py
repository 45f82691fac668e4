# SPDX-License-Identifier: Apache-2.0
"""What a report looks at: a window, and which points in it."""

from collections.abc import Collection
import dataclasses
import datetime
import functools
from typing import NamedTuple

from cloudkitty import period
from cloudkitty import series

#: Seconds before the end of a window in which a point may begin and still end after it.
LONGEST_FRAME = 31 * period.DAY


@dataclasses.dataclass(frozen=True)
class Window:
    """``[begin, end)`` in epoch seconds: points that begin inside, or, if *whole*, that lie inside altogether.

    :ivar longest: no point is longer, in seconds.
    """

    begin: int
    end: int
    whole: bool = False
    longest: int = LONGEST_FRAME

    def holds(self, begin: int, length: int) -> bool:
        return self.begin <= begin and (begin + length <= self.end if self.whole else begin < self.end)

    @property
    def of_begins(self) -> 'Window':
        """The same window for points that begin inside, wherever they end."""
        return dataclasses.replace(self, whole=False)

    @property
    def days(self) -> tuple[int, int]:
        """The first day and the one after the last that the window touches."""
        return self.begin // period.DAY, -(-self.end // period.DAY)

    @property
    def whole_days(self) -> tuple[int, int]:
        """The first and the one after the last of the days of which it holds every point, whatever its length."""
        first, last = self.days
        inner = -(-self.begin // period.DAY)
        slack = self.longest if self.whole else 0
        return min(inner, last), max(min(inner, last), (self.end - slack) // period.DAY)


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which points.

    :ivar scope_ids: None for all.
    :ivar metrics: None for all.
    :ivar attributes: attribute to the texts that it may have.
    """

    window: Window
    scope_ids: Collection[str] | None = None
    metrics: Collection[str] | None = None
    attributes: tuple[tuple[str, frozenset[str]], ...] = ()

    @property
    def is_impossible(self) -> bool:
        return (
            self.window.begin >= self.window.end
            or (self.scope_ids is not None and not self.scope_ids)
            or (self.metrics is not None and not self.metrics)
        )


class Stretch(NamedTuple):
    """Days ``[first, last)`` on which every point of a window has the same calendar attributes."""

    first: int
    last: int
    calendar: dict[str, str]

    def months(self) -> tuple[range, list[tuple[int, int]]]:
        """Return the whole UTC months inside, counted from January of year 0, and the ``[first, last)`` that remain."""
        begin, end = (period.from_epoch(day * period.DAY) for day in (self.first, self.last))
        first = begin.year * 12 + begin.month - 1 + (begin.day > 1)
        last = end.year * 12 + end.month - 1
        if first >= last:
            return range(0), [(self.first, self.last)]
        rests = [(self.first, _first_day(first)), (_first_day(last), self.last)]
        return range(first, last), [rest for rest in rests if rest[0] < rest[1]]


def _first_day(month: int) -> int:
    instant = datetime.datetime(month // 12, month % 12 + 1, 1, tzinfo=period.UTC)
    return period.to_epoch(instant) // period.DAY


def split_days(
    window: Window, words: Collection[str], zone: datetime.tzinfo, by_period: bool = False
) -> tuple[list[Stretch], list[int]]:
    """Return the stretches of days of *window* whose sums serve, and the days of which single periods must be read.

    :param words: calendar attributes that points must not differ by, in *zone*.
    :param by_period: no sum of a day serves.
    """
    first, last = window.days
    inner_first, inner_last = (first, first) if by_period else window.whole_days
    edges = [*range(first, inner_first), *range(inner_last, last)]
    if not words:
        return ([Stretch(inner_first, inner_last, {})] if inner_first < inner_last else []), edges
    stretches: list[Stretch] = []
    for day in range(inner_first, inner_last):
        midnight = day * period.DAY
        begin, end = (calendar_at(second, words, zone) for second in (midnight, midnight + period.DAY - 1))
        if begin != end:
            edges.append(day)
        elif stretches and stretches[-1].last == day and stretches[-1].calendar == begin:
            stretches[-1] = stretches[-1]._replace(last=day + 1)
        else:
            stretches.append(Stretch(day, day + 1, begin))
    return stretches, sorted(edges)


def calendar_at(second: int, words: Collection[str], zone: datetime.tzinfo) -> dict[str, str]:
    """Return the calendar attributes *words* of a point that begins at *second*."""
    return _calendar(second, frozenset(words), zone) if words else {}


@functools.lru_cache(10_000)
def _calendar(second: int, words: frozenset[str], zone: datetime.tzinfo) -> dict[str, str]:
    found = series.calendar(period.from_epoch(second), zone)
    return {word: found[word] for word in sorted(words)}
