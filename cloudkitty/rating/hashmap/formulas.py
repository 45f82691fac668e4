# SPDX-License-Identifier: Apache-2.0
"""The price as a function of the quantity: a straight line between the levels of the service's thresholds.

A line is worked out once for each combination of classes, whatever the scope and the instant, from the rules that match
and no others: so another combination costs a sum, however many rules there are.
"""

import bisect
from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
from decimal import Decimal
from typing import Any

from cloudkitty.rating.hashmap import classes
from cloudkitty.rating.hashmap import pricing

#: How many lines a service keeps, and how many formulas.
CACHE = 20000


class Line:
    """``price = factor * quantity + constant``; *is_matched* says whether any rule took part."""

    __slots__ = ('factor', 'constant', 'is_matched', 'needs_sum')

    def __init__(self, factor: Decimal, constant: Decimal, is_matched: bool) -> None:
        self.factor = factor
        self.constant = constant
        self.is_matched = is_matched
        # Adding 0 turns the -0 that a negative factor makes of 0 into 0.
        self.needs_sum = bool(constant) or factor < 0

    def apply(self, quantities: Sequence[Decimal]) -> list[Decimal]:
        """Return the price of each of *quantities*, unrounded but for the caller's decimal context."""
        factor = self.factor
        if not factor:
            return [self.constant] * len(quantities)
        first = quantities[0] if quantities else None
        if first is not None and quantities[-1] is first and quantities.count(first) == len(quantities):
            # A steady series: one object all over.
            return [first * factor + self.constant if self.needs_sum else first * factor] * len(quantities)
        if self.needs_sum:
            constant = self.constant
            return [quantity * factor + constant for quantity in quantities]
        return [quantity * factor for quantity in quantities]


@dataclasses.dataclass(frozen=True, slots=True)
class _Stretch:
    """The lines of a formula over some levels, at hand for columns that cross them."""

    first: int
    last: int
    levels: tuple[Decimal, ...]
    coefficients: tuple[tuple[Decimal, Decimal], ...]
    is_always_matched: bool
    #: Where multiplying is all there is to it.
    factors: tuple[Decimal, ...] | None


class Formula:
    """The price of a combination of classes as a function of the quantity."""

    __slots__ = ('levels', '_head', '_classes', '_find', '_lines', '_stretch')

    def __init__(
        self, head: classes.Head, of: tuple[classes.Class, ...], find: Callable[[tuple[classes.Class, ...]], Line]
    ) -> None:
        """Set up the formula.

        :param of: the classes of the values.
        :param find: gives the line of a class of *head* and those.
        """
        self.levels = head.levels
        self._head = head
        self._classes = of
        self._find = find
        self._lines: dict[int, Line] = {}
        self._stretch: _Stretch | None = None

    def line(self, quantity: Decimal) -> Line:
        """Return the line that holds at *quantity*."""
        index = bisect.bisect_right(self.levels, quantity) if self.levels else 0
        return self._lines.get(index) or self._make_line(index)

    def _make_line(self, index: int) -> Line:
        line = self._lines[index] = self._find((self._head.classes[index] or self._head.make(index), *self._classes))
        return line

    def apply(self, quantities: Sequence[Decimal]) -> tuple[list[Decimal], bool | list[bool]]:
        """Return one price a quantity, and whether a rule took part: one bool for all of them or one each.

        Prices are unrounded but for the caller's decimal context.
        """
        levels = self.levels
        if not levels or not quantities:
            line = self.line(pricing.ZERO)
            return line.apply(quantities), line.is_matched
        if len(levels) == 1:
            stretch = self._stretch or self._make_stretch(0, 1)
            level = levels[0]
            (factor, constant), (upper_factor, upper_constant) = stretch.coefficients
            prices = [
                quantity * upper_factor + upper_constant if quantity >= level else quantity * factor + constant
                for quantity in quantities
            ]
        else:
            find = bisect.bisect_right
            # Most columns stay between two levels.
            first, highest = find(levels, min(quantities)), max(quantities)
            if first == len(levels) or highest < levels[first]:
                line = self._lines.get(first) or self._make_line(first)
                return line.apply(quantities), line.is_matched
            last = find(levels, highest)
            found = self._stretch
            if found is None:
                stretch = self._make_stretch(first, last)
            elif first < found.first or last > found.last:
                stretch = self._make_stretch(min(first, found.first), max(last, found.last))
            else:
                stretch = found
            levels, lines, factors = stretch.levels, stretch.coefficients, stretch.factors
            if factors is not None:
                return [factors[find(levels, quantity)] * quantity for quantity in quantities], True
            prices = [(chosen := lines[find(levels, quantity)])[0] * quantity + chosen[1] for quantity in quantities]
        if stretch.is_always_matched:
            return prices, True
        return prices, [self.line(quantity).is_matched for quantity in quantities]

    def _make_stretch(self, first: int, last: int) -> _Stretch:
        lines = [self._lines.get(index) or self._make_line(index) for index in range(first, last + 1)]
        is_always_matched = all(line.is_matched for line in lines)
        is_plain = is_always_matched and not any(line.needs_sum for line in lines)
        # Another thread may keep one of its own meanwhile.
        stretch = self._stretch = _Stretch(
            first,
            last,
            self.levels[first:last],
            tuple((line.factor, line.constant) for line in lines),
            is_always_matched,
            tuple(line.factor for line in lines) if is_plain else None,
        )
        return stretch


