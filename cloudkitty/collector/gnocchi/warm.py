# SPDX-License-Identifier: Apache-2.0
"""The resources of scopes, kept from batch to batch and brought up to date by what changed.

A change leaves a revision, and those since the last look are found by one small request. Two things leave none: that a
resource was deleted, which costs nothing but memory, and that it got a metric. So a batch that uses what is kept never
concludes from it that a resource lacks a metric: it asks for the measures of all resources of a type. Whatever else may
go astray (clocks that differ much, say) ends when all is listed anew, from time to time.

Nothing is asked while a scope catches up: what was read some minutes ago will do for windows that were over, by a
period, when it was read. What is recorded late is found as it would be by a batch of its own.
"""

import collections
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import dataclasses
import random
import threading
import time

from cloudkitty.collector.gnocchi import inventory

#: Seconds for which what was read is used as it is.
FRESH = 300
#: How much farther back than the last look changes are looked for: clocks differ, and transactions take time.
MARGIN = 600
#: After about so many seconds everything is listed anew.
SWEEP = 6 * 3600
#: Nobody may come back for what was not used for so long; it goes first.
IDLE = 2 * 3600


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """What a scope holds.

    :ivar begin: all revisions in force then or later are known.
    :ivar second: when that was so.
    :ivar due: when it is to be listed anew.
    """

    begin: int
    second: float
    due: float
    holding: inventory.Holding


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of some scopes.

    :ivar ready: by scope id, what can be used as it is.
    :ivar stale: by scope id, what has to be brought up to date.
    :ivar missing: scopes whose resources have to be listed.
    """

    ready: dict[str, Entry]
    stale: dict[str, Entry]
    missing: list[str]


class Inventories:
    """What scopes hold, by what is to be known of a type and by scope.

    :param limit: of the weights of resources (see :attr:`inventory.Resource.weight`); 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        # What was used last is at the end; with the second of that, and the weight.
        self._entries: collections.OrderedDict[tuple[inventory.Wanted, str], tuple[Entry, float, int]] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()

    def look_up(
        self, wanted: inventory.Wanted, scope_ids: Iterable[str], begin: int, end: int, can_renew: bool = True
    ) -> Known:
        """Return what is known for windows from *begin* on.

        :param end: instant at which what was read has to be news.
        :param can_renew: else what is not ready is missing.
        """
        now = time.time()
        known = Known({}, {}, [])
        with self._lock:
            for scope_id in scope_ids:
                entry, _, weight = self._entries.get((wanted, scope_id), (None, 0, 0))
                if entry is None or entry.begin > begin or not entry.second <= now < entry.due:
                    known.missing.append(scope_id)
                    continue
                is_ready = entry.second >= end and now - entry.second < FRESH
                if not is_ready and not can_renew:
                    known.missing.append(scope_id)
                    continue
                (known.ready if is_ready else known.stale)[scope_id] = entry
                self._entries[wanted, scope_id] = entry, now, weight
                self._entries.move_to_end((wanted, scope_id))
        return known

    def learn(
        self, wanted: inventory.Wanted, scope_ids: Iterable[str], begin: int, second: float, found: inventory.Inventory
    ) -> None:
        """Keep all that was *found* of scopes from *begin* on, asked for at epoch *second*."""
        due = second + SWEEP * random.uniform(0.75, 1.25)
        nothing = inventory.Holding({})
        holdings = found.holdings
        self._keep(wanted, {name: Entry(begin, second, due, holdings.get(name, nothing)) for name in scope_ids}, second)

    def renew(
        self, wanted: inventory.Wanted, stale: Mapping[str, Entry], second: float, changes: inventory.Changes
    ) -> dict[str, Entry]:
        """Return what was *stale*, brought up to date by the changes that were asked for at epoch *second*; keep it."""
        holdings = changes.found.holdings
        result = {}
        for scope_id, entry in stale.items():
            resources = entry.holding.resources
            more = holdings[scope_id].resources if scope_id in holdings else {}
            holding = entry.holding
            if more or not changes.ids.isdisjoint(resources):
                kept = {name: item for name, item in resources.items() if name not in changes.ids}
                holding = inventory.Holding({**kept, **more})
            result[scope_id] = Entry(entry.begin, second, entry.due, holding)
        self._keep(wanted, result, second)
        return result

    def forget(self, wanted: inventory.Wanted, scope_ids: Iterable[str]) -> None:
        """Have the resources of these scopes listed anew."""
        with self._lock:
            for scope_id in scope_ids:
                self._drop((wanted, scope_id))

    def _keep(self, wanted: inventory.Wanted, entries: Mapping[str, Entry], now: float) -> None:
        with self._lock:
            for scope_id in entries:
                self._drop((wanted, scope_id))
            victims = self._victims(now, entries.keys())
            for scope_id, entry in entries.items():
                weight = entry.holding.weight
                # What would not fit alone is no reason to drop the others.
                while weight <= self._limit < self._weight + weight:
                    victim = next(victims, None)
                    if victim is None:
                        break
                    self._drop(victim)
                if self._weight + weight <= self._limit:
                    self._entries[wanted, scope_id] = entry, now, weight
                    self._weight += weight

    def _victims(self, now: float, spared: Collection[str]) -> Iterator[tuple[inventory.Wanted, str]]:
        """Yield what to drop, the first first; nothing of the scopes *spared*.

        Scopes come in turn, an hour after they came before. If what was used least recently had to go, nothing would
        be there any more when its turn comes; so, but for what is idle, the last go, and the others have a use.
        """
        keys = [key for key in self._entries if key[1] not in spared]
        idle = [key for key in keys if now - self._entries[key][1] > IDLE]
        yield from idle
        yield from reversed(keys[len(idle) :])

    def _drop(self, key: tuple[inventory.Wanted, str]) -> None:
        with contextlib.suppress(KeyError):
            self._weight -= self._entries.pop(key)[2]
