# SPDX-License-Identifier: Apache-2.0
"""Writing what was rated since into ``rated_data_frames``, for those who go back to the software they came from."""

import collections
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
from decimal import Decimal
import json
import math
from typing import Any
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import exact
from cloudkitty.db import ledger_models
from cloudkitty.db import purges
from cloudkitty.db import statements
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import models as old_models
from cloudkitty.storage.v1 import rates
from cloudkitty.storage.v1 import reports
from cloudkitty.storage.v1 import rows
from cloudkitty.storage.v1 import table

Frame = old_models.RatedDataFrame

#: Points and rows that one transaction works on, about: a server ends one in which it is told nothing for long.
PORTION = 50_000
#: Of a scope that has more, a day is worked on in so many parts at most, each of which reads its series again.
MOST_PARTS = 24

#: (scope id, metric, epoch second)
Cell = tuple[str, str, int]
#: (quantity, price), as the table holds them
Values = tuple[Decimal, Decimal]


@dataclasses.dataclass
class Loss:
    """What rounding changed: of how many values, by how much at most and together."""

    count: int = 0
    largest: Decimal = amount.ZERO
    total: Decimal = amount.ZERO

    def note(self, exact: Decimal, rounded: Decimal) -> None:
        if exact != rounded:
            difference = amount.CONTEXT.subtract(rounded, exact)
            self.count += 1
            self.largest = max(self.largest, abs(difference))
            self.total = amount.CONTEXT.add(self.total, difference)

    def add(self, other: 'Loss') -> None:
        self.count += other.count
        self.largest = max(self.largest, other.largest)
        self.total = amount.CONTEXT.add(self.total, other.total)


@dataclasses.dataclass
class Outcome:
    """What became of points.

    :ivar written: that are rows now.
    :ivar there: that were rows before, with the same amounts.
    :ivar unpriced: without a price, which the old table has no place for.
    :ivar refused: (scope id, metric, reason) to how many points cannot be written.
    :ivar different: cells for which the old table holds other rows, or rows that were imported and are not in the new
        storage any more; *replaced*: how many of them were replaced.
    """

    written: int = 0
    there: int = 0
    unpriced: int = 0
    replaced: int = 0
    qty: Loss = dataclasses.field(default_factory=Loss)
    price: Loss = dataclasses.field(default_factory=Loss)
    refused: collections.Counter[tuple[str, str, str]] = dataclasses.field(default_factory=collections.Counter)
    different: list[Cell] = dataclasses.field(default_factory=list)

    def add(self, other: 'Outcome') -> None:
        self.written += other.written
        self.there += other.there
        self.unpriced += other.unpriced
        self.replaced += other.replaced
        self.qty.add(other.qty)
        self.price.add(other.price)
        self.refused.update(other.refused)
        self.different += other.different


@dataclasses.dataclass(frozen=True)
class _Portion:
    """What one transaction works on: points and rows of some scopes that begin in ``[begin, end)``, epoch seconds.

    :ivar guards: ids of the guards of those that have points.
    :ivar owners: ids of those that have rows.
    """

    guards: tuple[int, ...]
    owners: tuple[str, ...]
    begin: int
    end: int


class _Point(NamedTuple):
    """A point as it will be a row: *row* has its columns, *exact* is what was rounded."""

    row: dict[str, Any]
    exact: Values
    rounded: Values


