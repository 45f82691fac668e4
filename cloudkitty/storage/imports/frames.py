# SPDX-License-Identifier: Apache-2.0
"""``rated_data_frames`` as a source of an import."""

import collections
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import metric as metrics
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import exact
from cloudkitty.db import statements
from cloudkitty.storage import base
from cloudkitty.storage.imports import plan
from cloudkitty.storage.imports import sources
from cloudkitty.storage.imports import splitting
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import rates
from cloudkitty.storage.v1 import rows
from cloudkitty.storage.v1 import table

Frame = rows.Frame
Imported = models.ImportedFrame


class Frames:
    """The table of old; see :class:`sources.Source`.

    :param definitions, zone: of :class:`splitting.Splitter`.
    """

    name = 'rated_data_frames'
    marks = Imported
    tells_new = True

    def __init__(self, definitions: Iterable[metrics.Metric], zone: datetime.tzinfo) -> None:
        self._splitter = splitting.Splitter(definitions, zone)
        self.split = self._splitter.split
        self.depends_on_begin = self._splitter.depends_on_begin

    def survey(self, database: engine.Database) -> sources.Survey:
        with database.snapshot() as session:
            newest = rows.newest_id(session)
            found = rows.list_begins(session, newest)
            done = {item.begin: item for item in session.scalars(sqlalchemy.select(Imported))}
            begins = [item for item in found if 0 <= item.begin < base.END_OF_TIME]
            broken = _find_broken(session, begins, done)
            return sources.Survey(newest, found, done, broken, rows.average_text(session))

    def read(self, database: engine.Database, piece: plan.Piece, newest: int) -> Iterator[tuple[Any, rows.Values]]:
        last_ids = {
            item.begin: piece.done[item.begin].last_id if item.begin in piece.done else 0 for item in piece.begins
        }
        first_id, last_id = piece.ids
        condition = rows.of_ids(first_id, min(last_id, newest))
        with database.reader() as session:
            for key, values in rows.read(session, piece.begins[0].begin, piece.begins[-1].begin + 1, condition):
                last = last_ids.get(values[1])
                if last is not None and values[0] > last:
                    yield key, values

    def metric_of(self, key: Any) -> str:
        return rows.split_key(key).metric

    def to_mark(self, item: rows.Begin, left_out: int) -> dict[str, Any]:
        return {'begin': item.begin, 'row_count': item.row_count, 'last_id': item.last_id, 'left_out': left_out}

    def sum_day(self, session: orm.Session, day: sources.Day) -> dict[tuple[str, str], sources.Sums]:
        return _sum_rows(session, day)

    def begins_of(
        self, session: orm.Session, day: sources.Day, keys: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Iterable[int]]:
        return {key: _list_begins(session, day, *key) for key in keys}

    def list_remarks(self) -> list[str]:
        return [
            '%s: a description is no JSON object, and was kept whole as the attribute desc: %s' % item
            for item in self._splitter.malformed.items()
        ]


def _find_broken(session: orm.Session, begins: Iterable[rows.Begin], done: dict[int, Imported]) -> dict[int, str]:
    found = {item.begin: item for item in begins}
    broken = {}
    for begin, item in done.items():
        now = found[begin].row_count if begin in found else 0
        if now < item.row_count:
            broken[begin] = 'it had %d rows when they were imported, and has %d now' % (item.row_count, now)
        elif now > item.row_count:
            query = sqlalchemy.select(sqlalchemy.func.count()).select_from(rows.Frame)
            where = (*rows.between(begin, begin + 1), rows.of_ids(item.last_id + 1, found[begin].last_id))
            if session.scalar(query.where(*where)) != now - item.row_count:
                broken[begin] = 'rows came to it later whose ids are lower than those that were imported'
    return broken


def _sum_rows(session: orm.Session, when: sources.Day) -> dict[tuple[str, str], sources.Sums]:
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
    result: dict[tuple[str, str], sources.Sums] = collections.defaultdict(lambda: sources.NOTHING)
    for owner, type_, rate, count, quantity in session.execute(query):
        scope_id, type_ = exact.to_text(owner), exact.to_text(type_)
        if type_ == table.NO_DATA:
            continue
        quantity = rows.to_decimal(quantity) or amount.ZERO
        if dialect == 'sqlite':
            quantity = amount.CONTEXT.multiply(quantity, Decimal(count))
        price = amount.CONTEXT.multiply(rows.to_price(rate, dialect) or amount.ZERO, Decimal(count))
        result[scope_id, type_] = result[scope_id, type_].plus(sources.Sums(count, quantity, price))
    return dict(result)


def _list_begins(session: orm.Session, when: sources.Day, scope_id: str, metric: str) -> set[int]:
    """Return the begins of the rows of a scope, metric and day."""
    dialect = statements.dialect_of(session)
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
    return {rows.to_second(begin) for begin in session.scalars(query)}


def _of_day(day: sources.Day) -> tuple[Any, ...]:
    """Return the conditions for the rows of *day*."""
    begin = day.number * period.DAY
    return *rows.between(begin, begin + period.DAY), rows.of_ids(day.first_id, day.last_id)
