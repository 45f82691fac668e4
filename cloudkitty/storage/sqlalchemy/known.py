# SPDX-License-Identifier: Apache-2.0
"""What a worker remembers of series: fingerprint to id, per scope, as long as nobody else changed the scope."""

import collections
from collections.abc import Mapping
import threading


class KnownSeries:
    """Ids of series that are certainly in the database.

    :param limit: how many ids to remember; the scopes used least recently go first.
    """

    def __init__(self, limit: int = 200_000) -> None:
        self._limit = limit
        self._count = 0
        self._lock = threading.Lock()
        self._scopes: collections.OrderedDict[str, tuple[int, dict[bytes, int]]] = collections.OrderedDict()

    def get(self, scope_id: str, epoch: int) -> Mapping[bytes, int]:
        """Return {fingerprint: id} of a scope whose guard stands at *epoch*; empty if it was last left elsewhere."""
        with self._lock:
            found = self._scopes.get(scope_id)
            if found is None:
                return {}
            if found[0] != epoch:
                self._drop(scope_id)
                return {}
            self._scopes.move_to_end(scope_id)
            return found[1]

    def learn(self, scope_id: str, epoch: int, ids: Mapping[bytes, int]) -> None:
        """Remember *ids* too, of a scope that our commit moved from the epoch before to *epoch*."""
        with self._lock:
            if scope_id in self._scopes and self._scopes[scope_id][0] != epoch - 1:
                self._drop(scope_id)
            known = dict(self._scopes[scope_id][1]) if scope_id in self._scopes else {}
            self._count += len(ids.keys() - known.keys())
            known.update(ids)
            self._scopes[scope_id] = (epoch, known)
            self._scopes.move_to_end(scope_id)
            while self._count > self._limit and len(self._scopes) > 1:
                self._drop(next(iter(self._scopes)))

    def _drop(self, scope_id: str) -> None:
        self._count -= len(self._scopes.pop(scope_id)[1])
