# SPDX-License-Identifier: Apache-2.0
"""Many rows at a time, written out as text: what a driver does with parameters costs several times as much.

PostgreSQL takes a lot of rows by COPY, SQLite takes parameters.
"""

from collections.abc import Callable
from collections.abc import Iterator
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
        _copy(connection, table, names, columns, keys, rows, '%s %%s %s' % (head, tail))
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
    return 'ON CONFLICT (%s) DO UPDATE SET %s' % (', '.join(keys), ', '.join(update))


def _written(rows: Sequence[Row], dialect: str, quote: Callable[[str], str]) -> Iterator[str]:
    """Yield *rows* as they stand behind VALUES, some at a time."""
    writers: dict[type, Callable[[Any], str]] = {
        int: str,
        bool: lambda value: 'true' if value else 'false',
        Decimal: amount.to_text,
        str: quote,
        bytes: lambda value: ("X'%s'" if dialect == 'mysql' else "'\\x%s'") % value.hex(),
        type(None): lambda value: 'NULL',
    }
    parts: list[str] = []
    size = 0
    for row in rows:
        part = ','.join([writers[type(value)](value) for value in row])
        parts.append(part)
        size += len(part)
        if size >= MOST:
            yield '(%s)' % '),('.join(parts)
            parts, size = [], 0
    if parts:
        yield '(%s)' % '),('.join(parts)


def _quoter(connection: sqlalchemy.Connection, dialect: str) -> Callable[[str], str]:
    """Return what makes a literal of a text; what is odd about one is left to the driver."""
    raw = connection.connection.driver_connection

    def quote(text: str) -> str:
        if "'" not in text and '\\' not in text and '\0' not in text:
            return "'%s'" % text
        if dialect == 'mysql':
            return str(raw.escape(text))  # type: ignore[union-attr]
        literal = importutils.import_module('psycopg2.extensions').QuotedString(text)
        literal.prepare(raw)
        return str(literal.getquoted().decode(literal.encoding))

    return quote


_ESCAPES = str.maketrans({'\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r'})


def _copied(value: Any) -> str:
    if value is None:
        return '\\N'
    return value.translate(_ESCAPES) if isinstance(value, str) else str(value)


def _copy(
    connection: sqlalchemy.Connection,
    table: sqlalchemy.Table,
    names: Sequence[str],
    columns: Sequence[str],
    keys: Sequence[str],
    rows: Sequence[Row],
    insert: str,
) -> None:
    text = io.StringIO()
    odd = [
        index
        for index, name in enumerate(names)
        if table.columns[name].nullable or isinstance(table.columns[name].type, sqlalchemy.String)
    ]
    for row in rows:
        if odd:
            values: list[Any] = list(row)
            for index in odd:
                values[index] = _copied(values[index])
            row = tuple(values)
        text.write('\t'.join(map(str, row)))
        text.write('\n')
    text.seek(0)
    new = '%s_new' % table.name
    connection.exec_driver_sql('CREATE TEMPORARY TABLE %s (LIKE %s) ON COMMIT DROP' % (new, table.name))
    cursor = connection.connection.cursor()
    cursor.copy_expert('COPY %s (%s) FROM STDIN' % (new, ', '.join(columns)), text)
    cursor.close()
    connection.exec_driver_sql(
        insert % 'SELECT %s FROM %s ORDER BY %s' % (', '.join(columns), new, ', '.join(keys)),
        execution_options={'no_parameters': True},
    )
    connection.exec_driver_sql('DROP TABLE %s' % new)
