# SPDX-License-Identifier: Apache-2.0
"""State rows as an operator finds, makes and changes them, those of other scope keys and collectors included.

Who changes one locks the guard of its scope first, and advances its epoch: what is being rated is dropped.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
import dataclasses
import datetime
from typing import Any

from oslo_db import exception as db_exc
import sqlalchemy
from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty import period
from cloudkitty import scope
from cloudkitty.db import engine
from cloudkitty.db import exact
from cloudkitty.db import models
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.db import types

State = models.State

#: Member of a scope to the column that holds it.
COLUMNS: Mapping[str, Any] = {
    'scope_id': State.identifier,
    'scope_key': State.scope_key,
    'fetcher': State.fetcher,
    'collector': State.collector,
}


class SeveralScopes(errors.NotFound):
    def __init__(self, scope_id: str) -> None:
        super().__init__('Several scopes have the id %s, of other scope keys, fetchers or collectors.' % scope_id)


class ScopeExists(errors.NotFound):
    """Known clients expect 404 of it."""

    def __init__(self, scope_id: str) -> None:
        super().__init__('A scope with id %s exists already.' % scope_id)


@dataclasses.dataclass(frozen=True)
class Found:
    """A row: whose, and what it says."""

    scope: scope.Scope
    last_processed: datetime.datetime
    active: bool
    toggled_at: datetime.datetime


def find(
    database: engine.Database,
    wanted: Mapping[str, Collection[str] | None],
    active: Collection[bool] | None = None,
    offset: int = 0,
    limit: int | None = None,
) -> list[Found]:
    """Return the rows in the order in which they were made.

    :param wanted: name of :data:`COLUMNS` to what it may be, None for anything.
    """
    query = sqlalchemy.select(State).order_by(State.id).offset(offset).limit(limit)
    for name, values in wanted.items():
        if values is not None:
            storable = [value for value in values if scopes.is_storable(database.dialect, value)]
            query = query.where(exact.is_one_of(COLUMNS[name], storable, database.dialect))
    if active is not None:
        query = query.where(State.active.in_(sorted(set(active))))
    with database.reader() as session:
        return [_to_found(row) for row in session.scalars(query)]


def create(database: engine.Database, owner: scope.Scope, last_processed: datetime.datetime, active: bool) -> Found:
    """Make a row and its guard; raise ScopeExists for an id that any row has."""
    if not types.is_name(owner.id) or not scopes.is_storable(database.dialect, owner.id):
        raise errors.BadRequest('scope_id: %s cannot be stored.' % ascii(owner.id))
    _check(database, {'scope_key': owner.key, 'fetcher': owner.fetcher, 'collector': owner.collector})
    now = datetime.datetime.now(period.UTC)

    def run(session: orm.Session) -> Found:
        guards = scopes.ensure_guards(session, [owner.id])
        scopes.lock(session, guards.values())
        # Not exactly: the key of old on MySQL takes p and P for one.
        if session.scalars(sqlalchemy.select(State.id).where(State.identifier == owner.id)).first():
            raise ScopeExists(owner.id)
        row = State(
            identifier=owner.id,
            scope_key=owner.key,
            fetcher=owner.fetcher,
            collector=owner.collector,
            last_processed_timestamp=period.to_naive(last_processed),
            scope_activation_toggle_date=period.to_naive(now).replace(microsecond=0),
            active=active,
        )
        session.add(row)
        session.flush()
        scopes.advance(session, guards.values())
        return _to_found(row)

    return _unless_taken(lambda: database.repeat(run, once=True), owner.id)


def change(database: engine.Database, scope_id: str, values: Mapping[str, str], active: bool | None) -> Found:
    """Set *values*, by the names of :data:`COLUMNS`, and the activity of the only row of *scope_id*.

    :raises ScopeNotFound, SeveralScopes: there is not just one.
    :raises BadRequest: a value cannot be stored.
    """
    _check(database, values)
    if not scopes.is_storable(database.dialect, scope_id):
        raise errors.ScopeNotFound(scope_id)
    now = datetime.datetime.now(period.UTC)

    def run(session: orm.Session) -> Found:
        guards = scopes.ensure_guards(session, [scope_id]) if _list_rows(session, scope_id) else {}
        scopes.lock(session, guards.values())
        rows = _list_rows(session, scope_id)
        if not rows:
            raise errors.ScopeNotFound(scope_id)
        if len(rows) > 1:
            raise SeveralScopes(scope_id)
        (row,) = rows
        for name, value in values.items():
            setattr(row, COLUMNS[name].key, value)
        if active is not None and active != row.active:
            row.active = active
            row.scope_activation_toggle_date = period.to_naive(now).replace(microsecond=0)
        session.flush()
        scopes.advance(session, guards.values())
        return _to_found(row)

    return _unless_taken(lambda: database.repeat(run), scope_id)


def _check(database: engine.Database, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        if not scopes.is_storable(database.dialect, value):
            raise errors.BadRequest('%s: %s cannot be stored.' % (name, ascii(value)))


def _unless_taken(write: Callable[[], Found], scope_id: str) -> Found:
    try:
        return write()
    except db_exc.DBDuplicateEntry as error:
        raise ScopeExists(scope_id) from error


def _list_rows(session: orm.Session, scope_id: str) -> list[State]:
    query = sqlalchemy.select(State).where(
        exact.is_one_of(State.identifier, [scope_id], statements.dialect_of(session))
    )
    return list(session.scalars(query.order_by(State.id).with_for_update()))


def _to_found(row: State) -> Found:
    return Found(
        scope.Scope(row.identifier, row.scope_key or '', row.fetcher or '', row.collector or ''),
        period.from_naive(row.last_processed_timestamp),
        bool(row.active),
        period.from_naive(row.scope_activation_toggle_date),
    )
