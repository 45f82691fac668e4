# SPDX-License-Identifier: Apache-2.0
"""Writing what was rated since into ``rated_data_frames``, for those who go back to the software they came from."""

import collections
from collections.abc import Iterable
from collections.abc import Iterator
import dataclasses
from decimal import Decimal
import json
from typing import Any
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import purges
from cloudkitty.db import statements
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import models as old_models
from cloudkitty.storage.v1 import rates
from cloudkitty.storage.v1 import rows
from cloudkitty.storage.v1 import table

Frame = old_models.RatedDataFrame

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
    """Write the points of *days* that the old table does not have, a day a transaction; yield what became of each.

    :param replace: rows of a scope, metric and period that differ from ours give way to ours; else they stay.
    """
    # A drop that was cut off may have dropped the table.
    purged = 0
    with database.reader() as found:
        if sqlalchemy.inspect(found.connection()).has_table(ledger_models.Purge.__tablename__):
            purged = purges.newest(found)
    for day in days:

        def run(session: orm.Session, day: int = day) -> Outcome:
            return _write_day(session, day, replace, purged)

        yield database.repeat(run)


def _write_day(session: orm.Session, day: int, replace: bool, purged: int) -> Outcome:
    dialect = statements.dialect_of(session)
    outcome = Outcome()
    ours, unwritten = _read_ours(session, day, dialect, outcome)
    theirs = _read_theirs(session, day)
    imported = _read_imported(session, day)
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


def _read_imported(session: orm.Session, day: int) -> dict[int, Any]:
    """Return what was imported of the begins of *day*."""
    imported = models.ImportedFrame
    first = day * period.DAY
    query = sqlalchemy.select(imported).where(imported.begin >= first, imported.begin < first + period.DAY)
    return {item.begin: item for item in session.scalars(query)}


def _read_ours(
    session: orm.Session, day: int, dialect: str, outcome: Outcome
) -> tuple[dict[Cell, list[_Point]], set[Cell]]:
    """Return the points of *day* that can be rows, by cell, and the cells of the others; note those in *outcome*."""
    unwritten = set()
    result: dict[Cell, list[_Point]] = collections.defaultdict(list)
    item, guard = models.SeriesRow, ledger_models.Guard
    query = (
        sqlalchemy.select(models.RatedDay.body, guard.identifier, item.metric, item.unit, item.groupby, item.metadata_)
        .join(item, item.id == models.RatedDay.series_id)
        .join(guard, guard.id == models.RatedDay.scope_id)
        .where(models.RatedDay.day == day)
        .order_by(models.RatedDay.series_id)
    )
    for text, scope_id, metric, unit, groupby, metadata in session.execute(query):
        desc = table.to_desc(json.loads(groupby), json.loads(metadata))
        points = body.decode_points(text)
        outcome.unpriced += sum(1 for point in points if point.price is None)
        reason = table.refuse(scope_id, metric, unit, desc, dialect)
        for point in points:
            begin = day * period.DAY + point.offset
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


def _read_theirs(session: orm.Session, day: int) -> dict[Cell, list[tuple[int, Values]]]:
    """Return (id, values) of the rows of *day*, by cell."""
    result: dict[Cell, list[tuple[int, Values]]] = collections.defaultdict(list)
    first = day * period.DAY
    for key, (id_, begin, _, qty, rate) in rows.read(session, first, first + period.DAY):
        texts = rows.split_key(key)
        if texts.metric != table.NO_DATA:
            values = (amount.ZERO if qty is None else qty, amount.ZERO if rate is None else rate)
            result[texts.scope_id, texts.metric, begin].append((id_, values))
    return result
