# SPDX-License-Identifier: Apache-2.0
"""Late data: the last periods are looked at again with each that is rated, until they are settled.

What the source gives otherwise than before is marked, in the commit that moves the clock: it is provisional, with an
open trouble that is due at once, and the repair loop puts the new in the place of the old. What a source gave while it
admitted a backlog is provisional until it was looked at for the last time.

What the source merely has no more stays: it forgets, and bills do not.
"""

import bisect
import collections
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty import scope
from cloudkitty import series
from cloudkitty import usage
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.processor import contents
from cloudkitty.processor import known_cells
from cloudkitty.storage import base as storage_base

Cell = known_cells.Cell
Status = coverage.Status
#: (scope id, begin of a period) to a number that tells what the source gave for it.
Digests = Mapping[tuple[str, int], int]

#: Seconds until what a backlog concerns is asked for again, at first.
PAUSE = 300
LATE = 'The source gives something else for it than it gave before.'
SILENT = 'The source did not give it when it was looked at for the last time.'
#: Statuses of cells that are compared with what the source gives now; the others are repaired anyway, or given up.
_COMPARED = frozenset({Status.RATED, Status.EMPTY, Status.UNKNOWN, Status.PROVISIONAL, Status.UNRATED})


@dataclasses.dataclass(frozen=True)
class Seen:
    """What the source gave for a period of a scope when it was asked last.

    :ivar digest: of all of it.
    :ivar is_open: some of it is provisional.
    """

    digest: int
    is_open: bool


class Memory:
    """What a worker remembers of the last periods of scopes, as long as nobody else changed them."""

    #: Scopes to remember; those that were used least recently go first.
    MOST = 100_000

    def __init__(self) -> None:
        self._scopes: collections.OrderedDict[str, tuple[int, Mapping[int, Seen]]] = collections.OrderedDict()

    def get(self, scope_id: str, epoch: int) -> Mapping[int, Seen]:
        """Return {begin: what was seen} of a scope whose guard stands at *epoch*."""
        found = self._scopes.get(scope_id)
        return found[1] if found is not None and found[0] == epoch else {}

    def learn(self, scope_id: str, epoch: int, seen: Mapping[int, Seen]) -> None:
        """Remember only *seen* of a scope, whose guard our commit moved to *epoch*."""
        self._scopes[scope_id] = (epoch, seen)
        self._scopes.move_to_end(scope_id)
        if len(self._scopes) > self.MOST:
            self._scopes.popitem(last=False)


@dataclasses.dataclass
class Look:
    """What a look at the last periods of some scopes says.

    :ivar runs, failures: coverage of cells that changed, and their open troubles.
    :ivar late: how many cells differ.
    :ivar digests: of what the source gave.
    :ivar open: cells that are provisional.
    """

    runs: list[coverage.Run] = dataclasses.field(default_factory=list)
    failures: list[coverage.Failure] = dataclasses.field(default_factory=list)
    late: int = 0
    digests: Digests = dataclasses.field(default_factory=dict)
    open: set[Cell] = dataclasses.field(default_factory=set)


