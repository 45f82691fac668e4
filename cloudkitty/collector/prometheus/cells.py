# SPDX-License-Identifier: Apache-2.0
"""From what Prometheus answers to points, cell by cell. Pure: an answer in, points out.

Source: collection contract, section 4.
"""

from collections.abc import Collection
from collections.abc import Iterable
import dataclasses
import decimal
from decimal import Decimal
from typing import Any

from cloudkitty import amount
from cloudkitty import metric as metrics
from cloudkitty import series
from cloudkitty.clients import prometheus

#: Begins of periods, and as many quantities.
Row = tuple[tuple[int, ...], tuple[Decimal, ...]]

#: A number of at most so many characters, without an exponent, needs no rounding.
_SHORT = 24
_HISTOGRAM = 'Prometheus gave a histogram, where a number is needed: choose a query that gives one.'


class Misaligned(ValueError):
    """A server chose instants of its own."""


class _Odd(Exception):
    """A value that is no quantity."""


@dataclasses.dataclass(frozen=True)
class Window:
    """Whose points are wanted, and the periods of *length* seconds from *begin* to *end*."""

    scope_ids: frozenset[str]
    begin: int
    end: int
    length: int

    @property
    def begins(self) -> range:
        return range(self.begin, self.end, self.length)


def instant(begin: int, length: int) -> Decimal:
    """Return the second at which the period of *length* seconds from *begin* on is asked for: its last millisecond."""
    return Decimal((begin + length) * 1000 - 1).scaleb(-3)


@dataclasses.dataclass(slots=True)
class Found:
    """What an answer holds.

    :ivar rows: points of one series each, ascending: (series, begins, quantities).
    :ivar failed: (scope id, begin) of cells that cannot be billed, and why.
    :ivar empty: (scope id, begin) of cells in which a series had no number but NaN.
    :ivar count: how many series there were.
    """

    rows: list[tuple[series.Series, tuple[int, ...], tuple[Decimal, ...]]] = dataclasses.field(default_factory=list)
    failed: dict[tuple[str, int], str] = dataclasses.field(default_factory=dict)
    empty: set[tuple[str, int]] = dataclasses.field(default_factory=set)
    count: int = 0

    def fail(self, scope_id: str, begin: int, text: str) -> None:
        """Take note of why a cell cannot be billed: of several reasons the same one, in whatever order they come."""
        self.failed[scope_id, begin] = min(text, self.failed.get((scope_id, begin), text))

    def add(self, other: 'Found') -> None:
        """Take in *other*."""
        self.rows += other.rows
        self.failed.update(other.failed)
        self.empty |= other.empty
        self.count += other.count

    def columns(self, length: int, failed: Collection[tuple[str, int]]) -> list[series.Columns]:
        """Return the points outside the cells *failed*, a series once, sorted by begin."""
        # By fingerprint: to compare series takes longer than all else here.
        result: dict[bytes, series.Columns] = {}
        twice: dict[bytes, list[series.Columns]] = {}
        scope_ids = {scope_id for scope_id, _ in failed}
        for key, begins, quantities in self.rows:
            if key.scope_id in scope_ids:
                kept = [index for index, begin in enumerate(begins) if (key.scope_id, begin) not in failed]
                if not kept:
                    continue
                begins, quantities = tuple([begins[index] for index in kept]), tuple(
                    [quantities[index] for index in kept]
                )  # fmt: skip
            item = series.Columns(key, length, begins, quantities)
            before = result.setdefault(key.fingerprint, item)
            if before is not item:
                twice.setdefault(key.fingerprint, [before]).append(item)
        for mark, items in twice.items():
            # Asked for in pieces, or told apart by a label that is not asked for.
            pairs = [pair for item in items for pair in zip(item.begins, item.quantities, strict=True)]
            pairs.sort(key=lambda pair: pair[0])
            result[mark] = series.Columns(
                items[0].series, length, tuple([begin for begin, _ in pairs]), tuple([value for _, value in pairs])
            )
        return list(result.values())

    def filled(self) -> set[int]:
        """Return the begins of periods in which anybody has anything."""
        result = {begin for _, begin in self.empty} | {begin for _, begin in self.failed}
        for begins in {begins for _, begins, _ in self.rows}:
            result.update(begins)
        return result


