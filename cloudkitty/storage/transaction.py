# SPDX-License-Identifier: Apache-2.0
"""What every commit in the database does around its points: guards, epochs, clocks and the ledger.

A driver calls, in one transaction: :func:`lock`, then whatever locks series, :func:`write_ledger`, then whatever writes
points, and :func:`finish`.
"""

import collections
from collections.abc import Mapping
import dataclasses
import time

from sqlalchemy import orm

from cloudkitty import adjustment
from cloudkitty import coverage
from cloudkitty import period
from cloudkitty.db import adjustments
from cloudkitty.db import coverage as ledger
from cloudkitty.db import purges
from cloudkitty.db import reprocessings
from cloudkitty.db import scopes
from cloudkitty.storage import base


@dataclasses.dataclass(frozen=True)
class Taken:
    """What of a commit goes on.

    :ivar guards: scope id to guard id of the scopes that did not move since the work was planned; they are locked.
    :ivar epochs: guard id to the epoch at which the guard stands.
    """

    guards: Mapping[str, int]
    epochs: Mapping[int, int]
    result: base.CommitResult


def lock(session: orm.Session, commit: base.Commit) -> Taken:
    """Lock guards, clocks and tasks of *commit*; scopes that moved since it was planned are dropped from it.

    So are those whose past it would write of which that was purged.
    """
    epochs = scopes.lock(session, [change.state.guard_id for change in commit.changes])
    clocks = scopes.read_clocks(session, [change.state.scope for change in commit.changes])
    guards = {
        change.state.scope.id: change.state.guard_id
        for change in commit.changes
        if epochs.get(change.state.guard_id) == change.state.epoch
        and clocks.get(change.state.scope) == change.state.last_processed
    }
    back = {change.state.guard_id: change.begin for change in commit.changes if not change.moves_clock}
    if back:
        purged = purges.read(session, list(back))
        guards = {scope_id: id_ for scope_id, id_ in guards.items() if back.get(id_, 0) >= purged.get(id_, 0)}
    if commit.steps:
        unchanged = reprocessings.lock(session, commit.steps.values())
        guards = {scope_id: id_ for scope_id, id_ in guards.items() if commit.steps[scope_id].task_id in unchanged}
    if commit.adjustments:
        pending = adjustments.lock_pending(session, commit.adjustments.values())
        guards = {scope_id: id_ for scope_id, id_ in guards.items() if commit.adjustments[scope_id].id in pending}
    asked = frozenset(change.state.scope.id for change in commit.changes)
    return Taken(guards, epochs, base.CommitResult(frozenset(guards), asked - frozenset(guards)))


def write_ledger(session: orm.Session, commit: base.Commit, guards: Mapping[str, int]) -> list[coverage.Run]:
    """Write coverage and open troubles of the scopes of *guards*; return what the coverage was before."""
    runs = [run for run in commit.runs if run.scope_id in guards]
    failures = [failure for failure in commit.failures if failure.scope_id in guards]
    before = ledger.write_runs(session, guards, runs)
    if runs:
        failing = {(failure.scope_id, failure.metric, failure.begin) for failure in failures}
        written = collections.defaultdict(list)
        for run in runs:
            written[run.scope_id, run.metric].append((run.begin, run.end))
        over = [
            cell
            for cell in ledger.failed_cells(
                session, guards, min(run.begin for run in runs), max(run.end for run in runs)
            )
            if cell not in failing and any(begin <= cell[2] < end for begin, end in written.get((cell[0], cell[1]), ()))
        ]
        ledger.delete_failures(session, guards, over)
    ledger.write_failures(session, guards, failures)
    return before


def finish(session: orm.Session, commit: base.Commit, guards: Mapping[str, int]) -> None:
    """Set the clocks of the scopes of *guards*, write what tasks and adjustments came to, and advance their epochs."""
    if commit.steps:
        reprocessings.advance(session, [commit.steps[scope_id] for scope_id in sorted(guards)])
    if commit.adjustments:
        applied = [commit.adjustments[scope_id].id or 0 for scope_id in guards]
        now = int(time.time()) if commit.now is None else commit.now
        adjustments.decide(session, applied, adjustment.Status.APPLIED, commit.who, now)
    scopes.set_clocks(
        session,
        {
            change.state.scope: period.from_epoch(change.end - commit.length)
            for change in commit.changes
            if change.state.scope.id in guards and change.moves_clock
        },
    )
    scopes.advance(session, guards.values())
