# SPDX-License-Identifier: Apache-2.0
"""Mending cells that the clock has passed: collect or read them, price them, write what came of it.

Where the chain holds a module that sees whole frames, what is mended is scope x period: the chain runs over the stored
quantities of the period and the cells that were collected again, and the whole period is written anew.
"""

from collections.abc import Callable
from collections.abc import Collection
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
from cloudkitty.processor import closing
from cloudkitty.processor import contents
from cloudkitty.processor import figures
from cloudkitty.processor import known_cells
from cloudkitty.processor import pipeline
from cloudkitty.processor import verdicts
from cloudkitty.storage import base as storage_base

LOG = log.getLogger(__name__)

Cell = known_cells.Cell

#: What a cell that is collected again may be before.
FAILING = frozenset({coverage.Status.FAILED, coverage.Status.PROVISIONAL})
UNRATED = frozenset({coverage.Status.UNRATED})
#: What a cell without points may be.
_HOLLOW = frozenset({coverage.Status.EMPTY, coverage.Status.UNKNOWN, coverage.Status.FAILED, coverage.Status.LOST})


@dataclasses.dataclass(frozen=True)
class Job:
    """Cells that can be asked for together: scopes x metric types x consecutive periods."""

    scope_ids: tuple[str, ...]
    metrics: tuple[str, ...]
    begin: int
    end: int


@dataclasses.dataclass(frozen=True)
class Way:
    """How cells are mended.

    :ivar digest: rule set to price with; None for today's rules.
    :ivar unrated: their quantities are stored and only lack a price; else they are collected again.
    :ivar whole: all metrics of the period are collected again: what is stored of it was altered by a module.
    """

    digest: str | None
    unrated: bool = False
    whole: bool = False


@dataclasses.dataclass
class _Mended:
    """A job after pricing.

    :ivar batch: what was really asked and read.
    :ivar came: cells that the source gave points for now.
    :ivar known: open troubles of the period.
    :ivar gone: cells of which the source has nothing more than a part of what it gave before.
    :ivar backlog: a deep one of the source.
    """

    job: Job
    way: Way
    batch: usage.Batch
    past: known_cells.Past
    came: set[Cell]
    rated: usage.Rated
    known: Mapping[Cell, coverage.Failure]
    gone: Collection[Cell] = ()
    backlog: usage.Backlog | None = None

    def judge(self, sees_whole_frames: bool, patience: pipeline.Patience, now: int) -> verdicts.Verdict:
        """Return what becomes of the cells."""
        filled = pipeline.filled_cells(self.rated)
        troubles = known_cells.troubled_cells(self.rated.troubles, self.batch.length)
        verdict = verdicts.Verdict()
        for scope_id in self.batch.scope_ids:
            for begin in self.batch.begins:
                before = self.past.at(scope_id, begin)
                targets = [(scope_id, name, begin) for name in self.job.metrics]
                errors = {cell: error for cell in targets if (error := self._fails_again(cell, troubles))}
                if sees_whole_frames:
                    cells, errors = self._whole_period(before, targets, errors, filled, troubles)
                else:
                    cells = [cell for cell in targets if cell not in errors]
                for cell in cells:
                    self._write(verdict, cell, before, filled, troubles, patience, now)
                for cell, error in errors.items():
                    verdict.failures[cell] = patience.fail(cell, error, self.known.get(cell), now)
        return verdict

    def _fails_again(self, cell: Cell, troubles: Mapping[Cell, usage.Trouble]) -> str | None:
        """Return why *cell* stays what it was; None if it does not."""
        trouble = troubles.get(cell)
        if trouble is not None and trouble.status is coverage.Status.FAILED:
            return trouble.error
        if self.way.unrated and trouble is not None and trouble.status is coverage.Status.UNRATED:
            return trouble.error
        return 'The source no longer has what it gave before.' if cell in self.gone else None

    def _whole_period(
        self,
        before: Mapping[str, coverage.Run],
        targets: Sequence[Cell],
        errors: dict[Cell, str],
        filled: Collection[Cell],
        troubles: Mapping[Cell, usage.Trouble],
    ) -> tuple[list[Cell], dict[Cell, str]]:
        """Return the cells of a period to write, and why the other targets are not among them."""
        scope_id, _, begin = targets[0]
        rest = [cell for cell in targets if cell not in errors]
        if not self.way.unrated and not any(cell in self.came for cell in rest):
            # Nothing came that could change what is priced already.
            return rest, errors
        if not rest:
            return [], errors
        here = [cell for cell in filled if cell[0] == scope_id and cell[2] == begin]
        unrated = [troubles[cell].error for cell in here if cell in troubles and _is_unrated(troubles[cell])]
        if unrated:
            # The prices that are there stay; of what came now the quantities are kept.
            waiting = [cell for cell in rest if cell not in self.came]
            return [cell for cell in rest if cell in self.came], errors | dict.fromkeys(waiting, unrated[0])
        if self.way.whole:
            gone = [
                name
                for name, run in before.items()
                if run.status not in _HOLLOW
                and (scope_id, name, begin) not in self.came
                and (scope_id, name, begin) not in filled
            ]
            if gone:
                error = 'The period has to be collected as a whole, but the source no longer has metric %s.' % gone[0]
                return [], errors | dict.fromkeys(rest, error)
        emptied = [
            (scope_id, name, begin)
            for name, run in before.items()
            if run.status not in _HOLLOW and (scope_id, name, begin) not in errors
        ]
        return list(dict.fromkeys([*rest, *sorted(here), *emptied])), errors

    def _write(
        self,
        verdict: verdicts.Verdict,
        cell: Cell,
        before: Mapping[str, coverage.Run],
        filled: Collection[Cell],
        troubles: Mapping[Cell, usage.Trouble],
        patience: pipeline.Patience,
        now: int,
    ) -> None:
        is_filled = cell in filled
        trouble = troubles.get(cell)
        run = before.get(cell[1])
        status = coverage.Status.RATED if is_filled else coverage.Status.EMPTY
        if trouble is not None and trouble.status is not coverage.Status.FAILED:
            status = trouble.status
            if status in (coverage.Status.PROVISIONAL, coverage.Status.UNRATED):
                verdict.failures[cell] = patience.fail(cell, trouble.error, self.known.get(cell), now)
        elif self.backlog is not None and not self.way.unrated and cell[2] + self.batch.length > self.backlog.since:
            status = coverage.Status.PROVISIONAL
            verdict.failures[cell] = patience.fail(cell, self.backlog.text, self.known.get(cell), now)
        elif run and run.status is coverage.Status.PROVISIONAL and is_filled and cell not in self.came:
            # Priced anew with the rest of its period, it is as provisional as it was.
            status = run.status
            if cell in self.known:
                verdict.failures[cell] = self.known[cell]
        verdict.runs[cell] = pipeline.to_run(cell, self.batch.length, status, is_filled, self.rated)


