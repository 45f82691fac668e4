# SPDX-License-Identifier: Apache-2.0
"""How far scopes are closed: nothing of them changes by itself before."""

from collections.abc import Collection

import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import scopes
from cloudkitty.db import statements

Closing = ledger_models.Closing
Guard = ledger_models.Guard


def read(database: engine.Database, scope_ids: Collection[str]) -> dict[str, int]:
    """Return {scope id: epoch second before which it is closed} of those that were closed by themselves."""
    result: dict[str, int] = {}
    query = sqlalchemy.select(Guard.identifier, Closing.closed_until).join(Guard, Guard.id == Closing.scope_id)
    with database.reader() as session:
        for part in statements.chunks(sorted(set(scope_ids))):
            rows = session.execute(query.where(Guard.identifier.in_(part)))
            result.update((identifier, until) for identifier, until in rows)
    return result


def close(database: engine.Database, scope_id: str, until: int | None) -> None:
    """Close a scope up to epoch second *until*; None opens it. What is in hand of it is dropped, and done anew."""

    def run(session: orm.Session) -> None:
        guards = scopes.ensure_guards(session, [scope_id])
        scopes.lock(session, guards.values())
        (guard_id,) = guards.values()
        if until is None:
            statements.delete_keys(session, Closing, [(guard_id,)])
        else:
            statements.upsert(session, Closing, [{'scope_id': guard_id, 'closed_until': until}])
        scopes.advance(session, guards.values())

    database.repeat(run)
