# SPDX-License-Identifier: Apache-2.0
"""The loop of a worker that reprocesses: find tasks, batch what goes together, rate it once more.

Live rating goes first: a scope of which a period is due is left alone for a while after each step.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
import datetime

from oslo_log import log

from cloudkitty import errors
from cloudkitty import period
from cloudkitty import reprocessing
from cloudkitty import scope
from cloudkitty.db import engine
from cloudkitty.db import reprocessings
from cloudkitty.db import scopes
from cloudkitty.processor import loop
from cloudkitty.processor import partition
from cloudkitty.processor import pipeline
from cloudkitty.processor import planner
from cloudkitty.processor import reprocess
from cloudkitty.storage import base as storage_base

LOG = log.getLogger(__name__)

#: Tasks and the states of their scopes, in the same order.
Pairs = list[tuple[reprocessing.Task, scope.State]]


def plan(
    pairs: Iterable[tuple[reprocessing.Task, scope.State]], length: int, limits: planner.Limits
) -> list[reprocess.Job]:
    """Return the jobs that rate the next periods of tasks, oldest task first.

    :param length: of a period, in seconds.
    """
    groups: dict[tuple[int, int, bool, str, str | None], Pairs] = {}
    for task, state in pairs:
        begin = task.next_begin(length)
        last = min(task.last, period.to_epoch(state.last_processed))
        key = (begin, (last - begin) // length + 1, task.recollect, task.reason, task.actor)
        groups.setdefault(key, []).append((task, state))
    jobs = []
    for (begin, count, *_), members in groups.items():
        for start in range(0, len(members), limits.scopes):
            tasks, states = zip(*members[start : start + limits.scopes], strict=True)
            jobs.append(reprocess.Job(tasks, states, begin, max(1, min(count, limits.cells // len(tasks)))))
    return sorted(jobs, key=lambda job: job.tasks[0].id)


class Reprocessor(loop.Loop):
    """Works on the tasks of its share of the scopes.

    :param history: seconds for which what was replaced is kept; None: for ever.
    :param clock: returns the present instant.
    """

    #: Seconds between two looks for tasks.
    POLL = 10
    #: Seconds for which live rating has a scope to itself after a step, if a period of it is due.
    COURTESY = 60
    #: Seconds between two looks for old history.
    TIDYING = 3600

    def __init__(
        self,
        database: engine.Database,
        line: reprocess.Line,
        storage: storage_base.BaseStorage,
        share: partition.Everything,
        identity: scopes.Identity,
        schedule: planner.Schedule,
        limits: planner.Limits,
        patience: pipeline.Patience,
        clock: Callable[[], datetime.datetime],
        history: int | None = None,
    ) -> None:
        super().__init__(share)
        self._database = database
        self._line = line
        self._storage = storage
        self._identity = identity
        self._schedule = schedule
        self._limits = limits
        self._patience = patience
        self._clock = clock
        self._history = history
        self._stepped: dict[str, int] = {}
        self._idle: set[int] = set()
        self._tidied_at: int | None = None

    def run_pass(self) -> float:
        """Work on what there is; return the seconds until the next look."""
        while not self._stopping.is_set() and self._run_round():
            pass
        self._tidy()
        return self.POLL

    def _run_round(self) -> bool:
        """Take a step of each task that can be worked on; return whether any got on."""
        pairs = self._find()
        if not pairs:
            return False
        went_on = False
        with self._share.claim({state.scope.id for _, state in pairs}) as mine:
            # What others did until it was claimed.
            pairs = [pair for pair in self._find() if pair[1].scope.id in mine]
            for job in plan(pairs, self._schedule.length, self._limits):
                if self._stopping.is_set() or self._share.has_changed():
                    break
                went_on = self._step(job) or went_on
        return went_on

    def _step(self, job: reprocess.Job) -> bool:
        now = period.to_epoch(self._clock())
        try:
            outcome = self._line.run(job)
        except (*engine.AWAY, errors.ConfigurationError):
            raise
        except Exception as error:
            # One job must not keep the others from being worked on.
            problem = error
        else:
            self._stepped.update(dict.fromkeys(outcome.committed, now))
            return bool(outcome.committed or outcome.dropped or outcome.left)
        self._postpone(job, problem, now)
        return False

    def _postpone(self, job: reprocess.Job, error: Exception, now: int) -> None:
        text = str(error) if isinstance(error, errors.CloudKittyError) else '%s: %s' % (type(error).__name__, error)
        text = ' '.join(text.split())
        reprocessings.note(
            self._database, {task.id: reprocess.fail(task, text, self._patience, now) for task in job.tasks}
        )
        LOG.error(
            '%s: reprocessing of %d scopes (%s, ...) failed and is tried again later.',
            period.from_epoch(job.begin),
            len(job.tasks),
            job.tasks[0].scope_id,
            exc_info=error,
        )

    def _find(self) -> Pairs:
        """Return the tasks to work on now, one a scope, and the states of their scopes."""
        now = period.to_epoch(self._clock())
        tasks: dict[str, reprocessing.Task] = {}
        for task in reprocessings.list_unfinished(self._database):
            tasks.setdefault(task.scope_id, task)
        if not tasks:
            return []
        states = {
            state.scope.id: state
            for state in scopes.list_states(self._database, self._identity, ids=tasks, active=True)
        }
        self._say_idle([task for task in tasks.values() if task.scope_id not in states])
        result = []
        overtaken = []
        for task in tasks.values():
            state = states.get(task.scope_id)
            if state is None:
                continue
            if task.next_begin(self._schedule.length) > period.to_epoch(state.last_processed):
                overtaken.append(task)
            elif not self._has_to_wait(task, state, now):
                result.append((task, state))
        self._finish(overtaken)
        return result

    def _has_to_wait(self, task: reprocessing.Task, state: scope.State, now: int) -> bool:
        if task.trouble is not None and now < task.trouble.next_attempt <= now + self._patience.longest_pause:
            return True
        stepped = self._stepped.get(task.scope_id)
        if stepped is None or not stepped <= now < stepped + self.COURTESY:
            return False
        return bool(self._schedule.count_due(self._schedule.next_begin(state), self._clock()))

    def _finish(self, tasks: Collection[reprocessing.Task]) -> None:
        """End tasks whose scopes were set back before what is left of them: that is rated anew anyway."""
        if tasks:
            reprocessings.finish(self._database, [task.id for task in tasks])
            LOG.info(
                '%d tasks of reprocessing are finished: their scopes were reset, and are rated anew from there.',
                len(tasks),
            )

    def _say_idle(self, tasks: Collection[reprocessing.Task]) -> None:
        """Say once of each task that nobody works on it."""
        fresh = {task.id for task in tasks} - self._idle
        if fresh:
            self._idle |= fresh
            LOG.warning(
                '%d tasks of reprocessing wait: their scopes are not active here (scope %s, ...).',
                len(fresh),
                next(task.scope_id for task in tasks if task.id in fresh),
            )

    def _tidy(self) -> None:
        now = period.to_epoch(self._clock())
        if self._history is None or (self._tidied_at is not None and 0 <= now - self._tidied_at < self.TIDYING):
            return
        self._tidied_at = now
        count = self._storage.forget_history(period.from_epoch(now - self._history))
        if count:
            LOG.info('%d entries of the history are older than [storage] history_days and gone.', count)
