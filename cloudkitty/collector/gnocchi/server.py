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


class Pace:
    """How long answers take, by resource type, as far as that can be told from those before.

    The work of a server grows with the resources of an answer; a granule is a hundredth of one.

    Source: collection contract, section 8.3.
    """

    #: Resources that granules weigh.
    GRANULE = 0.01
    #: Seconds a resource is taken to cost before anything is known.
    FIRST = 0.01
    #: Smaller answers take what every request takes.
    LEAST = 50
    #: How much the last answer counts.
    SHARE = 0.3

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def note(self, key: str, weight: float, seconds: float) -> None:
        """Take note that an answer of *weight* resources took *seconds*."""
        if weight >= self.LEAST:
            before = self._seconds.get(key, self.FIRST)
            self._seconds[key] = before + self.SHARE * (seconds / weight - before)

    def seconds(self, key: str, weight: float) -> float:
        """Return how long an answer of *weight* resources takes, about."""
        return weight * self._seconds.get(key, self.FIRST)

    def most(self, key: str, seconds: float) -> float:
        """Return the weight of an answer that takes about *seconds*, at least :data:`LEAST`."""
        return max(self.LEAST, seconds / max(self._seconds.get(key, self.FIRST), 1e-9))


@dataclasses.dataclass
class Server:
    """What was learnt of the server.

    :ivar existing: (resource type, metric name) that are known to exist somewhere.
    :ivar missing: those of which that is not so, to the monotonic second until which this is believed.
    :ivar has_history: it is not known to be older than 4.5.
    :ivar scope_weights: what a scope took on average in the last batch, in granules: its resources, and a period of it.
    """

    sizes: Sizes = dataclasses.field(default_factory=Sizes)
    pace: Pace = dataclasses.field(default_factory=Pace)
    existing: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    missing: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    has_history: bool = True
    scope_weights: tuple[float, float] = (0, 0)
