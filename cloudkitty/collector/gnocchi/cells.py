# SPDX-License-Identifier: Apache-2.0
"""From what Gnocchi answers to points, cell by cell. Pure: answers and resources in, points out.

Source: collection contract, sections 3.4, 3.5 and 9.
"""

from collections.abc import Collection
from collections.abc import Hashable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import decimal
from decimal import Decimal
import functools
import itertools
from typing import Any

from cloudkitty import amount
from cloudkitty import metric as metrics
from cloudkitty import series
from cloudkitty.collector.gnocchi import inventory

#: Granules of a period: (epoch second, seconds, value), in Gnocchi's order.
Granules = list[tuple[float, Any, Any]]

#: Begins of periods, and as many quantities.
Row = tuple[tuple[int, ...], tuple[Decimal, ...]]

#: What values are; bool is none of them.
_NUMBERS = frozenset((int, Decimal))
_LOWEST = -amount.LIMIT
#: Complains about digits that are cut off.
_STRICT = amount.CONTEXT.copy()
_STRICT.traps[decimal.Rounded] = True
#: How many different rows of instants are remembered.
_MOST_ROWS = 1000

_TWICE = 'Gnocchi gave two answers for one resource.'
_parse_instant = functools.lru_cache(maxsize=1 << 14)(inventory.parse_instant)


@dataclasses.dataclass(frozen=True)
class Window:
    """Whose points are wanted, and the periods of *length* seconds from *begin* to *end*."""

    scope_ids: frozenset[str]
    begin: int
    end: int
    length: int


@dataclasses.dataclass(slots=True)
class Found:
    """What an answer holds.

    :ivar rows: points of one series each, ascending: (series, begins, quantities).
    :ivar points: single points: series to its begins and quantities; unsorted.
    :ivar failed: (scope id, begin) of cells that cannot be billed, and why.
    :ivar strays: how many groups name a resource, or a scope of it, that nobody knows.
    :ivar seen: ids of the other resources.
    """

    rows: list[tuple[series.Series, tuple[int, ...], tuple[Decimal, ...]]] = dataclasses.field(default_factory=list)
    points: dict[series.Series, tuple[list[int], list[Decimal]]] = dataclasses.field(default_factory=dict)
    failed: dict[tuple[str, int], str] = dataclasses.field(default_factory=dict)
    strays: int = 0
    seen: set[str] = dataclasses.field(default_factory=set)

    def add(self, other: 'Found') -> None:
        """Take in *other*."""
        self.rows += other.rows
        for key, (begins, quantities) in other.points.items():
            known = self.points.setdefault(key, ([], []))
            known[0].extend(begins)
            known[1].extend(quantities)
        self.failed.update(other.failed)
        self.strays += other.strays
        self.seen |= other.seen

    def columns(self, length: int, failed: Collection[tuple[str, int]]) -> list[series.Columns]:
        """Hand over the points outside the cells *failed*, sorted by begin."""
        rows, self.rows = self.rows, []
        # By fingerprint: to compare series takes longer than all else here.
        result: dict[bytes, series.Columns] = {}
        loose_ones = {key.fingerprint for key in self.points}
        for key, begins, quantities in rows:
            mark = key.fingerprint
            if mark in result or mark in loose_ones:
                # Of a series in pieces.
                before = result.pop(mark, None)
                loose_ones.add(mark)
                known = self.points.setdefault(key, ([], []))
                known[0].extend((*before.begins, *begins) if before else begins)
                known[1].extend((*before.quantities, *quantities) if before else quantities)
            else:
                result[mark] = series.Columns(key, length, begins, quantities)
        for key in list(self.points):
            # Taken out as it goes: two of everything need not be in memory.
            loose, values = self.points.pop(key)
            order = sorted(range(len(loose)), key=loose.__getitem__)
            result[key.fingerprint] = series.Columns(
                key, length, tuple([loose[index] for index in order]), tuple([values[index] for index in order])
            )
        if not failed:
            return list(result.values())
        scope_ids = {scope_id for scope_id, _ in failed}
        parts = (_without(item, failed) if item.series.scope_id in scope_ids else item for item in result.values())
        return [item for item in parts if item.begins]


def _without(columns: series.Columns, failed: Collection[tuple[str, int]]) -> series.Columns:
    """Return *columns* without the points of the cells *failed*."""
    scope_id = columns.series.scope_id
    kept = [index for index, begin in enumerate(columns.begins) if (scope_id, begin) not in failed]
    return series.Columns(
        columns.series,
        columns.length,
        tuple([columns.begins[index] for index in kept]),
        tuple([columns.quantities[index] for index in kept]),
    )


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
    with decimal.localcontext(amount.CONTEXT):
        return _read_groups(_Reader(metric, window), metric, scope_key, answer, resources, window)


