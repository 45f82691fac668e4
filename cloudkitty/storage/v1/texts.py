# SPDX-License-Identifier: Apache-2.0
"""The texts of ``rated_data_frames`` compared exactly, whatever the server's collation has for equal."""

from typing import Any

import sqlalchemy


def exactly(column: Any, dialect: str) -> Any:
    """Return *column* compared by bytes, on MariaDB as bytes, for :func:`to_text`: its default has ``XL`` = ``xl``."""
    if dialect != 'mysql':
        return column
    text = sqlalchemy.func.convert(column.op('USING')(sqlalchemy.text('utf8mb4')))
    return sqlalchemy.cast(text, sqlalchemy.LargeBinary)


def to_text(value: Any) -> str:
    """Return the text of a value of :func:`exactly`."""
    return value.decode() if isinstance(value, bytes) else value
