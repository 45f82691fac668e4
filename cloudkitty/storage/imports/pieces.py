# SPDX-License-Identifier: Apache-2.0
"""Importing one piece: points, coverage and how far the import is, in one transaction."""

import collections
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from concurrent import futures
import dataclasses
from decimal import Decimal
import functools
import itertools
import operator
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.storage.imports import plan
from cloudkitty.storage.imports import sources
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import commit
from cloudkitty.storage.sqlalchemy import known
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import rows
from cloudkitty.storage.v1 import table

#: The longest frame that the storage takes, in seconds.
LONGEST = 31 * period.DAY

#: How many keys and their series are remembered, and how many characters of them.
_REMEMBERED = 200_000
_REMEMBERED_TEXT = 64 * 2**20

#: Decimals are slow to say that they do not equal None.
_is, _NONES = operator.is_, itertools.repeat(None)

#: (scope id, metric, begin)
Cell = tuple[str, str, int]


@dataclasses.dataclass
class Outcome:
    """What became of rows.

    :ivar points, empty: rows that became points, and rows that said that there was nothing.
    :ivar left_out: reason to how many rows were not imported for it; *examples* has some of each.
    :ivar nulls: points without a quantity, which became 0.
    """

    points: int = 0
    empty: int = 0
    nulls: int = 0
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def leave(self, reason: str, count: int, example: str) -> None:
        self.left_out[reason] += count
        found = self.examples.setdefault(reason, [])
        if len(found) < 10:
            found.append(example)

    def add(self, other: 'Outcome') -> None:
        self.points += other.points
        self.empty += other.empty
        self.nulls += other.nulls
        self.left_out.update(other.left_out)
        for reason, texts in other.examples.items():
            self.examples[reason] = (self.examples.get(reason, []) + texts)[:10]


@dataclasses.dataclass
class _Content:
    """What the rows of a piece say.

    :ivar columns: points of equal series and length, sorted by begin; several of them where keys say the same in
        other words.
    :ivar empty: (scope id, begin) to end of the periods without anything.
    :ivar left: begin to how many of its rows are left out.
    """

    columns: dict[tuple[series.Series, int], list[series.Columns]]
    empty: dict[tuple[str, int], int]
    counts: collections.Counter[int]
    left: collections.Counter[int]
    outcome: Outcome


class _Undo(Exception):
    """Takes back what a dry run did."""