class Settler:
    """Looks at the *count* periods before a batch.

    :param length: of a period, in seconds.
    """

    def __init__(self, database: engine.Database, storage: storage_base.BaseStorage, length: int, count: int) -> None:
        self._database = database
        self._storage = storage
        self._length = length
        self._span = count * length
        self._memory = Memory()

    def widen(self, batch: usage.Batch) -> usage.Batch:
        """Return *batch* with the periods before it that are to be asked for again."""
        count = batch.count + self._span // self._length
        return dataclasses.replace(batch, begin=batch.begin - self._span, count=count)

    def look(self, found: usage.Usage, states: Mapping[str, scope.State], ends: Mapping[str, int], now: int) -> Look:
        """Return what is to be written of the periods of *found*, which the clocks of *states* have passed.

        :param ends: scope id to where its clock will be.
        """
        result = Look(digests=digest(found, found.batch.begin))
        doubtful = [
            (scope_id, begin)
            for scope_id in ends
            for begin in found.batch.begins
            if self._is_doubtful(scope_id, states[scope_id].epoch, begin, result.digests)
        ]
        if not doubtful:
            return result
        owners = sorted({scope_id for scope_id, _ in doubtful})
        batch = found.batch
        past = known_cells.Past(ledger.list_runs(self._database, owners, batch.begin, batch.end))
        found_before = self._storage.quantities(owners, None, batch.begin - period.DAY, batch.end, priced=True)
        stored = contents.of(found_before)
        odd = self._other_lengths(found_before)
        again = self.again(states, ends)
        given = contents.of(found.columns)
        troubles = ledger.list_failures(self._database, scope_ids=owners, begin=batch.begin, end=batch.end)
        left = {(failure.scope_id, failure.metric, failure.begin) for failure in troubles}
        silent = known_cells.troubled_cells(found.troubles, self._length)
        for scope_id, begin in doubtful:
            before = self._memory.get(scope_id, states[scope_id].epoch).get(begin)
            for name, run in past.at(scope_id, begin).items():
                cell = (scope_id, name, begin)
                if run.status is Status.PROVISIONAL:
                    result.open.add(cell)
                if cell in left or run.status not in _COMPARED or run.is_imported:
                    continue
                if cell in silent:
                    if run.status is Status.PROVISIONAL and begin < again[scope_id]:
                        # It will not be looked at again, so the repair has to ask.
                        result.failures.append(coverage.Failure(*cell, now, 0, now, SILENT))
                    continue
                if any(first < begin + self._length and begin < last for first, last in odd.get(scope_id, ())):
                    continue
                is_late = not given.get(cell, contents.NONE) <= stored.get(cell, contents.NONE)
                if run.altered:
                    # A module made of it what is stored; that it differs tells nothing, that the source does a lot.
                    is_late = before is not None and before.digest != result.digests.get((scope_id, begin), 0)
                if is_late:
                    result.late += 1
                    result.runs.append(_cut(run, begin, begin + self._length, Status.PROVISIONAL))
                    result.failures.append(coverage.Failure(*cell, now, 0, now, LATE))
                    result.open.add(cell)
                elif run.status is Status.PROVISIONAL:
                    self._settle(result, cell, run, cell in stored, found.backlog, begin < again[scope_id], now)
        return result

    def again(self, states: Mapping[str, scope.State], ends: Mapping[str, int]) -> dict[str, int]:
        """Return {scope id: epoch second from which on periods will be looked at again, once the clock is at its end}.

        Of a scope that is gone the last batch is the last look.
        """
        result = {}
        for scope_id, end in ends.items():
            gone = states[scope_id].gone_since
            is_over = gone is not None and end >= period.to_epoch(gone)
            result[scope_id] = end if is_over else end - self._span
        return result

    def _other_lengths(self, columns: Iterable[series.Columns]) -> dict[str, set[tuple[int, int]]]:
        """Return {scope id: (begin, end) of points} of those that are of periods of another length: others' cells."""
        result: dict[str, set[tuple[int, int]]] = {}
        for item in columns:
            if item.length != self._length:
                spans = result.setdefault(item.series.scope_id, set())
                spans.update((begin, begin + item.length) for begin in item.begins)
        return result

    def _is_doubtful(self, scope_id: str, epoch: int, begin: int, digests: Digests) -> bool:
        before = self._memory.get(scope_id, epoch).get(begin)
        return before is None or before.is_open or before.digest != digests.get((scope_id, begin), 0)

    def _settle(
        self,
        result: Look,
        cell: Cell,
        run: coverage.Run,
        has_points: bool,
        backlog: usage.Backlog | None,
        is_last: bool,
        now: int,
    ) -> None:
        """Settle a provisional cell that is as it was, if it is time to.

        :param is_last: it will not be looked at again.
        """
        if is_last and backlog is not None and backlog.is_deep:
            result.failures.append(coverage.Failure(*cell, now, 0, now, backlog.text))
        elif is_last or backlog is None:
            status = Status.RATED if has_points or run.rule_set is not None else Status.EMPTY
            result.runs.append(_cut(run, cell[2], cell[2] + self._length, status))
            result.open.discard(cell)

    def doubt(
        self, runs: list[coverage.Run], again: Mapping[str, int], backlog: usage.Backlog | None, now: int
    ) -> tuple[list[coverage.Run], list[coverage.Failure]]:
        """Return *runs* with those cells provisional that lack what is in *backlog*, and the troubles of some.

        What will be looked at again needs none; for what will not, only a deep backlog counts.

        :param again: what :meth:`again` says.
        """
        # What is collected again takes the place of what was pushed where the storage cannot tell them apart.
        if backlog is None or not self._storage.tells_origins:
            return runs, []
        result: list[coverage.Run] = []
        failures = []
        for run in runs:
            if run.status not in (Status.RATED, Status.EMPTY):
                result.append(run)
                continue
            begins = range(run.begin, run.end, self._length)
            first = next(
                (
                    begin
                    for begin in begins
                    if begin + self._length > backlog.since and (backlog.is_deep or begin >= again[run.scope_id])
                ),
                run.end,
            )
            if run.begin < first:
                result.append(_cut(run, run.begin, first, run.status))
            if first < run.end:
                result.append(_cut(run, first, run.end, Status.PROVISIONAL))
            failures += [
                coverage.Failure(run.scope_id, run.metric, begin, now, 0, now + PAUSE, backlog.text)
                for begin in range(first, min(run.end, again[run.scope_id]), self._length)
            ]
        return coverage.join(result), failures

    def remember(
        self,
        found: usage.Usage,
        look: Look,
        states: Iterable[scope.State],
        ends: Mapping[str, int],
        runs: Iterable[coverage.Run],
    ) -> None:
        """Remember what the source gave for the periods that the next batch looks at.

        :param found: of the batch itself.
        :param states: of the scopes whose clocks moved, as they were before.
        :param runs: coverage of the batch.
        """
        if not self._span:
            return
        earliest = min(ends.values(), default=0) - self._span
        digests = {**look.digests, **digest(found, earliest)}
        is_open = {(scope_id, begin) for scope_id, _, begin in look.open}
        for run in runs:
            if run.status is Status.PROVISIONAL:
                is_open.update((run.scope_id, begin) for begin in range(run.begin, run.end, self._length))
        for state in states:
            scope_id = state.scope.id
            end = ends[scope_id]
            seen = {
                begin: Seen(digests.get((scope_id, begin), 0), (scope_id, begin) in is_open)
                for begin in range(end - self._span, end, self._length)
            }
            self._memory.learn(scope_id, state.epoch + 1, seen)


