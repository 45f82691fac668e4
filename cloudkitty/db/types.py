# SPDX-License-Identifier: Apache-2.0
"""Column types of the tables that are ours, and the one exact sum."""

import datetime
import decimal
from typing import Any

import sqlalchemy
from sqlalchemy import types
from sqlalchemy.dialects import mysql
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions

from cloudkitty import amount
from cloudkitty import period

#: Characters of the ids of scopes, of metrics and of units.
LONGEST_NAME = 255


def is_name(text: str) -> bool:
    """Return whether every server can keep *text* as a name and tells it from all others.

    Not if it is too long, holds a NUL or half a surrogate pair, or ends in a blank, which MariaDB's comparison ignores.
    """
    return len(text) <= LONGEST_NAME and not text.endswith(' ') and text == clean(text)


def clean(text: str) -> str:
    """Return *text* with a replacement character for each character that a server refuses."""
    return text.replace('\0', '\ufffd').encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')


def exact_string(length: int) -> types.TypeEngine:
    """Return a VARCHAR(*length*) compared byte by byte on every server; MySQL's default has ``XL`` = ``xl``."""
    return sqlalchemy.String(length).with_variant(
        mysql.VARCHAR(length, charset='utf8mb4', collation='utf8mb4_bin'), 'mysql', 'mariadb'
    )


def long_text() -> types.TypeEngine:
    """Return a TEXT without MySQL's limit of 64 KiB."""
    return sqlalchemy.Text().with_variant(
        mysql.MEDIUMTEXT(charset='utf8mb4', collation='utf8mb4_bin'), 'mysql', 'mariadb'
    )


class Amount(types.TypeDecorator):
    """An exact Decimal: NUMERIC(58, 28), text on SQLite.

    SQLite would keep a NUMERIC as a float, so no SUM, ORDER BY or comparison of such a column except by
    :class:`exact_sum`.
    """

    impl = types.Numeric(58, amount.DIGITS)
    cache_ok = True

    def load_dialect_impl(self, dialect: sqlalchemy.Dialect) -> types.TypeEngine:
        if dialect.name == 'sqlite':
            return dialect.type_descriptor(types.Text())
        return dialect.type_descriptor(types.Numeric(58, amount.DIGITS))

    def process_bind_param(self, value: Any, dialect: sqlalchemy.Dialect) -> Any:
        if value is None or dialect.name != 'sqlite':
            return value
        return amount.to_text(value)

    def result_processor(self, dialect: sqlalchemy.Dialect, coltype: object) -> Any:
        """Return what makes Decimals of SQLite's texts; drivers of servers give Decimals."""
        return _to_decimal if dialect.name == 'sqlite' else None


def _to_decimal(value: str | None) -> decimal.Decimal | None:
    return None if value is None else decimal.Decimal(value)


class OldAmount(types.TypeDecorator):
    """A Decimal of a table of old, NUMERIC(*precision*, *scale*) on every server.

    SQLite keeps it as a float where the float's shortest text says the same, else as bytes, which it leaves alone.
    """

    impl = types.Numeric
    cache_ok = True

    def __init__(self, precision: int, scale: int) -> None:
        super().__init__(precision, scale)
        self.precision = precision
        self.scale = scale

    def load_dialect_impl(self, dialect: sqlalchemy.Dialect) -> types.TypeEngine:
        kind = Untouched if dialect.name == 'sqlite' else types.Numeric
        return dialect.type_descriptor(kind(self.precision, self.scale))

    def process_bind_param(self, value: Any, dialect: sqlalchemy.Dialect) -> Any:
        if value is None or dialect.name != 'sqlite':
            return value
        return float(value) if decimal.Decimal(repr(float(value))) == value else amount.to_text(value).encode()

    def process_result_value(self, value: Any, dialect: sqlalchemy.Dialect) -> decimal.Decimal | None:
        if value is None or isinstance(value, decimal.Decimal):
            return value
        return decimal.Decimal(value.decode() if isinstance(value, bytes) else repr(value))


class Untouched(types.Numeric):
    """A NUMERIC whose values reach the driver as they are."""

    def bind_processor(self, dialect: sqlalchemy.Dialect) -> None:
        return None

    def result_processor(self, dialect: sqlalchemy.Dialect, coltype: object) -> None:
        return None


class UtcDateTime(types.TypeDecorator):
    """An aware instant, stored as naive UTC in whole seconds."""

    impl = types.DateTime
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sqlalchemy.Dialect) -> Any:
        return None if value is None else period.to_naive(value)

    def process_result_value(self, value: Any, dialect: sqlalchemy.Dialect) -> datetime.datetime | None:
        return None if value is None else period.from_naive(value)


class exact_sum(functions.GenericFunction):
    """The exact sum of an :class:`Amount` column, on every database; None without rows."""

    type = Amount()
    inherit_cache = True


@compiler.compiles(exact_sum)
def _sum(element: Any, compile_: Any, **kwargs: Any) -> str:
    return 'sum(%s)' % compile_.process(element.clauses, **kwargs)


@compiler.compiles(exact_sum, 'sqlite')
def _exact_sum(element: Any, compile_: Any, **kwargs: Any) -> str:
    return 'exact_sum(%s)' % compile_.process(element.clauses, **kwargs)


class ExactSum:
    """SQLite's aggregate behind :class:`exact_sum`: text in, text out."""

    def __init__(self) -> None:
        self.total: decimal.Decimal | None = None

    def step(self, value: str | None) -> None:
        if value is not None:
            self.total = amount.CONTEXT.add(self.total or amount.ZERO, decimal.Decimal(value))

    def finalize(self) -> str | None:
        return None if self.total is None else amount.to_text(self.total)
