# SPDX-License-Identifier: Apache-2.0
"""How complete a window is: what became of each cell that begins in it, and which are not done.

A cell is a scope x a metric x a period, and counts where its period begins. The ledger holds runs of cells; here they
are cut to a window, and where it holds nothing the cells that should be there are added. Two statuses of cells that it
does not hold:

* *pending*: the period is due and nobody has done it;
* *waiting*: it has begun and is not due yet.

A cell is done if it is rated, empty or unknown. Everything is counted on runs: no step is longer for a longer stretch
of equal cells. Instants are epoch seconds.

Source: admin guide, "What became of each hour: coverage".
"""

import bisect
import collections
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import enum
import itertools
import math
from typing import NamedTuple

from cloudkitty import coverage
from cloudkitty import period

PENDING = 'pending'
WAITING = 'waiting'
#: Every status a cell may have: those of the ledger, and those of what it does not hold.
STATUSES = (*(status.value for status in coverage.Status), PENDING, WAITING)
#: Those of cells that nothing more is expected of.
DONE = frozenset({coverage.Status.RATED.value, coverage.Status.EMPTY.value, coverage.Status.UNKNOWN.value})


class Resolution(enum.Enum):
    """What is a row: a stretch of equal cells, a cell, or the cells of one UTC day."""

    RUN = 'run'
    PERIOD = 'period'
    DAY = 'day'


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where periods begin: every *length* seconds, *phase* seconds behind a multiple of it."""

    length: int
    phase: int = 0

    def next(self, second: int) -> int:
        """Return the begin of the first period that begins at *second* or later."""
        return second + (self.phase - second) % self.length

    def count(self, begin: int, end: int) -> int:
        """Return how many periods begin in ``[begin, end)``."""
        return max(0, (self.next(end) - self.next(begin)) // self.length)

    def last(self, end: int) -> int:
        """Return the begin of the last period that begins before *end*."""
        return self.next(end) - self.length


@dataclasses.dataclass(frozen=True)
class Task:
    """A window, and the moment at which it is looked at.

    :ivar wait: how many periods one waits, from its begin, until it is due.
    """

    begin: int
    end: int
    now: int
    wait: int

    def due(self, grid: Grid) -> int:
        """Return the second before which a period must begin to be due."""
        return self.now - self.wait * grid.length


@dataclasses.dataclass(frozen=True)
class Owner:
    """A scope, as far as it decides which cells should be there.

    :ivar edge: end of the last period that it is rated up to; None: nobody rates it.
    :ivar until: the second before which a period must begin to be rated one day: now, or when the scope was last seen.
    """

    scope_id: str
    grid: Grid
    edge: int | None = None
    until: int = 0


class Piece(NamedTuple):
    """Consecutive cells of one scope and metric that fared alike, of those in a window.

    :ivar metric: None where it is not known yet what the scope has.
    :ivar status: one of :data:`STATUSES`.
    :ivar cells: how many there are.
    """

    scope_id: str
    metric: str | None
    begin: int
    end: int
    status: str
    grid: Grid
    cells: int
    rule_set: str | None = None
    altered: bool = False


Extents = Mapping[str, tuple[int, int]]


def needs_extents(task: Task, owner: Owner, runs: Mapping[str, Sequence[coverage.Run]]) -> bool:
    """Return whether *runs* do not tell what should be there: one has to know where the scope's metrics begin and end.

    :param runs: those that overlap the window, by metric, each sorted.
    """
    if not runs:
        return owner.edge is not None and task.begin < min(task.end, owner.until)
    for stretches in runs.values():
        if owner.grid.count(task.begin, stretches[0].begin):
            return True
        last = stretches[-1].end
        # What begins behind the window may only be known of a window that is over.
        if owner.grid.count(last, task.end) and task.end <= task.now and not _is_current(owner, last):
            return True
    return False


def survey(
    task: Task,
    owner: Owner,
    runs: Mapping[str, Sequence[coverage.Run]],
    extents: Extents,
    metrics: Collection[str] | None = None,
) -> list[Piece]:
    """Return what became of the cells of *owner* in the window, sorted by metric and begin.

    Metrics are those that the ledger knows of the scope in the window, else, if somebody rates the scope, those of its
    last rated period. A metric's cells are those from its first to its last known one, and if it is one of the last
    rated period, those that have begun since. If no metric is, what the scope has is unknown: one cell a period stands
    for it, without a metric.

    :param runs: those that overlap the window, of all metrics, by metric, each sorted.
    :param extents: metric to the begin of its first and the end of its last run of all, if :func:`needs_extents`.
    :param metrics: those wanted; None for all. A cell without a metric may be of any.
    """
    ends = {metric: extents.get(metric, (own[0].begin, own[-1].end)) for metric, own in runs.items()}
    if not runs:
        ends = {metric: extent for metric, extent in extents.items() if _is_current(owner, extent[1])}
    result: list[Piece] = []
    if owner.edge is not None and not any(_is_current(owner, last) for _, last in ends.values()):
        result += _gap(task, owner, None, max(task.begin, owner.edge), min(task.end, owner.until))
    for metric in sorted(ends):
        if metrics is not None and metric not in metrics:
            continue
        first, last = ends[metric]
        cursor = max(task.begin, first)
        for run in runs.get(metric, ()):
            if cursor < run.begin:
                result += _gap(task, owner, metric, cursor, run.begin, run.begin)
            result.append(_cut(task, owner, run))
            cursor = max(cursor, run.end)
        stop = max(last, owner.until) if _is_current(owner, last) else last
        result += _gap(task, owner, metric, cursor, min(task.end, stop))
    return result


def _cut(task: Task, owner: Owner, run: coverage.Run) -> Piece:
    """Return what of *run* is in the window."""
    begin, end = max(run.begin, task.begin), min(run.end, task.end)
    cells = owner.grid.count(begin, end)
    return Piece(owner.scope_id, run.metric, begin, end, run.status.value, owner.grid, cells, run.rule_set, run.altered)


def _is_current(owner: Owner, last: int) -> bool:
    """Return whether a metric whose last run ends at *last* is one of the scope's last rated period."""
    return owner.edge is not None and last >= owner.edge


