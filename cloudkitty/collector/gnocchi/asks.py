# SPDX-License-Identifier: Apache-2.0
"""What to ask Gnocchi for one metric of a batch, and how to ask for less of it. Pure.

Resources are asked for by their scopes, in history mode. Two kinds are asked for by id, because a request by scope
would get them wrong: what changed its owner (the first revision that a request finds counts from the begin of its
window, whoever had it before), and what was first recorded after the window (no request in history mode finds it).

Source: collection contract, sections 3.2, 8 and 9.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import enum
import math
from typing import Any

from cloudkitty import metric as metrics
from cloudkitty.collector.gnocchi import inventory

#: Seconds of a granule where Gnocchi chooses it; only to guess the size of an answer.
USUAL_GRANULARITY = 300


class Mode(enum.Enum):
    """Which resources an ask is for, and how."""

    BY_SCOPE = 'resources of scopes, with their history'
    BY_ID = 'named resources, with their history'
    PLAIN = 'named resources, as they are now: only their measures are of interest'


@dataclasses.dataclass(frozen=True)
class Ask:
    """One request: a metric in ``[begin, end)``.

    :ivar scope_ids: whose points are wanted.
    :ivar ids: resources, but for BY_SCOPE.
    """

    mode: Mode
    scope_ids: tuple[str, ...]
    begin: int
    end: int
    ids: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What can be halved: scopes, or resources."""
        return self.scope_ids if self.mode is Mode.BY_SCOPE else self.ids


