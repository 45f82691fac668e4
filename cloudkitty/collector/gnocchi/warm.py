# SPDX-License-Identifier: Apache-2.0
"""The resources of scopes as they were read a moment ago, for the next batch that asks for them.

A scope that catches up is asked for window after window; its resources are read once for all of them. What was read is
used only for windows that were over, by a period at least, when it was read: what is recorded late is found as it would
be by a batch of its own. It is never older than some minutes, so that a metric that a resource gets later is noticed;
revisions do not tell of those.
"""

import collections
from collections.abc import Iterable
import dataclasses
import time

from cloudkitty.collector.gnocchi import inventory

#: Seconds for which an inventory is used.
FRESH = 300


@dataclasses.dataclass(frozen=True)
class _Entry:
    """The *resources* of a scope with the revisions in force at *begin* or later, as they were at *second*."""

    begin: int
    second: float
    resources: tuple[inventory.Resource, ...]


class Inventories:
    """Inventories by what is to be known of a type and by scope.

    :param limit: how many resources to keep; scopes used least recently go first. 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0
        self._entries: collections.OrderedDict[tuple[inventory.Wanted, str], _Entry] = collections.OrderedDict()

    def get(
        self, wanted: inventory.Wanted, scope_ids: Iterable[str], begin: int, end: int
    ) -> tuple[inventory.Inventory, list[str]]:
        """Return what is known for the window, and the scopes of which nothing fitting is.

        :param end: instant at which what was read has to be news.
        """
        now = time.time()
        found = inventory.Inventory({})
        missing = []
        for scope_id in scope_ids:
            key = (wanted, scope_id)
            entry = self._entries.get(key)
            if entry is None or entry.begin > begin or entry.second < end or not 0 <= now - entry.second < FRESH:
                missing.append(scope_id)
                continue
            self._entries.move_to_end(key)
            found.add(inventory.Inventory({resource.id: resource for resource in entry.resources}))
        return found, missing

    def learn(
        self,
        wanted: inventory.Wanted,
        scope_ids: Iterable[str],
        begin: int,
        second: float,
        found: inventory.Inventory,
    ) -> None:
        """Remember all that was *found* of scopes from *begin* on, asked for at epoch *second*."""
        if not self._limit:
            return
        owned: dict[str, list[inventory.Resource]] = {scope_id: [] for scope_id in scope_ids}
        for resource in found.resources.values():
            for scope_id in resource.scopes:
                if scope_id in owned:
                    owned[scope_id].append(resource)
        for scope_id, resources in owned.items():
            self._drop((wanted, scope_id))
            self._entries[wanted, scope_id] = _Entry(begin, second, tuple(resources))
            self._count += len(resources) or 1
        while self._count > self._limit:
            self._drop(next(iter(self._entries)))

    def forget(self, wanted: inventory.Wanted, scope_ids: Iterable[str]) -> None:
        """Have these scopes read again."""
        for scope_id in scope_ids:
            self._drop((wanted, scope_id))

    def _drop(self, key: tuple[inventory.Wanted, str]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._count -= len(entry.resources) or 1
