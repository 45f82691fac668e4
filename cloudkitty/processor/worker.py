# SPDX-License-Identifier: Apache-2.0
"""The loop of one worker: find the scopes, plan, rate batch by batch, mend, sleep until something is due."""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import datetime
import random

from oslo_log import log

from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import scope
from cloudkitty import telemetry
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.processor import figures
from cloudkitty.processor import known_cells
from cloudkitty.processor import loop
from cloudkitty.processor import partition
from cloudkitty.processor import pipeline
from cloudkitty.processor import planner
from cloudkitty.processor import repair

LOG = log.getLogger(__name__)

#: Characters of a scope's id that the tables have room for.
LONGEST_ID = 255


def is_scope_id(value: object) -> bool:
    """Return whether every database can keep *value* as the id of a scope."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or '\0' in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class Worker(loop.Loop):
    """Rates its share of the scopes.

    :param fetcher: has ``get_tenants()``.
    :param share: says which scopes are this worker's.
    :param zone: of the month in which a new scope starts.
    :param clock: returns the present instant.
    :param check: called before the first pass until it raises nothing: what has to be known before anything is rated.
    :param chore: called before every pass.
    :param longest_id: characters of a scope's id that the storage has room for.
    :param empty_list_hold: seconds for which a list that has become empty is not believed.
    """

    work = figures.RATING
    #: Seconds between two passes at most: so long a reset, or a clock that was set right, may go unnoticed.
    LONGEST_SLEEP = 60
    #: Seconds for which a batch that raises rests at most.
    LONGEST_REST = 600
    #: Seconds between two looks at scopes that are due, but are somebody else's now.
    ELSEWHERE_SLEEP = 30
    #: Seconds between two rounds of mending, while they get on.
    MENDING_SLEEP = 1
    #: Seconds for which a list of scopes is good.
    LIST_LIFE = 300
    #: Seconds after which a list that stays the same is compared with the database again.
    NOTE_LIFE = 3600
    #: Seconds after which the plan is made anew, so that what became due meanwhile goes first.
    PLAN_LIFE = 60

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
        check: Callable[[], None] | None = None,
        longest_id: int = LONGEST_ID,
        chore: Callable[[], None] | None = None,
        empty_list_hold: int = 0,
    ) -> None:
        super().__init__(share, check, chore)
        self._database = database
        self._fetcher = fetcher
        self._line = line
        self._mender = mender
        self._identity = identity
        self._schedule = schedule
        self._limits = limits
        self._zone = zone
        self._clock = clock
        self._longest_id = longest_id
        self._empty_list_hold = datetime.timedelta(seconds=empty_list_hold)
        # Since when the fetcher lists nobody, where it listed somebody before.
        self._empty_since: datetime.datetime | None = None
        self._listed: list[str] | None = None
        self._listed_at: datetime.datetime | None = None
        self._asked: tuple[int, int] | None = None
        self._is_noted = False
        self._noted: tuple[list[str], int, int] | None = None
        self._is_started = False
        # The generation of workers of which the last claim was.
        self._claimed_in = 0
        # What a look at everything found not to be ratable: {clock: scopes that rest there}, and due troubles.
        self._still: tuple[dict[int, int], int] | None = None
        self._in_vain = 0
        self._odd: set[str] = set()
        self._drops: dict[str, int] = {}
        self._resting: dict[str, int] = {}

    def run_pass(self) -> float:
        """Rate and mend what is due; return the seconds until something is due next, at most the longest sleep."""
        self._check_once()
        self._do_chore()
        if not self._find_scopes():
            self._in_vain += 1
            return min(self.FIRST_PAUSE * 2 ** min(self._in_vain - 1, 10), self.LONGEST_PAUSE)
        others: frozenset[str] = frozenset()
        went_on = True
        while went_on and not self._stopping.is_set():
            due = self._find_quiet()
            if due is not None:
                return self._clip(due - period.to_epoch(self._clock()))
            went_on, others = self._rate_share()
            if self._is_list_old():
                break
        if not self._stopping.is_set() and self._mend_share(is_all_tried=not went_on):
            return self.MENDING_SLEEP
        if others and self._share.generation != self._claimed_in:
            # Some of them may be this worker's by now.
            return self._clip(0)
        return self._sleep_for(others)

    def _find_scopes(self) -> bool:
        """Read the list of scopes, if it is time to, and give each a clock; return whether there ever was a list."""
        if self._is_list_old():
            self._fetch(self._clock())
        if self._listed is None or self._listed_at is None:
            return False
        if not self._is_noted and not self._is_same():
            first = period.first_period(self._listed_at, self._schedule.length, self._zone)
            fitting = [scope_id for scope_id in self._listed if self._fits(scope_id)]
            scopes.ensure(self._database, fitting, self._identity, first, self._schedule.length)
            since = self._empty_since or self._listed_at
            scopes.mark_listed(self._database, self._listed, self._identity, since)
            states = scopes.list_states(self._database, self._identity)
            if states and not self._listed:
                LOG.warning(
                    'The list of scopes is empty, where there were %d before: nothing is rated of them beyond %s. '
                    'Look at the fetcher, and at what its user may see.',
                    sum(state.active for state in states),
                    since.isoformat(),
                )
            own = [state for state in states if self._fits(state.scope.id)]
            if not self._is_started:
                self._mender.follow_length(own)
                self._is_started = True
            self._mender.take_up(own, period.to_epoch(self._clock()))
            known = {state.scope.id for state in states}
            self._say_odd(
                [scope_id for scope_id in fitting if scope_id not in known],
                'cannot be told from others by the database',
            )
            self._say_odd(
                [scope_id for scope_id in {*self._listed, *known} if not self._fits(scope_id)],
                'are longer than the %d characters that the configured storage has room for' % self._longest_id,
            )
            self._noted = (self._listed, period.to_epoch(self._listed_at), scopes.count_gone(self._database))
            self._still = None
        self._is_noted = True
        return True

    def _is_same(self) -> bool:
        """Return whether the list is that which was noted not long ago, and nobody noted another one since."""
        if self._noted is None or self._listed_at is None:
            return False
        listed, at, gone = self._noted
        if listed != self._listed or not 0 <= period.to_epoch(self._listed_at) - at < self.NOTE_LIFE:
            return False
        return scopes.count_gone(self._database) == gone

    def _is_list_old(self) -> bool:
        if self._listed is None or self._asked is None:
            return True
        asked_at, life = self._asked
        return not 0 <= period.to_epoch(self._clock()) - asked_at < life

    def _fetch(self, now: datetime.datetime) -> None:
        """Ask which scopes to rate; while the fetcher fails, those it listed last are."""
        self._asked = (period.to_epoch(now), self.LIST_LIFE)
        try:
            found = set(self._fetcher.get_tenants())
            listed = sorted(filter(is_scope_id, found))
        except Exception as error:
            # A plugin, and whatever it talks to: what we know already goes on.
            self._asked = (period.to_epoch(now), self.LONGEST_PAUSE)
            if self._listed is None:
                LOG.error('The scopes cannot be listed: %s', error)
            else:
                LOG.warning('The scopes cannot be listed (%s); using the list of %s.', error, self._listed_at)
            return
        self._say_odd([item for item in found if not is_scope_id(item)], 'are no ids of scopes')
        if listed:
            self._empty_since = None
        elif self._doubts_empty(now):
            return
        self._listed = listed
        self._listed_at = now
        self._is_noted = False
        telemetry.note(telemetry.LISTED, len(self._listed))
        telemetry.note(telemetry.LISTED_AT, period.to_epoch(now))

    def _doubts_empty(self, now: datetime.datetime) -> bool:
        """Return whether the scopes that were listed before are rated on, although the fetcher lists nobody."""
        known = self._listed
        if known is None:
            states = scopes.list_states(self._database, self._identity)
            known = [state.scope.id for state in states if state.gone_since is None]
        if not known:
            return False
        if self._empty_since is None:
            self._empty_since = now
        until = self._empty_since + self._empty_list_hold
        if now >= until:
            return False
        if self._listed is None:
            self._listed, self._listed_at = known, now
        LOG.warning(
            'The list of scopes is empty, where there were %d before: they are rated on until %s, unless they are '
            'listed again. Look at the fetcher, and at what its user may see.',
            len(known),
            until.isoformat(),
        )
        return True

    def _say_odd(self, items: Collection[object], why: str) -> None:
        """Say once of each of *items*, which a fetcher listed, that it is not rated."""
        fresh = {ascii(item)[:100] for item in items} - self._odd
        if fresh:
            self._odd |= fresh
            LOG.error('%d scopes are not rated: they %s: %s', len(fresh), why, ', '.join(sorted(fresh)[:10]))

    def _fits(self, scope_id: str) -> bool:
        return len(scope_id) <= self._longest_id

    def _read(self, ids: Collection[str] | None = None) -> list[scope.State]:
        """Return the states of what is to be rated: of *ids*, or of all."""
        found = scopes.list_states(self._database, self._identity, ids, active=True)
        return [state for state in found if self._fits(state.scope.id)]

    def _find_quiet(self) -> int | None:
        """Return the second at which a period is due next if nothing is to be done; None: look closely.

        That takes as many statements whatever the number of scopes: clocks are counted, and what is due is only what
        the last look at everything found to rest.
        """
        if self._still is None or self._mender.has_news():
            return None
        resting, troubles = self._still
        now = self._clock()
        due = [period.to_epoch(now) + self.LONGEST_SLEEP]
        for clock, count in scopes.count_clocks(self._database, self._identity).items():
            begin = period.to_epoch(clock) + self._schedule.length
            if self._schedule.count_due(begin, now) < 1:
                due.append(self._schedule.due_at(begin))
            elif count != resting.get(period.to_epoch(clock), 0):
                return None
        return min(due) if ledger.count_due(self._database, period.to_epoch(now)) == troubles else None

    def _note_still(self, states: Iterable[scope.State]) -> None:
        """Take note of what is due by its clock and rests all the same; *states* are all that are active."""
        now = self._clock()
        resting: dict[int, int] = {}
        for state in states:
            begin = self._schedule.next_begin(state)
            rests = state.gone_since is not None and begin >= period.to_epoch(state.gone_since)
            if (rests or not self._fits(state.scope.id)) and self._schedule.count_due(begin, now):
                clock = period.to_epoch(state.last_processed)
                resting[clock] = resting.get(clock, 0) + 1
        self._still = (resting, ledger.count_due(self._database, period.to_epoch(now)))

    def _rate_share(self) -> tuple[bool, frozenset[str]]:
        """Rate what is due and this worker's.

        :returns: whether to look again at once, and which scopes are due and somebody else's.
        """
        states = self._read()
        todo = self._plan(states, self._troubles(states))
        due = {state.scope.id for work in todo for state in work.states}
        if not due:
            return False, frozenset()
        with self._share.claim(due) as mine:
            self._claimed_in = self._share.generation
            return bool(mine) and self._rate(mine), frozenset(due - mine)

    def _plan(
        self, states: list[scope.State], known: Mapping[known_cells.Cell, coverage.Failure]
    ) -> list[planner.Work]:
        lonely = {scope_id for scope_id, count in self._drops.items() if count >= 2}
        return planner.plan(
            states, self._schedule, self._limits, self._clock(), self._held_until(states, known), lonely
        )

    def _rate(self, mine: frozenset[str]) -> bool:
        """Rate what is due of *mine*, until the plan is old; return whether anything went on."""
        states = self._read(mine)
        known = self._troubles(states)
        planned_at = period.to_epoch(self._clock())
        went_on = False
        for work in self._plan(states, known):
            age = period.to_epoch(self._clock()) - planned_at
            if self._stopping.is_set() or not 0 <= age < self.PLAN_LIFE or self._share.has_changed():
                break
            try:
                outcome = self._line.run(work, known)
            except (*engine.AWAY, errors.ConfigurationError):
                raise
            except Exception as error:
                # One batch must not keep the others from being rated; by itself, the scope that causes it is found.
                self._rest(work, error)
                continue
            for scope_id in outcome.dropped:
                self._drops[scope_id] = self._drops.get(scope_id, 0) + 1
            for scope_id in outcome.committed:
                self._drops.pop(scope_id, None)
                self._resting.pop(scope_id, None)
            went_on = went_on or bool(outcome.committed or outcome.dropped or outcome.left)
        return went_on

    def _rest(self, work: planner.Work, error: Exception) -> None:
        """Have the scopes of a batch that raised wait, the longer the more often it happened."""
        now = period.to_epoch(self._clock())
        for state in work.states:
            count = self._drops[state.scope.id] = self._drops.get(state.scope.id, 0) + 1
            self._resting[state.scope.id] = now + min(self.FIRST_PAUSE * 2 ** min(count, 10), self.LONGEST_REST)
        LOG.error(
            '%s: the batch of %d scopes (%s, ...) failed and is tried again later.',
            period.from_epoch(work.begin),
            len(work.states),
            work.states[0].scope.id,
            exc_info=error,
        )

    def _mend_share(self, is_all_tried: bool = False) -> bool:
        """Mend what is due, a round of it; return whether that got on and there may be more.

        :param is_all_tried: a period that is due even so is somebody else's, and not waited for.
        """
        everything = scopes.list_states(self._database, self._identity, active=True)
        states = [state for state in everything if self._fits(state.scope.id)]
        found = self._mender.find(states, period.to_epoch(self._clock()))
        if not found:
            self._note_still(everything)
            return False
        # Live periods go first: mending ends when one is due.
        known = self._troubles(states)
        if is_all_tried:
            others = {state.scope.id for work in self._plan(states, known) for state in work.states}
            states = [state for state in states if state.scope.id not in others]
        due = planner.next_due(states, self._schedule, self._held_until(states, known))

        def keep_going() -> bool:
            return not self._stopping.is_set() and (due is None or period.to_epoch(self._clock()) < due)

        with self._share.claim(found) as mine:
            return bool(mine) and self._mender.run(self._read(mine), period.to_epoch(self._clock()), keep_going) > 0

    def _troubles(self, states: Iterable[scope.State]) -> Mapping[known_cells.Cell, coverage.Failure]:
        """Return the open troubles of cells that the clocks of *states* have not passed.

        Those of the future were noted while the clock of a host was wrong: nobody waits until then.
        """
        now = period.to_epoch(self._clock())
        clocks = {state.scope.id: period.to_epoch(state.last_processed) for state in states}
        if not clocks:
            return {}
        return {
            (failure.scope_id, failure.metric, failure.begin): failure
            for failure in ledger.list_failures(self._database, scope_ids=clocks, begin=min(clocks.values()) + 1)
            if failure.begin > clocks[failure.scope_id] and failure.since <= now
        }

    def _held_until(
        self, states: Iterable[scope.State], known: Mapping[known_cells.Cell, coverage.Failure]
    ) -> dict[str, int]:
        """Return {scope id: second before which it waits}: its next period, or its batch, failed before."""
        nexts = {state.scope.id: self._schedule.next_begin(state) for state in states}
        latest = period.to_epoch(self._clock()) + self.LONGEST_REST
        # What rests for longer was told so before the clock was set back.
        result = {scope_id: until for scope_id, until in self._resting.items() if until <= latest}
        for failure in known.values():
            if failure.begin == nexts.get(failure.scope_id):
                result[failure.scope_id] = max(failure.next_attempt, result.get(failure.scope_id, 0))
        return result

    def _sleep_for(self, others: frozenset[str]) -> float:
        """Return the seconds until something is due that is not one of *others*, which somebody else has."""
        states = [state for state in self._read() if state.scope.id not in others]
        due = planner.next_due(states, self._schedule, self._held_until(states, self._troubles(states)))
        wait: float = self.LONGEST_SLEEP if due is None else due - period.to_epoch(self._clock())
        if others and not self._share.tells_changes():
            # Who is faster takes what is left; not everybody looks at the same time.
            wait = min(wait, self.ELSEWHERE_SLEEP * random.uniform(0.5, 1))
        return self._clip(wait)

    def _clip(self, wait: float) -> float:
        return max(1, min(wait, self.LONGEST_SLEEP))
