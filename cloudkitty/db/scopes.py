# SPDX-License-Identifier: Apache-2.0
"""Scopes: their guards, which every change of their data locks, and their clocks."""

from collections.abc import Collection
from collections.abc import Iterable
import dataclasses
import datetime
from typing import Any

from oslo_log import log
import sqlalchemy
from sqlalchemy import orm

from cloudkitty import period
from cloudkitty import scope
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import models
from cloudkitty.db import purges
from cloudkitty.db import statements
from cloudkitty.db import types

LOG = log.getLogger(__name__)

Guard = ledger_models.Guard
State = models.State


@dataclasses.dataclass(frozen=True)
class Identity:
    """What tells states of one scope id apart: the configured scope key, fetcher and collector."""

    key: str
    fetcher: str
    collector: str

    def matches(self, row: State) -> bool:
        return (row.scope_key, row.fetcher, row.collector) == (self.key, self.fetcher, self.collector)


def ensure(
    database: engine.Database, scope_ids: Iterable[str], identity: Identity, first: datetime.datetime, length: int
) -> None:
    """Make the guards and state rows that *scope_ids* lack.

    A row of an old release (without key, fetcher and collector) is adopted. A scope with rows under another identity
    only gets one whose clock starts at the newest of theirs, with a WARNING. Any other new clock stands one period
    before *first*, the begin of its first period, or the first one after what was purged.

    :param length: of a period, in seconds.
    """
    wanted = sorted(set(scope_ids))
    wanted = [scope_id for scope_id in wanted if is_storable(database.dialect, scope_id)]
    now = datetime.datetime.now(period.UTC)

    def run(session: orm.Session) -> None:
        guards = ensure_guards(session, wanted)
        found: dict[str, list[State]] = {}
        for part in statements.chunks(wanted):
            for row in session.scalars(sqlalchemy.select(State).where(State.identifier.in_(part))):
                found.setdefault(row.identifier, []).append(row)
        # MariaDB makes no guard of an id that it takes for another one.
        unknown = [guards[scope_id] for scope_id in wanted if scope_id not in found and scope_id in guards]
        purged = purges.read(session, unknown) if unknown else {}
        fresh = []
        for scope_id in wanted:
            rows = found.get(scope_id, [])
            if any(identity.matches(row) for row in rows):
                continue
            old = next((row for row in rows if (row.scope_key, row.fetcher, row.collector) == (None,) * 3), None)
            if old is not None:
                LOG.info('%s: the state of an old release is used on.', scope_id)
                old.scope_key, old.fetcher, old.collector = identity.key, identity.fetcher, identity.collector
                continue
            missing = max(0, purged.get(guards.get(scope_id, 0), 0) - period.to_epoch(first))
            # Whole periods: it stays on the grid of *first*.
            clock = period.to_naive(first) + datetime.timedelta(seconds=(-(-missing // length) - 1) * length)
            if rows:
                clock = max(row.last_processed_timestamp for row in rows)
                LOG.warning(
                    '%s: was rated by another scope key, fetcher or collector up to %s; rating goes on from there.',
                    scope_id,
                    clock,
                )
            fresh.append(
                {
                    'identifier': scope_id,
                    'scope_key': identity.key,
                    'fetcher': identity.fetcher,
                    'collector': identity.collector,
                    'last_processed_timestamp': clock,
                    'scope_activation_toggle_date': period.to_naive(now).replace(microsecond=0),
                    'active': True,
                }
            )
        session.flush()
        statements.insert_or_ignore(session, State, fresh)

    database.repeat(run)


def is_storable(dialect: str, scope_id: str) -> bool:
    """Return whether the states' table of old takes *scope_id*; the servers refuse others, even to look for them."""
    if scope_id != types.clean(scope_id):
        return False
    return dialect != 'mysql' or max(scope_id, default='') <= '\uffff'


def ensure_guards(session: orm.Session, scope_ids: Iterable[str]) -> dict[str, int]:
    """Return {scope id: guard id}, making the guards that are missing."""
    wanted = sorted(set(scope_ids))
    found = guard_ids(session, wanted)
    missing = [{'identifier': name, 'epoch': 0, 'touched': 0} for name in wanted if name not in found]
    if missing:
        statements.insert_or_ignore(session, Guard, missing)
        found = guard_ids(session, wanted)
    return found


def guard_ids(session: orm.Session, scope_ids: Collection[str]) -> dict[str, int]:
    """Return {scope id: guard id} of those that exist."""
    result: dict[str, int] = {}
    for part in statements.chunks(scope_ids):
        rows = session.execute(sqlalchemy.select(Guard.identifier, Guard.id).where(Guard.identifier.in_(part)))
        result.update((row[0], row[1]) for row in rows)
    return result


def list_states(
    database: engine.Database,
    identity: Identity | None = None,
    ids: Collection[str] | None = None,
    active: bool | None = None,
) -> list[scope.State]:
    """Return the states with a guard, sorted by scope; of *identity*, of *ids*, of this activity where given."""
    query = sqlalchemy.select(
        State.identifier, State.scope_key, State.fetcher, State.collector, State.last_processed_timestamp,
        State.active, State.scope_activation_toggle_date,
    )  # fmt: skip
    if identity is not None:
        query = query.where(*_is(identity))
    if active is not None:
        query = query.where(State.active == active)
    with database.reader() as session:
        # Guards first: a clock that moves in between makes the plan stale by its epoch, never unseen.
        guards = _read_guards(session, ids)
        rows: list[Any] = []
        if ids is None:
            rows = list(session.execute(query))
        else:
            for part in statements.chunks(sorted(set(ids))):
                rows += session.execute(query.where(State.identifier.in_(part)))
    found = [_to_state(row, guards[row[0]]) for row in rows if row[0] in guards]
    found.sort(key=lambda state: (state.scope.id, state.scope.key, state.scope.fetcher, state.scope.collector))
    return found


def _read_guards(session: orm.Session, ids: Collection[str] | None) -> dict[str, Any]:
    query = sqlalchemy.select(Guard.identifier, Guard.id, Guard.epoch, Guard.gone_since)
    if ids is None:
        return {row[0]: row for row in session.execute(query)}
    result: dict[str, Any] = {}
    for part in statements.chunks(sorted(set(ids))):
        result.update((row[0], row) for row in session.execute(query.where(Guard.identifier.in_(part))))
    return result


def _to_state(row: Any, guard: Any) -> scope.State:
    identifier, key, fetcher, collector, last_processed, active, toggled = row
    _, guard_id, epoch, gone_since = guard
    return scope.State(
        scope.Scope(identifier, key or '', fetcher or '', collector or ''),
        period.from_naive(last_processed),
        active,
        period.from_naive(toggled),
        guard_id,
        epoch,
        gone_since,
    )


def count_clocks(database: engine.Database, identity: Identity) -> dict[datetime.datetime, int]:
    """Return {clock: how many active states of *identity* stand at it}; one statement, however many there are."""
    query = sqlalchemy.select(State.last_processed_timestamp, sqlalchemy.func.count()).where(
        *_is(identity), State.active == sqlalchemy.true()
    )
    with database.reader() as session:
        rows = session.execute(query.group_by(State.last_processed_timestamp))
        return {period.from_naive(clock): count for clock, count in rows}


def count_gone(database: engine.Database) -> int:
    """Return how many scopes are marked as gone; one statement."""
    with database.reader() as session:
        return session.scalar(sqlalchemy.select(sqlalchemy.func.count()).where(Guard.gone_since.is_not(None))) or 0


def mark_listed(
    database: engine.Database, listed_ids: Collection[str], identity: Identity, now: datetime.datetime
) -> None:
    """Remember which scopes of *identity* the fetcher lists: others are gone since *now*, unless they were before."""
    listed = set(listed_ids)
    gone, back = [], []
    for state in list_states(database, identity):
        if state.scope.id in listed and state.gone_since is not None:
            back.append(state.guard_id)
        elif state.scope.id not in listed and state.gone_since is None:
            gone.append(state.guard_id)
    if not gone and not back:
        return

    def run(session: orm.Session) -> None:
        for ids, since in ((sorted(gone), now.replace(microsecond=0)), (sorted(back), None)):
            for part in statements.chunks(ids):
                session.execute(sqlalchemy.update(Guard).where(Guard.id.in_(part)).values(gone_since=since))

    database.repeat(run)


def lock(session: orm.Session, ids: Iterable[int]) -> dict[int, int]:
    """Lock the guards of these ids in their order; return {guard id: epoch}."""
    result: dict[int, int] = {}
    for part in statements.chunks(sorted(set(ids))):
        query = sqlalchemy.select(Guard.id, Guard.epoch).where(Guard.id.in_(part)).order_by(Guard.id)
        result.update((row[0], row[1]) for row in session.execute(query.with_for_update()))
    return result


def advance(session: orm.Session, ids: Iterable[int]) -> None:
    """Advance the epochs of these guards, which the session has locked."""
    for part in statements.chunks(sorted(set(ids))):
        session.execute(sqlalchemy.update(Guard).where(Guard.id.in_(part)).values(epoch=Guard.epoch + 1))


def touch(session: orm.Session, ids: Iterable[int]) -> None:
    """Say that somebody pushed data of these scopes; what is being rated goes on."""
    for part in statements.chunks(sorted(set(ids))):
        session.execute(sqlalchemy.update(Guard).where(Guard.id.in_(part)).values(touched=Guard.touched + 1))


def read_clocks(
    session: orm.Session, scopes: Iterable[scope.Scope], lock: bool = True
) -> dict[scope.Scope, datetime.datetime]:
    """Lock the state rows of *scopes*, if *lock*; return the clocks of those that exist."""
    result: dict[scope.Scope, datetime.datetime] = {}
    for identity, ids in _by_identity(scopes).items():
        for part in statements.chunks(ids):
            query = sqlalchemy.select(State.identifier, State.last_processed_timestamp).where(
                *_is(identity), State.identifier.in_(part)
            )
            for row in session.execute(query.order_by(State.id).with_for_update() if lock else query):
                clock = period.from_naive(row.last_processed_timestamp)
                result[scope.Scope(row.identifier, *dataclasses.astuple(identity))] = clock
    return result


def set_clocks(session: orm.Session, clocks: dict[scope.Scope, datetime.datetime]) -> None:
    """Set the last processed period of scopes whose state rows exist and are locked."""
    by_clock: dict[datetime.datetime, list[scope.Scope]] = {}
    for owner, clock in clocks.items():
        by_clock.setdefault(clock, []).append(owner)
    for clock, owners in sorted(by_clock.items()):
        for identity, ids in _by_identity(owners).items():
            for part in statements.chunks(ids):
                session.execute(
                    sqlalchemy.update(State)
                    .where(*_is(identity), State.identifier.in_(part))
                    .values(last_processed_timestamp=period.to_naive(clock))
                )


def _by_identity(scopes: Iterable[scope.Scope]) -> dict[Identity, list[str]]:
    result: dict[Identity, list[str]] = {}
    for owner in sorted(scopes):
        result.setdefault(Identity(owner.key, owner.fetcher, owner.collector), []).append(owner.id)
    return result


def _is(identity: Identity) -> tuple[Any, ...]:
    return (
        State.scope_key == identity.key,
        State.fetcher == identity.fetcher,
        State.collector == identity.collector,
    )


def read_mark(database: engine.Database, scope_id: str) -> tuple[int, int] | None:
    """Return what changes with everything that is done to the data of a scope; None without a guard."""
    with database.reader() as session:
        query = sqlalchemy.select(Guard.epoch, Guard.touched).where(Guard.identifier == scope_id)
        row = session.execute(query).first() if scope_id == types.clean(scope_id) else None
    return None if row is None else (row[0], row[1])


def list_ids(database: engine.Database) -> list[str]:
    """Return the sorted ids of all scopes that have a guard."""
    with database.reader() as session:
        return sorted(session.scalars(sqlalchemy.select(Guard.identifier)))
