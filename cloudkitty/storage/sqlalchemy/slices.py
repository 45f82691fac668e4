# SPDX-License-Identifier: Apache-2.0
"""The points of a series and UTC day in columns, and what those of several series add up to.

What is done here is done for every point, so it is done for columns: sums, comparisons and texts of whole tuples cost
a tenth of what they cost one by one. Additions are those of the context in force, which has to be that of amounts.
"""

from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from decimal import Decimal
import itertools
import operator
from typing import Any

from cloudkitty import amount
from cloudkitty import period
from cloudkitty import series
from cloudkitty.storage.sqlalchemy import body

_NONE = type(None)


class Shape:
    """Where the points of a slice are.

    :ivar offsets: seconds from midnight of their begins, ascending.
    :ivar length: seconds of each.
    :ivar heads: what the text of a point begins with.
    :ivar breaks: indices of points that do not begin where the one before ends.
    :ivar is_distinct: no two begin together.
    """

    __slots__ = ('offsets', 'length', 'heads', 'breaks', 'is_distinct')

    def __init__(self, offsets: Sequence[int], length: int) -> None:
        self.offsets = tuple(offsets)
        self.length = length
        self.heads = ['%d %d ' % (offset, length) for offset in offsets]
        self.breaks = frozenset(
            index
            for index, (one, other) in enumerate(itertools.pairwise(self.offsets), 1)
            if not length or other != one + length
        )
        self.is_distinct = len(set(offsets)) == len(offsets)

    def head(self, index: int, count: int) -> str:
        """Return what the text of *count* equal points from *index* on begins with."""
        return self.heads[index] if count == 1 else '%dx%d %d ' % (self.offsets[index], count, self.length)


class Slice:
    """Points of one series and day.

    :ivar prices: Decimals, or None.
    :ivar unpriced: one bool a point, or None: none is.
    :ivar has_prices: every point has one.
    """

    __slots__ = ('shape', 'quantities', 'prices', 'unpriced', 'has_prices', '_texts')

    def __init__(
        self,
        shape: Shape,
        quantities: tuple[Decimal, ...],
        prices: tuple[Any, ...],
        unpriced: tuple[bool, ...] | None,
        has_prices: bool,
    ) -> None:
        self.shape = shape
        self.quantities = quantities
        self.prices = prices
        self.unpriced = unpriced
        self.has_prices = has_prices
        self._texts: tuple[list[str], list[str]] | None = None

    def points(self) -> list[body.Point]:
        length = self.shape.length
        return [
            body.Point(offset, length, qty, price)
            for offset, qty, price in zip(self.shape.offsets, self.quantities, self.prices, strict=True)
        ]

    def texts(self) -> tuple[list[str], list[str]]:
        """Return the texts of quantities and prices."""
        if self._texts is None:
            self._texts = amount.to_texts(self.quantities), amount.to_texts(self.prices)
        return self._texts

    def encode(self) -> str:
        """Return the text of the points: see ``body.py``."""
        if not self.has_prices:
            return body.encode_points(self.points())
        return _encode(self.shape, self.quantities, self.prices, self.texts)

    def totals(self) -> tuple[int, Decimal, Decimal]:
        """Return (points, quantity, price) of the points that have a price."""
        if self.has_prices:
            if len(self.quantities) == 1:
                return 1, self.quantities[0], self.prices[0]
            return len(self.quantities), _add(self.quantities), _add(self.prices)
        pairs = [(qty, price) for qty, price in zip(self.quantities, self.prices, strict=True) if price is not None]
        return len(pairs), amount.total(qty for qty, _ in pairs), amount.total(price for _, price in pairs)


