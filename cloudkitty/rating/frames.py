# SPDX-License-Identifier: Apache-2.0
"""Rates a batch frame by frame, where a module of the chain wants all points of a scope and period together."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import decimal
from decimal import Decimal
from typing import Any
from typing import Protocol

from oslo_log import log

from cloudkitty import amount
from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty import series
from cloudkitty import usage as usages
from cloudkitty.rating import base
from cloudkitty.rating import classic
from cloudkitty.rating import jail as jails
from cloudkitty.rating import troubles

LOG = log.getLogger(__name__)

#: Points that go through the modules together; as frames each takes more than a kilobyte.
_TOGETHER = 20000


class Link(Protocol):
    """An enabled module in its place; :class:`cloudkitty.rating.chain.Link` is one."""

    @property
    def name(self) -> str: ...

    @property
    def module(self) -> Any: ...


@dataclasses.dataclass
class Entry:
    """A frame on its way through the chain.

    :ivar scope_id: whose it is; None: nobody's, as of a quote.
    :ivar error: why it got no further; None: it did.
    """

    scope_id: str | None
    frame: dataframe.DataFrame
    error: Exception | None = None


class ModuleFailed(Exception):
    """A rating module raised, or made something of its frame that is none."""


def run(links: Sequence[Link], entries: Sequence[Entry], quote: bool = False) -> None:
    """Have the modules of *links* change the frames of *entries*, one after the other; not rounded.

    What a module fails on gets its error, a :class:`ModuleFailed`, and is left alone by those behind.
    """
    for link in links:
        waiting = [entry for entry in entries if entry.error is None]
        if isinstance(link.module, base.FrameModule):
            _run_together(link, link.module, waiting)
            continue
        for entry in waiting:
            try:
                changed = _call(link, entry, quote)
                # A module has no say in when the usage was.
                changed.start, changed.end = entry.frame.start, entry.frame.end
                entry.frame = changed
            except (Exception, SystemExit) as error:
                text = 'Module %s: %s: %s' % (link.name, type(error).__name__, error)
                entry.error = ModuleFailed(text)
                entry.error.__cause__ = error


def _run_together(link: Link, module: base.FrameModule, entries: Sequence[Entry]) -> None:
    try:
        results = module.rate([(entry.scope_id, entry.frame) for entry in entries])
    except jails.NoChild:
        # It is not the scripts that failed: the batch waits.
        raise
    except Exception as error:
        for entry in entries:
            entry.error = ModuleFailed('Module %s: %s: %s' % (link.name, type(error).__name__, error))
            entry.error.__cause__ = error
        return
    for entry, result in zip(entries, results, strict=True):
        if isinstance(result, str):
            entry.error = ModuleFailed('Module %s: %s' % (link.name, result))
        else:
            entry.frame = result


def _call(link: Link, entry: Entry, quote: bool) -> dataframe.DataFrame:
    if isinstance(link.module, classic.Adapter):
        link.module.reload(entry.scope_id, entry.frame.start)
        return link.module.process(entry.scope_id, entry.frame, quote)
    result: dataframe.DataFrame = link.module.share(entry.scope_id).process(entry.frame)
    return result


@dataclasses.dataclass
class _Point:
    """A point of a batch, taken out of its columns."""

    series: series.Series
    length: int
    begin: int
    quantity: Decimal
    price: Decimal | None = None
    is_unpriced: bool = False


class FrameRating:
    """Rates one batch.

    :param zone: whose calendar the points' attributes follow.
    :param is_matched: tells of a series, begin and quantity whether a rule of a built-in module takes part.
    """

    def __init__(
        self,
        links: Sequence[Link],
        zone: datetime.tzinfo,
        is_matched: Callable[[series.Series, int, Decimal], bool],
        usage: usages.Usage,
        pause: Callable[[], None],
    ) -> None:
        self._links = links
        self._zone = zone
        self._is_matched = is_matched
        self._usage = usage
        self._pause = pause
        self._failed: dict[str, set[troubles.Cell]] = {}
        self._altered: set[tuple[str, int]] = set()

    def run(self, rule_set: str) -> usages.Rated:
        """Return the batch with prices, by rule set *rule_set*."""
        cells: dict[tuple[str, int], list[_Point]] = {}
        for columns in self._usage.columns:
            for begin, quantity in zip(columns.begins, columns.quantities, strict=True):
                point = _Point(columns.series, columns.length, begin, quantity)
                cells.setdefault((columns.series.scope_id, begin), []).append(point)
        points: list[_Point] = []
        together: list[tuple[str, int, list[_Point]]] = []
        count = 0
        for scope_id, begin in sorted(cells):
            # Sorted by type, as frames are; the sort keeps the order within a type.
            found = sorted(cells[scope_id, begin], key=lambda point: point.series.metric)
            together.append((scope_id, begin, found))
            count += len(found)
            if count >= _TOGETHER:
                points += self._rate(together)
                together, count = [], 0
        points += self._rate(together)
        found_troubles = list(self._usage.troubles)
        for error, failed in self._failed.items():
            found_troubles += troubles.unrated(failed, self._usage.batch.length, error)
        return usages.Rated(self._usage.batch, _to_columns(points), found_troubles, rule_set, frozenset(self._altered))

    def _rate(self, cells: Sequence[tuple[str, int, list[_Point]]]) -> list[_Point]:
        entries, before = [], []
        for scope_id, begin, points in cells:
            words = series.calendar(period.from_epoch(begin), self._zone)
            frame = dataframe.DataFrame(period.from_epoch(begin), period.from_epoch(begin + points[0].length))
            for point in points:
                frame.add_point(to_datapoint(point.series, point.quantity, words), point.series.metric)
            entries.append(Entry(scope_id or None, frame))
            before.append((list(frame.iterpoints()), words))
        run(self._links, entries)
        self._pause()
        result = []
        for (scope_id, begin, points), entry, (came, words) in zip(cells, entries, before, strict=True):
            result += self._settle(scope_id, begin, points, entry, came, words)
        self._pause()
        return result

    def _settle(
        self,
        scope_id: str,
        begin: int,
        points: list[_Point],
        entry: Entry,
        before: Sequence[tuple[str, dataframe.DataPoint]],
        words: Mapping[str, str],
    ) -> list[_Point]:
        """Return the points of a frame with their prices, as the modules left them."""
        try:
            if entry.error is not None:
                raise entry.error
            after = list(entry.frame.iterpoints())
            prices = match(before, after)
            if prices is not None:
                for point, price in zip(points, prices, strict=True):
                    point.price = amount.quantise(price)
            else:
                points = [self._rebuild(scope_id, begin, points[0].length, words, found) for found in after]
                self._altered.add((scope_id, begin))
        except (ModuleFailed, amount.AmountTooLarge, TypeError, ValueError, decimal.DecimalException) as error:
            self._fail(scope_id, begin, points, error)
            return [dataclasses.replace(point, price=None) for point in points]
        for point in points:
            if not point.price:
                point.is_unpriced = not self._is_matched(point.series, begin, point.quantity)
        return points

    def _rebuild(
        self, scope_id: str, begin: int, length: int, words: Mapping[str, str], entry: tuple[str, dataframe.DataPoint]
    ) -> _Point:
        metric, point = entry
        groupby = {name: value for name, value in point.groupby.items() if name not in words or words[name] != value}
        of = series.Series(scope_id, metric, point.unit, groupby, dict(point.metadata), point.description)
        return _Point(of, length, begin, amount.quantise(point.qty), amount.quantise(point.price))

    def _fail(self, scope_id: str, begin: int, points: list[_Point], error: Exception) -> None:
        text = str(error)
        if text not in self._failed:
            LOG.error(
                '%s, %s: not rated, to be rated when the rules change: %s',
                scope_id,
                period.from_epoch(begin),
                text,
                exc_info=error.__cause__,
            )
        failed = self._failed.setdefault(text, set())
        failed |= {(scope_id, point.series.metric, begin) for point in points}


def to_datapoint(of: series.Series, quantity: Decimal, words: Mapping[str, str]) -> dataframe.DataPoint:
    """Return a point as modules see it, without a price.

    :param words: its calendar attributes.
    """
    return dataframe.DataPoint(of.unit, quantity, amount.ZERO, {**of.groupby, **words}, of.metadata, of.description)


def match(
    before: Sequence[tuple[str, dataframe.DataPoint]], after: Sequence[tuple[str, dataframe.DataPoint]]
) -> list[Decimal] | None:
    """Return the price that each of *before* has in *after*; None if anything but prices and order changed."""
    if len(before) != len(after):
        return None
    if all(_is_same(one, other) for one, other in zip(before, after, strict=True)):
        return [point.price for _, point in after]
    prices: dict[str, list[Decimal]] = {}
    for entry in reversed(after):
        prices.setdefault(_key(entry), []).append(entry[1].price)
    result = []
    for entry in before:
        found = prices.get(_key(entry))
        if not found:
            return None
        result.append(found.pop())
    return result


def _is_same(one: tuple[str, dataframe.DataPoint], other: tuple[str, dataframe.DataPoint]) -> bool:
    if one[0] != other[0]:
        return False
    first, second = one[1], other[1]
    if first is second:
        return True
    if (first.unit, first.qty, first.description) != (second.unit, second.qty, second.description):
        return False
    # By the typed text of the attributes: 1, 1.0 and True are three series.
    return _has_same_attributes(first.groupby, second.groupby) and _has_same_attributes(first.metadata, second.metadata)


def _has_same_attributes(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if one != other:
        return False
    for name, value in one.items():
        kind = type(value)
        if kind is not str and (kind is not type(other[name]) or kind in (dict, list)):
            return series.canonical(dict(one)) == series.canonical(dict(other))
    return True


def _key(entry: tuple[str, dataframe.DataPoint]) -> str:
    metric, point = entry
    attributes = series.canonical([metric, point.unit, dict(point.groupby), dict(point.metadata), point.description])
    return '%s %s' % (amount.to_text(point.qty), attributes)


def _to_columns(points: Iterable[_Point]) -> list[series.Columns]:
    rows: dict[tuple[series.Series, int], list[_Point]] = {}
    for point in points:
        rows.setdefault((point.series, point.length), []).append(point)
    result = []
    for (of, length), row in rows.items():
        row.sort(key=lambda point: point.begin)
        flags = tuple([point.is_unpriced for point in row])
        result.append(
            series.Columns(
                of,
                length,
                tuple([point.begin for point in row]),
                tuple([point.quantity for point in row]),
                tuple([point.price for point in row]),
                flags if any(flags) else None,
            )
        )
    return result
