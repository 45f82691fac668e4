# SPDX-License-Identifier: Apache-2.0
"""What is learnt of a Gnocchi while it is asked."""

import dataclasses
import math


class Sizes:
    """How large requests may be, by what they are for: what was too big is halved, and doubled again when it works."""

    #: Of this size on there is no limit.
    NONE = 4096

    def __init__(self) -> None:
        self._most: dict[tuple[str, ...], int] = {}
        self._shrunk: set[tuple[str, ...]] = set()

    def most(self, key: tuple[str, ...]) -> float:
        """Return the largest size to try."""
        return self._most.get(key, math.inf)

    def shrink(self, key: tuple[str, ...], size: int) -> None:
        """Note that *size* was too big."""
        self._most[key] = int(max(1, min(self.most(key), size // 2)))
        self._shrunk.add(key)

    def grow(self) -> None:
        """Let grow what was not too big since the last call."""
        for key in set(self._most) - self._shrunk:
            self._most[key] *= 2
            if self._most[key] >= self.NONE:
                del self._most[key]
        self._shrunk.clear()


@dataclasses.dataclass
class Server:
    """What was learnt of the server.

    :ivar existing: (resource type, metric name) that are known to exist somewhere.
    :ivar missing: those of which that is not so, to the monotonic second until which this is believed.
    :ivar has_history: it is not known to be older than 4.5.
    :ivar scope_weight: granules and the like that a scope and period took on average, in the last batch.
    """

    sizes: Sizes = dataclasses.field(default_factory=Sizes)
    existing: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    missing: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    has_history: bool = True
    scope_weight: float = 0