def _read_groups(
    reader: '_Reader',
    metric: metrics.Metric,
    scope_key: str,
    answer: Any,
    resources: Mapping[str, inventory.Resource],
    window: Window,
) -> Found:
    keeps_all = metric.extra_args['use_all_resource_revisions']
    merged: dict[tuple[str, str], list[tuple[Mapping[str, Any], dict[int, Granules]]]] = {}
    for item in answer:
        group = item['group']
        resource = resources.get(group['id'])
        scope_id = group[scope_key]
        if resource is None or not resource.belonged_to(scope_id):
            # Whoever it belongs to must not pay for it here.
            reader.found.strays += 1
            continue
        reader.found.seen.add(resource.id)
        if scope_id not in window.scope_ids:
            # It was somebody else's for a while.
            continue
        measures = item['measures']['measures']['aggregated']
        row = reader.read_row(measures) if keeps_all else None
        cells = reader.split(measures) if row is None else {}
        said = _mark(cells) if row is None else row
        before = reader.note(frozenset(group.items()), said)
        if before is not None:
            if before != said:
                reader.fail_all(scope_id, cells if row is None else row[0])
        elif row is not None:
            reader.add_row(scope_id, *row, resource, group)
        elif keeps_all:
            for begin, granules in cells.items():
                reader.add(scope_id, begin, granules, resource, resource.at(begin + window.length, group), group)
        else:
            merged.setdefault((resource.id, scope_id), []).append((group, cells))
    for (resource_id, scope_id), parts in merged.items():
        # The groups of one resource are its revisions, and their values are shares: together they are the value.
        for begin in {begin for _, cells in parts for begin in cells}:
            there = [(group, cells[begin]) for group, cells in parts if begin in cells]
            end = begin + window.length
            revision, group = max(
                ((resources[resource_id].at(end, group), group) for group, _ in there), key=lambda pair: pair[0].begin
            )
            granules = _add_up(granules for _, granules in there)
            reader.add(scope_id, begin, granules, resources[resource_id], revision, group)
    return reader.found


