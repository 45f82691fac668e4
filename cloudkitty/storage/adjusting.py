# SPDX-License-Identifier: Apache-2.0
"""Adjustments and what is stored: what one would change, and applying it."""

from collections.abc import Collection
from collections.abc import Sequence

from cloudkitty import adjustment
from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import series
from cloudkitty.db import adjustments
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.storage import base

#: Start of the cause that the history gives of what an adjustment replaced.
CAUSE = 'adjustment'
#: Why a cell that an adjustment changed is still in need of mending.
OPEN = 'An adjustment was applied that was not the last word.'
#: Statuses of cells that have an open trouble.
_OPEN = frozenset({coverage.Status.PROVISIONAL, coverage.Status.UNRATED})


class Outdated(errors.Conflict):
    def __init__(self, items: Sequence[adjustment.Adjustment]) -> None:
        super().__init__(
            'adjustment_ids: what adjustment %s would replace is not what it was when that was noted; drop it, or wait '
            'for it to be noted anew.' % ', '.join(str(item.id) for item in items[:20])
        )


def stored(storage: base.BaseStorage, scope_id: str, metric: str, begin: int) -> list[series.Columns]:
    """Return the collected points of a cell, each series in one piece."""
    found: dict[tuple[bytes, int], series.Columns] = {}
    for item in storage.points_at(scope_id, metric, begin, {}):
        if item.series.origin is not series.Origin.COLLECTED:
            continue
        key = (item.series.fingerprint, item.length)
        before = found.get(key)
        if before is None:
            found[key] = item
        else:
            found[key] = series.Columns(
                item.series,
                item.length,
                before.begins + item.begins,
                before.quantities + item.quantities,
                (before.prices or ()) + (item.prices or ()),
            )
    return list(found.values())


def apply(
    database: engine.Database, storage: base.BaseStorage, ids: Collection[int], who: str | None, now: int
) -> set[int]:
    """Apply pending adjustments, each in a transaction of its own; return the ids of those that were pending.

    What they replace goes to the history, with *who* and the cause.

    :raises Outdated: a period was changed since; unless that happens meanwhile, none is applied then.
    """
    applied = set()
    _, found = adjustments.find(database, ids=ids, statuses=[adjustment.Status.PENDING])
    outdated = [item for item in found if _is_outdated(database, storage, item)]
    if outdated:
        raise Outdated(outdated)
    for item in found:
        if _apply_one(database, storage, item, who, now):
            applied.add(item.id or 0)
    return applied


def _apply_one(
    database: engine.Database, storage: base.BaseStorage, item: adjustment.Adjustment, who: str | None, now: int
) -> bool:
    # Others change the scope meanwhile; what they do is looked at again.
    for _ in range(3):
        states = scopes.list_states(database, ids=[item.scope_id])
        if not states or _is_outdated(database, storage, item):
            raise Outdated([item])
        length = item.end - item.begin
        causes = sorted({cell.cause for cell in item.cells.values()})
        result = storage.commit(
            base.Commit(
                length,
                [base.Change(states[0], item.begin, item.end, moves_clock=False)],
                [column for cell in item.cells.values() for column in cell.columns],
                [cell.run for cell in item.cells.values()],
                [
                    coverage.Failure(item.scope_id, name, item.begin, now, 0, now, OPEN)
                    for name, cell in item.cells.items()
                    if cell.run.status in _OPEN
                ],
                skipped={
                    (item.scope_id, name, item.begin): cell.skipped for name, cell in item.cells.items() if cell.skipped
                },
                replace=True,
                cause='%s %d: %s' % (CAUSE, item.id or 0, '; '.join(causes)),
                who=who,
                now=now,
                adjustments={item.scope_id: item},
            )
        )
        if result.committed:
            return True
        _, still = adjustments.find(database, ids=[item.id or 0], statuses=[adjustment.Status.PENDING])
        if not still:
            return False
        item = still[0]
    raise errors.Conflict('adjustment_ids: scope %s is being changed; try again.' % item.scope_id)


def _is_outdated(database: engine.Database, storage: base.BaseStorage, item: adjustment.Adjustment) -> bool:
    """Return whether what is stored is not what *item* was to replace."""
    # What was reset is rated anew, and has no coverage until then.
    return not ledger.list_runs(database, [item.scope_id], item.begin, item.end) or any(
        series.digest(stored(storage, item.scope_id, name, item.begin)) != cell.digest
        for name, cell in item.cells.items()
    )
