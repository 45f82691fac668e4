# SPDX-License-Identifier: Apache-2.0
"""Columns of a report that a caller names: ``SUM(qty) AS qty, MAX(price) AS peak``.

Nothing of what a caller writes ever gets near a statement: the text is taken apart here, and names not in these lists
are refused.

Source: API contract, section 3.2 and F34.
"""

from collections.abc import Sequence
import dataclasses
from decimal import Decimal
import re
from typing import NamedTuple

from cloudkitty import amount
from cloudkitty import errors

#: Aggregates of what adds up, and those that need every single point.
SUMS = ('sum', 'count', 'mean')
OF_POINTS = ('min', 'max', 'first', 'last', 'median', 'stddev', 'spread')

_ITEM = re.compile(r'\s*(\w+)\s*\(\s*(\w+|\*)\s*\)\s*(?:as\s+("?)(\w+)\3\s*)?', re.IGNORECASE)
_AMOUNTS = ('qty', 'price')


class PointValue(NamedTuple):
    """A point, as aggregates see it; *begin* in epoch seconds."""

    begin: int
    qty: Decimal
    price: Decimal


@dataclasses.dataclass(frozen=True)
class Field:
    """A column.

    :ivar aggregate: one of :data:`SUMS` or :data:`OF_POINTS`.
    :ivar name: ``qty`` or ``price``; ``*`` for a count.
    :ivar alias: what the column is called.
    """

    aggregate: str
    name: str
    alias: str

    @property
    def needs_points(self) -> bool:
        return self.aggregate in OF_POINTS

    def of_sums(self, points: int, qty: Decimal, price: Decimal) -> Decimal:
        """Return the value over what adds up to *points*, at least one, and these sums."""
        if self.aggregate == 'count':
            return Decimal(points)
        total = qty if self.name == 'qty' else price
        return total if self.aggregate == 'sum' else amount.CONTEXT.divide(total, Decimal(points))

    def of_points(self, points: Sequence[PointValue]) -> Decimal:
        """Return the value over *points*, at least one."""
        index = 1 if self.name == 'qty' else 2
        if self.aggregate in ('first', 'last'):
            chosen = min(points, key=_begin) if self.aggregate == 'first' else max(points, key=_begin)
            return Decimal(chosen[index])
        values = sorted(Decimal(point[index]) for point in points)
        if self.aggregate == 'min':
            return values[0]
        if self.aggregate == 'max':
            return values[-1]
        if self.aggregate == 'spread':
            return amount.CONTEXT.subtract(values[-1], values[0])
        if self.aggregate == 'median':
            middle = len(values) // 2
            pair = (values[(len(values) - 1) // 2], values[middle])
            return amount.CONTEXT.divide(amount.CONTEXT.add(*pair), Decimal(2))
        return _stddev(values)


def _begin(point: PointValue) -> int:
    return point.begin


def _stddev(values: Sequence[Decimal]) -> Decimal:
    """Return the standard deviation of a sample; 0 of a single value."""
    if len(values) < 2:
        return amount.ZERO
    context = amount.CONTEXT
    mean = context.divide(amount.total(values), Decimal(len(values)))
    squares = amount.total(context.power(context.subtract(value, mean), 2) for value in values)
    return context.sqrt(context.divide(squares, Decimal(len(values) - 1)))


#: What a report shows unless somebody asks for something else.
USUAL = (Field('sum', 'qty', 'qty'), Field('sum', 'price', 'rate'))


def parse(text: str | None) -> tuple[Field, ...]:
    """Return the columns that *text* names; raise BadRequest."""
    if text is None:
        return USUAL
    result: list[Field] = []
    for item in text.split(','):
        found = _ITEM.fullmatch(item)
        if found is None:
            raise errors.BadRequest('custom_fields: expected "AGG(field) AS alias", not %s.' % item.strip()[:60])
        aggregate, name = found[1].lower(), found[2]
        if aggregate not in SUMS + OF_POINTS:
            raise errors.BadRequest(
                'custom_fields: %s is none of %s.' % (found[1][:60], ', '.join(sorted(SUMS + OF_POINTS)))
            )
        if name not in _AMOUNTS and not (name == '*' and aggregate == 'count'):
            raise errors.BadRequest('custom_fields: expected qty or price, not %s.' % name[:60])
        alias = found[4] or '%s_%s' % (aggregate, name if name != '*' else 'points')
        if alias in ('begin', 'end') or any(alias == field.alias for field in result):
            raise errors.BadRequest('custom_fields: there are two columns %s.' % alias[:60])
        result.append(Field(aggregate, name, alias))
    return tuple(result)
