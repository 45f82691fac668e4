# SPDX-License-Identifier: Apache-2.0
"""What is learnt of a Gnocchi while it is asked."""

import dataclasses

from cloudkitty.collector import isolate


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

    sizes: isolate.Sizes = dataclasses.field(default_factory=isolate.Sizes)
    pace: Pace = dataclasses.field(default_factory=Pace)
    existing: set[tuple[str, str]] = dataclasses.field(default_factory=set)
    missing: dict[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    has_history: bool = True
    scope_weights: tuple[float, float] = (0, 0)