def _gap(
    task: Task, owner: Owner, metric: str | None, begin: int, end: int, limit: int | None = None
) -> Iterator[Piece]:
    """Yield the cells that begin in ``[begin, end)`` and have begun, those that are due apart.

    :param limit: where the last one ends at the latest.
    """
    grid = owner.grid
    end = min(end, task.now)
    limit = task.end if limit is None else limit
    due = min(max(begin, task.due(grid)), end)
    for first, stop, status in ((begin, due, PENDING), (due, end, WAITING)):
        cells = grid.count(first, stop)
        if cells:
            last = min(limit, grid.last(stop) + grid.length)
            yield Piece(owner.scope_id, metric, grid.next(first), last, status, grid, cells)


@dataclasses.dataclass
class Tally:
    """Counts cells.

    :ivar limit: how many runs of missing cells it keeps.
    :ivar cells: how many there are of each status that occurs.
    :ivar runs: the first runs of missing cells, in the order in which they came.
    :ivar run_count: how many of those there are in all.
    """

    limit: int = 100
    cells: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    runs: list[Piece] = dataclasses.field(default_factory=list)
    run_count: int = 0

    def add(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if not piece.cells:
                continue
            self.cells[piece.status] += piece.cells
            if piece.status not in DONE:
                self.run_count += 1
                if len(self.runs) < self.limit:
                    self.runs.append(piece)

    @property
    def total(self) -> int:
        return sum(self.cells.values())

    @property
    def missing(self) -> int:
        return sum(count for status, count in self.cells.items() if status not in DONE)

    @property
    def value(self) -> float | None:
        """The part of the cells that is done; 1 only if all are; None without any."""
        if not self.total:
            return None
        if not self.missing:
            return 1.0
        return min((self.total - self.missing) / self.total, math.nextafter(1, 0))


class Row(NamedTuple):
    """Something that is shown: cells of one scope and metric.

    :ivar piece: what all its cells have in common; None if they may differ.
    :ivar cells: how many there are of each status that occurs.
    """

    scope_id: str
    metric: str | None
    begin: int
    end: int
    piece: Piece | None
    cells: Mapping[str, int]


@dataclasses.dataclass
class Page:
    """The rows from *offset* on, at most *limit*; the others are counted only."""

    offset: int
    limit: int
    total: int = 0
    rows: list[Row] = dataclasses.field(default_factory=list)

    def add(self, pieces: Sequence[Piece], resolution: Resolution) -> None:
        """Add the rows that *pieces*, all of one scope, sorted by metric and begin, make."""
        for group in _groups(pieces, resolution):
            count = _count_rows(group, resolution)
            first = max(0, self.offset - self.total)
            last = min(count, self.offset + self.limit - self.total)
            if first < last:
                self.rows += _make_rows(group, resolution, first, last)
            self.total += count


def _groups(pieces: Sequence[Piece], resolution: Resolution) -> Iterator[Sequence[Piece]]:
    """Yield *pieces* in parts of which none makes rows together with another."""
    if resolution is Resolution.RUN:
        yield pieces
    elif resolution is Resolution.PERIOD:
        yield from ([piece] for piece in pieces)
    else:
        for _, group in itertools.groupby(pieces, key=lambda piece: piece.metric):
            yield [piece for piece in group if piece.cells]


def _count_rows(group: Sequence[Piece], resolution: Resolution) -> int:
    """Return how many rows *group* makes."""
    if resolution is Resolution.RUN:
        return len(group)
    return group[0].cells if resolution is Resolution.PERIOD else _count_days(group)


def _make_rows(group: Sequence[Piece], resolution: Resolution, first: int, last: int) -> list[Row]:
    """Return the rows ``[first, last)`` of those that *group* makes."""
    if resolution is Resolution.RUN:
        return [
            Row(piece.scope_id, piece.metric, piece.begin, piece.end, piece, {piece.status: piece.cells})
            for piece in group[first:last]
        ]
    if resolution is Resolution.PERIOD:
        return _cells_of(group[0], first, last)
    return _days_of(group)[first:last]


def _cells_of(piece: Piece, first: int, last: int) -> list[Row]:
    length = piece.grid.length
    begin = piece.grid.next(piece.begin)
    return [
        Row(
            piece.scope_id,
            piece.metric,
            begin + number * length,
            begin + (number + 1) * length,
            piece,
            {piece.status: 1},
        )
        for number in range(first, last)
    ]


def _count_days(group: Sequence[Piece]) -> int:
    """Return on how many UTC days cells of *group* begin."""
    count, before = 0, None
    for piece in group:
        if piece.grid.length >= period.DAY:
            count += piece.cells
            continue
        first, last = piece.grid.next(piece.begin) // period.DAY, piece.grid.last(piece.end) // period.DAY
        count += last - first + (first != before)
        before = last
    return count


def _days_of(group: Sequence[Piece]) -> list[Row]:
    """Return a row per UTC day on which cells of *group* begin; from the begin of the first to the end of the last."""
    rows: dict[int, Row] = {}
    for piece in group:
        grid = piece.grid
        begin = grid.next(piece.begin)
        while begin < piece.end:
            day = begin // period.DAY
            stop = min(piece.end, (day + 1) * period.DAY)
            count = grid.count(begin, stop)
            end = min(grid.next(stop), piece.end)
            row = rows.get(day)
            if row is None:
                row = rows[day] = Row(piece.scope_id, piece.metric, begin, end, None, {})
            cells = {**row.cells, piece.status: row.cells.get(piece.status, 0) + count}
            rows[day] = row._replace(end=max(row.end, end), cells=cells)
            begin = grid.next(stop)
    return list(rows.values())


class Spans:
    """Finds which of some spans, those of one scope and metric disjoint, hold an instant.

    :param spans: (scope id, metric, begin, end); without a metric it is of any.
    """

    def __init__(self, spans: Iterable[tuple[str, str | None, int, int]]) -> None:
        self._found: dict[tuple[str, str | None], list[tuple[int, int, int]]] = {}
        for number, (scope_id, metric, begin, end) in enumerate(spans):
            self._found.setdefault((scope_id, metric), []).append((begin, end, number))
        for group in self._found.values():
            group.sort()

    def overlapping(self, scope_id: str, metric: str | None, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (begin, end, its number) of those that overlap ``[begin, end)``."""
        group = self._found.get((scope_id, metric), [])
        place = max(0, bisect.bisect_right(group, (begin, math.inf, 0)) - 1)
        for index in range(place, len(group)):
            if group[index][0] >= end:
                break
            if group[index][1] > begin:
                yield group[index]
