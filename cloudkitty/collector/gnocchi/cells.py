# SPDX-License-Identifier: Apache-2.0
"""From what Gnocchi answers to points, cell by cell. Pure: answers and resources in, points out.

Source: collection contract, sections 3.4, 3.5 and 9.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from decimal import Decimal
import functools
from typing import Any

from cloudkitty import amount
from cloudkitty import metric as metrics
from cloudkitty import series
from cloudkitty.collector.gnocchi import inventory

#: Granules of a period: (epoch second, seconds, value), in Gnocchi's order.
Granules = list[tuple[float, Any, Any]]

_parse_instant = functools.lru_cache(maxsize=1 << 14)(inventory.parse_instant)


@dataclasses.dataclass(frozen=True)
class Window:
    """Whose points are wanted, and the periods of *length* seconds from *begin* to *end*."""

    scope_ids: frozenset[str]
    begin: int
    end: int
    length: int

    def floor(self, second: float) -> int:
        """Return the begin of the period that *second* falls in."""
        return int(self.begin + (second - self.begin) // self.length * self.length)


@dataclasses.dataclass(slots=True)
class Found:
    """What an answer holds.

    :ivar points: series to its (begin, quantity).
    :ivar failed: (scope id, begin) of cells that cannot be billed, and why.
    :ivar strays: how many groups name a resource, or a scope of it, that nobody knows.
    """

    points: dict[series.Series, list[tuple[int, Decimal]]] = dataclasses.field(default_factory=dict)
    failed: dict[tuple[str, int], str] = dataclasses.field(default_factory=dict)
    strays: int = 0

    def add(self, other: 'Found') -> None:
        """Take in *other*."""
        for key, points in other.points.items():
            self.points.setdefault(key, []).extend(points)
        self.failed.update(other.failed)
        self.strays += other.strays

    def columns(self, length: int, failed: Collection[tuple[str, int]]) -> list[series.Columns]:
        """Return the points outside the cells *failed*, sorted by begin."""
        result = []
        for key, points in self.points.items():
            kept = sorted(
                (point for point in points if (key.scope_id, point[0]) not in failed), key=lambda point: point[0]
            )
            if kept:
                begins, quantities = zip(*kept, strict=True)
                result.append(series.Columns(key, length, begins, quantities))
        return result


def read_history(
    metric: metrics.Metric,
    scope_key: str,
    answer: Any,
    resources: Mapping[str, inventory.Resource],
    window: Window,
) -> Found:
    """Return the points of an *answer* in history mode: a group per resource and combination of attributes.

    :param resources: those that may be in the answer, by id.

    Raises KeyError, TypeError or ValueError for an answer that makes no sense.
    """
    reader = _Reader(metric, window)
    cells: dict[tuple[frozenset[tuple[str, Any]], int], Granules] = {}
    owners: dict[frozenset[tuple[str, Any]], Mapping[str, Any]] = {}
    for item in answer:
        group = item['group']
        resource = resources.get(group['id'])
        if resource is None or group[scope_key] not in resource.scopes:
            # Whoever it belongs to must not pay for it here.
            reader.found.strays += 1
            continue
        if group[scope_key] not in window.scope_ids:
            # It was somebody else's for a while.
            continue
        key = frozenset(group.items())
        known = owners.setdefault(key, group) is not group
        for begin, granules in _split(item['measures']['measures']['aggregated'], window):
            if known and cells.get((key, begin), granules) != granules:
                reader.fail(group[scope_key], begin, 'Gnocchi gave two answers for resource %s.' % resource.id)
            cells[key, begin] = granules
    if metric.extra_args['use_all_resource_revisions']:
        for (key, begin), granules in cells.items():
            group = owners[key]
            revision = resources[group['id']].at(begin + window.length, group)
            reader.add(group[scope_key], begin, granules, revision, group)
        return reader.found
    merged: dict[tuple[str, str, int], list[tuple[Mapping[str, Any], Granules]]] = {}
    for (key, begin), granules in cells.items():
        group = owners[key]
        merged.setdefault((group['id'], group[scope_key], begin), []).append((group, granules))
    for (resource_id, scope_id, begin), parts in merged.items():
        # The groups of one resource are its revisions, and their values are shares: together they are the value.
        end = begin + window.length
        revision, group = max(
            ((resources[resource_id].at(end, group), group) for group, _ in parts), key=lambda pair: pair[0].begin
        )
        reader.add(scope_id, begin, _add_up(granules for _, granules in parts), revision, group)
    return reader.found


def read_plain(
    metric: metrics.Metric, answer: Any, resources: Mapping[str, inventory.Resource], window: Window
) -> Found:
    """Return the points of an *answer* in plain mode, grouped by id: attributes are those of the revision in force.

    A period belongs to the revision at its end as a whole. Errors are those of :func:`read_history`.
    """
    reader = _Reader(metric, window)
    seen: dict[tuple[str, int], Granules] = {}
    for item in answer:
        resource = resources.get(item['group']['id'])
        if resource is None:
            reader.found.strays += 1
            continue
        for begin, granules in _split(item['measures']['measures']['aggregated'], window):
            revision = resource.at(begin + window.length)
            if revision.scope_id not in window.scope_ids or not revision.holds_at(begin + window.length):
                # It was, or is by now, somebody else's.
                continue
            if (resource.id, begin) in seen:
                if seen[resource.id, begin] != granules:
                    reader.fail(revision.scope_id, begin, 'Gnocchi gave two answers for resource %s.' % resource.id)
                continue
            seen[resource.id, begin] = granules
            reader.add(revision.scope_id, begin, granules, revision, revision.attributes)
    return reader.found


def _split(measures: Any, window: Window) -> list[tuple[int, Granules]]:
    """Return the granules of *measures* by the period that they begin in.

    Of several granularities the coarsest that fits into a period counts, as Gnocchi's own order would have it.
    """
    result: dict[int, Granules] = {}
    for time, granularity, value in measures:
        second = _parse_instant(time)
        if value is None or not window.begin <= second < window.end or granularity > window.length:
            continue
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise TypeError('a value that is no number')
        granules = result.setdefault(window.floor(second), [])
        if granules and granules[0][1] > granularity:
            continue
        granules.append((second, granularity, value))
    return list(result.items())


def _add_up(parts: Iterable[Granules]) -> Granules:
    sums: dict[float, tuple[Any, Any]] = {}
    for granules in parts:
        for second, granularity, value in granules:
            _, before = sums.get(second, (granularity, Decimal(0)))
            sums[second] = (granularity, amount.CONTEXT.add(before, Decimal(value)))
    return [(second, *sums[second]) for second in sorted(sums)]


class _Reader:
    """Makes points of granules."""

    def __init__(self, metric: metrics.Metric, window: Window) -> None:
        self.found = Found()
        self._metric = metric
        self._window = window
        self._method = metric.extra_args['period_method']
        self._quantities: dict[Any, Decimal] = {}
        self._series: dict[tuple[int, int, str], series.Series] = {}
        # The keys of the former are ids of these: none may go meanwhile.
        self._kept: list[Any] = []

    def fail(self, scope_id: str, begin: int, text: str) -> None:
        self.found.failed[scope_id, begin] = text

    def add(
        self,
        scope_id: str,
        begin: int,
        granules: Granules,
        revision: inventory.Revision,
        group: Mapping[str, Any],
    ) -> None:
        """Add the point of a cell: *granules* of a resource in *revision* that shows the attributes *group*."""
        if begin > revision.last_begin:
            # A request for this period alone would no longer find it.
            return
        try:
            quantity = self._convert(self._take(granules))
        except amount.AmountTooLarge as error:
            self.fail(scope_id, begin, str(error))
            return
        self.found.points.setdefault(self._make_series(scope_id, revision, group), []).append((begin, quantity))

    def _take(self, granules: Granules) -> Any:
        """Return the value of a period.

        Source: collection contract, sections 3.4 and 8.5.
        """
        if self._method == 'first' or len(granules) == 1:
            return granules[0][2]
        values = [Decimal(value) for _, _, value in granules]
        for value in values:
            _check(value)
        if self._method == 'max':
            return max(values)
        total = amount.total(values)
        return total if self._method == 'sum' else amount.CONTEXT.divide(total, Decimal(len(values)))

    def _convert(self, value: Any) -> Decimal:
        value = Decimal(value)
        _check(value)
        quantity = self._quantities.get(value)
        if quantity is None:
            quantity = self._quantities[value] = metrics.convert(self._metric, value)
        return quantity

    def _make_series(self, scope_id: str, revision: inventory.Revision, group: Mapping[str, Any]) -> series.Series:
        key = (id(revision), id(group), scope_id)
        found = self._series.get(key)
        if found is None:
            attributes = revision.attributes
            found = self._series[key] = series.Series(
                scope_id,
                self._metric.type,
                self._metric.unit,
                {name: group.get(name) for name in self._metric.groupby},
                {name: attributes.get(name, '') for name in self._metric.metadata},
                self._metric.description,
            )
            self._kept += [revision, group]
        return found


def _check(value: Decimal) -> None:
    # No float is as long as that; to calculate with such a number would take for ever.
    if not value.is_finite() or abs(value.adjusted()) > 400:
        raise amount.AmountTooLarge('The amount %s cannot be stored.' % value)
