# SPDX-License-Identifier: Apache-2.0
"""The repair of cells that the clock has passed: collect again what failed, price again what has no price.

Oldest first, with growing pauses; what fails for longer than the repair window is lost, with an ERROR.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import itertools

from oslo_log import log

from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import scope
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.processor import closing
from cloudkitty.processor import figures
from cloudkitty.processor import known_cells
from cloudkitty.processor import mend
from cloudkitty.processor import pipeline
from cloudkitty.rating import chain
from cloudkitty.rating import jail as jails
from cloudkitty.storage import base as storage_base

LOG = log.getLogger(__name__)

#: How many cells one round mends at most.
ROUND = 5000

Job = mend.Job


def group(cells: Iterable[known_cells.Cell], length: int, most: int = 100) -> list[Job]:
    """Return the jobs that cover exactly *cells*, of at most *most* scopes each, oldest first."""
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
        (
            Job(tuple(sorted(ids)[start : start + most]), names, begin, end)
            for (names, begin, end), ids in jobs.items()
            for start in range(0, len(ids), most)
        ),
        key=lambda job: (job.begin, job.end, job.metrics, job.scope_ids),
    )


class Replays:
    """The chains of written rule sets, a few of them kept."""

    KEPT = 16

    def __init__(self, database: engine.Database, jail: jails.Jail | None = None) -> None:
        self._database = database
        self._jail = jail
        self._chains: dict[str, chain.Chain | None] = {}

    def get(self, digest: str) -> chain.Chain | None:
        """Return the chain that rule set *digest* was written from; None where it cannot be had again."""
        if digest not in self._chains:
            if len(self._chains) >= self.KEPT:
                self._chains.clear()
            try:
                self._chains[digest] = chain.replay(self._database, digest, self._jail)
            except (errors.Conflict, errors.NotFound) as error:
                LOG.info('%s Its periods are repaired with the rules of today.', error)
                self._chains[digest] = None
        return self._chains[digest]


class Repair:
    """Mends what is due.

    :param chains: a :class:`cloudkitty.rating.chain.Cache`.
    :param window: seconds from the first failed attempt after which a cell is lost.
    :param most: scopes that are collected together.
    :param settle: how many of the last periods are looked at again with the next one.
    """

    def __init__(
        self,
        database: engine.Database,
        mender: mend.Mender,
        storage: storage_base.BaseStorage,
        chains,
        length: int,
        patience: pipeline.Patience,
        window: int,
        most: int = 100,
        settle: int = 0,
    ) -> None:
        self._span = settle * length
        self._database = database
        self._mender = mender
        self._storage = storage
        self._chains = chains
        self._replays = Replays(database, chains.jail)
        self._length = length
        self._patience = patience
        self._window = window
        self._most = most
        self._rule_set: str | None = None

    def follow_length(self, states: Iterable[scope.State]) -> None:
        """Have the scopes of *states* go on where their last period ended: [collect] period may have changed since.

        A clock says only where that period began.
        """
        by_clock: dict[int, dict[str, scope.State]] = {}
        for state in states:
            by_clock.setdefault(period.to_epoch(state.last_processed), {})[state.scope.id] = state
        changes = []
        for clock, owners in sorted(by_clock.items()):
            ends: dict[str, int] = {}
            for run in ledger.list_runs(self._database, owners, clock, clock + self._length):
                ends[run.scope_id] = max(run.end, ends.get(run.scope_id, run.end))
            changes += [
                storage_base.Change(owners[scope_id], end - self._length, end)
                for scope_id, end in ends.items()
                if end != clock + self._length
            ]
        if not changes:
            return
        result = self._storage.commit(storage_base.Commit(self._length, changes, [], []))
        LOG.warning(
            '[collect] period was changed to %d s: %d scopes go on where their last period of another length ended.',
            self._length,
            len(result.committed),
        )

    def take_up(self, states: Iterable[scope.State], now: int) -> None:
        """Have provisional cells that nobody would look at again collected once more: [collect] settle_periods may have
        changed since, or their scopes have.

        What is older than a month was given up or settled before.
        """
        clocks = {state.scope.id: period.to_epoch(state.last_processed) for state in states}
        if not clocks:
            return
        since = min(clocks.values()) - 31 * period.DAY
        left = {
            (item.scope_id, item.metric, item.begin) for item in ledger.list_failures(self._database, clocks=clocks)
        }
        open_cells = [
            (run.scope_id, run.metric, begin)
            for run in ledger.list_runs(self._database, clocks, since, status=coverage.Status.PROVISIONAL)
            for begin in range(run.begin, run.end, self._length)
            if begin < clocks[run.scope_id] + self._length - self._span
        ]
        ledger.note_failures(
            self._database,
            [
                coverage.Failure(*cell, now, 0, now, 'It was provisional, and nobody looked at it again.')
                for cell in open_cells
                if cell not in left
            ],
        )

    def has_news(self) -> bool:
        """Return whether rules changed since :meth:`find` looked, so that all that lacks a price is due."""
        return self._chains.get().rule_set != self._rule_set

    def find(self, states: Iterable[scope.State], now: int) -> frozenset[str]:
        """Return the ids of the scopes among *states* of which a cell is due to be mended at *now*.

        After a change of rules, and at first, all cells that lack a price are.
        """
        clocks = {state.scope.id: period.to_epoch(state.last_processed) for state in states}
        if not clocks:
            return frozenset()
        rule_set = self._chains.get().rule_set
        if rule_set != self._rule_set:
            self._hasten(clocks, now)
            self._rule_set = rule_set
        return frozenset(failure.scope_id for failure in self._list_due(clocks, now))

    def _list_due(self, clocks: Mapping[str, int], now: int) -> list[coverage.Failure]:
        """Return open troubles that may be mended at *now*: not of periods that are not over, whatever a clock says."""
        found = ledger.list_failures(self._database, due_before=now, clocks=clocks, limit=ROUND)
        return [failure for failure in found if failure.begin + self._length <= now]

    def _hasten(self, clocks: Mapping[str, int], now: int) -> None:
        """Make due what lacks a price, and what waits to be lost although its metric is back."""
        waiting = {
            (failure.scope_id, failure.metric, failure.begin): failure
            for failure in ledger.list_failures(self._database, clocks=clocks)
            if failure.next_attempt > now
        }
        if waiting:
            past = self._look(waiting)
            hopeful = [
                failure
                for cell, failure in waiting.items()
                if past.status(cell) in mend.UNRATED
                or (failure.metric in self._types and failure.next_attempt > now + self._patience.longest_pause)
            ]
            ledger.note_failures(
                self._database, [dataclasses.replace(failure, next_attempt=now) for failure in hopeful]
            )

    @property
    def _types(self) -> set[str]:
        return {item.type for item in self._mender.metrics}

    def run(self, states: Iterable[scope.State], now: int, keep_going: Callable[[], bool] = lambda: True) -> int:
        """Mend what is due of *states* (active scopes) at *now*; return how many points were written.

        :param keep_going: asked between two jobs.
        """
        owners = {state.scope.id: state for state in states}
        clocks = {scope_id: period.to_epoch(state.last_processed) for scope_id, state in owners.items()}
        found = self._list_due(clocks, now)
        if not found:
            return 0
        known = {(failure.scope_id, failure.metric, failure.begin): failure for failure in found}
        past = self._look(known)
        types = self._types
        failing, unrated, lost, strange, unwanted = set(), set(), set(), [], set()
        for cell, failure in known.items():
            status = past.status(cell)
            if status in mend.UNRATED:
                unrated.add(cell)
            elif status not in mend.FAILING:
                unwanted.add(cell)  # somebody moved the clock past it: it is not to be rated
            elif failure.since + self._window < now and not failure.error.startswith(closing.WAITS):
                lost.add(cell)
            elif cell[1] not in types:
                strange.append(failure)  # metrics.yml has no such metric now; it is lost when its time has come
            else:
                failing.add(cell)
        ledger.forget_failures(self._database, unwanted)
        ledger.note_failures(
            self._database,
            [dataclasses.replace(failure, next_attempt=failure.since + self._window + 1) for failure in strange],
        )
        self._give_up(owners, lost)
        points = 0
        today = self._chains.get()
        for way, cells in self._ways(failing, unrated, past, today).items():
            rules = self._replays.get(way.digest) if way.digest else None
            for job in group(cells, self._length, self._most):
                try:
                    fresh = self._refresh(owners, job.scope_ids)
                    points += self._mender.mend(fresh, job, way, rules or today, self._make_is_way(way, today))
                except engine.AWAY:
                    raise
                except Exception as error:
                    # One job must not keep the others from being mended.
                    self._postpone(job, known, error, now)
                if not keep_going():
                    return points
        return points

    def _postpone(
        self, job: Job, known: Mapping[known_cells.Cell, coverage.Failure], error: Exception, now: int
    ) -> None:
        text = '%s: %s' % (type(error).__name__, ' '.join(str(error).split())[:500])
        cells = (
            (scope_id, name, begin)
            for scope_id in job.scope_ids
            for name in job.metrics
            for begin in range(job.begin, job.end, self._length)
        )
        ledger.note_failures(self._database, [self._patience.fail(cell, text, known[cell], now) for cell in cells])
        LOG.error(
            '%s to %s: metrics %s of %d scopes could not be repaired; that is tried again later.',
            period.from_epoch(job.begin),
            period.from_epoch(job.end),
            ', '.join(job.metrics),
            len(job.scope_ids),
            exc_info=error,
        )

    def _ways(
        self,
        failing: Collection[known_cells.Cell],
        unrated: Collection[known_cells.Cell],
        past: known_cells.Past,
        today: chain.Chain,
    ) -> dict[mend.Way, list[known_cells.Cell]]:
        """Return the cells by the way in which they are mended.

        What failed is priced with the rule set of the other cells of its scope and period, where there is one that
        can be had again; what lacks a price with the rules of today.
        """
        result: dict[mend.Way, list[known_cells.Cell]] = {}
        for cells, is_unrated in ((failing, False), (unrated, True)):
            for cell in sorted(cells, key=_oldest_first):
                result.setdefault(self._way(cell, is_unrated, past, today), []).append(cell)
        return result

    def _way(self, cell: known_cells.Cell, is_unrated: bool, past: known_cells.Past, today: chain.Chain) -> mend.Way:
        digest = None if is_unrated else past.rule_set(cell)
        if digest is not None and (digest == today.rule_set or self._replays.get(digest) is None):
            digest = None
        whole = digest is None and today.sees_whole_frames(cell[2], cell[2] + 1) and past.is_altered(cell[0], cell[2])
        return mend.Way(digest, is_unrated, whole)

    def _make_is_way(self, way: mend.Way, today: chain.Chain) -> Callable[[known_cells.Cell, known_cells.Past], bool]:
        """Return what says whether a cell is still to be mended in *way*; else it is, another way, in another round."""
        return lambda cell, past: self._way(cell, way.unrated, past, today) == way

    def _refresh(self, states: Mapping[str, scope.State], ids: Collection[str]) -> dict[str, scope.State]:
        """Return the states of *ids* as they are now: an earlier job of this round advanced their epochs."""
        identities = {states[scope_id].scope for scope_id in ids}
        return {
            state.scope.id: state
            for state in scopes.list_states(self._database, ids=ids, active=True)
            if state.scope in identities
        }

    def _look(self, cells: Collection[known_cells.Cell]) -> known_cells.Past:
        first = min(cell[2] for cell in cells)
        last = max(cell[2] for cell in cells) + self._length
        return known_cells.Past(ledger.list_runs(self._database, {cell[0] for cell in cells}, first, last))

    def _give_up(self, states: Mapping[str, scope.State], cells: Collection[known_cells.Cell]) -> None:
        for job in group(cells, self._length, self._most):
            fresh = self._refresh(states, job.scope_ids)
            past = known_cells.Past(ledger.list_runs(self._database, fresh, job.begin, job.end))
            runs = [
                coverage.Run(scope_id, name, begin, begin + self._length, coverage.Status.LOST)
                for scope_id in fresh
                for name in job.metrics
                for begin in range(job.begin, job.end, self._length)
                if past.status((scope_id, name, begin)) in mend.FAILING
            ]
            owners = {run.scope_id for run in runs}
            changes = [
                storage_base.Change(state, job.begin, job.end, moves_clock=False)
                for scope_id, state in fresh.items()
                if scope_id in owners
            ]
            commit = storage_base.Commit(self._length, changes, [], coverage.join(runs))
            result = self._storage.commit(commit)
            figures.committed(figures.REPAIR, commit, result, 0)
            if result.committed:
                LOG.error(
                    '%s to %s: metrics %s of %d scopes are lost: the source did not give them in time',
                    period.from_epoch(job.begin),
                    period.from_epoch(job.end),
                    ', '.join(job.metrics),
                    len(result.committed),
                )


def _oldest_first(cell: known_cells.Cell) -> tuple[int, str, str]:
    return cell[2], cell[0], cell[1]