class Cutter:
    """Cuts columns at midnights (UTC); remembers where, as most columns of a batch have the same begins."""

    def __init__(self) -> None:
        self._parts: dict[tuple[tuple[int, ...], int], list[tuple[int, int, int, Shape]]] = {}
        self._shapes: dict[tuple[tuple[int, ...], int], Shape] = {}

    def cut(self, columns: series.Columns) -> Iterator[tuple[int, Slice]]:
        """Yield (day, slice) of *columns*."""
        prices: tuple[Any, ...] = columns.prices or (None,) * len(columns.begins)
        has_prices = _NONE not in map(type, prices)
        key = (columns.begins, columns.length)
        parts = self._parts.get(key)
        if parts is None:
            parts = self._parts[key] = self._find_parts(*key)
        for day, first, end, shape in parts:
            if len(parts) == 1:
                yield day, Slice(shape, columns.quantities, prices, columns.unpriced, has_prices)
                return
            some = prices[first:end]
            yield (
                day,
                Slice(
                    shape,
                    columns.quantities[first:end],
                    some,
                    columns.unpriced and columns.unpriced[first:end],
                    has_prices or _NONE not in map(type, some),
                ),
            )

    def crossed(self) -> set[int]:
        """Return the days on which points begin that end after them, of all that was cut."""
        return {
            day
            for parts in self._parts.values()
            for day, _, _, shape in parts
            if shape.offsets[-1] + shape.length > period.DAY
        }

    def _find_parts(self, begins: Sequence[int], length: int) -> list[tuple[int, int, int, Shape]]:
        parts = []
        first = 0
        for day, group in itertools.groupby(begins, lambda begin: begin // period.DAY):
            offsets = tuple([begin - day * period.DAY for begin in group])
            shape = self._shapes.get((offsets, length))
            if shape is None:
                shape = self._shapes[offsets, length] = Shape(offsets, length)
            parts.append((day, first, first + len(offsets), shape))
            first += len(offsets)
        return parts


class Cells:
    """What slices of one scope, metric, origin and day add up to, period by period."""

    def __init__(self) -> None:
        self._slices: dict[Shape, list[Slice]] = {}
        self._others: dict[tuple[int, int], list[Any]] = {}

    def __bool__(self) -> bool:
        return bool(self._slices or self._others)

    def add(self, part: Slice) -> None:
        """Add the points of *part* that have a price."""
        if part.has_prices:
            self._slices.setdefault(part.shape, []).append(part)
            return
        flags = part.unpriced or (False,) * len(part.quantities)
        for point, flag in zip(part.points(), flags, strict=True):
            if point.price is not None:
                _add_to(self._others, (point.offset, point.length), [1, point.qty, point.price, int(flag), 0])

    def skip(self, offset: int, length: int, count: int) -> None:
        """Add that *count* points of a period were left out."""
        _add_to(self._others, (offset, length), [0, amount.ZERO, amount.ZERO, 0, count])

    def by_place(self) -> dict[tuple[int, int], list[Any]]:
        """Return {(offset, length): [points, quantity, price, unpriced, skipped]}."""
        result = {place: list(values) for place, values in self._others.items()}
        for shape, parts in self._slices.items():
            unpriced = _count_unpriced(parts)
            for offset, qty, price, count in zip(
                shape.offsets,
                _add_columns([part.quantities for part in parts]),
                _add_columns([part.prices for part in parts]),
                unpriced or (0,) * len(shape.offsets),
                strict=True,
            ):
                _add_to(result, (offset, shape.length), [len(parts), qty, price, count, 0])
        return result

    def fold(self) -> tuple[int, str, list[Any]]:
        """Return (offset of the first, text, totals) of the cells, of which there must be some.

        The text is that of a row of ``scope_days``, totals are [points, quantity, price, unpriced, skipped].
        """
        if len(self._slices) == 1 and not self._others:
            ((shape, parts),) = self._slices.items()
            unpriced = _count_unpriced(parts)
            if shape.is_distinct and (not unpriced or len(set(unpriced)) == 1):
                return self._fold_one(shape, parts, unpriced[0] if unpriced else 0)
        cells = self.by_place()
        text = body.encode_cells(body.Cell(*place, *cells[place]) for place in sorted(cells))
        return min(cells)[0], text, add_up_all(cells.values())

    @staticmethod
    def _fold_one(shape: Shape, parts: Sequence[Slice], unpriced: int) -> tuple[int, str, list[Any]]:
        quantities = _add_columns([part.quantities for part in parts])
        prices = _add_columns([part.prices for part in parts])
        # One of a kind shares its texts with the day row.
        texts = parts[0].texts if len(parts) == 1 else lambda: (amount.to_texts(quantities), amount.to_texts(prices))
        text = _encode(shape, quantities, prices, texts, '%d ' % len(parts), ' %d 0' % unpriced)
        count = len(quantities)
        if count == 1:
            return shape.offsets[0], text, [len(parts), quantities[0], prices[0], unpriced, 0]
        totals = [count * len(parts), _add(quantities), _add(prices), count * unpriced, 0]
        return shape.offsets[0], text, totals


def _count_unpriced(parts: Sequence[Slice]) -> tuple[int, ...]:
    """Return how many points of each period are unpriced; () if none is."""
    flags = [part.unpriced for part in parts if part.unpriced is not None]
    return tuple(map(sum, zip(*flags, strict=True)))


def _is_constant(values: Sequence[Any]) -> bool:
    """Return whether *values* are one object all over, as those of a steady series are."""
    first = values[0]
    return first is values[-1] and values.count(first) == len(values)


def _add(values: Sequence[Any]) -> Decimal:
    return values[0] * len(values) if _is_constant(values) else sum(values, amount.ZERO)


def _add_columns(columns: Sequence[Sequence[Any]]) -> Sequence[Any]:
    if len(columns) == 1:
        return columns[0]
    if len(columns[0]) == 1:
        return (sum([column[0] for column in columns], amount.ZERO),)
    if all(map(_is_constant, columns)):
        return (sum([column[0] for column in columns], amount.ZERO),) * len(columns[0])
    return list(map(sum, zip(*columns, strict=True)))


def _add_to(cells: dict[tuple[int, int], list[Any]], place: tuple[int, int], values: list[Any]) -> None:
    known = cells.get(place)
    cells[place] = values if known is None else add_up(known, values)


def add_up(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    """Return the sums of two rows of counts and amounts."""
    add = amount.CONTEXT.add
    return [
        add(left, right) if isinstance(left, Decimal) else left + right for left, right in zip(one, other, strict=True)
    ]


def add_up_all(rows: Any) -> list[Any]:
    """Return the sums of *rows*, each [points, quantity, price, unpriced, skipped]."""
    totals: list[Any] = [0, amount.ZERO, amount.ZERO, 0, 0]
    for row in rows:
        totals = add_up(totals, row)
    return totals


def subtract(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    """Return the differences of two rows of counts and amounts."""
    take = amount.CONTEXT.subtract
    return [
        take(left, right) if isinstance(left, Decimal) else left - right for left, right in zip(one, other, strict=True)
    ]


def _encode(
    shape: Shape,
    quantities: Sequence[Any],
    prices: Sequence[Any],
    texts: Any,
    middle: str = '',
    tail: str = '',
) -> str:
    """Return the text of points or cells: equal ones in a row are one stretch.

    :param texts: returns those of *quantities* and *prices*.
    :param middle, tail: what stands before the quantity, and behind the price.
    """
    count = len(quantities)
    if count == 1:
        (qty_text,), (price_text,) = texts()
        return '%s%s%s %s%s' % (shape.heads[0], middle, qty_text, price_text, tail)
    differ = [False] * (count - 1) if _is_constant(quantities) else list(map(operator.ne, quantities[1:], quantities))
    if not shape.breaks and True not in differ:
        if _is_constant(prices) or True not in map(operator.ne, prices[1:], prices):
            values = amount.to_text(quantities[0]), amount.to_text(prices[0])
            return '%s%s%s %s%s' % (shape.head(0, count), middle, *values, tail)
    qty_texts, price_texts = texts()
    if False not in differ:
        rows = zip(shape.heads, qty_texts, price_texts, strict=True)
        return ';'.join(['%s%s%s %s%s' % (head, middle, qty, price, tail) for head, qty, price in rows])
    starts = [0] + [
        index
        for index, is_other in enumerate(differ, 1)
        if is_other or index in shape.breaks or prices[index] != prices[index - 1]
    ]
    return ';'.join(
        [
            '%s%s%s %s%s' % (shape.head(first, end - first), middle, qty_texts[first], price_texts[first], tail)
            for first, end in itertools.pairwise([*starts, count])
        ]
    )


def decode_cells(text: str | None) -> Mapping[tuple[int, int], Sequence[Any]]:
    """Return {(offset, length): [points, quantity, price, unpriced, skipped]} of the text of a ``scope_days`` row."""
    return {(cell.offset, cell.length): cell[2:] for cell in body.decode_cells(text)} if text else {}
