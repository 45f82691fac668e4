# SPDX-License-Identifier: Apache-2.0
"""The proof of an import: what rows of old add up to, beside what the new storage says, for the same cells."""

import collections
from collections.abc import Iterable
from collections.abc import Iterator
from concurrent import futures
from decimal import Decimal
import functools
import itertools
from typing import Any
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.db import exact
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import rates
from cloudkitty.storage.v1 import rows
from cloudkitty.storage.v1 import table

Frame = rows.Frame


class Sums(NamedTuple):
    """What points add up to."""

    points: int
    qty: Decimal
    price: Decimal

    def plus(self, other: 'Sums') -> 'Sums':
        add = amount.CONTEXT.add
        return Sums(self.points + other.points, add(self.qty, other.qty), add(self.price, other.price))


NOTHING = Sums(0, amount.ZERO, amount.ZERO)
_NEITHER = (NOTHING, NOTHING)


class Total(NamedTuple):
    """The sums of one scope, metric and UTC month: of the rows, and of the same cells in the new storage."""

    scope_id: str
    metric: str
    year: int
    month: int
    old: Sums
    new: Sums


def compare(database: engine.Database, begins: Iterable[rows.Begin]) -> Iterator[list[Total]]:
    """Yield, month by month, the totals of the rows of *begins*, which are in order; sorted by scope and metric.

    Two days at a time: servers spend one core on a question.
    """
    with futures.ThreadPoolExecutor(2) as pool:
        for (year, month), days in itertools.groupby(_to_days(begins), key=lambda day: day.month):
            totals: dict[tuple[str, str], list[Sums]] = {}
            for found in pool.map(functools.partial(_compare_day, database), days):
                for key, *sums in found:
                    totals[key] = [one.plus(other) for one, other in zip(totals.get(key, _NEITHER), sums, strict=True)]
            yield [Total(*key, year, month, *totals[key]) for key in sorted(totals)]


class _Day(NamedTuple):
    """A UTC day, since 1970-01-01, its year and month, and the lowest and highest id of its rows."""

    number: int
    month: tuple[int, int]
    first_id: int
    last_id: int


def _to_days(begins: Iterable[rows.Begin]) -> Iterator[_Day]:
    for number, items in itertools.groupby(begins, key=lambda item: item.begin // period.DAY):
        found = list(items)
        instant = period.from_epoch(number * period.DAY)
        ids = min(item.first_id for item in found), max(item.last_id for item in found)
        yield _Day(number, (instant.year, instant.month), *ids)


def _compare_day(database: engine.Database, day: _Day) -> list[tuple[tuple[str, str], Sums, Sums]]:
    """Return ((scope id, metric), sums of the rows, sums of the same cells in the new storage)."""
    with database.snapshot() as session:
        old = _sum_rows(session, day)
        guards = scopes.guard_ids(session, {scope_id for scope_id, _ in old})
        new = _sum_series(session, guards, day.number)
        # The new storage may hold periods of that day which never were in the old one.
        return [
            (key, sums, sums if new.get(key) == sums else _sum_cells(session, guards, key, day))
            for key, sums in old.items()
        ]


def _sum_rows(session: orm.Session, when: _Day) -> dict[tuple[str, str], Sums]:
    """Return {(scope id, metric): sums}; the server counts, and adds up quantities, per price."""
    dialect = statements.dialect_of(session)
    function = sqlalchemy.func
    owner, metric = (
        exact.exactly(column, dialect) for column in (function.coalesce(Frame.tenant_id, ''), Frame.res_type)
    )
    qty = rows.qty(dialect) if dialect == 'sqlite' else function.sum(Frame.qty)
    query = sqlalchemy.select(owner, metric, rates.select(Frame.rate, dialect), function.count(), qty).where(
        *_of_day(when)
    )
    # SQLite keeps quantities as floats, so equal ones are counted.
    query = query.group_by(
        *[sqlalchemy.text(str(number)) for number in ((1, 2, 3, 5) if dialect == 'sqlite' else (1, 2, 3))]
    )
    result: dict[tuple[str, str], Sums] = collections.defaultdict(lambda: NOTHING)
    for owner, type_, rate, count, quantity in session.execute(query):
        scope_id, type_ = exact.to_text(owner), exact.to_text(type_)
        if type_ == table.NO_DATA:
            continue
        quantity = rows.to_decimal(quantity) or amount.ZERO
        if dialect == 'sqlite':
            quantity = amount.CONTEXT.multiply(quantity, Decimal(count))
        price = amount.CONTEXT.multiply(rows.to_price(rate, dialect) or amount.ZERO, Decimal(count))
        result[scope_id, type_] = result[scope_id, type_].plus(Sums(count, quantity, price))
    return dict(result)


def _sum_series(session: orm.Session, guards: dict[str, int], number: int) -> dict[tuple[str, str], Sums]:
    """Return {(scope id, metric): sums} of the collected points of a day in the new storage."""
    names = {guard_id: scope_id for scope_id, guard_id in guards.items()}
    day = models.ScopeDay
    result = {}
    for part in statements.chunks(sorted(names)):
        query = sqlalchemy.select(day.scope_id, day.metric, day.points, day.qty, day.price).where(
            day.day == number, day.scope_id.in_(part), day.origin == series.Origin.COLLECTED.value
        )
        for row in session.execute(query):
            result[names[row.scope_id], row.metric] = Sums(row.points, row.qty, row.price)
    return result


def _sum_cells(session: orm.Session, guards: dict[str, int], key: tuple[str, str], when: _Day) -> Sums:
    """Return what the new storage says of those periods of a scope, metric and day for which there are rows."""
    scope_id, metric = key
    dialect = statements.dialect_of(session)
    midnight = when.number * period.DAY
    owner = exact.exactly(sqlalchemy.func.coalesce(Frame.tenant_id, ''), dialect)
    query = (
        sqlalchemy.select(Frame.begin)
        .where(
            *_of_day(when),
            owner == (scope_id.encode() if dialect == 'mysql' else scope_id),
            exact.exactly(Frame.res_type, dialect) == (metric.encode() if dialect == 'mysql' else metric),
        )
        .distinct()
    )
    offsets = {rows.to_second(begin) - midnight for begin in session.scalars(query)}
    day = models.ScopeDay
    text = session.scalar(
        sqlalchemy.select(day.body).where(
            day.day == when.number,
            day.scope_id == guards.get(scope_id, -1),
            day.metric == metric,
            day.origin == series.Origin.COLLECTED.value,
        )
    )
    result = NOTHING
    for cell in body.decode_cells(text or ''):
        if cell.offset in offsets:
            result = result.plus(Sums(cell.points, cell.qty, cell.price))
    return result


def _of_day(day: _Day) -> tuple[Any, ...]:
    """Return the conditions for the rows of *day*."""
    begin = day.number * period.DAY
    return *rows.between(begin, begin + period.DAY), rows.of_ids(day.first_id, day.last_id)