def list_days(database: engine.Database) -> list[int]:
    """Return the days (since 1970-01-01) that have points, or had some when they were imported."""
    with database.reader() as session:
        rated = session.scalars(sqlalchemy.select(models.RatedDay.day).distinct())
        imported = session.scalars(sqlalchemy.select(models.ImportedFrame.begin))
        return sorted({*rated, *(begin // period.DAY for begin in imported)})


def write(database: engine.Database, days: Iterable[int], replace: bool = False) -> Iterator[Outcome]:
    """Write the points of *days* that the old table does not have; yield what became of each day.

    :param replace: rows of a scope, metric and period that differ from ours give way to ours; else they stay.
    """
    # A drop that was cut off may have dropped the table.
    purged = 0
    with database.reader() as found:
        if sqlalchemy.inspect(found.connection()).has_table(ledger_models.Purge.__tablename__):
            purged = purges.newest(found)
    for day in days:
        outcome = Outcome()
        for portion in _plan(database, day):

            def run(session: orm.Session, portion: _Portion = portion) -> Outcome:
                return _write_portion(session, portion, replace, purged)

            outcome.add(database.repeat(run))
        yield outcome


def _plan(database: engine.Database, day: int) -> list[_Portion]:
    """Return what is to be worked on of *day*, in portions that are about as large whatever the day holds."""
    first = day * period.DAY
    guard, function = ledger_models.Guard, sqlalchemy.func
    guards: dict[str, int] = {}
    owners: set[str] = set()
    counts: collections.Counter[str] = collections.Counter()
    with database.reader() as session:
        query = (
            sqlalchemy.select(guard.identifier, guard.id, function.sum(models.RatedDay.points))
            .join(guard, guard.id == models.RatedDay.scope_id)
            .where(models.RatedDay.day == day)
            .group_by(guard.identifier, guard.id)
        )
        for scope_id, guard_id, count in session.execute(query):
            guards[scope_id] = guard_id
            counts[scope_id] += int(count)
        owner = exact.exactly(function.coalesce(Frame.tenant_id, ''), statements.dialect_of(session))
        there = sqlalchemy.select(owner, function.count()).where(*rows.between(first, first + period.DAY))
        for text, count in session.execute(there.group_by(owner)):
            owners.add(exact.to_text(text))
            counts[exact.to_text(text)] += count
    result = []
    for scope_ids in _pack(counts):
        size = sum(counts[scope_id] for scope_id in scope_ids)
        step = math.ceil(period.DAY / min(MOST_PARTS, max(1, math.ceil(size / PORTION))))
        result += [
            _Portion(
                tuple(guards[scope_id] for scope_id in scope_ids if scope_id in guards),
                tuple(scope_id for scope_id in scope_ids if scope_id in owners),
                begin,
                min(begin + step, first + period.DAY),
            )
            for begin in range(first, first + period.DAY, step)
        ]
    return result


def _pack(counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield scopes that together have no more than a portion, in order; one that has more by itself."""
    part: list[str] = []
    size = 0
    for scope_id in sorted(counts):
        if part and (size + counts[scope_id] > PORTION or len(part) == statements.CHUNK):
            yield part
            part, size = [], 0
        part.append(scope_id)
        size += counts[scope_id]
    if part:
        yield part


def _write_portion(session: orm.Session, portion: _Portion, replace: bool, purged: int) -> Outcome:
    dialect = statements.dialect_of(session)
    outcome = Outcome()
    ours, unwritten = _read_ours(session, portion, dialect, outcome)
    theirs = _read_theirs(session, portion)
    imported = _read_imported(session, portion)
    fresh = []
    gone: list[int] = []
    for cell in sorted(ours):
        points = ours[cell]
        found = theirs.get(cell)
        if found is not None:
            if collections.Counter(values for _, values in found) == collections.Counter(p.rounded for p in points):
                outcome.there += len(points)
                continue
            if cell[2] in imported and imported[cell[2]].left_out:
                # Which ones nobody knows: they are nowhere else.
                outcome.refused[cell[0], cell[1], 'other rows that the import left out'] += len(points)
                continue
            outcome.different.append(cell)
            if not replace:
                continue
            outcome.replaced += 1
            gone += [id_ for id_, _ in found]
        fresh += points
    for cell in sorted(theirs.keys() - ours.keys() - unwritten):
        if cell[2] < purged:
            # That was deleted here alone, and is the history that is left.
            continue
        was = imported.get(cell[2])
        if was is not None and not was.left_out and all(id_ <= was.last_id for id_, _ in theirs[cell]):
            # It was deleted since: the old software would rate it again beside these.
            outcome.different.append(cell)
            if replace:
                outcome.replaced += 1
                gone += [id_ for id_, _ in theirs[cell]]
    for point in fresh:
        outcome.qty.note(point.exact[0], point.rounded[0])
        outcome.price.note(point.exact[1], point.rounded[1])
    outcome.written = len(fresh)
    statements.delete_keys(session, Frame, [(id_,) for id_ in sorted(gone)])
    statements.insert(session, Frame, [point.row for point in fresh])
    return outcome


def _read_imported(session: orm.Session, portion: _Portion) -> dict[int, Any]:
    """Return what was imported, by begin."""
    imported = models.ImportedFrame
    query = sqlalchemy.select(imported).where(imported.begin >= portion.begin, imported.begin < portion.end)
    return {item.begin: item for item in session.scalars(query)}


def _read_ours(
    session: orm.Session, portion: _Portion, dialect: str, outcome: Outcome
) -> tuple[dict[Cell, list[_Point]], set[Cell]]:
    """Return the points that can be rows, by cell, and the cells of the others; note those in *outcome*."""
    first = portion.begin // period.DAY * period.DAY
    unwritten = set()
    result: dict[Cell, list[_Point]] = collections.defaultdict(list)
    for text, scope_id, metric, unit, groupby, metadata in _read_series(session, portion):
        points = [p for p in body.decode_points(text) if portion.begin <= first + p.offset < portion.end]
        if not points:
            continue
        outcome.unpriced += sum(1 for point in points if point.price is None)
        desc = table.to_desc(json.loads(groupby), json.loads(metadata))
        reason = table.refuse(scope_id, metric, unit, desc, dialect)
        for point in points:
            begin = first + point.offset
            if point.price is None:
                unwritten.add((scope_id, metric, begin))
                continue
            qty = table.round_qty(point.qty)
            problem = reason or ('a quantity of 10^10 or more' if table.is_too_large(qty) else '')
            if problem:
                outcome.refused[scope_id, metric, problem] += 1
                unwritten.add((scope_id, metric, begin))
                continue
            row = table.to_row(scope_id, metric, unit, desc, begin, point.length, qty, point.price)
            rounded = (qty, rates.stored(float(point.price), dialect))
            result[scope_id, metric, begin].append(_Point(row, (point.qty, point.price), rounded))
    return result, unwritten


def _read_series(session: orm.Session, portion: _Portion) -> Iterator[Any]:
    """Yield body, scope id, metric, unit, groupby and metadata of each series; the server hears of us now and then."""
    item, guard, rated = models.SeriesRow, ledger_models.Guard, models.RatedDay
    is_ours = rated.day == portion.begin // period.DAY
    ids = sqlalchemy.select(rated.series_id).where(is_ours, rated.scope_id.in_(portion.guards))
    query = (
        sqlalchemy.select(rated.body, guard.identifier, item.metric, item.unit, item.groupby, item.metadata_)
        .join(item, item.id == rated.series_id)
        .join(guard, guard.id == rated.scope_id)
        .order_by(rated.series_id)
    )
    for part in statements.chunks(session.scalars(ids.order_by(rated.series_id)).all()):
        yield from session.execute(query.where(is_ours, rated.series_id.in_(part)))


def _read_theirs(session: orm.Session, portion: _Portion) -> dict[Cell, list[tuple[int, Values]]]:
    """Return (id, values) of the rows, by cell."""
    result: dict[Cell, list[tuple[int, Values]]] = collections.defaultdict(list)
    if not portion.owners:
        return result
    owners = frozenset(portion.owners)
    for key, (id_, begin, _, qty, rate) in rows.read(
        session, portion.begin, portion.end, reports.of_scopes(portion.owners)
    ):
        texts = rows.split_key(key)
        if texts.scope_id in owners and texts.metric != table.NO_DATA:
            values = (amount.ZERO if qty is None else qty, amount.ZERO if rate is None else rate)
            result[texts.scope_id, texts.metric, begin].append((id_, values))
    return result
