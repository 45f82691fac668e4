# SPDX-License-Identifier: Apache-2.0
"""Many rows at a time, written out as text: what a driver does with parameters costs several times as much.

PostgreSQL takes a lot of rows by COPY, SQLite takes parameters.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from decimal import Decimal
import io
from typing import Any

from oslo_utils import importutils
import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty.db import statements

#: Characters of one statement, about.
MOST = 1 << 20
#: From this many rows on PostgreSQL takes them by COPY.
COPY_FROM = 500

#: How many rows are turned into columns at once.
_ROWS = 2000
#: What needs care between quotes, or between tabs.
_ODD = "'\\\0\t\n\r"

Row = tuple[Any, ...]


def replace(session: orm.Session, model: Any, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert *rows* in their order; one whose primary key is there replaces the row that has it.

    :param names: columns of *rows*.
    :param rows: of ints, bools, Decimals, text, bytes and None; each key once.
    """
    if not rows:
        return
    _insert(session, model.__table__, names, rows, is_replacing=True)


def add(session: orm.Session, model: Any, names: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert *rows* in their order, leaving out those of which a unique key is there; see :func:`replace`."""
    if rows:
        _insert(session, model.__table__, names, rows, is_replacing=False)


def _insert(
    session: orm.Session, table: sqlalchemy.Table, names: Sequence[str], rows: Sequence[Row], is_replacing: bool
) -> None:
    dialect = statements.dialect_of(session)
    connection = session.connection()
    columns = [connection.dialect.identifier_preparer.quote(name) for name in names]
    keys = [connection.dialect.identifier_preparer.quote(column.name) for column in table.primary_key.columns]
    head = 'INSERT INTO %s (%s)' % (table.name, ', '.join(columns))
    others = [name for name in columns if name not in keys] if is_replacing else []
    tail = _conflict(dialect, keys, others)
    if dialect == 'sqlite':
        places = ', '.join('?' * len(names))
        values = [tuple([amount.to_text(v) if isinstance(v, Decimal) else v for v in row]) for row in rows]
        connection.exec_driver_sql('%s VALUES (%s) %s' % (head, places, tail), values)
    elif dialect == 'postgresql' and is_replacing and len(rows) >= COPY_FROM:
        _copy(connection, table, columns, keys, rows, '%s %%s %s' % (head, tail))
    else:
        quote = _quoter(connection, dialect)
        for text in _written(rows, dialect, quote):
            # The text holds signs that a driver would take for places of parameters.
            connection.exec_driver_sql(
                '%s VALUES %s %s' % (head, text, tail), execution_options={'no_parameters': True}
            )


def _conflict(dialect: str, keys: Sequence[str], others: Sequence[str]) -> str:
    if dialect == 'mysql':
        # Not INSERT IGNORE, which also swallows values that do not fit.
        update = ['%s = VALUES(%s)' % (name, name) for name in others] or ['%s = %s' % (keys[0], keys[0])]
        return 'ON DUPLICATE KEY UPDATE %s' % ', '.join(update)
    if not others:
        return 'ON CONFLICT DO NOTHING'
    update = ['%s = excluded.%s' % (name, name) for name in others]
    return 'ON CONFLICT (%s) DO UPDATE SET %s' % (', '.join(keys), ', '.join(update))  # nosec B608


def _written(rows: Sequence[Row], dialect: str, quote: Callable[[str], str]) -> Iterator[str]:
    """Yield *rows* as they stand behind VALUES, some at a time."""
    writers: dict[type, Callable[[Any], str]] = {
        bool: lambda value: 'true' if value else 'false',
        str: quote,
        bytes: lambda value: ("X'%s'" if dialect == 'mysql' else "'\\x%s'") % value.hex(),
        type(None): lambda value: 'NULL',
    }
    for lines in _lines(rows, '(%s)', ',', writers, "'%s'"):
        # As many as make about so many characters; more where they are short.
        count = max(1, len(lines) * MOST // sum(map(len, lines)))
        for first in range(0, len(lines), count):
            yield ','.join(lines[first : first + count])


def _lines(
    rows: Sequence[Row],
    frame: str,
    separator: str,
    writers: Mapping[type, Callable[[Any], str]],
    plain_text: str,
) -> Iterator[list[str]]:
    """Yield *rows* as texts, some at a time: column by column and not value by value where that can be.

    :param writers: how values are written that are not ints or Decimals.
    :param plain_text: what becomes of a text in which no sign is odd.
    """
    everything: dict[type, Callable[[Any], str]] = {int: str, Decimal: amount.to_text, **writers}
    for first in range(0, len(rows), _ROWS):
        places: list[str] = []
        columns: list[Sequence[Any]] = []
        for column in zip(*rows[first : first + _ROWS], strict=True):
            kinds = set(map(type, column))
            place = '%s'
            values: Sequence[Any] = column
            if kinds == {Decimal}:
                values = amount.to_texts(column)
            elif kinds == {str} and not _is_odd(' '.join(column)):
                place = plain_text
            elif kinds != {int}:
                values = [everything[type(value)](value) for value in column]
            places.append(place)
            columns.append(values)
        template = frame % separator.join(places)
        yield [template % row for row in zip(*columns, strict=True)]


def _is_odd(text: str) -> bool:
    return any(sign in text for sign in _ODD)


def _quoter(connection: sqlalchemy.Connection, dialect: str) -> Callable[[str], str]:
    """Return what makes a literal of a text; what is odd about one is left to the driver."""
    raw = connection.connection.driver_connection

    def quote(text: str) -> str:
        if not _is_odd(text):
            return "'%s'" % text
        if dialect == 'mysql':
            return str(raw.escape(text))  # type: ignore[union-attr]
        literal = importutils.import_module('psycopg2.extensions').QuotedString(text)
        literal.prepare(raw)
        return str(literal.getquoted().decode(literal.encoding))

    return quote


_ESCAPES = str.maketrans({'\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r'})


def _copy(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    columns: Sequence[str],
    keys: Sequence[str],
    rows: Sequence[Row],
    insert: str,
) -> None:
    text = io.StringIO()
    writers: dict[type, Callable[[Any], str]] = {
        bool: str,
        str: lambda value: value.translate(_ESCAPES),
        type(None): lambda value: '\\N',
    }
    for lines in _lines(rows, '%s\n', '\t', writers, '%s'):
        text.writelines(lines)
    text.seek(0)
    new = '%s_new' % table.name
    connection.exec_driver_sql('CREATE TEMPORARY TABLE %s (LIKE %s) ON COMMIT DROP' % (new, table.name))
    cursor = connection.connection.cursor()
    cursor.copy_expert('COPY %s (%s) FROM STDIN' % (new, ', '.join(columns)), text)
    cursor.close()
    connection.exec_driver_sql(
        insert % 'SELECT %s FROM %s ORDER BY %s' % (', '.join(columns), new, ', '.join(keys)),  # nosec B608
        execution_options={'no_parameters': True},
    )
    connection.exec_driver_sql('DROP TABLE %s' % new)
