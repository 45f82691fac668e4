# SPDX-License-Identifier: Apache-2.0
"""The proof of an import: what rows of old add up to, beside what the new storage says, for the same cells."""

import collections
from collections.abc import Iterable
from collections.abc import Iterator
import datetime
from decimal import Decimal
from typing import Any
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import rates
from cloudkitty.storage.v1 import rows
from cloudkitty.storage.v1 import table
from cloudkitty.storage.v1 import texts

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


class Total(NamedTuple):
    """The sums of one scope, metric and UTC month: of the rows, and of the same cells in the new storage."""

    scope_id: str
    metric: str
    year: int
    month: int
    old: Sums
    new: Sums


def compare(database: engine.Database, begins: Iterable[int], newest: int) -> Iterator[list[Total]]:
    """Yield, month by month, the totals of the rows up to id *newest*, sorted by scope and metric.

    :param begins: all begins of the rows, in order.
    """
    for first, last in _months(begins):
        with database.snapshot() as session:
            yield _compare_month(session, first, last, newest)


def _months(begins: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield [begin, end) of the UTC months of *begins*."""
    end = -1
    for begin in begins:
        if begin >= end:
            instant = period.from_epoch(begin)
            first = datetime.datetime(instant.year, instant.month, 1, tzinfo=period.UTC)
            end = period.to_epoch(period.next_month_start(first, period.UTC))
            yield period.to_epoch(first), end


def _compare_month(session: orm.Session, first: int, last: int, newest: int) -> list[Total]:
    old = _sum_rows(session, first, last, newest)
    guards = scopes.guard_ids(session, {scope_id for scope_id, _, _ in old})
    new = _sum_days(session, guards, first, last)
    totals: dict[tuple[str, str], list[Sums]] = {}
    for key in sorted(old):
        mine = new.get(key, NOTHING)
        if mine != old[key]:
            # The new storage may hold periods of that day which never were in the old one.
            mine = _sum_cells(session, guards, key, newest)
        total = totals.setdefault(key[:2], [NOTHING, NOTHING])
        total[0] = total[0].plus(old[key])
        total[1] = total[1].plus(mine)
    instant = period.from_epoch(first)
    return [Total(*key, instant.year, instant.month, *sums) for key, sums in totals.items()]


def _sum_rows(session: orm.Session, first: int, last: int, newest: int) -> dict[tuple[str, str, int], Sums]:
    """Return {(scope id, metric, day): sums}; the server counts, and adds up quantities, per price."""
    dialect = statements.dialect_of(session)
    function = sqlalchemy.func
    owner, metric = (
        texts.exactly(column, dialect) for column in (function.coalesce(Frame.tenant_id, ''), Frame.res_type)
    )
    qty = Frame.qty if dialect == 'sqlite' else function.sum(Frame.qty)
    query = sqlalchemy.select(
        owner, metric, _day(dialect), rates.select(Frame.rate, dialect), function.count(), qty
    ).where(*rows.between(first, last), Frame.id <= newest)
    # SQLite keeps quantities as floats, so equal ones are counted.
    query = query.group_by(
        *[sqlalchemy.text(str(number)) for number in ((1, 2, 3, 4, 6) if dialect == 'sqlite' else (1, 2, 3, 4))]
    )
    result: dict[tuple[str, str, int], Sums] = collections.defaultdict(lambda: NOTHING)
    for owner, type_, day, rate, count, quantity in session.execute(query):
        scope_id, type_ = texts.to_text(owner), texts.to_text(type_)
        if type_ == table.NO_DATA:
            continue
        quantity = amount.ZERO if quantity is None else quantity
        if dialect == 'sqlite':
            quantity = amount.CONTEXT.multiply(quantity, Decimal(count))
        price = amount.CONTEXT.multiply(rows.to_price(rate, dialect) or amount.ZERO, Decimal(count))
        key = (scope_id, type_, int(day))
        result[key] = result[key].plus(Sums(count, quantity, price))
    return dict(result)


def _sum_days(session: orm.Session, guards: dict[str, int], first: int, last: int) -> dict[tuple[str, str, int], Sums]:
    """Return {(scope id, metric, day): sums} of the collected points of the new storage."""
    names = {guard_id: scope_id for scope_id, guard_id in guards.items()}
    day = models.ScopeDay
    result = {}
    for part in statements.chunks(sorted(names)):
        query = sqlalchemy.select(day.scope_id, day.metric, day.day, day.points, day.qty, day.price).where(
            day.day >= first // period.DAY,
            day.day < last // period.DAY,
            day.scope_id.in_(part),
            day.origin == series.Origin.COLLECTED.value,
        )
        for row in session.execute(query):
            result[names[row.scope_id], row.metric, row.day] = Sums(row.points, row.qty, row.price)
    return result


def _sum_cells(session: orm.Session, guards: dict[str, int], key: tuple[str, str, int], newest: int) -> Sums:
    """Return what the new storage says of those periods of a scope, metric and day for which there are rows."""
    scope_id, metric, number = key
    dialect = statements.dialect_of(session)
    midnight = number * period.DAY
    owner = texts.exactly(sqlalchemy.func.coalesce(Frame.tenant_id, ''), dialect)
    query = (
        sqlalchemy.select(Frame.begin)
        .where(
            *rows.between(midnight, midnight + period.DAY),
            Frame.id <= newest,
            owner == (scope_id.encode() if dialect == 'mysql' else scope_id),
            texts.exactly(Frame.res_type, dialect) == (metric.encode() if dialect == 'mysql' else metric),
        )
        .distinct()
    )
    offsets = {rows.to_second(begin) - midnight for begin in session.scalars(query)}
    day = models.ScopeDay
    text = session.scalar(
        sqlalchemy.select(day.body).where(
            day.day == number,
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


def _day(dialect: str) -> Any:
    """Return the day (since 1970-01-01) of a row's begin, as SQL."""
    function = sqlalchemy.func
    if dialect == 'mysql':
        return function.to_days(Frame.begin) - sqlalchemy.literal_column('719528')
    if dialect == 'postgresql':
        return sqlalchemy.cast(
            function.floor(sqlalchemy.extract('epoch', Frame.begin) / period.DAY), sqlalchemy.BigInteger
        )
    seconds = sqlalchemy.cast(function.strftime(sqlalchemy.literal_column("'%s'"), Frame.begin), sqlalchemy.BigInteger)
    return seconds.op('/')(sqlalchemy.literal_column(str(period.DAY)))
