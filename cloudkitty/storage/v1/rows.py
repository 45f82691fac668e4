# SPDX-License-Identifier: Apache-2.0
"""Reading ``rated_data_frames`` fast: a few values a row, and the texts that rows share as one *key*.

Instants are epoch seconds. A *key* holds scope, metric, unit and description of a row; rows of one resource have equal
ones, so that whoever reads parses it once. Each server gives what is fastest with its driver.
"""

from collections.abc import Callable
from collections.abc import Iterator
import datetime
import decimal
from decimal import Decimal
from typing import Any
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import period
from cloudkitty.db import statements
from cloudkitty.db import types
from cloudkitty.storage.v1 import models
from cloudkitty.storage.v1 import rates

Frame = models.RatedDataFrame

_QTY = types.OldAmount(15, 5)


#: (id, begin, end, quantity, price): the quantity is None where the column is NULL and NaN where it holds no number,
#: the price is None where it cannot be stored.
Values = tuple[int, int, int, Decimal | None, Decimal | None]


class Texts(NamedTuple):
    """What a key holds."""

    scope_id: str
    metric: str
    unit: str
    desc: str


def split_key(key: Any) -> Texts:
    """Return what *key* holds: the texts, or three lengths and the texts themselves."""
    if isinstance(key, tuple):
        return Texts(*key)
    first, second, third, text = key.split(' ', 3)
    scope_end = int(first)
    metric_end = scope_end + int(second)
    unit_end = metric_end + int(third)
    return Texts(text[:scope_end], text[scope_end:metric_end], text[metric_end:unit_end], text[unit_end:])


class Begin(NamedTuple):
    """How many rows begin at an instant, and the lowest and the highest of their ids."""

    begin: int
    row_count: int
    first_id: int
    last_id: int


def newest_id(session: orm.Session) -> int:
    """Return the highest id; 0 without rows."""
    return session.scalar(sqlalchemy.select(sqlalchemy.func.max(Frame.id))) or 0


def list_begins(session: orm.Session, newest: int) -> list[Begin]:
    """Return the begins of the rows up to id *newest*, in order."""
    query = (
        sqlalchemy.select(
            Frame.begin, sqlalchemy.func.count(), sqlalchemy.func.min(Frame.id), sqlalchemy.func.max(Frame.id)
        )
        .where(Frame.id <= newest)
        .group_by(Frame.begin)
        .order_by(Frame.begin)
    )
    found: dict[int, Begin] = {}
    for begin, count, first_id, last_id in session.execute(query):
        # Parts of a second, which only some servers keep, are dropped.
        second = to_second(begin)
        before = found.get(second, Begin(second, 0, first_id, last_id))
        found[second] = Begin(
            second, before.row_count + count, min(before.first_id, first_id), max(before.last_id, last_id)
        )
    return list(found.values())


def average_text(session: orm.Session) -> int:
    """Return how long a description is, by the newest thousand; 0 without rows."""
    newest = sqlalchemy.select(Frame.desc).order_by(Frame.id.desc()).limit(1000).subquery()
    return int(session.scalar(sqlalchemy.select(sqlalchemy.func.avg(sqlalchemy.func.length(newest.c.desc)))) or 0)


def to_second(naive: datetime.datetime) -> int:
    """Return the epoch second of a naive UTC instant of the table."""
    return period.to_epoch(period.from_naive(naive))


def between(begin: int, end: int) -> tuple[Any, Any]:
    """Return the conditions for rows that begin in ``[begin, end)``."""
    first, last = (period.to_naive(period.from_epoch(second)) for second in (begin, end))
    return Frame.begin >= first, Frame.begin < last


def of_ids(first_id: int, last_id: int) -> Any:
    """Return the condition for rows with an id in ``[first_id, last_id]``.

    Beside :func:`between` it spares a server that likes the primary key best from reading the table once a question.
    """
    return Frame.id.between(first_id, last_id)