class Importer:
    """Imports pieces.

    :param source: whose rows they are.
    :param metric_types: those that an empty period is empty of.
    :param dry_run: each transaction is taken back.
    """

    def __init__(
        self,
        database: engine.Database,
        source: sources.Source,
        metric_types: Collection[str],
        dry_run: bool = False,
    ) -> None:
        self._database = database
        self._source = source
        self._metric_types = sorted(set(metric_types))
        self._dry_run = dry_run
        self._known = known.make_ids()
        self._series: dict[Any, series.Series | str | None] = {}
        self._text = 0

    def run(self, pieces: Iterable[plan.Piece], newest: int) -> Iterator[tuple[plan.Piece, Outcome]]:
        """Import *pieces*, one transaction each; yield each when it is there, with what became of its rows.

        While one is written, the next is read.

        :raises Conflict: the rows of a piece are not those that were planned.
        """
        reading: collections.deque[tuple[plan.Piece, futures.Future[_Content]]] = collections.deque()
        with futures.ThreadPoolExecutor(1) as reader:
            for piece in pieces:
                reading.append((piece, reader.submit(self._read, piece, newest)))
                if len(reading) > 1:
                    yield self._finish(*reading.popleft())
            while reading:
                yield self._finish(*reading.popleft())

    def _finish(self, piece: plan.Piece, reading: 'futures.Future[_Content]') -> tuple[plan.Piece, Outcome]:
        content = reading.result()
        _refuse_changed(self._source, piece, content.counts)
        outcomes: list[Outcome] = []

        def write(session: orm.Session) -> dict[str, tuple[int, Mapping[bytes, int]]]:
            outcome, learnt = self._write(session, piece, content)
            outcomes.append(outcome)
            if self._dry_run:
                raise _Undo
            return learnt

        try:
            learnt = self._database.repeat(write)
        except _Undo:
            learnt = {}
        for scope_id, (epoch, ids) in learnt.items():
            self._known.learn(scope_id, epoch, ids)
        return piece, outcomes[-1]

    def _read(self, piece: plan.Piece, newest: int) -> _Content:
        groups: dict[Any, list[rows.Values]] = collections.defaultdict(list)
        wanted = {item.begin for item in piece.begins}
        for key, values in self._source.read(self._database, piece, newest):
            if values[1] in wanted:
                groups[key].append(values)
        content = _Content({}, {}, collections.Counter(), collections.Counter(), Outcome())
        shapes: collections.Counter[tuple[int, ...]] = collections.Counter()
        while groups:
            key, found = groups.popitem()
            found.sort(key=_by_begin)
            _, begins, ends, quantities, prices = zip(*found, strict=True)
            shapes[begins] += 1
            length = ends[0] - begins[0]
            if (
                not 0 < length <= LONGEST
                or any(map(length.__ne__, map(operator.sub, ends, begins)))
                or any(map(_is, quantities, _NONES))
                or any(map(_is, prices, _NONES))
                or not all(map(Decimal.is_finite, quantities))
            ):
                for length, some in _pick(content, found, self._source.metric_of(key)).items():
                    self._sort_in(content, key, length, *zip(*some, strict=True))
            else:
                self._sort_in(content, key, length, begins, quantities, prices)
        for begins, count in shapes.items():
            for begin in begins:
                content.counts[begin] += count
        return content

    def _sort_in(
        self,
        content: _Content,
        key: Any,
        length: int,
        begins: tuple[int, ...],
        quantities: tuple[Decimal, ...],
        prices: tuple[Decimal, ...],
    ) -> None:
        """Add the points of equal keys to the series they belong to."""
        item = self._look_up(key, begins[0])
        if isinstance(item, str):
            metric = self._source.metric_of(key)
            for begin in begins:
                _leave(content, begin, item, metric)
        elif item is None:
            for begin, *values in zip(begins, quantities, prices, strict=True):
                part = series.Columns(self._source.split(key, begin), length, (begin,), (values[0],), (values[1],))
                content.columns.setdefault((part.series, length), []).append(part)
        elif item.metric == table.NO_DATA:
            content.outcome.empty += len(begins)
            for begin in begins:
                content.empty[item.scope_id, begin] = begin + length
        else:
            part = series.Columns(item, length, begins, quantities, prices)
            content.columns.setdefault((item, length), []).append(part)

    def _look_up(self, key: str, begin: int) -> series.Series | str | None:
        """Return the series of *key*; None where it depends on the begin, a reason where there is none."""
        try:
            return self._series[key]
        except KeyError:
            pass
        found: series.Series | str | None
        try:
            found = self._source.split(key, begin)
            if self._source.depends_on_begin(key):
                found = None
        except errors.BadRequest as error:
            found = str(error)
        self._text += len(key) if isinstance(key, str) else sum(map(len, key))
        if len(self._series) >= _REMEMBERED or self._text > _REMEMBERED_TEXT:
            self._series.clear()
            self._text = 0
        self._series[key] = found
        return found

    def _write(
        self, session: orm.Session, piece: plan.Piece, content: _Content
    ) -> tuple[Outcome, dict[str, tuple[int, Mapping[bytes, int]]]]:
        outcome = Outcome()
        outcome.add(content.outcome)
        left = collections.Counter(content.left)
        owners = {item.scope_id for item, _ in content.columns} | {scope_id for scope_id, _ in content.empty}
        guards = scopes.ensure_guards(session, owners)
        epochs = scopes.lock(session, guards.values())
        if _is_done(session, self._source.marks, piece):
            outcome.points = sum(len(part.begins) for parts in content.columns.values() for part in parts)
            return outcome, {}
        first, last = piece.begins[0].begin, piece.begins[-1].begin
        # Where rows that are new cannot be told, those that were imported are among them.
        ours = _Ours(session, guards, first, last, piece.done if self._source.tells_new else ())
        there = ours.find_same(content.columns, piece.done) if piece.done and not self._source.tells_new else set()
        columns = []
        shapes: dict[tuple[str, str], set[tuple[int, tuple[int, ...]]]] = collections.defaultdict(set)
        for parts in content.columns.values():
            for part in _leave_filled(parts, ours.filled, there, left, outcome) if ours.filled else parts:
                columns.append(part)
                shapes[part.series.scope_id, part.series.metric].add((part.length, part.begins))
                outcome.points += len(part.begins)
        cells = {cell: _ends(found) for cell, found in shapes.items()}
        ids, learnt = commit.series_ids(session, self._known, columns, guards, epochs)
        runs = [*_rated(cells), *self._empty(content, cells, ours)]
        ledger.write_runs(session, guards, runs)
        ledger.delete_failures(session, guards, ours.mended(cells))
        commit.edit_days(session, commit.Edit(guards, columns, ids, appends=True))
        statements.upsert(
            session,
            self._source.marks,
            [self._source.to_mark(item, left[item.begin] + self._left_before(piece, item)) for item in piece.begins],
        )
        scopes.advance(session, guards.values())
        return outcome, {
            scope_id: (epochs[guard_id] + 1, learnt.get(scope_id, {})) for scope_id, guard_id in guards.items()
        }

    def _left_before(self, piece: plan.Piece, item: rows.Begin) -> int:
        """Return how many rows of *item* were left out before, and are not looked at now."""
        done = piece.done.get(item.begin) if self._source.tells_new else None
        return done.left_out if done else 0

    def _empty(
        self, content: _Content, cells: Mapping[tuple[str, str], Mapping[int, int]], ours: '_Ours'
    ) -> Iterator[coverage.Run]:
        """Yield coverage of the periods without anything; what the ledger or other rows say of an instant stays."""
        spans = collections.defaultdict(list)
        for (scope_id, begin), end in content.empty.items():
            spans[scope_id].append((begin, end))
        for scope_id, found in spans.items():
            empty = list(_stretches(sorted(found)))
            for metric in self._metric_types:
                taken = ours.spans(scope_id, metric) + sorted(cells.get((scope_id, metric), {}).items())
                runs = [coverage.Run(scope_id, metric, *span, coverage.Status.EMPTY) for span in empty]
                for begin, end in _stretches(sorted(taken)):
                    runs = [piece for run in runs for piece in coverage.without(run, begin, end)]
                yield from runs


