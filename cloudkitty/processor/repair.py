# SPDX-License-Identifier: Apache-2.0
"""The repair of cells that the clock has passed: collect again what failed, price again what has no price.

Oldest first, with growing pauses; what fails for longer than the repair window is lost, with an ERROR.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import itertools

from oslo_log import log

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty import scope
from cloudkitty import series
from cloudkitty import usage
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.processor import pipeline
from cloudkitty.processor import planner
from cloudkitty.storage import base as storage_base

LOG = log.getLogger(__name__)

#: How many cells one round mends at most.
ROUND = 5000


@dataclasses.dataclass(frozen=True)
class Job:
    """Cells that can be asked for together: scopes x metric types x consecutive periods."""

    scope_ids: tuple[str, ...]
    metrics: tuple[str, ...]
    begin: int
    end: int


def group(cells: Iterable[pipeline.Cell], length: int) -> list[Job]:
    """Return the jobs that cover exactly *cells*, oldest first."""
    begins: dict[tuple[str, str], list[int]] = {}
    for scope_id, name, begin in cells:
        begins.setdefault((scope_id, name), []).append(begin)
    stretches: dict[tuple[str, int, int], list[str]] = {}
    for (scope_id, name), found in begins.items():
        found.sort()
        # Consecutive begins have the same distance from their place in the list.
        for _, part in itertools.groupby(enumerate(found), key=lambda pair: pair[1] - pair[0] * length):
            stretch = [begin for _, begin in part]
            stretches.setdefault((scope_id, stretch[0], stretch[-1] + length), []).append(name)
    jobs: dict[tuple[tuple[str, ...], int, int], list[str]] = {}
    for (scope_id, begin, end), names in stretches.items():
        jobs.setdefault((tuple(sorted(names)), begin, end), []).append(scope_id)
    return sorted(
        (Job(tuple(sorted(ids)), names, begin, end) for (names, begin, end), ids in jobs.items()),
        key=lambda job: (job.begin, job.end, job.metrics),
    )


class Repair:
    """:param window: seconds from the first failed attempt after which a cell is lost."""

    def __init__(
        self,
        database: engine.Database,
        line: pipeline.Pipeline,
        storage: storage_base.BaseStorage,
        schedule: planner.Schedule,
        window: int,
    ) -> None:
        self._database = database
        self._line = line
        self._storage = storage
        self._length = schedule.length
        self._window = window

    def run(self, states: Mapping[str, scope.State], now: int) -> int:
        """Mend what is due of the scopes of *states* (scope id: active state) at *now*; return the cells mended."""
        failures = [
            failure
            for failure in ledger.list_failures(self._database, due_before=now, scope_ids=states, limit=ROUND)
            if failure.begin <= period.to_epoch(states[failure.scope_id].last_processed)
        ]
        if not failures:
            return 0
        known = {(failure.scope_id, failure.metric, failure.begin): failure for failure in failures}
        status = self._status_of(known)
        lost = {
            cell
            for cell, failure in known.items()
            if failure.since + self._window < now and status.get(cell) is not coverage.Status.UNRATED
        }
        if lost:
            self._give_up(states, lost)
        unrated = {cell for cell in known if status.get(cell) is coverage.Status.UNRATED}
        mended = 0
        for cells, is_stored in ((known.keys() - lost - unrated, False), (unrated, True)):
            for job in group(cells, self._length):
                mended += self._mend(states, job, known, is_stored)
        return mended

    def _mend(
        self,
        states: Mapping[str, scope.State],
        job: Job,
        known: Mapping[pipeline.Cell, coverage.Failure],
        is_stored: bool,
    ) -> int:
        metrics = tuple(metric for metric in self._line.metrics if metric.type in job.metrics)
        if not metrics:
            return 0  # no such metric any more; the cell is lost when its time has come
        fresh = self._refresh(states, job.scope_ids)
        count = (job.end - job.begin) // self._length
        batch = usage.Batch(tuple(fresh), metrics, job.begin, self._length, count)
        stored: list[series.Columns] | None = None
        if is_stored:
            stored = self._storage.quantities(job.scope_ids, job.metrics, job.begin, job.end)
        outcome = self._line.mend(fresh, batch, known, stored)
        LOG.info(
            '%s to %s: repaired %d points of %d scopes',
            period.from_epoch(job.begin),
            period.from_epoch(job.end),
            outcome.points,
            len(outcome.committed),
        )
        return len(outcome.committed) * len(metrics) * count

    def _refresh(self, states: Mapping[str, scope.State], ids: Collection[str]) -> dict[str, scope.State]:
        """Return the states of *ids* as they are now: an earlier job of this round advanced their epochs."""
        identities = {states[scope_id].scope: scope_id for scope_id in ids}
        return {
            state.scope.id: state
            for state in scopes.list_states(self._database, ids=ids, active=True)
            if state.scope in identities
        }

    def _status_of(self, cells: Collection[pipeline.Cell]) -> dict[pipeline.Cell, coverage.Status]:
        first = min(cell[2] for cell in cells)
        last = max(cell[2] for cell in cells) + self._length
        runs: dict[tuple[str, str], list[coverage.Run]] = {}
        for run in ledger.list_runs(self._database, {cell[0] for cell in cells}, first, last):
            runs.setdefault((run.scope_id, run.metric), []).append(run)
        return {cell: run.status for cell in cells for run in runs.get(cell[:2], ()) if run.begin <= cell[2] < run.end}

    def _give_up(self, states: Mapping[str, scope.State], cells: Collection[pipeline.Cell]) -> None:
        for job in group(cells, self._length):
            fresh = self._refresh(states, job.scope_ids)
            runs = [
                coverage.Run(scope_id, name, job.begin, job.end, coverage.Status.LOST)
                for scope_id in fresh
                for name in job.metrics
            ]
            changes = [storage_base.Change(state, job.begin, job.end, moves_clock=False) for state in fresh.values()]
            self._storage.commit(storage_base.Commit(self._length, changes, [], runs))
            LOG.error(
                '%s to %s: metrics %s of %d scopes are lost: the source did not give them in time',
                period.from_epoch(job.begin),
                period.from_epoch(job.end),
                ', '.join(job.metrics),
                len(fresh),
            )
