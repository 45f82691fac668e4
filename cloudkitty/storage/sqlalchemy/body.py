# SPDX-License-Identifier: Apache-2.0
"""The text form of the points of a day.

The body of a row of ``rated_days`` is a list of stretches, separated by ``;``. A stretch is ``OFFSET LENGTH QTY PRICE``
or ``OFFSETxCOUNT LENGTH QTY PRICE``: COUNT points (one without it), each LENGTH seconds long, of which the first begins
OFFSET seconds after the day and every other where the one before ends, all of the same quantity and price. A price
of ``-`` means that the point has no price yet. Points are sorted by begin; several may begin together. Amounts are
plain decimals.

The body of a row of ``scope_days`` is the same with ``OFFSET[xCOUNT] LENGTH POINTS QTY PRICE UNPRICED SKIPPED``: per
period the count of points, the sums, and how many of the points no rule matched or a skip expression dropped.
"""

from collections.abc import Iterable
from collections.abc import Iterator
from decimal import Decimal
import re
from typing import Any
from typing import NamedTuple

from cloudkitty import amount

#: Finds offset, count and length of every stretch.
_HEADS = re.compile('(?:^|;)([0-9]+)x?([0-9]*) ([0-9]+) ').findall


class Point(NamedTuple):
    """:ivar offset: seconds from the begin of the UTC day; *price* is None while there is none."""

    offset: int
    length: int
    qty: Decimal
    price: Decimal | None


class Cell(NamedTuple):
    """What the points of one scope, metric, origin and period add up to."""

    offset: int
    length: int
    points: int
    qty: Decimal
    price: Decimal
    unpriced: int
    skipped: int


def encode_points(points: Iterable[Point]) -> str:
    """Return the body of *points*, which must be sorted by offset."""
    to_text = amount.to_text
    return ';'.join(
        '%s %d %s %s' % (_head(first, count), length, to_text(qty), '-' if price is None else to_text(price))
        for first, count, (length, qty, price) in _stretches(points)
    )


def decode_points(body: str) -> list[Point]:
    """Return the points of *body*, sorted by offset."""
    result: list[Point] = []
    ordered = True
    for text in body.split(';') if body else ():
        head, length_text, qty_text, price_text = text.split(' ')
        length, qty = int(length_text), Decimal(qty_text)
        price = None if price_text == '-' else Decimal(price_text)
        for offset in _offsets(head, length):
            ordered = ordered and (not result or result[-1].offset <= offset)
            result.append(Point(offset, length, qty, price))
    if not ordered:
        result.sort(key=lambda point: point.offset)
    return result


def encode_cells(cells: Iterable[Cell]) -> str:
    """Return the body of *cells*, which must be sorted by offset."""
    return ';'.join(
        '%s %d %d %s %s %d %d'
        % (_head(first, count), length, points, amount.to_text(qty), amount.to_text(price), unpriced, skipped)
        for first, count, (length, points, qty, price, unpriced, skipped) in _stretches(cells)
    )


def decode_cells(body: str) -> list[Cell]:
    """Return the cells of *body*, sorted by offset."""
    result: list[Cell] = []
    for text in body.split(';') if body else ():
        head, length_text, points, qty, price, unpriced, skipped = text.split(' ')
        length = int(length_text)
        values = (length, int(points), Decimal(qty), Decimal(price), int(unpriced), int(skipped))
        result += [Cell(offset, *values) for offset in _offsets(head, length)]
    result.sort(key=lambda cell: (cell.offset, cell.length))
    return result


def end_of(body: str) -> int:
    """Return where the last of what *body*, of either kind, holds ends, in seconds from the begin of the day."""
    return max([int(first) + int(count or 1) * int(length) for first, count, length in _HEADS(body)], default=0)


def append(body: str, offset: int, added: str) -> str | None:
    """Return *body* with the points or cells of the body *added* behind its own.

    None unless all of them begin, the first at *offset*, after those.
    """
    before, _, last = body.rpartition(';')
    head, _, values = last.partition(' ')
    first, _, count = head.partition('x')
    length = int(values.partition(' ')[0])
    end = int(first) + int(count or 1) * length
    if offset <= end - length:
        return None
    stretch, separator, rest = added.partition(';')
    new_head, _, new_values = stretch.partition(' ')
    if new_values != values or offset != end or not length:
        return '%s;%s' % (body, added)
    joined = '%sx%d %s' % (first, int(count or 1) + int(new_head.partition('x')[2] or 1), values)
    return (before + ';' if before else '') + joined + separator + rest


def _stretches(items: Iterable[Point | Cell]) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
    """Yield (offset of the first, count, values) of *items*, whose first value behind the offset is the length."""
    first = count = 0
    current: tuple[Any, ...] | None = None
    for item in items:
        values: tuple[Any, ...] = item[1:]
        if current is not None and values == current and item.length and item.offset == first + count * item.length:
            count += 1
            continue
        if current is not None:
            yield first, count, current
        first, count, current = item.offset, 1, values
    if current is not None:
        yield first, count, current


def _head(offset: int, count: int) -> str:
    return str(offset) if count == 1 else '%dx%d' % (offset, count)


def _offsets(head: str, length: int) -> range:
    offset, _, count = head.partition('x')
    first = int(offset)
    return range(first, first + int(count) * length, length) if count else range(first, first + 1)
