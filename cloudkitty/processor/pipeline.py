# SPDX-License-Identifier: Apache-2.0
"""One batch: collect it, decide what moves on, price it, commit it."""

import bisect
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
from cloudkitty import telemetry
from cloudkitty import usage
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.processor import churn
from cloudkitty.processor import figures
from cloudkitty.processor import known_cells
from cloudkitty.processor import planner
from cloudkitty.processor import settling
from cloudkitty.storage import base as storage_base

LOG = log.getLogger(__name__)

Cell = known_cells.Cell


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

    def fail(self, cell: Cell, error: str, before: coverage.Failure | None, now: int) -> coverage.Failure:
        """Return the open trouble of *cell* after one more failed attempt.

        :param before: what was known of it; None for the first attempt.
        """
        attempts = before.attempts + 1 if before else 1
        return coverage.Failure(
            *cell, before.since if before else now, attempts, self.next_attempt(attempts, now), error
        )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a batch.

    :ivar committed, dropped, held, left: scope ids. Dropped ones were changed by somebody else meanwhile; held ones
        wait for their source, without any period rated; left ones the collector did not get to.
    :ivar points: how many points were committed.
    """

    committed: frozenset[str]
    dropped: frozenset[str]
    held: frozenset[str]
    left: frozenset[str] = frozenset()
    points: int = 0


def is_transient(trouble: usage.Trouble) -> bool:
    """Return whether the source failed in a way that waiting may mend."""
    return trouble.status is coverage.Status.FAILED and not trouble.permanent


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
    for trouble in filter(is_transient, troubles):
        for begin in range(trouble.begin, trouble.end, length):
            failure = known.get((trouble.scope_id, trouble.metric, begin))
            if now < (failure.since if failure else now) + patience.hold:
                result[trouble.scope_id] = min(begin, result.get(trouble.scope_id, begin))
                break
    return result


def note_held(
    troubles: Iterable[usage.Trouble],
    holds: Mapping[str, int],
    known: Mapping[Cell, coverage.Failure],
    patience: Patience,
    length: int,
    now: int,
) -> list[coverage.Failure]:
    """Return the open troubles of cells that stay before the clock of their scope: from where it waits, all of them.

    The later ones count from now, too: were each counted only when its turn comes, a metric that always fails would
    cost its scope a whole hold for every period. Nobody waits for the next attempt any longer than for the cell.
    """
    result = {}
    for trouble in filter(is_transient, troubles):
        if trouble.scope_id not in holds:
            continue
        for begin in range(max(trouble.begin, holds[trouble.scope_id]), trouble.end, length):
            cell = (trouble.scope_id, trouble.metric, begin)
            failure = patience.fail(cell, trouble.error, known.get(cell), now)
            over = failure.since + patience.hold
            if now < over < failure.next_attempt:
                failure = dataclasses.replace(failure, next_attempt=over)
            result[cell] = failure
    return list(result.values())


def cut(found: usage.Usage, ends: Mapping[str, int]) -> usage.Usage:
    """Return *found* without the cells of each scope from *ends* (scope id: epoch second) on."""
    columns = []
    for item in found.columns:
        end = ends.get(item.series.scope_id, found.batch.end)
        count = bisect.bisect_left(item.begins, end)
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


def filled_cells(rated: usage.Rated) -> set[Cell]:
    """Return the cells that have points, or had some before they were skipped."""
    filled: set[Cell] = set(rated.skipped)
    for item in rated.columns:
        filled.update((item.series.scope_id, item.series.metric, begin) for begin in item.begins)
    return filled


def to_run(cell: Cell, length: int, status: coverage.Status, is_filled: bool, rated: usage.Rated) -> coverage.Run:
    """Return the run of one *cell* that *rated* gave *status*."""
    scope_id, name, begin = cell
    priced = is_filled and status in (coverage.Status.RATED, coverage.Status.PROVISIONAL)
    return coverage.Run(
        scope_id,
        name,
        begin,
        begin + length,
        status,
        rated.rule_set if priced else None,
        (scope_id, begin) in rated.altered or cell in rated.skipped,
    )


def coverage_of(
    rated: usage.Rated, types: Iterable[str], windows: Mapping[str, tuple[int, int]], length: int
) -> list[coverage.Run]:
    """Return the runs of every cell of *windows* (scope id: begin and end): empty unless something says otherwise.

    :param types: metric types; those that only a rating module put there are added for their scopes.
    """
    filled = _filled_begins(rated)
    # Everything else is the same in all its cells.
    odd = {(trouble.scope_id, trouble.metric) for trouble in rated.troubles}
    odd.update((scope_id, name) for scope_id, name, _ in rated.skipped)
    altered = {scope_id for scope_id, _ in rated.altered}
    troubles = known_cells.troubled_cells(rated.troubles, length)
    known = dict.fromkeys(types)
    added: dict[str, dict[str, None]] = {}
    for scope_id, name in sorted(filled):
        if name not in known:
            added.setdefault(scope_id, {})[name] = None
    runs: list[coverage.Run] = []
    for scope_id, (first, end) in windows.items():
        begins = tuple(range(first, end, length))
        for name in (*known, *added.get(scope_id, ())):
            there = filled.get((scope_id, name), ())
            if (scope_id, name) not in odd and scope_id not in altered:
                if not there or there == begins:
                    status, rule_set = (
                        (coverage.Status.RATED, rated.rule_set) if there else (coverage.Status.EMPTY, None)
                    )
                    runs += coverage.split_months(coverage.Run(scope_id, name, first, end, status, rule_set))
                    continue
            instants = frozenset(there)
            for begin in begins:
                cell = (scope_id, name, begin)
                trouble = troubles.get(cell)
                is_filled = begin in instants
                status = coverage.Status.RATED if is_filled else coverage.Status.EMPTY
                runs.append(to_run(cell, length, trouble.status if trouble else status, is_filled, rated))
    return coverage.join(runs)


def _filled_begins(rated: usage.Rated) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return {(scope id, metric type): begins of the cells of :func:`filled_cells`}, ascending."""
    result: dict[tuple[str, str], tuple[int, ...]] = {}
    for item in rated.columns:
        key = (item.series.scope_id, item.series.metric)
        before = result.setdefault(key, item.begins)
        # Most series of a batch have points in the same periods.
        if before is not item.begins and before != item.begins:
            result[key] = tuple(sorted({*before, *item.begins}))
    for scope_id, name, begin in rated.skipped:
        key = (scope_id, name)
        result[key] = tuple(sorted({*result.get(key, ()), begin}))
    return result


