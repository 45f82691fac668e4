# SPDX-License-Identifier: Apache-2.0
"""Reading ``rated_data_frames`` fast: a few values a row, and the texts that rows share as one *key*.

Instants are epoch seconds. A *key* holds scope, metric, unit and description of a row; rows of one resource have equal
ones, so that whoever reads parses it once.
"""

from collections.abc import Iterator
import datetime
from decimal import Decimal
from typing import Any
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import period
from cloudkitty.db import types
from cloudkitty.storage.v1 import models
from cloudkitty.storage.v1 import rates

Frame = models.RatedDataFrame

#: The metric of the rows that stand for "there was nothing".
NO_DATA = '_NO_DATA_'

_QTY = types.OldAmount(15, 5)


class Row(NamedTuple):
    """:ivar qty: None where the column is NULL; *rate*: None where it is too large to be stored."""

    id: int
    begin: int
    end: int
    qty: Decimal | None
    rate: Decimal | None
    key: str


class Texts(NamedTuple):
    """What a key holds."""

    scope_id: str
    metric: str
    unit: str
    desc: str


def split_key(key: str) -> Texts:
    """Return what *key* holds: three lengths and the texts themselves."""
    first, second, third, text = key.split(' ', 3)
    scope_end = int(first)
    metric_end = scope_end + int(second)
    unit_end = metric_end + int(third)
    return Texts(text[:scope_end], text[scope_end:metric_end], text[metric_end:unit_end], text[unit_end:])


class Begin(NamedTuple):
    """How many rows begin at an instant, and the highest of their ids."""

    begin: int
    row_count: int
    last_id: int


def newest_id(session: orm.Session) -> int:
    """Return the highest id; 0 without rows."""
    return session.scalar(sqlalchemy.select(sqlalchemy.func.max(Frame.id))) or 0


def list_begins(session: orm.Session, newest: int) -> list[Begin]:
    """Return the begins of the rows up to id *newest*, in order."""
    query = (
        sqlalchemy.select(Frame.begin, sqlalchemy.func.count(), sqlalchemy.func.max(Frame.id))
        .where(Frame.id <= newest)
        .group_by(Frame.begin)
        .order_by(Frame.begin)
    )
    found: dict[int, Begin] = {}
    for begin, count, last_id in session.execute(query):
        # Parts of a second, which only some servers keep, are dropped.
        second = to_second(begin)
        before = found.get(second, Begin(second, 0, 0))
        found[second] = Begin(second, before.row_count + count, max(before.last_id, last_id))
    return list(found.values())


def to_second(naive: datetime.datetime) -> int:
    """Return the epoch second of a naive UTC instant of the table."""
    return period.to_epoch(period.from_naive(naive))


def between(begin: int, end: int) -> tuple[Any, Any]:
    """Return the conditions for rows that begin in ``[begin, end)``."""
    first, last = (period.to_naive(period.from_epoch(second)) for second in (begin, end))
    return Frame.begin >= first, Frame.begin < last


def read(session: orm.Session, begin: int, end: int, newest: int) -> Iterator[Row]:
    """Yield the rows up to id *newest* that begin in ``[begin, end)``."""
    dialect = session.get_bind().dialect.name
    dialect = 'mysql' if dialect == 'mariadb' else dialect
    columns = _columns(dialect)
    query = sqlalchemy.select(*columns).where(*between(begin, end), Frame.id <= newest)
    result = session.execute(query)
    quantities: dict[Any, Decimal | None] = {None: None, '': None}
    prices: dict[Any, Decimal | None] = {}
    for chunk in result.partitions(5000):
        found = (row[0].split(' ', 5) for row in chunk) if dialect == 'mysql' else chunk
        for id_, first, last, qty, rate, key in found:
            try:
                quantity = quantities[qty]
            except KeyError:
                quantity = quantities[qty] = _to_decimal(qty)
            try:
                price = prices[rate]
            except KeyError:
                price = prices[rate] = to_price(rate, dialect)
            yield Row(int(id_), int(first), int(last), quantity, price, key)
        if len(quantities) + len(prices) > 200_000:
            quantities = {None: None, '': None}
            prices = {}


def _to_decimal(value: Any) -> Decimal:
    """Return a quantity as a server or SQLite gives it."""
    if isinstance(value, bytes):
        value = value.decode()
    return Decimal(value if isinstance(value, str | int | Decimal) else repr(value))


def to_price(value: Any, dialect: str) -> Decimal | None:
    """Return the price that becomes of a rate; None where it cannot be stored."""
    try:
        return amount.quantise(rates.to_decimal(float(value), dialect))
    except amount.AmountTooLarge:
        return None


def _columns(dialect: str) -> list[Any]:
    """Return what to select: of MariaDB one text a row, for its driver takes long over every single value."""
    function = sqlalchemy.func
    length = function.char_length if dialect == 'mysql' else function.length
    owner = function.coalesce(Frame.tenant_id, '')
    texts = (owner, Frame.res_type, Frame.unit, Frame.desc)
    rate = rates.select(Frame.rate, dialect)
    values = [Frame.id, _second(Frame.begin, dialect), _second(Frame.end, dialect), _qty(dialect), rate]
    blank: Any = sqlalchemy.literal_column("' '")
    if dialect == 'mysql':
        return [function.concat_ws(blank, *values, *(length(text) for text in texts[:3]), function.concat(*texts))]
    key: Any = sqlalchemy.literal_column("''")
    for text in texts[:3]:
        key = key.op('||')(sqlalchemy.cast(length(text), sqlalchemy.Text)).op('||')(blank)
    for text in texts:
        key = key.op('||')(text)
    return [*values, sqlalchemy.type_coerce(key, sqlalchemy.Text)]


def _qty(dialect: str) -> Any:
    if dialect == 'mysql':
        return sqlalchemy.func.coalesce(sqlalchemy.cast(Frame.qty, sqlalchemy.CHAR(40)), '')
    if dialect == 'postgresql':
        return sqlalchemy.cast(Frame.qty, sqlalchemy.Text)
    return sqlalchemy.type_coerce(Frame.qty, types.Untouched(15, 5))


def _second(column: Any, dialect: str) -> Any:
    """Return the epoch second of a naive UTC *column*, as SQL."""
    function = sqlalchemy.func
    if dialect == 'mysql':
        return function.to_seconds(column) - sqlalchemy.literal_column('62167219200')
    if dialect == 'postgresql':
        return sqlalchemy.cast(function.floor(sqlalchemy.extract('epoch', column)), sqlalchemy.BigInteger)
    return sqlalchemy.cast(function.strftime(sqlalchemy.literal_column("'%s'"), column), sqlalchemy.BigInteger)
