# SPDX-License-Identifier: Apache-2.0
"""What is measured: one definition of metrics.yml, and how a measured value becomes a quantity."""

from collections.abc import Mapping
import dataclasses
import decimal
from decimal import Decimal
import enum
import fractions
import math
from typing import Any

from cloudkitty import amount


class Mutation(enum.Enum):
    """What happens to a converted value before it is a quantity."""

    NONE = 'NONE'
    NUMBOOL = 'NUMBOOL'
    NOTNUMBOOL = 'NOTNUMBOOL'
    FLOOR = 'FLOOR'
    CEIL = 'CEIL'
    MAP = 'MAP'


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric definition, checked and with its defaults filled in.

    :ivar name: what the source calls it.
    :ivar type: what frames, rules and reports call it: its ``alt_name``, else its name.
    :ivar alt_name: the ``alt_name`` as written, or None.
    :ivar factor, offset: exact, applied as ``value * factor + offset``.
    :ivar groupby: attributes that split points, the scope key among them.
    :ivar metadata: attributes that are carried along.
    :ivar mutate_map: quantity by converted value, for :attr:`Mutation.MAP`.
    :ivar extra_args: arguments of the collector, checked and with its defaults.
    """

    name: str
    type: str
    unit: str
    alt_name: str | None = None
    description: str | None = None
    factor: fractions.Fraction = fractions.Fraction(1)
    offset: fractions.Fraction = fractions.Fraction(0)
    groupby: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    mutate: Mutation = Mutation.NONE
    mutate_map: Mapping[Decimal, Decimal] = dataclasses.field(default_factory=dict)
    skip_expression: str | None = None
    extra_args: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> str:
        """The name the field knows a definition by: ``cpu``, or ``cpu@#instance`` with an alt_name."""
        return '%s@#%s' % (self.name, self.alt_name) if self.alt_name else self.name


def is_plain(metric: Metric) -> bool:
    """Return whether quantities are the measured values, rounded."""
    return metric.factor == 1 and not metric.offset and metric.mutate is Mutation.NONE


def convert(metric: Metric, value: Decimal) -> Decimal:
    """Return the quantity of measured *value*: converted, mutated, then quantised once.

    Raises :class:`cloudkitty.amount.AmountTooLarge`.

    Source: collection contract, section 1.4.
    """
    if metric.factor != 1 or metric.offset:
        exact = fractions.Fraction(value) * metric.factor + metric.offset
        value = amount.CONTEXT.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    return amount.quantise(_mutate(metric, value))


def _mutate(metric: Metric, value: Decimal) -> Decimal:
    match metric.mutate:
        case Mutation.NONE:
            return value
        case Mutation.NUMBOOL:
            return Decimal(1) if value else Decimal(0)
        case Mutation.NOTNUMBOOL:
            return Decimal(0) if value else Decimal(1)
        case Mutation.FLOOR:
            return Decimal(math.floor(value))
        case Mutation.CEIL:
            return Decimal(math.ceil(value))
        case Mutation.MAP:
            return metric.mutate_map.get(value, Decimal(0))


def parse_factor(value: object) -> fractions.Fraction:
    """Return the exact fraction of a ``factor`` or ``offset``: an int, a float or text such as ``1/3`` or ``1e3``.

    A float is taken by its shortest text. Raises ValueError for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError('%r is not a number or a fraction.' % (value,))
    try:
        return fractions.Fraction(repr(value) if isinstance(value, float) else value)
    except (ValueError, ZeroDivisionError, decimal.InvalidOperation, OverflowError):
        raise ValueError('%r is not a number or a fraction.' % (value,)) from None
