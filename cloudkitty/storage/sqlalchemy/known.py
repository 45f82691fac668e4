# SPDX-License-Identifier: Apache-2.0
"""What a worker remembers of the database, per scope, as long as nobody else changed the scope."""

import collections
from collections.abc import Callable
from collections.abc import Mapping
import threading
from typing import Any
from typing import Generic
from typing import TypeVar

Key = TypeVar('Key')
Value = TypeVar('Value')

#: Ids of series to remember.
IDS = 200_000
#: Characters of rows to remember.
CHARACTERS = 24_000_000
#: What a row takes beside its texts.
ROW = 500


class Known(Generic[Key, Value]):
    """Things that are certainly in the database.

    :param limit: how much to remember; the scopes used least recently go first.
    :param weigh: how much a thing is.
    """

    def __init__(self, limit: int, weigh: Callable[[Value], int] = lambda value: 1) -> None:
        self._limit = limit
        self._weigh = weigh
        self._weight = 0
        self._lock = threading.Lock()
        self._scopes: collections.OrderedDict[str, tuple[int, dict[Key, Value]]] = collections.OrderedDict()

    def get(self, scope_id: str, epoch: int) -> Mapping[Key, Value]:
        """Return what is known of a scope whose guard stands at *epoch*; nothing if it was last left elsewhere."""
        with self._lock:
            found = self._scopes.get(scope_id)
            if found is None:
                return {}
            if found[0] != epoch:
                self._drop(scope_id)
                return {}
            self._scopes.move_to_end(scope_id)
            return found[1]

    def learn(self, scope_id: str, epoch: int, things: Mapping[Key, Value]) -> None:
        """Remember *things* too, of a scope that our commit moved from the epoch before to *epoch*."""
        with self._lock:
            if scope_id in self._scopes and self._scopes[scope_id][0] != epoch - 1:
                self._drop(scope_id)
            known = dict(self._scopes[scope_id][1]) if scope_id in self._scopes else {}
            # Most of what is learnt takes the place of what was known.
            before = [known[key] for key in things if key in known]
            self._weight += sum(map(self._weigh, things.values())) - sum(map(self._weigh, before))
            known.update(things)
            self._scopes[scope_id] = (epoch, known)
            self._scopes.move_to_end(scope_id)
            while self._weight > self._limit and len(self._scopes) > 1:
                self._drop(next(iter(self._scopes)))

    def forget(self, scope_id: str) -> None:
        """Remember nothing of a scope any more."""
        with self._lock:
            if scope_id in self._scopes:
                self._drop(scope_id)

    def _drop(self, scope_id: str) -> None:
        self._weight -= sum(map(self._weigh, self._scopes.pop(scope_id)[1].values()))


def make_ids() -> Known[bytes, int]:
    """Return a memory of fingerprints and ids of series."""
    return Known(IDS)


def make_rows() -> Known[Any, tuple[Any, ...]]:
    """Return a memory of the newest rows of series and of roll-ups; the last item of a row is its longest text."""
    return Known(CHARACTERS, lambda row: ROW + (len(row[-1]) if isinstance(row[-1], str) else 0))