def failures_of(
    troubles: Iterable[usage.Trouble],
    known: Mapping[Cell, coverage.Failure],
    patience: Patience,
    length: int,
    now: int,
) -> list[coverage.Failure]:
    """Return the open troubles that *troubles* leave behind, each one attempt older than it was known."""
    open_ended = (coverage.Status.FAILED, coverage.Status.PROVISIONAL, coverage.Status.UNRATED)
    return [
        patience.fail(cell, trouble.error, known.get(cell), now)
        for cell, trouble in known_cells.troubled_cells(troubles, length).items()
        if trouble.status in open_ended
    ]


class Causes:
    """Says once per cause what a source does not know or refuses."""

    #: Causes to remember; texts may name amounts, of which there is no end.
    MOST = 10000

    def __init__(self) -> None:
        self._warned: set[tuple[str, str]] = set()

    def warn(self, troubles: Iterable[usage.Trouble]) -> None:
        for trouble in troubles:
            cause = (trouble.metric, trouble.error)
            if cause not in self._warned and (trouble.status is coverage.Status.UNKNOWN or trouble.permanent):
                if len(self._warned) >= self.MOST:
                    self._warned.clear()
                self._warned.add(cause)
                LOG.warning('Metric %s: %s; the other metrics go on.', trouble.metric, trouble.error.rstrip('.'))