def digest(found: usage.Usage, begin: int) -> Digests:
    """Return what tells what the source gave, and what it did not answer, of periods from *begin* on with any of it."""
    result: dict[tuple[str, int], int] = collections.defaultdict(int)
    for item in found.columns:
        scope_id, own = item.series.scope_id, hash(item.series.fingerprint)
        place = bisect.bisect_left(item.begins, begin)
        for instant, quantity in zip(item.begins[place:], item.quantities[place:], strict=True):
            result[scope_id, instant] += hash((own, quantity))
    for trouble in found.troubles:
        for instant in range(max(begin, trouble.begin), trouble.end, found.batch.length):
            result[trouble.scope_id, instant] += hash((trouble.metric, trouble.status.value))
    return dict(result)


def split(found: usage.Usage, begin: int) -> tuple[usage.Usage, usage.Usage]:
    """Return what *found* says of the periods before *begin* (epoch second), and of the others."""
    batch = found.batch
    count = (begin - batch.begin) // batch.length
    early, late = [], []
    for item in found.columns:
        if item.begins[0] >= begin:
            late.append(item)
        elif item.begins[-1] < begin:
            early.append(item)
        else:
            place = bisect.bisect_left(item.begins, begin)
            early.append(series.Columns(item.series, item.length, item.begins[:place], item.quantities[:place]))
            late.append(series.Columns(item.series, item.length, item.begins[place:], item.quantities[place:]))
    before = [
        dataclasses.replace(trouble, end=min(trouble.end, begin)) for trouble in found.troubles if trouble.begin < begin
    ]
    after = [
        dataclasses.replace(trouble, begin=max(trouble.begin, begin))
        for trouble in found.troubles
        if trouble.end > begin
    ]
    return (
        dataclasses.replace(found, batch=dataclasses.replace(batch, count=count), columns=early, troubles=before),
        dataclasses.replace(
            found,
            batch=dataclasses.replace(batch, begin=begin, count=batch.count - count),
            columns=late,
            troubles=after,
        ),
    )


def _cut(run: coverage.Run, begin: int, end: int, status: Status) -> coverage.Run:
    return run._replace(begin=begin, end=end, status=status)