class _Ours:
    """What the ledger and the roll-ups say about cells that begin in ``[first, last]`` (epoch seconds).

    :param done: begins whose rows are imported: those of their cells that came from rows may get more of them.
    :ivar filled: cells that hold other collected points.
    """

    def __init__(
        self, session: orm.Session, guards: Mapping[str, int], first: int, last: int, done: Collection[int]
    ) -> None:
        names = {guard_id: scope_id for scope_id, guard_id in guards.items()}
        self.filled: set[Cell] = set()
        self._sums: dict[Cell, sources.Sums] = {}
        self._runs: dict[tuple[str, str], list[Any]] = collections.defaultdict(list)
        for part in statements.chunks(sorted(names)):
            day = models.ScopeDay
            query = sqlalchemy.select(day.day, day.scope_id, day.metric, day.body).where(
                day.day >= first // period.DAY,
                day.day <= last // period.DAY,
                day.scope_id.in_(part),
                day.origin == series.Origin.COLLECTED.value,
            )
            for row in session.execute(query):
                midnight = row.day * period.DAY
                for cell in body.decode_cells(row.body):
                    if cell.points and first <= midnight + cell.offset <= last:
                        key = names[row.scope_id], row.metric, midnight + cell.offset
                        self.filled.add(key)
                        self._sums[key] = sources.Sums(cell.points, cell.qty, cell.price)
            run = ledger_models.CoverageRun
            # Frames may reach into later days.
            found = session.scalars(
                sqlalchemy.select(run).where(run.scope_id.in_(part), run.begin <= last + LONGEST, run.end > first)
            )
            for one in found:
                self._runs[names[one.scope_id], one.metric].append(one)
        self._failed = set(ledger.failed_cells(session, guards, first, last + 1))
        for (scope_id, metric), found_runs in self._runs.items():
            for one in found_runs:
                if one.status == coverage.Status.UNRATED.value:
                    self._unrated(session, guards[scope_id], scope_id, metric, one, first, last)
        if done:
            self.filled -= {cell for cell in self.filled if cell[2] in done and self._is_imported(cell)}

    def _is_imported(self, cell: Cell) -> bool:
        return any(
            run.begin <= cell[2] < run.end and ledger.to_run(run, cell[0]).is_imported
            for run in self._runs.get(cell[:2], ())
        )

    def find_same(self, columns: Mapping[Any, Iterable[series.Columns]], begins: Collection[int]) -> set[Cell]:
        """Return the cells of *begins* that were imported and add up to the same as now."""
        found: dict[Cell, sources.Sums] = collections.defaultdict(lambda: sources.NOTHING)
        for part in itertools.chain.from_iterable(columns.values()):
            for begin, qty, price in zip(part.begins, part.quantities, part.prices or (), strict=True):
                cell = part.series.scope_id, part.series.metric, begin
                if begin in begins and cell in self._sums:
                    found[cell] = found[cell].plus(sources.Sums(1, qty, price or amount.ZERO))
        return {cell for cell, sums in found.items() if sums == self._sums[cell] and self._is_imported(cell)}

    def _unrated(
        self, session: orm.Session, guard_id: int, scope_id: str, metric: str, run: Any, first: int, last: int
    ) -> None:
        """Note the cells that hold points without a price, which are in no roll-up."""
        day = models.RatedDay
        query = (
            sqlalchemy.select(day.day, day.body)
            .join(models.SeriesRow, models.SeriesRow.id == day.series_id)
            .where(
                day.scope_id == guard_id,
                day.day >= max(run.begin, first) // period.DAY,
                day.day <= last // period.DAY,
                models.SeriesRow.metric == metric,
            )
        )
        for row in session.execute(query):
            for point in body.decode_points(row.body):
                begin = row.day * period.DAY + point.offset
                if point.price is None and first <= begin <= last:
                    self.filled.add((scope_id, metric, begin))

    def spans(self, scope_id: str, metric: str) -> list[tuple[int, int]]:
        """Return ``[begin, end)`` of all that is known."""
        return [(run.begin, run.end) for run in self._runs.get((scope_id, metric), ())]

    def mended(self, cells: Mapping[tuple[str, str], Mapping[int, int]]) -> list[Cell]:
        """Return the cells with an open trouble for which there are rows."""
        return [cell for cell in self._failed if cell[2] in cells.get((cell[0], cell[1]), ())]