class Formulas:
    """The lines and formulas of a service, made as they are needed.

    :ivar lines: by the class of the quantity and those of the values.
    :ivar formulas: by the head and the classes of the values.
    """

    __slots__ = ('lines', 'formulas')

    def __init__(self) -> None:
        self.lines: dict[tuple[classes.Class, ...], Line] = {}
        self.formulas: dict[tuple[Any, ...], Formula] = {}

    def forget(self) -> None:
        """Forget all of them."""
        self.lines.clear()
        self.formulas.clear()

    def make_formula(self, key: tuple[Any, ...]) -> Formula:
        """Make, keep and return the formula of *key*."""
        if len(self.formulas) >= CACHE:
            # Services of many heads, as of scopes with thresholds of their own, have more of them than lines.
            self.formulas.clear()
        head, *of = key
        formula = self.formulas[key] = Formula(head, tuple(of), self.find_line)
        return formula

    def find_line(self, key: tuple[classes.Class, ...]) -> Line:
        """Return the line of *key*."""
        return self.lines.get(key) or self.make_line(key)

    def make_line(self, key: tuple[classes.Class, ...]) -> Line:
        """Make, keep and return the line of *key*."""
        if len(self.lines) >= CACHE:
            self.forget()
        line = self.lines[key] = work_out(key)
        return line


def work_out(key: tuple[classes.Class, ...]) -> Line:
    """Return the line of a quantity and values of the classes *key*, that of the quantity first."""
    groups: dict[str, classes.Effect] = {}
    for found in key:
        for effect in found.effects:
            before = groups.get(effect.group)
            groups[effect.group] = effect if before is None else before.join(effect)
    constant = pricing.ZERO
    factors = []
    reached = key[0].reached
    is_matched = bool(groups or reached)
    for group, threshold in reached:
        effect = groups.get(group, _NONE)
        kept = effect.kept
        # A tie goes to the service.
        if kept is not None and kept.level > threshold.level:
            continue
        groups.pop(group, None)
        if threshold.kind is pricing.Kind.FLAT:
            constant = pricing.EXACT.add(constant, threshold.cost)
            factors.append(effect.base)
        else:
            factors.append(pricing.EXACT.multiply(effect.base, threshold.cost))
    factors += [effect.factor for effect in groups.values()]
    factor = pricing.ZERO
    for more in factors:
        factor = pricing.EXACT.add(factor, more) if factor else more
    return Line(pricing.shorten(factor), pricing.shorten(constant) if constant else pricing.ZERO, is_matched)


#: What no rule comes to.
_NONE = classes.Effect('', pricing.ZERO, pricing.ONE, None)
