# SPDX-License-Identifier: Apache-2.0
"""One batch of reprocessing: collect it again or read what is stored, price it, put new in the place of old.

A period is replaced as a whole, in one transaction with the progress of its task. What the source does not give any
more, or a module does not price, stays as it was, and the task says so.
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
from cloudkitty import reprocessing
from cloudkitty import scope
from cloudkitty import series
from cloudkitty import usage
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import reprocessings
from cloudkitty.processor import figures
from cloudkitty.processor import known_cells
from cloudkitty.processor import mend
from cloudkitty.processor import pipeline
from cloudkitty.storage import base as storage_base

LOG = log.getLogger(__name__)

Cell = known_cells.Cell
Status = coverage.Status

#: Why a period stays as it is for which the source has nothing.
GONE = 'The source has nothing of it any more.'
#: What a cell may be before that a cell without points takes nothing away from.
_WITHOUT_POINTS = frozenset({Status.EMPTY, Status.UNKNOWN, Status.FAILED, Status.LOST})
#: What has a price.
_PRICED = frozenset({Status.RATED, Status.PROVISIONAL})


@dataclasses.dataclass(frozen=True)
class Job:
    """Tasks of the same kind, reason and actor whose next periods are the same, and *count* of those.

    :ivar states: of their scopes, in the order of the tasks.
    """

    tasks: tuple[reprocessing.Task, ...]
    states: tuple[scope.State, ...]
    begin: int
    count: int

    @property
    def recollect(self) -> bool:
        return self.tasks[0].recollect


@dataclasses.dataclass
class _Step:
    """What becomes of a scope's part of a batch.

    :ivar end: where it stops for now.
    :ivar holding: error for which it stops there.
    :ivar kept: cell to why it stays as it is.
    :ivar is_late: the source has failed for longer than it is waited for.
    """

    end: int
    holding: str | None = None
    kept: dict[Cell, str] = dataclasses.field(default_factory=dict)
    is_late: bool = False


class Line:
    """Works on one job after the other.

    The parameters are those of :class:`cloudkitty.processor.pipeline.Pipeline`.

    :param most_points: how many stored points one step prices, unless a period of a scope has more.
    """

    def __init__(
        self,
        database: engine.Database,
        collector,
        chains,
        storage: storage_base.BaseStorage,
        metrics: Sequence[metric.Metric],
        length: int,
        patience: pipeline.Patience,
        clock: Callable[[], datetime.datetime],
        pause: Callable[[], None] | None = None,
        causes: pipeline.Causes | None = None,
        most_points: int = 150_000,
    ) -> None:
        self._most_points = most_points
        self._database = database
        self._collector = collector
        self._chains = chains
        self._storage = storage
        self._metrics = tuple(metrics)
        self._types = frozenset(item.type for item in metrics)
        self._length = length
        self._patience = patience
        self._clock = clock
        self._pause = pause
        self._causes = causes or pipeline.Causes()

    def run(self, job: Job) -> pipeline.Outcome:
        """Rate *job* once more, or the part of it that the collector gets to."""
        states = {state.scope.id: state for state in job.states}
        tasks = {task.scope_id: task for task in job.tasks}
        end = job.begin + job.count * self._length
        chain = self._chains.get()
        runs = ledger.list_runs(self._database, states, job.begin, end)
        if not job.recollect:
            job = self._shorten(job, runs)
        past = known_cells.Past(runs)
        found = self._find(job, tuple(states), past)
        self._causes.warn(found.troubles)
        batch = found.batch
        now = period.to_epoch(self._clock())
        came = _cells(found.columns)
        steps = {
            scope_id: self._follow(tasks[scope_id], batch, past, found.troubles, now) for scope_id in batch.scope_ids
        }
        found = pipeline.cut(found, {scope_id: step.end for scope_id, step in steps.items()})
        whole = {begin for begin in batch.begins if chain.sees_whole_frames(begin, begin + self._length)}
        self._spread(job, batch, past, came, steps, whole)
        kept = {cell for step in steps.values() for cell in step.kept}
        columns = mend.keep(found.columns, lambda cell: cell not in kept)
        rated = chain.price(usage.Usage(batch, columns, []), self._pause)
        self._keep_priced(rated, past, steps, whole)
        if not job.recollect:
            self._keep_strange(rated, past, steps)
        outcome = self._write(job, states, tasks, batch, past, found, rated, steps, now)
        self._note(tasks, steps, batch.begin, outcome.dropped, now)
        return outcome

    def _shorten(self, job: Job, runs: Sequence[coverage.Run]) -> Job:
        """Return *job* with as many periods as memory allows for: quantities that are stored come all at once."""
        end = job.begin + job.count * self._length
        spans = [
            storage_base.Span(run.scope_id, run.metric, max(run.begin, job.begin), min(run.end, end)) for run in runs
        ]
        with self._database.reader() as session:
            counts = self._storage.count(session, spans)
        points = sum(found.points + found.skipped for found in counts if found is not None)
        count = job.count * self._most_points // max(points, self._most_points)
        return dataclasses.replace(job, count=max(1, count))

    def _find(self, job: Job, scope_ids: tuple[str, ...], past: known_cells.Past) -> usage.Usage:
        """Return the quantities to price: those of the source, or the stored ones where they are what it gave."""
        batch = usage.Batch(scope_ids, self._metrics, job.begin, self._length, job.count)
        if job.recollect:
            return self._collector.collect(batch)
        altered = {
            (scope_id, begin) for scope_id in scope_ids for begin in batch.begins if past.is_altered(scope_id, begin)
        }
        collected = usage.Usage(batch, [], [])
        if altered:
            touched = {scope_id for scope_id, _ in altered}
            owners = tuple(scope_id for scope_id in scope_ids if scope_id in touched)
            collected = self._collector.collect(dataclasses.replace(batch, scope_ids=owners))
            answered = collected.batch
            batch = dataclasses.replace(
                batch,
                scope_ids=tuple(
                    scope_id for scope_id in scope_ids if scope_id not in touched or scope_id in answered.scope_ids
                ),
                count=answered.count,
            )
        stored = self._storage.quantities(batch.scope_ids, None, batch.begin, batch.end, priced=True)
        troubles = [
            dataclasses.replace(trouble, begin=begin, end=begin + self._length)
            for trouble in collected.troubles
            for begin in range(trouble.begin, trouble.end, self._length)
            if (trouble.scope_id, begin) in altered
        ]
        columns = mend.keep(collected.columns, lambda cell: (cell[0], cell[2]) in altered)
        columns += mend.keep(stored, lambda cell: (cell[0], cell[2]) not in altered)
        return usage.Usage(batch, columns, troubles)

    def _follow(
        self,
        task: reprocessing.Task,
        batch: usage.Batch,
        past: known_cells.Past,
        troubles: Sequence[usage.Trouble],
        now: int,
    ) -> _Step:
        """Return how far a scope gets, and which of its cells the source failed to give."""
        step = _Step(batch.end)
        mine = [trouble for trouble in troubles if trouble.scope_id == task.scope_id]
        since = task.trouble.since if task.trouble is not None else now
        is_waited_for = now < since + self._patience.hold
        for cell, trouble in sorted(
            known_cells.troubled_cells(mine, self._length).items(), key=lambda item: (item[0][2], item[0][1])
        ):
            may_pass = trouble.status is Status.PROVISIONAL or pipeline.is_transient(trouble)
            if may_pass and is_waited_for:
                step.end, step.holding = cell[2], trouble.error
                break
            if may_pass or trouble.status is Status.FAILED:
                step.kept[cell] = trouble.error
                step.is_late = step.is_late or may_pass
            elif not _is_hollow(past, cell):
                step.kept[cell] = trouble.error
        return step

    def _spread(
        self,
        job: Job,
        batch: usage.Batch,
        past: known_cells.Past,
        came: Collection[Cell],
        steps: Mapping[str, _Step],
        whole: Collection[int],
    ) -> None:
        """Have periods stay as they are of which nothing is left, or which only make sense as a whole."""
        filled = {(cell[0], cell[2]) for cell in came}
        for scope_id, step in steps.items():
            for begin in range(batch.begin, step.end, self._length):
                before = past.at(scope_id, begin)
                content = [name for name, run in before.items() if run.status not in _WITHOUT_POINTS]
                error = next((error for cell, error in step.kept.items() if begin in whole and cell[2] == begin), None)
                if error is None and content and (scope_id, begin) not in filled:
                    error = GONE
                if error is None and not job.recollect and past.is_altered(scope_id, begin):
                    error = _say_gone(
                        name for name in content if name in self._types and (scope_id, name, begin) not in came
                    )
                if error is not None:
                    for name in {*self._types, *before}:
                        step.kept.setdefault((scope_id, name, begin), error)

    def _keep_priced(
        self, rated: usage.Rated, past: known_cells.Past, steps: Mapping[str, _Step], whole: Collection[int]
    ) -> None:
        """Have prices stay where there are none in their place."""
        for cell, trouble in known_cells.troubled_cells(rated.troubles, self._length).items():
            before = past.at(cell[0], cell[2])
            names = {*before, *self._types, cell[1]} if cell[2] in whole else {cell[1]}
            if any(name in before and before[name].status in _PRICED for name in names):
                for name in names:
                    steps[cell[0]].kept.setdefault((cell[0], name, cell[2]), trouble.error)

    def _keep_strange(self, rated: usage.Rated, past: known_cells.Past, steps: Mapping[str, _Step]) -> None:
        """Have altered periods stay that hold what is neither a metric of today nor put there by a module again."""
        filled = pipeline.filled_cells(rated)
        for scope_id, step in steps.items():
            for begin in range(rated.batch.begin, step.end, self._length):
                if not past.is_altered(scope_id, begin):
                    continue
                before = past.at(scope_id, begin)
                error = _say_gone(
                    name
                    for name, run in before.items()
                    if run.status not in _WITHOUT_POINTS
                    and name not in self._types
                    and (scope_id, name, begin) not in filled
                )
                if error is not None:
                    for name in {*self._types, *before}:
                        step.kept.setdefault((scope_id, name, begin), error)

    def _write(
        self,
        job: Job,
        states: Mapping[str, scope.State],
        tasks: Mapping[str, reprocessing.Task],
        batch: usage.Batch,
        past: known_cells.Past,
        found: usage.Usage,
        rated: usage.Rated,
        steps: Mapping[str, _Step],
        now: int,
    ) -> pipeline.Outcome:
        moving = {scope_id: step for scope_id, step in steps.items() if step.end > batch.begin}
        left = frozenset(states) - frozenset(batch.scope_ids)
        held = frozenset(steps) - frozenset(moving)
        if not moving:
            return pipeline.Outcome(frozenset(), frozenset(), held, left)
        runs = self._runs(job, batch, past, found, rated, moving)
        written = {(run.scope_id, run.metric, run.begin) for run in runs}
        columns = mend.keep(rated.columns, lambda cell: cell in written)
        failures = self._failures(batch, rated, runs, now)
        commit = storage_base.Commit(
            self._length,
            [
                storage_base.Change(states[scope_id], batch.begin, step.end, moves_clock=False)
                for scope_id, step in moving.items()
            ],
            columns,
            coverage.join(runs),
            failures,
            {cell: count for cell, count in rated.skipped.items() if cell in written},
            replace=True,
            cause='%s: %s' % ('reprocessing' if job.recollect else 're-rating', job.tasks[0].reason),
            who=job.tasks[0].actor,
            now=now,
            steps={scope_id: self._progress(tasks[scope_id], step, now) for scope_id, step in moving.items()},
        )
        result = self._storage.commit(commit)
        points = sum(len(item.begins) for item in columns if item.series.scope_id in result.committed)
        figures.committed(figures.REPROCESSING, commit, result, points)
        self._log(batch, points, result, tasks, moving)
        return pipeline.Outcome(result.committed, result.dropped, held, left, points)

    def _runs(
        self,
        job: Job,
        batch: usage.Batch,
        past: known_cells.Past,
        found: usage.Usage,
        rated: usage.Rated,
        moving: Mapping[str, _Step],
    ) -> list[coverage.Run]:
        """Return the coverage of the cells to write.

        What is collected again is what today's metrics and rules make of the period: metrics that are no longer there
        become empty. Otherwise it is what was stored, and what modules add to it.
        """
        filled = pipeline.filled_cells(rated)
        troubles = known_cells.troubled_cells([*found.troubles, *rated.troubles], self._length)
        added: dict[tuple[str, int], set[str]] = {}
        for scope_id, name, begin in filled | _cells(found.columns):
            added.setdefault((scope_id, begin), set()).add(name)
        runs = []
        for scope_id, step in moving.items():
            for begin in range(batch.begin, step.end, self._length):
                before = past.at(scope_id, begin)
                is_collected = job.recollect or past.is_altered(scope_id, begin)
                names = added.get((scope_id, begin), set())
                if is_collected:
                    names = {*names, *self._types, *before}
                for name in sorted(names):
                    cell = (scope_id, name, begin)
                    if cell in step.kept:
                        continue
                    is_filled = cell in filled
                    status = Status.RATED if is_filled else Status.EMPTY
                    if cell in troubles:
                        status = troubles[cell].status
                    elif not is_collected and past.status(cell) is Status.PROVISIONAL:
                        status = Status.PROVISIONAL
                    runs.append(pipeline.to_run(cell, self._length, status, is_filled, rated))
        return runs

    def _failures(
        self, batch: usage.Batch, rated: usage.Rated, runs: Sequence[coverage.Run], now: int
    ) -> list[coverage.Failure]:
        """Return the open troubles of the cells of *runs*: what still lacks a price or is still to be collected."""
        open_ended = {
            (run.scope_id, run.metric, run.begin) for run in runs if run.status in (Status.UNRATED, Status.PROVISIONAL)
        }
        if not open_ended:
            return []
        known = {
            (failure.scope_id, failure.metric, failure.begin): failure
            for failure in ledger.list_failures(
                self._database, scope_ids={cell[0] for cell in open_ended}, begin=batch.begin, end=batch.end
            )
        }
        result = []
        for cell, trouble in known_cells.troubled_cells(rated.troubles, self._length).items():
            if cell in open_ended:
                result.append(self._patience.fail(cell, trouble.error, known.get(cell), now))
                open_ended.discard(cell)
        return result + [known[cell] for cell in sorted(open_ended) if cell in known]

    def _progress(self, task: reprocessing.Task, step: _Step, now: int) -> reprocessing.Progress:
        kept = [
            reprocessing.Kept(name, begin, begin + self._length, error)
            for (_, name, begin), error in step.kept.items()
            if begin < step.end
        ]
        trouble = None
        if step.is_late:
            # Were each period waited for anew, a source that always fails would cost a whole hold for each.
            since = task.trouble.since if task.trouble is not None else now
            trouble = reprocessing.Trouble(since, 0, now, kept[0].error)
        return reprocessing.Progress(
            task.id, task.current, step.end - self._length, tuple(reprocessing.join(kept)), trouble
        )

    def _note(
        self,
        tasks: Mapping[str, reprocessing.Task],
        steps: Mapping[str, _Step],
        first: int,
        dropped: Collection[str],
        now: int,
    ) -> None:
        troubles = {}
        for scope_id, step in steps.items():
            if step.holding is None or scope_id in dropped:
                continue
            task = tasks[scope_id]
            if step.end > first:
                # It got on: this is another period's trouble.
                task = dataclasses.replace(task, trouble=None)
            troubles[task.id] = fail(task, step.holding, self._patience, now)
        reprocessings.note(self._database, troubles)

    def _log(
        self,
        batch: usage.Batch,
        points: int,
        result: storage_base.CommitResult,
        tasks: Mapping[str, reprocessing.Task],
        moving: Mapping[str, _Step],
    ) -> None:
        done = sum(moving[scope_id].end >= tasks[scope_id].last + self._length for scope_id in result.committed)
        kept = sum(len(moving[scope_id].kept) for scope_id in result.committed)
        LOG.info(
            '%s to %s: reprocessed %d points of %d scopes; %d tasks are finished%s',
            period.from_epoch(batch.begin),
            period.from_epoch(batch.end),
            points,
            len(result.committed),
            done,
            ', %d cells are left as they were' % kept if kept else '',
        )


def fail(task: reprocessing.Task, error: str, patience: pipeline.Patience, now: int) -> reprocessing.Trouble:
    """Return the trouble of *task* after one more failed attempt."""
    before = task.trouble
    attempts = before.attempts + 1 if before is not None else 1
    return reprocessing.Trouble(
        before.since if before is not None else now, attempts, patience.next_attempt(attempts, now), error
    )


def _say_gone(names: Iterable[str]) -> str | None:
    name = next(iter(names), None)
    return None if name is None else 'The source no longer has metric %s.' % name


def _is_hollow(past: known_cells.Past, cell: Cell) -> bool:
    status = past.status(cell)
    return status is None or status in _WITHOUT_POINTS


def _cells(columns: Sequence[series.Columns]) -> set[Cell]:
    return {(item.series.scope_id, item.series.metric, begin) for item in columns for begin in item.begins}
