# SPDX-License-Identifier: Apache-2.0
"""What is used in the laboratory: a function of a seed, and of nothing that happens. Source and oracle both ask it."""

import dataclasses
from decimal import Decimal
import hashlib
import random

HOUR = 3600
#: 2026-06-29 00:00 UTC: two days before the end of a month.
BEGIN = 1782691200
#: Hours for which it is known what is used.
HORIZON = 4000
#: {metric: (resource type, unit, attribute that prices depend on)}.
METRICS = {
    'cpu': ('instance', 'instance', 'flavor_name'),
    'memory': ('instance', 'MiB', None),
    'volume.size': ('volume', 'GiB', None),
}
ATTRIBUTES = {'instance': ('flavor_name',), 'volume': ('volume_type',)}
VALUES = {'instance': ('small', 'medium', 'large'), 'volume': ('ssd', 'disk')}
#: How many things of a type a scope has at a time, one after the other.
SLOTS = {'instance': 3, 'volume': 1}


@dataclasses.dataclass(frozen=True)
class Resource:
    """Something that is used from *begin* to *end* (epoch seconds).

    :ivar changes: (instant, value of the attribute of its type), the first at *begin*.
    """

    id: str
    type: str
    scope_id: str
    begin: int
    end: int
    changes: tuple

    def value_at(self, second):
        """Return the attribute's value then."""
        return [value for at, value in self.changes if at <= second][-1]


class World:
    """:ivar scope_ids: whom all of it belongs to.

    :ivar resources: {id: Resource}.
    """

    def __init__(self, seed, scopes=8):
        self.seed = seed
        self.scope_ids = ['scope-%02d' % number for number in range(scopes)]
        self.resources = {}
        for scope_id in self.scope_ids:
            for kind, count in SLOTS.items():
                for slot in range(count):
                    self._fill(scope_id, kind, slot)
        self.of_scope = {}
        for resource in self.resources.values():
            self.of_scope.setdefault(resource.scope_id, []).append(resource)

    def _fill(self, scope_id, kind, slot):
        """Put one thing after the other into a place of a scope."""
        name = '%s-%s-%d' % (scope_id, kind, slot)
        dice = random.Random('%d %s' % (self.seed, name))
        # Every type is there from the first hour on.
        hour = 0 if slot == 0 else dice.randrange(20)
        number = 0
        while hour < HORIZON:
            end = hour + dice.randrange(6, 90)
            changes = [(BEGIN + hour * HOUR, dice.choice(VALUES[kind]))]
            for later in range(hour + 1, end):
                if dice.random() < 0.03:
                    changes.append((BEGIN + later * HOUR, dice.choice(VALUES[kind])))
            found = Resource(
                '%s-%d' % (name, number), kind, scope_id, changes[0][0], BEGIN + end * HOUR, tuple(changes)
            )
            self.resources[found.id] = found
            hour, number = end + dice.randrange(4), number + 1

    def quantity(self, resource, metric, begin):
        """Return what is measured of a resource in the hour from *begin* on; None: it is not there."""
        if not resource.begin <= begin < resource.end:
            return None
        text = '%d %s %s %d' % (self.seed, resource.id, metric, begin)
        drawn = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), 'big')
        # Eighths are exact as floats.
        return Decimal(1 + drawn % 4000) / 8

    def points(self, scope_id, metric, begin):
        """Return {(resource id, value of its attribute): quantity} of a cell."""
        kind = METRICS[metric][0]
        return {
            (resource.id, resource.value_at(begin)): self.quantity(resource, metric, begin)
            for resource in self.of_scope[scope_id]
            if resource.type == kind and resource.begin <= begin < resource.end
        }