def _is_unrated(trouble: usage.Trouble) -> bool:
    return trouble.status is coverage.Status.UNRATED


class Mender:
    """Mends one job after the other.

    The parameters are those of :class:`cloudkitty.processor.pipeline.Pipeline`.

    :param closed: holds back what changes periods that are closed; None: only what takes points away.
    """

    def __init__(
        self,
        database: engine.Database,
        collector,
        storage: storage_base.BaseStorage,
        metrics: Sequence[metric.Metric],
        length: int,
        patience: pipeline.Patience,
        clock: Callable[[], datetime.datetime],
        pause: Callable[[], None] | None = None,
        causes: pipeline.Causes | None = None,
        closed: closing.Closed | None = None,
    ) -> None:
        self._database = database
        self._collector = collector
        self._storage = storage
        self.metrics = tuple(metrics)
        self._length = length
        self._patience = patience
        self._clock = clock
        self._pause = pause
        self._causes = causes or pipeline.Causes()
        self._closed = closed or closing.Closed(database, storage, length, clock)

    def mend(
        self,
        states: Mapping[str, scope.State],
        job: Job,
        way: Way,
        chain,
        is_way: Callable[[Cell, known_cells.Past], bool] = lambda cell, past: True,
    ) -> int:
        """Mend the cells of *job* that are still in need of it; return how many points were written.

        :param states: scope id to state, read before anything else: who changes a scope meanwhile is noticed by it.
        :param is_way: says whether a cell is still to be mended in that way, by what the ledger says now: who changed
            a scope before its state was read is noticed by that only.
        """
        past = known_cells.Past(ledger.list_runs(self._database, states, job.begin, job.end))
        states = {
            scope_id: state
            for scope_id, state in states.items()
            if self._is_in_need(scope_id, job, way, past)
            and all(is_way(cell, past) for cell in self._cells(scope_id, job))
        }
        if not states:
            return 0
        known = {
            (failure.scope_id, failure.metric, failure.begin): failure
            for failure in ledger.list_failures(self._database, scope_ids=states, begin=job.begin, end=job.end)
        }
        found = self._collect(tuple(states), job, way)
        if period.to_epoch(self._clock()) < job.end:
            # The clock of this host was set back: that is not over.
            return 0
        self._causes.warn(found.troubles)
        batch = found.batch
        states = {scope_id: states[scope_id] for scope_id in batch.scope_ids}
        came = {(item.series.scope_id, item.series.metric, begin) for item in found.columns for begin in item.begins}
        sees_whole_frames = chain.sees_whole_frames(batch.begin, batch.end)
        columns = [*found.columns, *self._stored(batch, job, way, came, sees_whole_frames)]
        rated = chain.price(usage.Usage(batch, columns, found.troubles), self._pause)
        gone, fewer = self._compare(found, job, way, past)
        backlog = found.backlog if found.backlog and found.backlog.is_deep and self._storage.tells_origins else None
        mended = _Mended(job, way, batch, past, came, rated, known, gone, backlog)
        verdict = mended.judge(sees_whole_frames, self._patience, period.to_epoch(self._clock()))
        self._closed.hold_back(states, verdict, rated, past, fewer, sees_whole_frames)
        return self._write(states, batch, rated, verdict, past, way)

    def _compare(self, found: usage.Usage, job: Job, way: Way, past: known_cells.Past) -> tuple[set[Cell], set[Cell]]:
        """Return the provisional cells of which the source merely has no more what it gave; those with fewer points.

        What a module made of a cell tells nothing: that one is gone if there is nothing of it at all.
        """
        targets = {
            (scope_id, name, begin): run
            for scope_id in found.batch.scope_ids
            for begin in found.batch.begins
            for name, run in past.at(scope_id, begin).items()
            if name in job.metrics and run.status is coverage.Status.PROVISIONAL
        }
        if way.unrated or not targets:
            return set(), set()
        batch = found.batch
        given = contents.of(found.columns)
        stored = contents.of(
            self._storage.quantities(batch.scope_ids, job.metrics, batch.begin, batch.end, priced=True)
        )
        gone: set[Cell] = set()
        fewer: set[Cell] = set()
        for cell, run in targets.items():
            before, after = stored.get(cell, contents.NONE), given.get(cell, contents.NONE)
            if run.altered:
                if before and not after:
                    gone.add(cell)
            elif after < before:
                gone.add(cell)
            elif after.total() < before.total():
                fewer.add(cell)
        return gone, fewer

    def _is_in_need(self, scope_id: str, job: Job, way: Way, past: known_cells.Past) -> bool:
        expected = UNRATED if way.unrated else FAILING
        return all(past.status(cell) in expected for cell in self._cells(scope_id, job))

    def _cells(self, scope_id: str, job: Job) -> list[Cell]:
        begins = range(job.begin, job.end, self._length)
        return [(scope_id, name, begin) for begin in begins for name in job.metrics]

    def _collect(self, scope_ids: tuple[str, ...], job: Job, way: Way) -> usage.Usage:
        metrics: tuple[metric.Metric, ...] = ()
        if way.whole:
            metrics = self.metrics
        elif not way.unrated:
            metrics = tuple(item for item in self.metrics if item.type in job.metrics)
        count = (job.end - job.begin) // self._length
        batch = usage.Batch(scope_ids, metrics, job.begin, self._length, count)
        return self._collector.collect(batch) if metrics else usage.Usage(batch, [], [])

    def _stored(
        self, batch: usage.Batch, job: Job, way: Way, came: Collection[Cell], sees_whole_frames: bool
    ) -> list[series.Columns]:
        """Return the stored quantities that are priced together with what came."""
        if sees_whole_frames and not way.whole:
            found = self._storage.quantities(batch.scope_ids, None, batch.begin, batch.end, priced=True)
            return keep(found, lambda cell: cell not in came)
        if way.unrated and not way.whole:
            return self._storage.quantities(batch.scope_ids, job.metrics, batch.begin, batch.end)
        return []

    def _write(
        self,
        states: Mapping[str, scope.State],
        batch: usage.Batch,
        rated: usage.Rated,
        verdict: verdicts.Verdict,
        past: known_cells.Past,
        way: Way,
    ) -> int:
        touched = {cell[0] for cell in verdict.runs}
        failures = list(verdict.failures.values())
        ledger.note_failures(self._database, [failure for failure in failures if failure.scope_id not in touched])
        if not touched:
            return 0
        columns = keep(rated.columns, lambda cell: cell in verdict.runs)
        is_late = any(past.status(cell) is coverage.Status.PROVISIONAL for cell in verdict.runs)
        commit = storage_base.Commit(
            self._length,
            [
                storage_base.Change(states[scope_id], batch.begin, batch.end, moves_clock=False)
                for scope_id in sorted(touched)
            ],
            columns,
            coverage.join(list(verdict.runs.values())),
            [failure for failure in failures if failure.scope_id in touched],
            {cell: count for cell, count in rated.skipped.items() if cell in verdict.runs},
            replace=True,
            cause='repair' if way.unrated or not is_late else 'late data',
            now=period.to_epoch(self._clock()),
        )
        result = self._storage.commit(commit)
        points = sum(len(item.begins) for item in columns if item.series.scope_id in result.committed)
        figures.committed(figures.REPAIR, commit, result, points)
        LOG.info(
            '%s to %s: repaired %d points of %d scopes',
            period.from_epoch(batch.begin),
            period.from_epoch(batch.end),
            points,
            len(result.committed),
        )
        return points


def keep(columns: Iterable[series.Columns], wanted: Callable[[Cell], bool]) -> list[series.Columns]:
    """Return *columns* with the points of those cells only that are *wanted*."""
    result = []
    for item in columns:
        of = item.series
        chosen = [place for place, begin in enumerate(item.begins) if wanted((of.scope_id, of.metric, begin))]
        if len(chosen) == len(item.begins):
            result.append(item)
        elif chosen:
            result.append(
                series.Columns(
                    of,
                    item.length,
                    tuple([item.begins[place] for place in chosen]),
                    tuple([item.quantities[place] for place in chosen]),
                    None if item.prices is None else tuple([item.prices[place] for place in chosen]),
                    None if item.unpriced is None else tuple([item.unpriced[place] for place in chosen]),
                )
            )
    return result