_by_begin = operator.itemgetter(1)


def _pick(
    content: _Content, found: Iterable[rows.Values], metric: str
) -> dict[int, list[tuple[int, Decimal, Decimal]]]:
    """Return (begin, quantity, price) of what can be imported, by length; note what cannot."""
    result: dict[int, list[tuple[int, Decimal, Decimal]]] = collections.defaultdict(list)
    for id_, begin, end, qty, price in found:
        # Not every source has ids.
        example = 'row %d' % id_ if id_ else '%s at %s' % (metric, period.from_epoch(begin).isoformat())
        if price is None:
            _leave(content, begin, 'the price cannot be stored', example)
        elif not 0 < end - begin <= LONGEST:
            _leave(content, begin, 'not between a second and 31 days long', example)
        elif qty is not None and not qty.is_finite():
            _leave(content, begin, 'the quantity is no number', example)
        else:
            content.outcome.nulls += qty is None
            result[end - begin].append((begin, amount.ZERO if qty is None else qty, price))
    return result


def _leave(content: _Content, begin: int, reason: str, example: str) -> None:
    content.left[begin] += 1
    content.outcome.leave(reason, 1, example)


def _leave_filled(
    parts: Iterable[series.Columns],
    filled: Collection[Cell],
    there: Collection[Cell],
    left: collections.Counter[int],
    outcome: Outcome,
) -> Iterator[series.Columns]:
    """Yield what there is of *parts* but points of cells that are *filled*, which are noted unless they are *there*."""
    for part in parts:
        scope_id, metric = part.series.scope_id, part.series.metric
        taken = [(scope_id, metric, begin) in filled for begin in part.begins]
        for begin, is_taken in zip(part.begins, taken, strict=True):
            if is_taken and (scope_id, metric, begin) not in there:
                left[begin] += 1
                outcome.leave(
                    'the new storage holds points of that scope, metric and period already',
                    1,
                    '%s, %s at %s' % (scope_id, metric, period.from_epoch(begin).isoformat()),
                )
        if not any(taken):
            yield part
        elif not all(taken):
            is_free = [not one for one in taken]
            begins = tuple(itertools.compress(part.begins, is_free))
            quantities = tuple(itertools.compress(part.quantities, is_free))
            prices = tuple(itertools.compress(part.prices or (), is_free))
            yield dataclasses.replace(part, begins=begins, quantities=quantities, prices=prices)


def _ends(shapes: Iterable[tuple[int, tuple[int, ...]]]) -> dict[int, int]:
    """Return {begin: the latest end} of periods, given as (length, begins)."""
    ends: dict[int, int] = {}
    for length, begins in shapes:
        for begin in begins:
            ends[begin] = max(ends.get(begin, 0), begin + length)
    return ends


