# SPDX-License-Identifier: Apache-2.0
"""The loop of one worker: find the scopes, plan, rate batch by batch, mend, sleep until something is due."""

from collections.abc import Callable
from collections.abc import Mapping
import datetime
import threading

from oslo_db import exception as db_exc
from oslo_log import log

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty import scope
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.processor import partition
from cloudkitty.processor import pipeline
from cloudkitty.processor import planner
from cloudkitty.processor import repair

LOG = log.getLogger(__name__)


class Worker:
    """Rates its share of the scopes.

    :param fetcher: has ``get_tenants()``.
    :param share: says which scopes are this worker's.
    :param zone: of the month in which a new scope starts.
    :param clock: returns the present instant.
    """

    #: Seconds between two passes at most: new scopes are seen then.
    LONGEST_SLEEP = 600
    #: Seconds after a pass that failed altogether; doubled each time, up to the longest.
    FIRST_PAUSE = 5

    def __init__(
        self,
        database: engine.Database,
        fetcher,
        line: pipeline.Pipeline,
        mender: repair.Repair,
        share: partition.Everything,
        identity: scopes.Identity,
        schedule: planner.Schedule,
        limits: planner.Limits,
        zone: datetime.tzinfo,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._database = database
        self._fetcher = fetcher
        self._line = line
        self._mender = mender
        self._share = share
        self._identity = identity
        self._schedule = schedule
        self._limits = limits
        self._zone = zone
        self._clock = clock
        self._listed: list[str] | None = None
        self._listed_at: datetime.datetime | None = None
        self._drops: dict[str, int] = {}
        self._stopping = threading.Event()
        self._wake = threading.Event()

    def run(self) -> None:
        """Work until :meth:`stop`; whatever fails is logged and tried again."""
        self._share.start()
        pause = self.FIRST_PAUSE
        try:
            while not self._stopping.is_set():
                try:
                    wait = self.run_pass()
                    pause = self.FIRST_PAUSE
                except db_exc.DBError as error:
                    LOG.error('The database is away or refuses (%s); trying again in %d s.', error, pause)
                    wait, pause = pause, min(pause * 2, self.LONGEST_SLEEP)
                except Exception:
                    # The last resort: the processor lives on.
                    LOG.exception('A pass failed; trying again in %d s.', pause)
                    wait, pause = pause, min(pause * 2, self.LONGEST_SLEEP)
                if not self._stopping.is_set():
                    self._wake.wait(wait)
                    self._wake.clear()
        finally:
            self._share.stop()

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping.set()
        self._wake.set()

    def wake(self) -> None:
        """Look now whether there is something to do."""
        self._wake.set()

    def run_pass(self) -> float:
        """Rate and mend what is due; return the seconds until something is due next, at most the longest sleep."""
        now = self._clock()
        listed = self._fetch(now)
        if listed is None:
            return self.FIRST_PAUSE
        scopes.ensure(
            self._database,
            listed,
            self._identity,
            period.first_period(now, self._schedule.length, self._zone),
            self._schedule.length,
        )
        scopes.mark_listed(self._database, listed, self._identity, self._listed_at or now)
        every = [state.scope.id for state in scopes.list_states(self._database, self._identity, active=True)]
        with self._share.claim(every) as mine:
            self._rate(mine)
            states = self._read(mine)
            if not self._stopping.is_set():
                self._mender.run({state.scope.id: state for state in states}, period.to_epoch(self._clock()))
            unclaimed = len(every) > len(mine)
        return self._sleep_for(states, unclaimed)

    def _fetch(self, now: datetime.datetime) -> list[str] | None:
        """Return the scopes to rate; while the fetcher fails, those it listed last; None if it never did."""
        try:
            self._listed = sorted(set(self._fetcher.get_tenants()))
            self._listed_at = now
        except Exception as error:
            # A plugin, and whatever it talks to: what we know already goes on.
            if self._listed is None:
                LOG.error('The scopes cannot be listed: %s', error)
            else:
                LOG.warning('The scopes cannot be listed (%s); using the list of %s.', error, self._listed_at)
        return self._listed

    def _read(self, mine: frozenset[str]) -> list[scope.State]:
        return [
            state for state in scopes.list_states(self._database, self._identity, active=True) if state.scope.id in mine
        ]

    def _rate(self, mine: frozenset[str]) -> None:
        """Rate until nothing of *mine* is due that its source gives."""
        while not self._stopping.is_set():
            states = self._read(mine)
            known = self._troubles(states)
            lonely = {scope_id for scope_id, count in self._drops.items() if count >= 2}
            todo = planner.plan(
                states, self._schedule, self._limits, self._clock(), self._held_until(states, known), lonely
            )
            if not todo:
                return
            went_on = False
            for work in todo:
                if self._stopping.is_set():
                    return
                outcome = self._line.run(work, known)
                for scope_id in outcome.dropped:
                    self._drops[scope_id] = self._drops.get(scope_id, 0) + 1
                for scope_id in outcome.committed:
                    self._drops.pop(scope_id, None)
                went_on = went_on or bool(outcome.committed)
            if not went_on:
                return

    def _troubles(self, states: list[scope.State]) -> Mapping[pipeline.Cell, coverage.Failure]:
        """Return the open troubles of cells that the clocks of *states* have not passed."""
        clocks = {state.scope.id: period.to_epoch(state.last_processed) for state in states}
        return {
            (failure.scope_id, failure.metric, failure.begin): failure
            for failure in ledger.list_failures(self._database, scope_ids=clocks)
            if failure.begin > clocks[failure.scope_id]
        }

    def _held_until(self, states: list[scope.State], known: Mapping[pipeline.Cell, coverage.Failure]) -> dict[str, int]:
        """Return {scope id: second before which it waits}, for scopes whose next period failed before."""
        nexts = {state.scope.id: self._schedule.next_begin(state) for state in states}
        result: dict[str, int] = {}
        for failure in known.values():
            if failure.begin == nexts.get(failure.scope_id):
                result[failure.scope_id] = max(failure.next_attempt, result.get(failure.scope_id, 0))
        return result

    def _sleep_for(self, states: list[scope.State], unclaimed: bool) -> float:
        due = planner.next_due(states, self._schedule, self._held_until(states, self._troubles(states)))
        wait = self.LONGEST_SLEEP if due is None else due - period.to_epoch(self._clock())
        if unclaimed:
            # Somebody else has the others now; who is faster takes what is left.
            wait = min(wait, self.LONGEST_SLEEP / 20)
        return max(1, min(wait, self.LONGEST_SLEEP))
