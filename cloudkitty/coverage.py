# SPDX-License-Identifier: Apache-2.0
"""The coverage ledger's words: what became of a cell (scope x metric x period), and runs of equal cells.

Instants here are epoch seconds.
"""

import dataclasses
import datetime
import enum
import functools
import operator
from typing import NamedTuple

from cloudkitty import period


class Status(enum.Enum):
    """What became of a cell; design, decision 3."""

    RATED = 'rated'
    EMPTY = 'empty'
    UNKNOWN = 'unknown'
    FAILED = 'failed'
    PROVISIONAL = 'provisional'
    UNRATED = 'unrated'
    LOST = 'lost'


class Run(NamedTuple):
    """Consecutive cells ``[begin, end)`` of one scope and metric that fared alike.

    :ivar rule_set: digest of the rule set that priced them, or None where nothing was priced.
    :ivar altered: something but a price was changed by a script, a third-party module or a skip expression.
    """

    scope_id: str
    metric: str
    begin: int
    end: int
    status: Status
    rule_set: str | None = None
    altered: bool = False

    @property
    def is_imported(self) -> bool:
        """Whether its points came from rows of an older release, which do not say what priced or changed them."""
        return self.status is Status.RATED and self.rule_set is None and self.altered


@dataclasses.dataclass(frozen=True)
class Failure:
    """An open trouble of one cell: kept until it is mended, or lost.

    :ivar since: epoch second of the first failed attempt.
    :ivar next_attempt: epoch second before which nobody tries again.
    """

    scope_id: str
    metric: str
    begin: int
    since: int
    attempts: int
    next_attempt: int
    error: str


def split_months(run: Run) -> list[Run]:
    """Return *run* cut at the UTC months that begin inside it."""
    result = []
    begin = run.begin
    while run.end > (end := _month_end(begin // period.DAY)):
        result.append(run._replace(begin=begin, end=end))
        begin = end
    result.append(run if begin == run.begin else run._replace(begin=begin))
    return result


def replace(existing: list[Run], fresh: list[Run]) -> list[Run]:
    """Return *existing* runs with *fresh* ones in the place of what they overlap; all cut at months, neighbours joined.

    Both are of any scopes and metrics; the runs within each list do not overlap.
    """
    by_cell: dict[tuple[str, str], list[Run]] = {}
    for run in fresh:
        by_cell.setdefault((run.scope_id, run.metric), []).append(run)
    result = list(fresh)
    for run in existing:
        rest = [run]
        for new in by_cell.get((run.scope_id, run.metric), ()):
            rest = [part for old in rest for part in without(old, new.begin, new.end)]
        result += rest
    return join([part for run in result for part in split_months(run)])


def without(run: Run, begin: int, end: int) -> list[Run]:
    """Return what is left of *run* outside ``[begin, end)``."""
    if run.end <= begin or end <= run.begin:
        return [run]
    parts = []
    if run.begin < begin:
        parts.append(run._replace(end=begin))
    if end < run.end:
        parts.append(run._replace(begin=end))
    return parts


def join(runs: list[Run]) -> list[Run]:
    """Return *runs* sorted by (scope, metric, begin), neighbours of equal content joined within a UTC month."""
    result: list[Run] = []
    last: Run | None = None
    for run in sorted(runs, key=_place):
        if (
            last is not None
            and last.end == run.begin
            and last[:2] == run[:2]
            and last[4:] == run[4:]
            and run.begin < _month_end(last.begin // period.DAY)
        ):
            last = result[-1] = last._replace(end=run.end)
        else:
            result.append(run)
            last = run
    return result


_place = operator.itemgetter(0, 1, 2)


def month_of(second: int) -> tuple[int, int]:
    """Return (year, month), UTC, of an epoch second."""
    instant = period.from_epoch(second)
    return instant.year, instant.month


@functools.lru_cache(maxsize=1024)
def _month_end(day: int) -> int:
    """Return the epoch second at which the UTC month of *day*, counted from 1970-01-01, ends."""
    year, month = month_of(day * period.DAY)
    return period.to_epoch(datetime.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=period.UTC))
