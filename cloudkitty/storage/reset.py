# SPDX-License-Identifier: Apache-2.0
"""Setting clocks back: what was collected behind them goes in the same transaction, so that it is rated anew."""

from collections.abc import Iterable
import datetime

from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty import period
from cloudkitty import scope
from cloudkitty.db import engine
from cloudkitty.db import purges
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.storage import base

#: How many scopes one transaction takes.
AT_ONCE = 100


class OffGrid(errors.BadRequest):
    def __init__(self, owner: scope.Scope, clock: datetime.datetime, last: datetime.datetime) -> None:
        super().__init__(
            'last_processed_timestamp: %s is not the begin of a period of scope %s; its last one begins at %s.'
            % (clock.isoformat(), owner.id, last.isoformat())
        )


def reset(
    database: engine.Database,
    storage: base.BaseStorage,
    owners: Iterable[scope.Scope],
    clock: datetime.datetime,
    length: int,
    who: str | None = None,
) -> None:
    """Make the period that begins at *clock* the last rated one of *owners*.

    What was collected for it stays; what was collected for later periods is deleted, and what a processor has in hand
    of these scopes is dropped when it wants to commit it.

    :param length: of a period, in seconds.
    :param who: asks for it, for the history.
    :raises OffGrid: *clock* is not the begin of a period of one of them; nothing is changed then.
    :raises Purged: data of one of them was purged that would be rated again; as before.
    """
    wanted = sorted(set(owners))
    with database.reader() as session:
        for owner, last in scopes.read_clocks(session, wanted, lock=False).items():
            _refuse_off_grid(owner, clock, last, length)
        purges.refuse(
            session, scopes.guard_ids(session, [owner.id for owner in wanted]), period.to_epoch(clock) + length
        )
    for part in statements.chunks(wanted, AT_ONCE):
        _reset_some(database, storage, part, clock, length, who)


def _reset_some(
    database: engine.Database,
    storage: base.BaseStorage,
    owners: list[scope.Scope],
    clock: datetime.datetime,
    length: int,
    who: str | None,
) -> None:
    def run(session: orm.Session) -> None:
        guards = scopes.ensure_guards(session, [owner.id for owner in owners])
        scopes.lock(session, guards.values())
        found = scopes.read_clocks(session, owners)
        for owner, last in found.items():
            _refuse_off_grid(owner, clock, last, length)
        kept = {owner.id: guards[owner.id] for owner in found}
        purges.refuse(session, kept, period.to_epoch(clock) + length)
        storage.erase(session, kept, period.to_epoch(clock) + length, base.END_OF_TIME, who)
        scopes.set_clocks(session, dict.fromkeys(found, clock))
        scopes.advance(session, kept.values())

    database.repeat(run)


def _refuse_off_grid(owner: scope.Scope, clock: datetime.datetime, last: datetime.datetime, length: int) -> None:
    if (clock - last).total_seconds() % length:
        raise OffGrid(owner, clock, last)