class Reader:
    """Makes points of answers for one metric.

    It remembers series, one object for all batches: most come again.

    :ivar MOST: how many it remembers.
    """

    MOST = 50000

    def __init__(self, metric: metrics.Metric, scope_key: str) -> None:
        self.metric = metric
        self._scope_key = scope_key
        self._series: dict[tuple[tuple[str, str], ...], series.Series] = {}

    def read(self, answer: Iterable[prometheus.Series], window: Window) -> Found:
        """Return what *answer* holds for *window*.

        A series without the scope key may be anybody's usage: it is billed to nobody, and fails the cells of all
        that were asked for.

        :raises Misaligned: of a series that is at other instants than those asked for.
        :raises ValueError, TypeError: of an answer that makes no sense.
        """
        found = Found()
        rows = _Rows(window)
        quantities = _Quantities(self.metric)
        with decimal.localcontext(amount.CONTEXT):
            for item in answer:
                found.count += 1
                scope_id = item.labels.get(self._scope_key)
                if item.histograms:
                    self._fail(found, window, scope_id, rows.begins(item.histograms), _HISTOGRAM)
                if not item.samples:
                    continue
                if not scope_id:
                    begins = rows.begins(item.samples)
                    self._fail(found, window, None, begins, 'Prometheus gave a number without label %s.' % self._label)
                elif scope_id in window.scope_ids:
                    self._read(found, scope_id, item, rows, quantities)
        return found

    @property
    def _label(self) -> str:
        return "%s: what query_prefix and query_suffix leave of the query is nobody's usage" % self._scope_key

    def _read(
        self, found: Found, scope_id: str, item: prometheus.Series, rows: '_Rows', quantities: '_Quantities'
    ) -> None:
        _, texts = zip(*item.samples, strict=True)
        begins = rows.begins(item.samples)
        try:
            values = tuple(map(quantities.__getitem__, texts))
        except _Odd:
            begins, values = self._read_closely(found, scope_id, begins, texts, quantities)
            if not begins:
                return
        found.rows.append((self._find(scope_id, item), begins, values))

    @staticmethod
    def _read_closely(
        found: Found, scope_id: str, begins: tuple[int, ...], texts: tuple[str, ...], quantities: '_Quantities'
    ) -> Row:
        pairs = []
        for begin, text in zip(begins, texts, strict=True):
            if text == 'NaN':
                found.empty.add((scope_id, begin))
                continue
            try:
                pairs.append((begin, quantities[text]))
            except _Odd as error:
                found.fail(scope_id, begin, str(error))
        return tuple([begin for begin, _ in pairs]), tuple([value for _, value in pairs])

    @staticmethod
    def _fail(found: Found, window: Window, scope_id: str | None, begins: Iterable[int], text: str) -> None:
        for begin in begins:
            for name in [scope_id] if scope_id else window.scope_ids:
                if name in window.scope_ids:
                    found.fail(name, begin, text)

    def _find(self, scope_id: str, item: prometheus.Series) -> series.Series:
        key = tuple(item.labels.items())
        made = self._series.get(key)
        if made is None:
            get = item.labels.get
            made = series.Series(
                scope_id,
                self.metric.type,
                self.metric.unit,
                # A label that a series does not have is one without text.
                {name: get(name, '') for name in self.metric.groupby},
                {name: get(name, '') for name in self.metric.metadata},
                self.metric.description,
            )
            if len(self._series) >= self.MOST:
                self._series.clear()
            self._series[key] = made
        return made


class _Rows:
    """Instants of series to the begins of periods: most series of an answer have the same."""

    def __init__(self, window: Window) -> None:
        self._begins = {(begin + window.length) * 1000 - 1: begin for begin in window.begins}
        self._known: dict[tuple[int, ...], tuple[int, ...]] = {}

    def begins(self, samples: list[list[Any]]) -> tuple[int, ...]:
        times = tuple([sample[0] for sample in samples])
        known = self._known.get(times)
        if known is None:
            begins = tuple([self._begins.get(time, -1) for time in times])
            if -1 in begins:
                raise Misaligned('instants that nobody asked for')
            if any(one >= other for one, other in zip(begins, begins[1:], strict=False)):
                raise ValueError('instants that do not ascend')
            known = self._known[times] = begins
        return known


class _Quantities(dict[str, Decimal]):
    """Text of a number to the quantity."""

    def __init__(self, metric: metrics.Metric) -> None:
        super().__init__()
        self._metric = metric
        self._is_plain = metrics.is_plain(metric)

    def __missing__(self, text: str) -> Decimal:
        if type(text) is not str:
            raise TypeError('a number that is not text')
        if text == 'NaN':
            raise _Odd
        if text in ('+Inf', '-Inf'):
            raise _Odd('Prometheus gave %s, which is no amount.' % text)
        try:
            number = Decimal(text)
        except decimal.InvalidOperation as error:
            raise ValueError('a number that is none') from error
        if not number.is_finite() or abs(number.adjusted()) > 400:
            raise ValueError('a number that is none')
        if not self._is_plain or len(text) > _SHORT or 'e' in text:
            try:
                number = metrics.convert(self._metric, number)
            except amount.AmountTooLarge as error:
                raise _Odd(str(error)) from error
        self[text] = number
        return number
