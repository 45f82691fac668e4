# SPDX-License-Identifier: Apache-2.0
"""Texts in tables of old compared exactly, whatever the collation of theirs has for equal."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy


def is_one_of(column: Any, values: Iterable[str], dialect: str) -> Any:
    """Return the condition that *column* is one of *values*, byte by byte, that uses an index of the column."""
    wanted = sorted(set(values))
    condition = column.in_(wanted)
    return condition if dialect != 'mysql' else condition & exactly(column, dialect).in_(map(str.encode, wanted))


def exactly(column: Any, dialect: str) -> Any:
    """Return *column* compared by bytes, on MariaDB as bytes, for :func:`to_text`: its default has ``XL`` = ``xl``."""
    if dialect != 'mysql':
        return column
    text = sqlalchemy.func.convert(column.op('USING')(sqlalchemy.text('utf8mb4')))
    return sqlalchemy.cast(text, sqlalchemy.LargeBinary)


def to_text(value: Any) -> str:
    """Return the text of a value of :func:`exactly`."""
    return value.decode() if isinstance(value, bytes) else value