def read_plain(
    metric: metrics.Metric,
    scope_key: str,
    answer: Any,
    resources: Mapping[str, inventory.Resource],
    window: Window,
    is_warm: bool = False,
) -> Found:
    """Return the points of an *answer* in plain mode, grouped by id: attributes are those of the revision in force.

    A period belongs to the revision at its end as a whole. Errors are those of :func:`read_history`.

    :param is_warm: the resources were read some time ago; one may have been deleted, and made again for another scope.
    """
    reader = _Reader(metric, window)
    for item in answer:
        group = item['group']
        resource = resources.get(group['id'])
        if resource is None or (is_warm and not resource.may_belong_to(group[scope_key])):
            reader.found.strays += 1
            continue
        reader.found.seen.add(resource.id)
        cells = reader.split(item['measures']['measures']['aggregated'])
        said = _mark(cells)
        before = reader.note(resource.id, said)
        if before is not None:
            for begin in cells if before != said else ():
                reader.fail(resource.at(begin + window.length).scope_id, begin, _TWICE)
            continue
        for begin, granules in cells.items():
            revision = resource.at(begin + window.length)
            if revision.scope_id in window.scope_ids and revision.holds_at(begin + window.length):
                # Else it was, or is by now, somebody else's.
                reader.add(revision.scope_id, begin, granules, resource, revision, revision.attributes)
    return reader.found


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
        self._begins = {begin: begin for begin in range(window.begin, window.end, window.length)}
        # What identifies a group, to what it said, or a digest of that.
        self._seen: dict[Hashable, Any] = {}
        # The texts of instants to the begins of periods that they are: resources of one metric have the same.
        self._rows: dict[tuple[str, ...] | str, tuple[int, ...]] = {}
        # Numbers to the quantities of a row of one.
        self._row_of: dict[Any, tuple[Decimal, ...]] = {}
        self._is_plain = metrics.is_plain(metric)
        self._quantities: dict[Any, Decimal] = {}

    def split(self, measures: Any) -> dict[int, Granules]:
        """Return the granules of *measures* by the period that they begin in.

        Of several granularities the coarsest that fits into a period counts, as Gnocchi's own order would have it.
        """
        window, length = self._window, self._window.length
        result: dict[int, Granules] = {}
        for time, granularity, value in measures:
            second = _parse_instant(time)
            if value is None or not window.begin <= second < window.end or granularity > length:
                continue
            if isinstance(value, bool) or not isinstance(value, int | Decimal):
                raise TypeError('a value that is no number')
            # One int for all points of a period.
            begin = self._begins[second - (second - window.begin) % length]  # type: ignore[index]
            granules = result.get(begin)
            if granules is None:
                result[begin] = [(second, granularity, value)]
            elif granules[0][1] <= granularity:
                granules.append((second, granularity, value))
        return result

    def read_row(self, measures: Any) -> Row | None:
        """Return (begins, quantities) of *measures*, of which each is that of a period; None: look at them closely.

        The context of decimals has to be that of amounts.
        """
        if not measures:
            return None
        if len(measures) == 1:
            return self._read_one(*measures[0])
        times, spans, values = zip(*measures, strict=True)
        span = spans[0]
        if span != self._window.length or spans.count(span) != len(spans) or not _NUMBERS.issuperset(map(type, values)):
            return None
        begins = self._rows.get(times)
        if begins is None:
            if len(self._rows) >= _MOST_ROWS:
                self._rows.clear()
            begins = self._rows[times] = self._begins_of(times)
        if not begins:
            return None
        try:
            return begins, self._convert_all(values)
        except (amount.AmountTooLarge, ArithmeticError):
            # One of them is odd.
            return None

    def _read_one(self, time: str, span: Any, value: Any) -> Row | None:
        """Return what :meth:`read_row` does for a single measure."""
        if span != self._window.length or type(value) not in _NUMBERS:
            return None
        begins = self._rows.get(time)
        if begins is None:
            begins = self._rows[time] = self._begins_of((time,))
        if not begins:
            return None
        known = self._row_of.get(value)
        if known is None:
            try:
                known = self._row_of[value] = self._convert_all((value,))
            except (amount.AmountTooLarge, ArithmeticError):
                return None
        return begins, known

    def _begins_of(self, times: Sequence[str]) -> tuple[int, ...]:
        """Return the periods that begin at *times*; () where these are not ascending begins of periods."""
        known = self._begins
        begins = tuple([known.get(_parse_instant(time), -1) for time in times])  # type: ignore[call-overload]
        ascending = all(one < other for one, other in itertools.pairwise(begins))
        return begins if ascending and begins[0] >= 0 else ()

    def _convert_all(self, values: Sequence[Any]) -> tuple[Decimal, ...]:
        if self._is_plain and _LOWEST < min(values) and max(values) < amount.LIMIT:
            # A sum shows the digits of all its terms, but for 0: that may have lost some.
            total = sum(values, amount.ZERO)
            if total:
                total.quantize(amount.QUANTUM, context=_STRICT)
                return tuple(map(Decimal, values)) if int in map(type, values) else tuple(values)
        known = self._quantities
        try:
            return tuple([known[value] for value in values])
        except KeyError:
            return tuple(map(self._convert, values))

    def note(self, key: Hashable, said: Any) -> Any:
        """Take note of what a group that *key* identifies *said*; return what it said before, None for the first."""
        before = self._seen.setdefault(key, said)
        return None if before is said else before

    def fail_all(self, scope_id: str, begins: Iterable[int]) -> None:
        for begin in begins:
            self.fail(scope_id, begin, _TWICE)

    def fail(self, scope_id: str, begin: int, text: str) -> None:
        self.found.failed[scope_id, begin] = text

    def add(
        self,
        scope_id: str,
        begin: int,
        granules: Granules,
        resource: inventory.Resource,
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
        self._add_point(self._make_series(scope_id, resource, revision, group), begin, quantity)

    def add_row(
        self,
        scope_id: str,
        begins: tuple[int, ...],
        quantities: tuple[Decimal, ...],
        resource: inventory.Resource,
        group: Mapping[str, Any],
    ) -> None:
        """Add a point a period: those of *resource* while it shows the attributes *group*."""
        if len(resource.revisions) == 1 and begins[-1] <= resource.revisions[0].last_begin:
            of = self._make_series(scope_id, resource, resource.revisions[0], group)
            self.found.rows.append((of, begins, quantities))
            return
        for begin, quantity in zip(begins, quantities, strict=True):
            revision = resource.at(begin + self._window.length, group)
            if begin <= revision.last_begin:
                # Else a request for this period alone would no longer find it.
                self._add_point(self._make_series(scope_id, resource, revision, group), begin, quantity)

    def _add_point(self, of: series.Series, begin: int, quantity: Decimal) -> None:
        begins, quantities = self.found.points.setdefault(of, ([], []))
        begins.append(begin)
        quantities.append(quantity)

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
        quantity = self._quantities.get(value)
        if quantity is None:
            number = Decimal(value)
            _check(number)
            quantity = self._quantities[value] = metrics.convert(self._metric, number)
        return quantity

    def _make_series(
        self, scope_id: str, resource: inventory.Resource, revision: inventory.Revision, group: Mapping[str, Any]
    ) -> series.Series:
        """Return the series of *resource* in *revision* that shows the attributes *group*: one object for all batches.

        The attributes of a revision do not change.
        """
        key = (self._metric.type, scope_id, revision.begin)
        made = resource.made.get(key)
        if made is not None and made[0] is self._metric and made[1] == group:
            found: series.Series = made[2]
            return found
        attributes = revision.attributes
        found = series.Series(
            scope_id,
            self._metric.type,
            self._metric.unit,
            {name: group.get(name) for name in self._metric.groupby},
            {name: attributes.get(name, '') for name in self._metric.metadata},
            self._metric.description,
        )
        resource.made[key] = (self._metric, group, found)
        return found


def _mark(cells: dict[int, Granules]) -> int:
    return hash(tuple(granule for granules in cells.values() for granule in granules))


def _check(value: Decimal) -> None:
    # No float is as long as that; to calculate with such a number would take for ever.
    if not value.is_finite() or abs(value.adjusted()) > 400:
        raise amount.AmountTooLarge('The amount %s cannot be stored.' % value)