class Subject:
    """One metric and the resources that may have it.

    :param found: the resources of its type.
    :param has_history: the server can aggregate with history.
    :param is_sure: only those have it that are known to; else any may have got it meanwhile, and all are asked for.
    :ivar refusing: resource id to what is to be changed before its metric can be read.
    """

    def __init__(
        self,
        metric: metrics.Metric,
        scope_key: str,
        length: int,
        found: inventory.Inventory,
        has_history: bool = True,
        is_sure: bool = True,
    ) -> None:
        self.metric = metric
        # Without a granularity Gnocchi would, in history mode, add up the values of all of them.
        self.has_history = has_history and bool(metric.extra_args['force_granularity'])
        self.resources = found.resources
        self.refusing: dict[str, str] = {}
        self._scope_key = scope_key
        self._length = length
        self._counts: dict[tuple[str, ...], int] = {}
        # By scope, those that are asked for.
        self._held = {
            scope_id: holding.having(metric.name) if is_sure else holding
            for scope_id, holding in found.holdings.items()
        }

    @property
    def granularity(self) -> int:
        seconds: int = self.metric.extra_args['force_granularity']
        return seconds

    @property
    def front(self) -> int:
        """Seconds before a window that have to be asked for with it: a difference needs a granule before it."""
        return front(self.metric, self._length)

    @property
    def granules(self) -> int:
        """How many granules a resource has in a period, about."""
        return max(1, self._length // (self.granularity or USUAL_GRANULARITY))

    def count(self, scope_id: str) -> int:
        """Return how many resources of *scope_id* have the metric."""
        holding = self._held.get(scope_id)
        return holding.count(self.metric.name) if holding else 0

    def weigh(self, ask: Ask) -> int:
        """Return how many granules the answer to *ask* holds at most, about."""
        return self.count_all(ask) * self.granules * ((ask.end - ask.begin) // self._length)

    def count_all(self, ask: Ask) -> int:
        """Return how many resources *ask* is for."""
        if ask.ids:
            return len(ask.ids)
        count = self._counts.get(ask.scope_ids)
        if count is None:
            count = self._counts[ask.scope_ids] = sum(map(self.count, ask.scope_ids))
        return count

    def plan(self, scope_ids: Sequence[str], begin: int, end: int) -> list[Ask]:
        """Return what gives every point of *scope_ids* in ``[begin, end)``."""
        if self.front and end - begin > self._length:
            # Over a longer window Gnocchi also gives differences between granules that a gap parts.
            begins = range(begin, end, self._length)
            return [ask for first in begins for ask in self.plan(scope_ids, first, first + self._length)]
        if not self.has_history:
            return self._named(Mode.PLAIN, scope_ids, begin, end, self._items(scope_ids))
        moved = set()
        owners = []
        for scope_id, holding in self._holdings_of(scope_ids):
            is_owner = holding.latest < end and not holding.moved
            for name, item in () if is_owner else holding.resources.items():
                if item.first < end and len(item.scopes) > 1:
                    moved.add(name)
                elif item.first < end:
                    is_owner = True
            if is_owner:
                owners.append(scope_id)
        asks = self._named(Mode.PLAIN, scope_ids, begin, end, self._late(scope_ids, end))
        asks += self._named(Mode.BY_ID, scope_ids, begin, end, moved)
        if owners:
            asks.append(Ask(Mode.BY_SCOPE, tuple(owners), begin, end))
        return asks

    def _holdings_of(self, scope_ids: Iterable[str]) -> Iterator[tuple[str, inventory.Holding]]:
        """Yield (scope id, holding) of those that hold something."""
        for scope_id in scope_ids:
            holding = self._held.get(scope_id)
            if holding and holding.resources:
                yield scope_id, holding

    def _items(self, scope_ids: Iterable[str]) -> dict[str, inventory.Resource]:
        return {name: item for _, holding in self._holdings_of(scope_ids) for name, item in holding.resources.items()}

    def _late(self, scope_ids: Iterable[str], begin: int, end: float = math.inf) -> set[str]:
        """Return the resources of scopes that were first recorded from *begin* on."""
        wanted = set(scope_ids)
        return {
            name
            for _, holding in self._holdings_of(wanted)
            if holding.latest >= begin
            for name, item in holding.resources.items()
            if begin <= item.first < end and item.revisions[0].scope_id in wanted
        }

    @staticmethod
    def _named(mode: Mode, scope_ids: Sequence[str], begin: int, end: int, ids: Iterable[str]) -> list[Ask]:
        return [
            Ask(mode, tuple(scope_ids), begin, end, tuple(part))
            for part in inventory.chunks(sorted(ids), inventory.MOST_NAMES)
        ]

    def halve(self, ask: Ask) -> list[Ask]:
        """Return asks that together are *ask*: halves by scopes or resources, else by time; [] for a single cell."""
        names = ask.names
        if len(names) > 1:
            middle = (len(names) + 1) // 2
            halves = (names[:middle], names[middle:])
            if ask.mode is Mode.BY_SCOPE:
                return [dataclasses.replace(ask, scope_ids=part) for part in halves]
            return [dataclasses.replace(ask, ids=part) for part in halves]
        count = (ask.end - ask.begin) // self._length
        return self.cut(ask, (count + 1) // 2) if count > 1 else []

    def cut(self, ask: Ask, periods: int) -> list[Ask]:
        """Return *ask* as the first *periods* of it and the rest."""
        middle = ask.begin + periods * self._length
        first, rest = dataclasses.replace(ask, end=middle), dataclasses.replace(ask, begin=middle)
        if ask.mode is Mode.PLAIN:
            return [first, rest]
        late = self._late(ask.scope_ids, middle, ask.end)
        if ask.ids:
            late.intersection_update(ask.ids)
        return [first, rest, *self._named(Mode.PLAIN, ask.scope_ids, ask.begin, middle, late)]

    def fit(
        self, ask: Ask, scopes: float, periods: float, budget: int, is_quick: Callable[[Ask], bool] = lambda ask: True
    ) -> list[Ask]:
        """Return asks that together are *ask*, none larger than this.

        :param scopes, periods: of an ask by scope.
        :param budget: granules.
        :param is_quick: whether an ask will be answered in time.
        """
        if ask.mode is Mode.BY_SCOPE and (len(ask.scope_ids) > scopes or len(ask.scope_ids) > inventory.MOST_NAMES):
            size = int(min(scopes, inventory.MOST_NAMES))
            parts = [dataclasses.replace(ask, scope_ids=tuple(part)) for part in inventory.chunks(ask.scope_ids, size)]
        elif ask.mode is Mode.BY_SCOPE and (ask.end - ask.begin) // self._length > periods:
            parts = self.cut(ask, int(periods))
        elif self.weigh(ask) > budget:
            parts = self.halve(ask)
            if not parts and ask.mode is Mode.BY_SCOPE:
                parts = self.name(ask)
        elif not is_quick(ask) and self.count_all(ask) > 1:
            # Not by time: that would be the same work for every part.
            single = ask.mode is Mode.BY_SCOPE and len(ask.scope_ids) == 1
            parts = self.name(ask) if single else self.halve(ask)
        else:
            return [ask]
        if not parts:
            return [ask]
        return [smaller for part in parts for smaller in self.fit(part, scopes, periods, budget, is_quick)]

    def name(self, ask: Ask, mode: Mode = Mode.BY_ID) -> list[Ask]:
        """Return *ask* by the ids of its resources, in *mode*; [] if it is like that already."""
        if ask.mode is mode:
            return []
        ids = ask.ids or [
            name for name, item in self._items(ask.scope_ids).items() if item.first < ask.end and len(item.scopes) == 1
        ]
        return self._named(mode, ask.scope_ids, ask.begin, ask.end, ids)

    def request(self, ask: Ask) -> tuple[list[tuple[str, str]], dict[str, Any]] | None:
        """Return (query, body) of the aggregates request for *ask*; None if nothing is left to ask for."""
        search = self._search(ask)
        if search is None:
            return None
        query = [
            ('start', inventory.iso(ask.begin - self.front)),
            ('stop', inventory.iso(ask.end)),
            ('details', 'false'),
        ]
        if self.granularity:
            query.append(('granularity', str(self.granularity)))
        if ask.mode is Mode.PLAIN:
            # Whose it is now tells whether what is known of it is old.
            query += [('groupby', 'id'), ('groupby', self._scope_key)]
        else:
            query += [('groupby', name) for name in dict.fromkeys((*self.metric.groupby, 'id', self._scope_key))]
            query.append(('use_history', 'true'))
        resource_type = self.metric.extra_args['resource_type']
        return query, {'operations': operations(self.metric), 'resource_type': resource_type, 'search': search}

    def _search(self, ask: Ask) -> dict[str, Any] | None:
        if ask.mode is not Mode.BY_SCOPE:
            ids = [name for name in ask.ids if name not in self.refusing]
            if not ids:
                return None
            named = {'in': {'id': ids}}
            return named if ask.mode is Mode.PLAIN else {'and': [named, inventory.alive(ask.begin)]}
        left_out: list[str] = []
        asked = False
        for _, holding in self._holdings_of(ask.scope_ids):
            if not holding.moved and not self.refusing:
                asked = True
                continue
            others = {*holding.moved, *self.refusing.keys() & holding.resources.keys()}
            left_out += others
            asked = asked or len(others) < len(holding.resources)
        conditions: list[dict[str, Any]] = [
            {'in': {self._scope_key: list(ask.scope_ids)}},
            inventory.alive(ask.begin),
        ]
        for part in inventory.chunks(sorted(set(left_out)), inventory.MOST_NAMES):
            conditions.append({'not': {'in': {'id': part}}})
        return {'and': conditions} if asked else None


def front(metric: metrics.Metric, length: int) -> int:
    """Return how many seconds before a window are asked for with it.

    :param length: of a period.
    """
    arguments = metric.extra_args
    if not arguments['re_aggregation_method'].startswith('rate:'):
        return 0
    seconds: int = arguments['force_granularity'] or length
    return seconds


def operations(metric: metrics.Metric) -> Any:
    """Return the operations of an aggregates request.

    Source: collection contract, section 3.2.
    """
    arguments = metric.extra_args
    query: str = arguments['custom_query']
    if query:
        return (
            query.replace('RE_AGGREGATION_METHOD', arguments['re_aggregation_method'])
            .replace('AGGREGATION_METHOD', arguments['aggregation_method'])
            .replace('METRIC_NAME', metric.name)
        )
    return [
        'aggregate',
        arguments['re_aggregation_method'],
        ['metric', metric.name, arguments['aggregation_method']],
    ]
