# SPDX-License-Identifier: Apache-2.0
"""Up to where data of scopes was purged: periods before are neither rated again nor missed."""

from collections.abc import Collection
from collections.abc import Mapping

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import statements

Guard = ledger_models.Guard
Purge = ledger_models.Purge


class Purged(errors.BadRequest):
    def __init__(self, scope_id: str, until: int) -> None:
        super().__init__(
            'Data of scope %s from before %s was purged: no period of that time is rated again.'
            % (ascii(scope_id[:100])[1:-1], period.from_epoch(until).isoformat())
        )


def read(session: orm.Session, ids: Collection[int]) -> dict[int, int]:
    """Return {guard id: epoch second up to which its data was purged} of those of which any was."""
    result: dict[int, int] = {}
    for part in statements.chunks(sorted(set(ids))):
        query = sqlalchemy.select(Purge.scope_id, Purge.purged_until).where(Purge.scope_id.in_(part))
        result.update((row[0], row[1]) for row in session.execute(query))
    return result


def read_by_name(database: engine.Database, scope_ids: Collection[str]) -> dict[str, int]:
    """Return the same by scope id."""
    result: dict[str, int] = {}
    query = sqlalchemy.select(Guard.identifier, Purge.purged_until).join(Guard, Guard.id == Purge.scope_id)
    with database.reader() as session:
        for part in statements.chunks(sorted(set(scope_ids))):
            result.update((row[0], row[1]) for row in session.execute(query.where(Guard.identifier.in_(part))))
    return result


def newest(session: orm.Session) -> int:
    """Return the latest second up to which data of any scope was purged; 0 if none was."""
    return session.scalar(sqlalchemy.select(sqlalchemy.func.max(Purge.purged_until))) or 0


def count(session: orm.Session, after: int) -> tuple[int, int]:
    """Return of how many scopes data from after that second was purged, and up to when at the latest."""
    query = sqlalchemy.select(sqlalchemy.func.count(), sqlalchemy.func.max(Purge.purged_until))
    found = session.execute(query.where(Purge.purged_until > after)).one()
    return found[0], found[1] or 0


def write(session: orm.Session, until: Mapping[int, int]) -> None:
    """Write up to where data is purged, by guard id; the session has locked the guards."""
    statements.upsert(session, Purge, [{'scope_id': id_, 'purged_until': until[id_]} for id_ in sorted(until)])


def refuse(session: orm.Session, guards: Mapping[str, int], begin: int) -> None:
    """Refuse to rate periods from epoch second *begin* on; the session has locked the guards.

    :param guards: {scope id: guard id}.
    :raises Purged: data of one of these scopes was purged beyond.
    """
    found = read(session, list(guards.values()))
    for scope_id, guard_id in sorted(guards.items()):
        if begin < found.get(guard_id, 0):
            raise Purged(scope_id, found[guard_id])