class Pipeline:
    """Takes batches from the source to the database.

    :param collector: has ``collect(batch)``.
    :param chains: has ``get()``, which returns the rating chain of today's rules.
    :param metrics: the metric definitions.
    :param clock: returns the present instant.
    :param pause: called now and then during long computing, so that others get a turn.
    :param causes: what was warned of already.
    :param settler: looks at the periods before those of a batch; None: nobody does.
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
        pause: Callable[[], None] | None = None,
        causes: Causes | None = None,
        settler: settling.Settler | None = None,
    ) -> None:
        self._database = database
        self._collector = collector
        self._chains = chains
        self._storage = storage
        self._metrics = tuple(metrics)
        self._types = tuple(dict.fromkeys(item.type for item in metrics))
        self._schedule = schedule
        self._length = schedule.length
        self._patience = patience
        self._clock = clock
        self._pause = pause
        self._causes = causes or Causes()
        self._settler = settler or settling.Settler(database, storage, schedule.length, 0)
        self._churn = churn.Churn()

    def run(self, work: planner.Work, known: Mapping[Cell, coverage.Failure]) -> Outcome:
        """Rate *work*, or the part of it that the collector gets to; *known* are the open troubles of its scopes."""
        asked = {state.scope.id: state for state in work.states}
        with telemetry.timed(telemetry.STAGES, stage='collect'):
            early, found = self._collect(usage.Batch(tuple(asked), self._metrics, work.begin, self._length, work.count))
        batch = found.batch
        figures.collected(batch)
        if self._schedule.count_due(batch.begin, self._clock()) < batch.count:
            LOG.warning(
                '%s: the clock of this host was set back, and the period is not due: %d scopes wait for it.',
                period.from_epoch(batch.begin),
                len(asked),
            )
            return Outcome(frozenset(), frozenset(), frozenset(asked))
        states = {scope_id: asked[scope_id] for scope_id in batch.scope_ids}
        now = period.to_epoch(self._clock())
        self._causes.warn(found.troubles)
        holds = until_held(found.troubles, known, self._patience, self._length, now)
        waiting = note_held(found.troubles, holds, known, self._patience, self._length, now)
        ends = {scope_id: holds.get(scope_id, batch.end) for scope_id in states}
        moving = {scope_id: (batch.begin, end) for scope_id, end in ends.items() if end > batch.begin}
        if waiting:
            self._log_hold(holds, waiting)
        result = storage_base.CommitResult(frozenset(), frozenset())
        points = 0
        if moving:
            chain = self._chains.get()
            with telemetry.timed(telemetry.STAGES, stage='price'):
                rated = chain.price(cut(found, ends), self._pause)
            telemetry.note(telemetry.RULES, chain.revision)
            self._churn.look(rated.columns)
            failures = failures_of(rated.troubles, known, self._patience, self._length, now)
            runs = coverage_of(rated, self._types, moving, self._length)
            reached = {scope_id: end for scope_id, (_, end) in moving.items()}
            look = self._settler.look(early, states, reached, now)
            # Of what comes period by period none is looked at again.
            again = self._settler.again(states, reached) if early.batch.count else reached
            runs, doubts = self._settler.doubt(runs, again, found.backlog, now)
            commit = storage_base.Commit(
                self._length,
                [storage_base.Change(states[scope_id], *window) for scope_id, window in moving.items()],
                rated.columns,
                coverage.join([*runs, *look.runs]) if look.runs else runs,
                [*failures, *doubts, *look.failures, *(item for item in waiting if item.scope_id in moving)],
                rated.skipped,
                now=now,
            )
            with telemetry.timed(telemetry.STAGES, stage='commit'):
                result = self._storage.commit(commit)
            self._settler.remember(found, look, [states[scope_id] for scope_id in result.committed], reached, runs)
            points = sum(len(item.begins) for item in rated.columns if item.series.scope_id in result.committed)
            figures.committed(figures.RATING, commit, result, points)
            LOG.info(
                '%s to %s: rated %d points of %d scopes%s',
                period.from_epoch(batch.begin),
                period.from_epoch(batch.end),
                points,
                len(result.committed),
                ', %d scopes were changed by somebody else meanwhile' % len(result.dropped) if result.dropped else '',
            )
            if look.late:
                LOG.info('%d cells of periods before are not as they were, and are mended.', look.late)
        held = frozenset(states) - frozenset(moving)
        telemetry.count(telemetry.HELD, len(holds))
        ledger.note_failures(self._database, [failure for failure in waiting if failure.scope_id in held])
        return Outcome(result.committed, result.dropped, held, frozenset(asked) - frozenset(states), points)

    def _log_hold(self, holds: Mapping[str, int], waiting: Sequence[coverage.Failure]) -> None:
        LOG.warning(
            '%s: %d scopes wait for their source (metric %s: %s)',
            period.from_epoch(min(holds.values())),
            len(holds),
            waiting[0].metric,
            waiting[0].error,
        )

    def _collect(self, batch: usage.Batch) -> tuple[usage.Usage, usage.Usage]:
        """Return what the source says of the periods before *batch* that are to be looked at again, and of *batch*."""
        wide = self._settler.widen(batch)
        found = self._collector.collect(wide)
        if found.batch.end <= batch.begin:
            # A scope so large that its periods come one by one: they are not asked for twice.
            found = self._collector.collect(dataclasses.replace(batch, scope_ids=found.batch.scope_ids))
        return settling.split(found, batch.begin)
