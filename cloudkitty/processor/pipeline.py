# SPDX-License-Identifier: Apache-2.0
"""One batch: collect it, decide what moves on, price it, commit it."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime

from oslo_log import log

from cloudkitty import coverage
from cloudkitty import metric
from cloudkitty import period
from cloudkitty import scope
from cloudkitty import series
from cloudkitty import usage
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.processor import planner
from cloudkitty.storage import base as storage_base

LOG = log.getLogger(__name__)

Cell = tuple[str, str, int]


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to wait for a source that fails, and when to try again.

    :ivar hold: seconds after the first failed attempt at a cell during which its scope waits for it.
    """

    hold: int
    first_pause: int = 60
    longest_pause: int = 3600

    def next_attempt(self, attempts: int, now: int) -> int:
        """Return the second before which nobody tries again after *attempts* failed ones."""
        return now + min(self.first_pause * 2 ** min(attempts - 1, 10), self.longest_pause)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a batch.

    :ivar committed, dropped, held: scope ids; held ones wait for their source, without any period rated.
    :ivar points: how many points were committed.
    """

    committed: frozenset[str]
    dropped: frozenset[str]
    held: frozenset[str]
    points: int = 0


def until_held(
    troubles: Iterable[usage.Trouble],
    known: Mapping[Cell, coverage.Failure],
    patience: Patience,
    length: int,
    now: int,
) -> dict[str, int]:
    """Return {scope id: begin of the first cell that it waits for}.

    A cell that the source failed to give transiently is waited for, until *patience.hold* seconds after the first
    failed attempt at it; one that it refused for good is not.
    """
    result: dict[str, int] = {}
    for trouble in troubles:
        if trouble.status is not coverage.Status.FAILED or trouble.permanent:
            continue
        for begin in range(trouble.begin, trouble.end, length):
            failure = known.get((trouble.scope_id, trouble.metric, begin))
            if now < (failure.since if failure else now) + patience.hold:
                result[trouble.scope_id] = min(begin, result.get(trouble.scope_id, begin))
                break
    return result


def cut(found: usage.Usage, ends: Mapping[str, int]) -> usage.Usage:
    """Return *found* without the cells of each scope from *ends* (scope id: epoch second) on."""
    columns = []
    for item in found.columns:
        end = ends.get(item.series.scope_id, found.batch.end)
        count = sum(1 for begin in item.begins if begin < end)
        if count == len(item.begins):
            columns.append(item)
        elif count:
            columns.append(dataclasses.replace(item, begins=item.begins[:count], quantities=item.quantities[:count]))
    troubles = []
    for trouble in found.troubles:
        end = min(trouble.end, ends.get(trouble.scope_id, found.batch.end))
        if trouble.begin < end:
            troubles.append(dataclasses.replace(trouble, end=end))
    return dataclasses.replace(found, columns=columns, troubles=troubles)


def coverage_of(
    rated: usage.Rated, metrics: Sequence[metric.Metric], windows: Mapping[str, tuple[int, int]], length: int
) -> list[coverage.Run]:
    """Return the runs of every cell of *windows* (scope id: begin and end): empty unless something says otherwise."""
    filled: set[Cell] = set()
    for item in rated.columns:
        filled.update((item.series.scope_id, item.series.metric, begin) for begin in item.begins)
    filled.update(rated.skipped)
    status: dict[Cell, coverage.Status] = {}
    for trouble in rated.troubles:
        for begin in range(trouble.begin, trouble.end, length):
            status[trouble.scope_id, trouble.metric, begin] = trouble.status
    runs = []
    for scope_id, (first, end) in windows.items():
        for item_type in dict.fromkeys(item.type for item in metrics):
            for begin in range(first, end, length):
                cell = (scope_id, item_type, begin)
                became = status.get(cell) or (coverage.Status.RATED if cell in filled else coverage.Status.EMPTY)
                priced = cell in filled and became in (coverage.Status.RATED, coverage.Status.PROVISIONAL)
                runs.append(
                    coverage.Run(
                        scope_id,
                        item_type,
                        begin,
                        begin + length,
                        became,
                        rated.rule_set if priced else None,
                        (scope_id, begin) in rated.altered,
                    )
                )
    return coverage.join(runs)


def failures_of(
    troubles: Iterable[usage.Trouble],
    known: Mapping[Cell, coverage.Failure],
    patience: Patience,
    length: int,
    now: int,
) -> list[coverage.Failure]:
    """Return the open troubles that *troubles* leave behind, each one attempt older than it was known."""
    open_ended = (coverage.Status.FAILED, coverage.Status.PROVISIONAL, coverage.Status.UNRATED)
    result = {}
    for trouble in troubles:
        if trouble.status not in open_ended:
            continue
        for begin in range(trouble.begin, trouble.end, length):
            cell = (trouble.scope_id, trouble.metric, begin)
            before = known.get(cell)
            attempts = before.attempts + 1 if before else 1
            result[cell] = coverage.Failure(
                *cell, before.since if before else now, attempts, patience.next_attempt(attempts, now), trouble.error
            )
    return list(result.values())


class Pipeline:
    """Takes batches from the source to the database.

    :param collector: has ``collect(batch)``.
    :param chains: has ``get()``, which returns the rating chain of today's rules.
    :param metrics: the metric definitions.
    :param clock: returns the present instant.
    """

    def __init__(
        self,
        database: engine.Database,
        collector,
        chains,
        storage: storage_base.BaseStorage,
        metrics: Sequence[metric.Metric],
        schedule: planner.Schedule,
        patience: Patience,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._database = database
        self._collector = collector
        self._chains = chains
        self._storage = storage
        self.metrics = tuple(metrics)
        self._length = schedule.length
        self._patience = patience
        self._clock = clock
        self._warned: set[tuple[str, str]] = set()

    def run(self, work: planner.Work, known: Mapping[Cell, coverage.Failure]) -> Outcome:
        """Rate *work*; *known* are the open troubles of its scopes."""
        states = {state.scope.id: state for state in work.states}
        batch = usage.Batch(tuple(states), self.metrics, work.begin, self._length, work.count)
        found = self._collector.collect(batch)
        now = period.to_epoch(self._clock())
        self._warn(found.troubles)
        holds = until_held(found.troubles, known, self._patience, self._length, now)
        ends = {scope_id: holds.get(scope_id, batch.end) for scope_id in states}
        waiting = [
            trouble
            for trouble in found.troubles
            if trouble.scope_id in holds and trouble.begin <= holds[trouble.scope_id] < trouble.end
        ]
        held_failures = failures_of(
            [
                dataclasses.replace(trouble, begin=holds[trouble.scope_id], end=holds[trouble.scope_id] + self._length)
                for trouble in waiting
            ],
            known,
            self._patience,
            self._length,
            now,
        )
        moving = {scope_id: (batch.begin, end) for scope_id, end in ends.items() if end > batch.begin}
        held = frozenset(states) - frozenset(moving)
        if held_failures:
            self._log_hold(batch, holds, waiting)
        if not moving:
            ledger.note_failures(self._database, held_failures)
            return Outcome(frozenset(), frozenset(), held)
        rated = self._chains.get().price(cut(found, ends))
        failures = failures_of(rated.troubles, known, self._patience, self._length, now)
        result = self._commit(
            [storage_base.Change(states[scope_id], *window) for scope_id, window in moving.items()],
            rated,
            coverage_of(rated, self.metrics, moving, self._length),
            [*failures, *(failure for failure in held_failures if failure.scope_id in moving)],
        )
        ledger.note_failures(self._database, [item for item in held_failures if item.scope_id in held])
        points = sum(len(item.begins) for item in rated.columns if item.series.scope_id in result.committed)
        LOG.info(
            '%s to %s: rated %d points of %d scopes%s',
            period.from_epoch(batch.begin),
            period.from_epoch(batch.end),
            points,
            len(result.committed),
            ', %d scopes were changed by somebody else meanwhile' % len(result.dropped) if result.dropped else '',
        )
        return Outcome(result.committed, result.dropped, held, points)

    def mend(
        self,
        states: Mapping[str, scope.State],
        batch: usage.Batch,
        known: Mapping[Cell, coverage.Failure],
        columns: Sequence[series.Columns] | None = None,
    ) -> Outcome:
        """Collect the cells of *batch*, which the clock has passed, once more, price and write them.

        :param columns: quantities that are stored without a price; given, nothing is collected.
        """
        if columns is None:
            found = self._collector.collect(batch)
        else:
            found = usage.Usage(batch, list(columns), [])
        now = period.to_epoch(self._clock())
        rated = self._chains.get().price(found)
        windows = dict.fromkeys(batch.scope_ids, (batch.begin, batch.end))
        runs = coverage_of(rated, batch.metrics, windows, self._length)
        result = self._commit(
            [storage_base.Change(states[scope_id], *window, moves_clock=False) for scope_id, window in windows.items()],
            rated,
            # What fails again stays as it is, provisional points included.
            [run for run in runs if run.status is not coverage.Status.FAILED],
            failures_of(rated.troubles, known, self._patience, self._length, now),
            replace=True,
        )
        points = sum(len(item.begins) for item in rated.columns if item.series.scope_id in result.committed)
        return Outcome(result.committed, result.dropped, frozenset(), points)

    def _commit(
        self,
        changes: Sequence[storage_base.Change],
        rated: usage.Rated,
        runs: Sequence[coverage.Run],
        failures: Sequence[coverage.Failure],
        replace: bool = False,
    ) -> storage_base.CommitResult:
        return self._storage.commit(
            storage_base.Commit(
                self._length,
                changes,
                rated.columns,
                runs,
                failures,
                rated.skipped,
                replace=replace,
                cause='repair' if replace else None,
            )
        )

    def _warn(self, troubles: Iterable[usage.Trouble]) -> None:
        """Say once per cause what the source does not know or refuses."""
        for trouble in troubles:
            cause = (trouble.metric, trouble.error)
            if cause not in self._warned and (trouble.status is coverage.Status.UNKNOWN or trouble.permanent):
                self._warned.add(cause)
                LOG.warning('Metric %s: %s; the other metrics go on.', *cause)

    def _log_hold(self, batch: usage.Batch, holds: Mapping[str, int], waiting: Sequence[usage.Trouble]) -> None:
        LOG.warning(
            '%s: %d scopes wait for their source (metric %s: %s)',
            period.from_epoch(min(holds.values())),
            len(holds),
            waiting[0].metric if waiting else '',
            waiting[0].error if waiting else '',
        )
