# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of quantities and prices: Decimal from text to table, never by way of float.

Calculations run in :data:`CONTEXT` (60 digits). A quantity is quantised once, after mutation, and a price once, at the
end of the rating chain, to :data:`DIGITS` digits after the point, half-even. Amounts of :data:`LIMIT` or more do not
fit the tables.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import decimal
from decimal import Decimal

DIGITS = 28
QUANTUM = Decimal(1).scaleb(-DIGITS)
LIMIT = Decimal(10) ** 24
CONTEXT = decimal.Context(
    prec=60,
    rounding=decimal.ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)
ZERO = Decimal(0)


class AmountTooLarge(ValueError):
    """An amount of :data:`LIMIT` or more, NaN or an infinity."""


def from_number(value: object) -> Decimal:
    """Return *value* (Decimal, int, float or text) as a Decimal; a float by its shortest text.

    Raises ValueError for text that is no number and TypeError for None and other types.
    """
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError('%r is not a number.' % (value,))
    try:
        return Decimal(repr(value) if isinstance(value, float) else value)
    except decimal.InvalidOperation:
        raise ValueError('%r is not a number.' % (value,)) from None


def quantise(value: Decimal) -> Decimal:
    """Return *value* rounded to :data:`DIGITS` digits after the point, half-even; never padded with zeros.

    Raises :class:`AmountTooLarge` for what the tables cannot hold.
    """
    if not value.is_finite() or abs(value) >= LIMIT:
        raise AmountTooLarge('The amount %s cannot be stored.' % value)
    rounded = value.quantize(QUANTUM, context=CONTEXT)
    return value if rounded == value else rounded


def total(values: Iterable[Decimal]) -> Decimal:
    """Return the exact sum of *values*."""
    result = ZERO
    for value in values:
        result = CONTEXT.add(result, value)
    return result


def to_text(value: Decimal) -> str:
    """Return *value* in plain notation without trailing zeros: ``0.25``, ``120``, ``0``."""
    if not value:
        return '0'
    text = format(value, 'f')
    return text.rstrip('0').rstrip('.') if '.' in text else text


def to_texts(values: Sequence[Decimal]) -> list[str]:
    """Return what :func:`to_text` gives for each of *values*, at half the cost."""
    if len(values) == 1:
        return [to_text(values[0])]
    texts = list(map(str, values))
    joined = ''.join(texts)
    if 'E' in joined or '-' in joined:
        return list(map(to_text, values))
    if '.' in joined:
        return [text.rstrip('0').rstrip('.') if text[-1] == '0' and '.' in text else text for text in texts]
    return texts
