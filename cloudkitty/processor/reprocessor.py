# SPDX-License-Identifier: Apache-2.0
"""The loop of a worker that reprocesses: find tasks, batch what goes together, rate it once more.

Live rating goes first: a scope of which a period is due is left alone for a while after each step.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
import dataclasses
import datetime

from oslo_db import exception as db_exc
from oslo_log import log
import sqlalchemy

from cloudkitty import errors
from cloudkitty import period
from cloudkitty import reprocessing
from cloudkitty import scope
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import purges
from cloudkitty.db import reprocessings
from cloudkitty.db import scopes
from cloudkitty.processor import figures
from cloudkitty.processor import known_cells
from cloudkitty.processor import loop
from cloudkitty.processor import partition
from cloudkitty.processor import pipeline
from cloudkitty.processor import planner
from cloudkitty.processor import reprocess

LOG = log.getLogger(__name__)

#: Tasks and the states of their scopes, in the same order.
Pairs = list[tuple[reprocessing.Task, scope.State]]


def plan(
    pairs: Iterable[tuple[reprocessing.Task, scope.State]],
    length: int,
    limits: planner.Limits,
    alone: Collection[str] = (),
) -> list[reprocess.Job]:
    """Return the jobs that rate the next periods of tasks, oldest task first.

    :param length: of a period, in seconds.
    :param alone: scopes to plan by themselves, one period at a time.
    """
    groups: dict[tuple[int, int, bool, str, str | None, str], Pairs] = {}
    for task, state in pairs:
        begin = task.next_begin(length)
        last = min(task.last, period.to_epoch(state.last_processed))
        lonely = task.scope_id in alone
        count = 1 if lonely else (last - begin) // length + 1
        key = (begin, count, task.recollect, task.reason, task.actor, task.scope_id if lonely else '')
        groups.setdefault(key, []).append((task, state))
    jobs = []
    for (begin, count, *_), members in groups.items():
        for start in range(0, len(members), limits.scopes):
            tasks, states = zip(*members[start : start + limits.scopes], strict=True)
            jobs.append(reprocess.Job(tasks, states, begin, max(1, min(count, limits.cells // len(tasks)))))
    return sorted(jobs, key=lambda job: job.tasks[0].id)


class Reprocessor(loop.Loop):
    """Works on the tasks of its share of the scopes.

    :param clock: returns the present instant.
    :param check: called before the first pass until it raises nothing: what has to be known before anything is rated.
    """

    work = figures.REPROCESSING
    #: Seconds between two looks for tasks.
    POLL = 10
    #: Seconds for which live rating has a scope to itself after a step, if a period of it is due.
    COURTESY = 60
    #: After so many steps in vain a scope is taken by itself, one period at a time.
    ALONE = 2

    def __init__(
        self,
        database: engine.Database,
        line: reprocess.Line,
        share: partition.Everything,
        identity: scopes.Identity,
        schedule: planner.Schedule,
        limits: planner.Limits,
        patience: pipeline.Patience,
        clock: Callable[[], datetime.datetime],
        check: Callable[[], None] | None = None,
        chore: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(share, check, chore)
        self._database = database
        self._line = line
        self._identity = identity
        self._schedule = schedule
        self._limits = limits
        self._patience = patience
        self._clock = clock
        self._stepped: dict[str, int] = {}
        self._drops: dict[str, int] = {}
        self._idle: set[int] = set()

    def run_pass(self) -> float:
        """Work on what there is; return the seconds until the next look."""
        self._check_once()
        while not self._stopping.is_set() and self._run_round():
            self._do_chore()
        self._do_chore()
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
            alone = {scope_id for scope_id, count in self._drops.items() if count >= self.ALONE}
            for job in plan(pairs, self._schedule.length, self._limits, alone):
                if self._stopping.is_set() or self._share.has_changed():
                    break
                went_on = self._step(job) or went_on
        return went_on

    def _step(self, job: reprocess.Job) -> bool:
        now = period.to_epoch(self._clock())
        ids = [task.scope_id for task in job.tasks]
        try:
            outcome = self._line.run(job)
        except (*engine.AWAY, errors.ConfigurationError):
            raise
        except Exception as error:
            # One job must not keep the others from being worked on.
            problem = error
        else:
            self._stepped.update(dict.fromkeys([*outcome.committed, *outcome.dropped], now))
            for scope_id in outcome.dropped:
                self._drops[scope_id] = self._drops.get(scope_id, 0) + 1
            for scope_id in outcome.committed:
                self._drops.pop(scope_id, None)
            return bool(outcome.committed or outcome.left)
        if not isinstance(problem, errors.Conflict):
            self._drops.update({scope_id: self._drops.get(scope_id, 0) + 1 for scope_id in ids})
            self._postpone(job, problem, now)
            return False
        if len(ids) > 1:
            # By itself, the scope is found that it is about.
            self._drops.update(dict.fromkeys(ids, self.ALONE))
        else:
            self._refuse(job.tasks, str(problem))
        return True

    def _refuse(self, tasks: Collection[reprocessing.Task], reason: str) -> None:
        """End tasks that nothing can be done about."""
        if tasks:
            reprocessings.refuse(self._database, {task.id: reason for task in tasks})
            LOG.warning(
                '%d tasks of reprocessing are cancelled (scope %s, ...): %s',
                len(tasks),
                next(task.scope_id for task in tasks),
                reason,
            )

    def _postpone(self, job: reprocess.Job, error: Exception, now: int) -> None:
        # Callers of the API read it: of a database error what the server says, without the statement.
        text = engine.describe(error)
        if not isinstance(error, errors.CloudKittyError | db_exc.DBError | sqlalchemy.exc.SQLAlchemyError):
            text = '%s: %s' % (type(error).__name__, text)
        # The source is waited for from its own first failure on.
        troubles = {
            task.id: dataclasses.replace(reprocess.fail(task, text, self._patience, now), since=now)
            for task in job.tasks
        }
        reprocessings.note(self._database, troubles)
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
        unfinished = reprocessings.list_unfinished(self._database)
        if not unfinished:
            return []
        ids = {task.scope_id for task in unfinished}
        states = {
            state.scope.id: state for state in scopes.list_states(self._database, self._identity, ids=ids, active=True)
        }
        self._say_idle([task for task in unfinished if task.scope_id not in states])
        result: dict[str, tuple[reprocessing.Task, scope.State]] = {}
        overtaken = []
        purged = purges.read_by_name(self._database, states)
        lost = [task for task in unfinished if self._next_begin(task) < purged.get(task.scope_id, 0)]
        self._refuse(lost, 'What is left of it begins with periods whose data was purged.')
        unfinished = [task for task in unfinished if task not in lost]
        for task in unfinished:
            state = states.get(task.scope_id)
            if state is None or task.scope_id in result:
                continue
            if not self._is_on_grid(task, state):
                overtaken.append(task)
            elif not self._has_to_wait(task, state, now):
                result[task.scope_id] = (task, state)
        self._end(overtaken)
        return list(result.values())

    def _next_begin(self, task: reprocessing.Task) -> int:
        return task.next_begin(self._schedule.length)

    def _is_on_grid(self, task: reprocessing.Task, state: scope.State) -> bool:
        """Return whether the next period of *task* is one of the scope's that are rated."""
        begin, clock = self._next_begin(task), period.to_epoch(state.last_processed)
        return begin <= clock and (clock - begin) % self._schedule.length == 0

    def _end(self, tasks: Collection[reprocessing.Task]) -> None:
        """End tasks of which nothing is left to do here: their scopes were set back, or have other periods now."""
        if not tasks:
            return
        length = self._schedule.length
        begins = [self._next_begin(task) for task in tasks]
        runs = ledger.list_runs(self._database, {task.scope_id for task in tasks}, min(begins), max(begins) + length)
        past = known_cells.Past(runs)
        there = [task for task in tasks if past.at(task.scope_id, self._next_begin(task))]
        self._refuse(there, 'What is left of it does not consist of periods of %d s, as they are now.' % length)
        self._refuse(
            [task for task in tasks if task not in there],
            'The scope was set back to before what is left of it, which is rated anew from there.',
        )

    def _has_to_wait(self, task: reprocessing.Task, state: scope.State, now: int) -> bool:
        if task.trouble is not None and now < task.trouble.next_attempt <= now + self._patience.longest_pause:
            return True
        stepped = self._stepped.get(task.scope_id)
        if stepped is None or not stepped <= now < stepped + self.COURTESY:
            return False
        begin = self._schedule.next_begin(state)
        if state.gone_since is not None and begin >= period.to_epoch(state.gone_since):
            return False
        return bool(self._schedule.count_due(begin, self._clock()))

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
