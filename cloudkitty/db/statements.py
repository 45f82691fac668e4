# SPDX-License-Identifier: Apache-2.0
"""Statements that each database spells its own way, for many rows at a time."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import TypeVar

import sqlalchemy
from sqlalchemy import orm
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite

Item = TypeVar('Item')

#: How many values one IN list holds at most.
CHUNK = 1000


def dialect_of(session: orm.Session) -> str:
    """Return ``sqlite``, ``mysql`` (MariaDB too) or ``postgresql``."""
    name: str = session.get_bind().dialect.name
    return 'mysql' if name == 'mariadb' else name


def chunks(items: Iterable[Item], size: int = CHUNK) -> Iterator[list[Item]]:
    """Yield *items* in lists of at most *size*."""
    part: list[Item] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def insert_or_ignore(session: orm.Session, model: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert *rows* (column name to value) in their order, leaving out those whose key is there."""
    if not rows:
        return
    table = model.__table__
    dialect = dialect_of(session)
    if dialect == 'postgresql':
        statement: Any = postgresql.insert(table).on_conflict_do_nothing()
    elif dialect == 'sqlite':
        statement = sqlite.insert(table).on_conflict_do_nothing()
    else:
        # Not INSERT IGNORE, which also swallows values that do not fit.
        key = next(iter(table.primary_key.columns))
        statement = mysql.insert(table).on_duplicate_key_update({key.name: key})
    _execute_many(session, statement, rows)


def upsert(session: orm.Session, model: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert *rows* in their order; one whose primary key is there replaces the row that has it."""
    if not rows:
        return
    table = model.__table__
    dialect = dialect_of(session)
    keys = [column.name for column in table.primary_key.columns]
    others = [name for name in rows[0] if name not in keys]
    if dialect in ('postgresql', 'sqlite'):
        insert: Any = (postgresql if dialect == 'postgresql' else sqlite).insert(table)
        statement: Any = insert.on_conflict_do_update(
            index_elements=keys, set_={name: insert.excluded[name] for name in others}
        )
    else:
        insert = mysql.insert(table)
        statement = insert.on_duplicate_key_update({name: insert.inserted[name] for name in others})
    _execute_many(session, statement, rows)


def delete_keys(session: orm.Session, model: Any, keys: Sequence[Sequence[Any]]) -> None:
    """Delete the rows of *model* with these primary keys, in their order."""
    if not keys:
        return
    table = model.__table__
    columns = list(table.primary_key.columns)
    statement = sqlalchemy.delete(table).where(
        *(column == sqlalchemy.bindparam('key_%d' % index) for index, column in enumerate(columns))
    )
    _execute_many(session, statement, [{'key_%d' % i: value for i, value in enumerate(key)} for key in keys])


def insert(session: orm.Session, model: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert *rows* in their order."""
    _execute_many(session, sqlalchemy.insert(model.__table__), rows)


def _execute_many(session: orm.Session, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        session.connection().execute(statement, [dict(row) for row in rows], execution_options={'together': True})
