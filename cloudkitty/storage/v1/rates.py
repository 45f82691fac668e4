# SPDX-License-Identifier: Apache-2.0
"""Prices of the old table, which are floats, read as the decimals they were written for.

MariaDB keeps single precision and shows six digits of it; every digit is had by asking for a double. The decimal of a
float is the shortest one that denotes it: what was written, as long as that had no more digits than a float holds.
"""

from decimal import Decimal
import functools
import struct
from typing import Any

import sqlalchemy


def select(column: Any, dialect: str) -> Any:
    """Return the expression that reads *column* with all of its digits."""
    if dialect == 'mysql':
        return sqlalchemy.type_coerce(column + sqlalchemy.literal_column('0e0'), sqlalchemy.Float(53))
    return column


@functools.lru_cache(100_000)
def to_decimal(value: float, dialect: str) -> Decimal:
    """Return the price of *value*, as :func:`select` reads it."""
    if dialect == 'mysql':
        for digits in range(6, 10):
            text = '%.*g' % (digits, value)
            if _is_single(value) and struct.unpack('f', struct.pack('f', float(text)))[0] == value:
                return Decimal(text)
    return Decimal(repr(value))


def _is_single(value: float) -> bool:
    """Return whether *value* has no more than single precision; an operator may have made the column a DOUBLE."""
    try:
        found: float = struct.unpack('f', struct.pack('f', value))[0]
    except OverflowError:
        return False
    return found == value


def stored(value: float, dialect: str) -> Decimal:
    """Return what :func:`to_decimal` gives for *value* after it was written."""
    if dialect == 'mysql':
        value = struct.unpack('f', struct.pack('f', value))[0]
    return to_decimal(value, dialect)