def _rated(cells: Mapping[tuple[str, str], Mapping[int, int]]) -> Iterator[coverage.Run]:
    """Yield the coverage of *cells*, {(scope id, metric): {begin: end}}.

    Rows do not say whether a script changed quantities, and they are rounded: *altered* keeps everybody from rating
    what is stored again.
    """
    for (scope_id, metric), ends in cells.items():
        for begin, end in _stretches(sorted(ends.items())):
            yield coverage.Run(scope_id, metric, begin, end, coverage.Status.RATED, None, True)


def _stretches(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield *spans*, sorted by begin, with those that touch or overlap joined."""
    first, last = 0, -1
    for begin, end in spans:
        if begin > last:
            if last >= 0:
                yield first, last
            first, last = begin, end
        else:
            last = max(last, end)
    if last >= 0:
        yield first, last


def _refuse_changed(source: sources.Source, piece: plan.Piece, counts: Mapping[int, int]) -> None:
    for item in piece.begins:
        before = piece.done[item.begin].row_count if source.tells_new and item.begin in piece.done else 0
        if counts.get(item.begin, 0) != item.row_count - before:
            raise errors.Conflict(
                '%s has other rows that begin at %s than a moment ago, or than at the import before: '
                'expected %d new ones, found %d. Start again when nobody changes it.'
                % (
                    source.name,
                    period.from_epoch(item.begin).isoformat(),
                    item.row_count - before,
                    counts.get(item.begin, 0),
                )
            )


def _is_done(session: orm.Session, marks: Any, piece: plan.Piece) -> bool:
    """Return whether somebody has imported *piece* since it was planned.

    :raises Conflict: somebody is at it.
    """
    query = sqlalchemy.select(marks).where(marks.begin.in_([item.begin for item in piece.begins]))
    now = {row.begin: _identify(row) for row in session.scalars(query.with_for_update())}
    if now == {begin: _identify(row) for begin, row in piece.done.items()}:
        return False
    if now == {item.begin: _identify(item) for item in piece.begins}:
        return True
    raise errors.Conflict('Another import is at work on the same rows. Start again when it has ended.')


def _identify(item: Any) -> tuple[int, int]:
    """Return what tells the rows of a begin from others; not every source has ids."""
    return item.row_count, getattr(item, 'last_id', 0)


def forget(database: engine.Database, begins: Iterable[int]) -> None:
    """Take what was imported of *begins* out of the new storage, where it is still as it was imported.

    From whichever source: a point does not say which it was.
    """
    for day, instants in itertools.groupby(sorted(begins), key=lambda begin: begin // period.DAY):
        database.repeat(functools.partial(_forget, day=day, begins=frozenset(instants)))


def _forget(session: orm.Session, day: int, begins: frozenset[int]) -> None:
    first, last = min(begins), max(begins)
    guard, run = ledger_models.Guard, ledger_models.CoverageRun
    touched = sqlalchemy.select(run.scope_id).where(run.begin <= last, run.end > first, run.rule_set.is_(None))
    query = sqlalchemy.select(guard.identifier, guard.id).where(guard.id.in_(touched))
    guards = {row[0]: row[1] for row in session.execute(query)}
    scopes.lock(session, guards.values())
    runs: dict[tuple[int, str], list[coverage.Run]] = collections.defaultdict(list)
    for found in ledger.read_runs(session, guards, first, last + 1):
        if found.is_imported:
            runs[guards[found.scope_id], found.metric].append(found)

    def run_of(guard_id: int, metric: str, instant: int) -> coverage.Run | None:
        here = [found for found in runs.get((guard_id, metric), ()) if found.begin <= instant < found.end]
        return here[0] if instant in begins and here else None

    cuts = []
    for part in statements.chunks(sorted(guards.values())):
        days = models.ScopeDay
        wanted = sqlalchemy.select(days.scope_id, days.metric, days.body).where(
            days.day == day, days.scope_id.in_(part), days.origin == series.Origin.COLLECTED.value
        )
        for row in session.execute(wanted):
            for cell in body.decode_cells(row.body):
                begin = day * period.DAY + cell.offset
                covered = run_of(row.scope_id, row.metric, begin)
                if covered is not None:
                    cuts.append((covered, begin, begin + cell.length))
    ledger.cut(session, guards, cuts)
    edit = commit.Edit(
        guards,
        (),
        {},
        takes_out=lambda guard_id, metric, instant: run_of(guard_id, metric, instant) is not None,
        first_day=day,
        last_day=day,
        cause='imported anew',
    )
    commit.edit_days(session, edit)
    for marks in (models.ImportedFrame, models.ImportedPoint):
        statements.delete_keys(session, marks, [(begin,) for begin in sorted(begins)])
    scopes.advance(session, guards.values())