def read(session: orm.Session, begin: int, end: int, *conditions: Any) -> Iterator[tuple[Any, Values]]:
    """Yield (key, values) of the rows that begin in ``[begin, end)`` and meet *conditions*."""
    dialect = statements.dialect_of(session)
    query = sqlalchemy.select(*_columns(dialect)).where(*between(begin, end), *conditions)
    seconds = _Cache(_to_second)
    quantities = _Cache(to_decimal)
    prices = _Cache(lambda value: to_price(value, dialect))
    # Of the cursor: a session looks at every row for objects, and a result makes one of every row.
    result = session.connection().execute(query)
    cursor: Any = result.cursor
    while chunk := cursor.fetchmany(5000):
        if dialect == 'mysql':
            for (text,) in chunk:
                id_, first, last, qty, rate, key = text.split(' ', 5)
                yield key, (int(id_), seconds[first], seconds[last], quantities[qty], prices[rate])
        else:
            for id_, first, last, qty, rate, scope_id, metric, unit, desc in chunk:
                key = (scope_id, metric, unit, desc)
                yield key, (id_, seconds[first], seconds[last], quantities[qty], prices[rate])
    result.close()


class _Cache(dict[Any, Any]):
    """What *function* returns for values that come again and again."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, value: Any) -> Any:
        if len(self) > 100_000:
            self.clear()
        self[value] = result = self._function(value)
        return result


def _to_second(value: Any) -> int:
    """Return the epoch second of an instant: a number on MariaDB, text on SQLite, a datetime on PostgreSQL."""
    if isinstance(value, datetime.datetime):
        return to_second(value)
    return int(value) if value.lstrip('-').isdigit() else to_second(datetime.datetime.fromisoformat(value))


def to_decimal(value: Any) -> Decimal | None:
    """Return a quantity as a server or SQLite gives it; None for NULL, NaN for what is no number."""
    if value is None or value == '':
        return None
    if isinstance(value, bytes):
        value = value.decode('utf-8', 'replace')
    try:
        return Decimal(value if isinstance(value, str | int | Decimal) else repr(value))
    except decimal.InvalidOperation:
        return Decimal('NaN')


def to_price(value: Any, dialect: str) -> Decimal | None:
    """Return the price that becomes of a rate; None where it cannot be stored."""
    try:
        return amount.quantise(rates.to_decimal(float(value), dialect))
    except amount.AmountTooLarge:
        return None


def _columns(dialect: str) -> list[Any]:
    """Return what to select: of MariaDB one text a row, for its driver takes long over every single value."""
    function = sqlalchemy.func
    texts = (function.coalesce(Frame.tenant_id, ''), Frame.res_type, Frame.unit, Frame.desc)
    rate = rates.select(Frame.rate, dialect)
    if dialect == 'mysql':
        epoch: Any = sqlalchemy.literal_column('62167219200')
        seconds = [function.to_seconds(column) - epoch for column in (Frame.begin, Frame.end)]
        lengths = [function.char_length(text) for text in texts[:3]]
        blank: Any = sqlalchemy.literal_column("' '")
        return [function.concat_ws(blank, Frame.id, *seconds, qty(dialect), rate, *lengths, function.concat(*texts))]
    kind: Any = sqlalchemy.Text if dialect == 'sqlite' else sqlalchemy.DateTime
    instants = [sqlalchemy.type_coerce(column, kind) for column in (Frame.begin, Frame.end)]
    return [Frame.id, *instants, qty(dialect), rate, *texts]


def qty(dialect: str) -> Any:
    """Return the expression that reads a quantity, for :func:`to_decimal`."""
    if dialect == 'mysql':
        return sqlalchemy.func.coalesce(sqlalchemy.cast(Frame.qty, sqlalchemy.CHAR(40)), '')
    if dialect == 'postgresql':
        return sqlalchemy.cast(Frame.qty, sqlalchemy.Text)
    return sqlalchemy.type_coerce(Frame.qty, types.Untouched(15, 5))
