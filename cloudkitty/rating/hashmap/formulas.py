# SPDX-License-Identifier: Apache-2.0
"""The price as a function of the quantity: a straight line between the levels of the service's thresholds.

What rules look at are classes of values, not values: the text if a mapping has it, and which thresholds of the field it
reaches. A group of rules looks at some fields only; what it comes to is worked out once for each combination of their
classes, and only for quantities that come. So another combination of known classes costs a sum, however many rules
there are.
"""

import bisect
from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
from decimal import Decimal
import itertools
import operator
from typing import Any

from cloudkitty.rating.hashmap import pricing

#: How many formulas a layer keeps, parts of them a group, and classes of values a field.
CACHE = 20000

#: In place of the value of an attribute that is not there.
MISSING: Any = object()

#: The class of what no rule looks at.
_NOTHING = 0

#: Factor and constant; None: no rule takes part.
_Coefficients = tuple[Decimal, Decimal] | None


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


class _Part:
    """What one group comes to for one combination of classes.

    :ivar fixed: where no quantity makes a difference.
    """

    __slots__ = ('has_levels', 'fixed', '_flat', '_rate', '_is_matched', '_kept', '_by_level', '_found')

    def __init__(
        self,
        flat: Decimal,
        rate: Decimal,
        is_matched: bool,
        kept: pricing.Threshold | None,
        by_level: Sequence[pricing.Threshold | None],
    ) -> None:
        """Set up the part.

        :param flat, rate: the largest flat cost and the product of the rates of its mappings.
        :param is_matched: whether it has any.
        :param kept: the threshold of a field that holds.
        :param by_level: the threshold of the service that holds up to each level; empty: there is none.
        """
        self._flat = flat
        self._rate = rate
        self._is_matched = is_matched
        self._kept = kept
        self._by_level = by_level
        self.has_levels = bool(by_level)
        self.fixed = None if by_level else self._work_out(None)
        if by_level:
            self._found: dict[int, _Coefficients] = {}

    def at(self, index: int) -> _Coefficients:
        """Return what it comes to from level *index* - 1 up to level *index*."""
        found = self._found.get(index, MISSING)
        if found is MISSING:
            found = self._found[index] = self._work_out(self._by_level[index])
        return found  # type: ignore[no-any-return]

    def _work_out(self, threshold: pricing.Threshold | None) -> _Coefficients:
        kept = self._kept
        # A tie goes to the service.
        if threshold is None or (kept is not None and kept.level > threshold.level):
            if kept is None and not self._is_matched:
                return None
            return pricing.combine(self._flat, self._rate, kept, True)
        return pricing.combine(self._flat, self._rate, threshold, False)


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

    __slots__ = ('levels', '_parts', '_lines', '_stretch')

    def __init__(self, levels: tuple[Decimal, ...], parts: Sequence[_Part]) -> None:
        self.levels = levels
        self._parts = parts
        self._lines: dict[int, Line] = {}
        self._stretch: _Stretch | None = None

    def line(self, quantity: Decimal) -> Line:
        """Return the line that holds at *quantity*."""
        index = bisect.bisect_right(self.levels, quantity) if self.levels else 0
        return self._lines.get(index) or self._make_line(index)

    def _make_line(self, index: int) -> Line:
        factor = constant = pricing.ZERO
        is_matched = False
        for part in self._parts:
            found = part.at(index) if part.has_levels else part.fixed
            if found is not None:
                more, fixed = found
                factor = pricing.EXACT.add(factor, more) if is_matched else more
                is_matched = True
                if fixed:
                    constant = pricing.EXACT.add(constant, fixed)
        line = self._lines[index] = Line(
            pricing.shorten(factor), pricing.shorten(constant) if constant else pricing.ZERO, is_matched
        )
        return line

    def apply(self, quantities: Sequence[Decimal]) -> tuple[list[Decimal], bool | list[bool]]:
        """Return one price a quantity, and whether a rule took part: one bool for all of them or one each.

        Prices are unrounded but for the caller's decimal context.
        """
        levels = self.levels
        if len(quantities) == 1:
            (quantity,) = quantities
            line = self.line(quantity)
            price = quantity * line.factor + line.constant if line.factor else line.constant
            return [price], line.is_matched
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


class Classes:
    """The classes of the values of a field; one of them is a number.

    :ivar known: the class of values that came before: of texts, and of others by their type and text. 1, 1.0 and True
        are equal keys but three texts, and True is a number that its text is not.
    """

    __slots__ = ('name', 'known', '_field', '_levels', '_parse', '_numbers', '_attributes', '_free')

    def __init__(self, field: pricing.FieldLayer, parse: Callable[[str, object], Decimal | None]) -> None:
        """Set up the classes.

        :param parse: (name of the field, value) to the number that thresholds compare.
        """
        self.name = field.name
        self.known: dict[Any, int] = {}
        self._field = field
        self._levels = sorted({threshold.level for threshold in field.thresholds})
        self._parse = parse
        self._numbers: dict[tuple[str | None, int], int] = {(None, 0): _NOTHING}
        self._attributes: dict[int, pricing.Attribute] = {}
        self._free = itertools.count(_NOTHING + 1)

    def classify(self, value: Any) -> int:
        """Return the class of *value*, which may be :data:`MISSING`."""
        if value is MISSING:
            return _NOTHING
        text = value if value.__class__ is str else str(value)
        if not self._levels:
            if text not in self._field.mappings:
                return _NOTHING
            found = self.known.get(text)
            if found is None:
                found = self.known[text] = self._number_of(text, 0, None)
            return found
        key = text if value.__class__ is str else (value.__class__, text)
        found = self.known.get(key)
        if found is None:
            number = self._parse(self.name, value)
            reached = 0 if number is None else bisect.bisect_right(self._levels, number)
            if len(self.known) >= CACHE:
                self.known.clear()
            found = self.known[key] = self._number_of(text, reached, number)
        return found

    def _number_of(self, text: str, reached: int, number: Decimal | None) -> int:
        key = (text if text in self._field.mappings else None, reached)
        found = self._numbers.get(key)
        if found is None:
            # Of threads that come at once each takes a number of its own, and one of them is kept.
            mine = next(self._free)
            self._attributes[mine] = pricing.Attribute(text, number)
            found = self._numbers.setdefault(key, mine)
        return found

    def attribute(self, number: int) -> pricing.Attribute | None:
        """Return an attribute of class *number*; None: of the class of what no rule looks at."""
        return self._attributes.get(number)


class _Group:
    """The rules of one group in a layer, and their parts by the classes of the fields that they look at.

    :ivar key: gives what of a key of the layer is the key of the group.
    """

    __slots__ = ('name', 'key', 'parts', '_mappings', '_by_level', '_fields')

    def __init__(
        self,
        name: str,
        layer: pricing.Layer,
        classes: Sequence[Classes],
        fields: Sequence[int],
        reached: Sequence[Decimal],
    ) -> None:
        """Set up the group.

        :param fields: the places of those that it looks at.
        :param reached: the levels of the layer, all thresholds lying above the first.
        """
        self.name = name
        self.key: Callable[[Sequence[int]], Any] = operator.itemgetter(*fields) if fields else _nothing
        self.parts: dict[Any, _Part] = {}
        self._mappings = [mapping for mapping in layer.mappings if mapping.group == name]
        mine = [threshold for threshold in reversed(layer.thresholds) if threshold.group == name]
        levels = [threshold.level for threshold in mine]
        self._by_level = [_at(levels, mine, level) for level in reached] if mine else []
        self._fields = []
        for index in fields:
            mine = [threshold for threshold in reversed(layer.fields[index].thresholds) if threshold.group == name]
            levels = [threshold.level for threshold in mine]
            self._fields.append((classes[index], layer.fields[index].mappings, levels, mine))

    def make_part(self, key: Any) -> _Part:
        flat, rate, is_matched = pricing.ZERO, pricing.ONE, False
        mappings = self._mappings
        kept: pricing.Threshold | None = None
        numbers = (key,) if len(self._fields) == 1 else key
        for (classes, by_value, levels, thresholds), number in zip(self._fields, numbers, strict=True):
            attribute = classes.attribute(number)
            if attribute is None:
                continue
            mappings = [*mappings, *[rule for rule in by_value.get(attribute.text, ()) if rule.group == self.name]]
            if levels and attribute.number is not None:
                found = _at(levels, thresholds, attribute.number)
                # Of equal levels that of the first field.
                if found is not None and (kept is None or found.level > kept.level):
                    kept = found
        for mapping in mappings:
            is_matched = True
            if mapping.kind is pricing.Kind.FLAT:
                flat = max(flat, mapping.cost)
            else:
                rate = pricing.EXACT.multiply(rate, mapping.cost)
        if len(self.parts) >= CACHE:
            self.parts.clear()
        part = self.parts[key] = _Part(flat, rate, is_matched, kept, self._by_level)
        return part


def _at(
    levels: Sequence[Decimal], thresholds: Sequence[pricing.Threshold], number: Decimal
) -> pricing.Threshold | None:
    """Return the highest of *thresholds*, whose *levels* ascend, that *number* reaches."""
    place = bisect.bisect_right(levels, number)
    return thresholds[place - 1] if place else None


def _nothing(key: Sequence[int]) -> tuple[()]:
    return ()


class Formulas:
    """The formulas of a layer, made as they are needed.

    :ivar classes: of the fields of the layer, in their order.
    :ivar found: formulas by the classes of values.
    """

    __slots__ = ('classes', 'found', '_levels', '_groups')

    def __init__(self, layer: pricing.Layer, parse: Callable[[str, object], Decimal | None]) -> None:
        """Set up the formulas; *parse* as for :class:`Classes`."""
        self.classes = tuple(Classes(field, parse) for field in layer.fields)
        self.found: dict[tuple[int, ...], Formula] = {}
        self._levels = tuple(sorted({threshold.level for threshold in layer.thresholds}))
        fields: dict[str, list[int]] = {mapping.group: [] for mapping in layer.mappings}
        fields.update({threshold.group: [] for threshold in layer.thresholds})
        for index, field in enumerate(layer.fields):
            names = {mapping.group for found in field.mappings.values() for mapping in found}
            for name in names.union([threshold.group for threshold in field.thresholds]):
                fields.setdefault(name, []).append(index)
        reached = (pricing.BOTTOM, *self._levels)
        self._groups = [_Group(name, layer, self.classes, places, reached) for name, places in fields.items()]

    def make(self, key: tuple[int, ...]) -> Formula:
        """Make, keep and return the formula of values of the classes *key*."""
        parts = []
        for group in self._groups:
            mine = group.key(key)
            parts.append(group.parts.get(mine) or group.make_part(mine))
        if len(self.found) >= CACHE:
            self.found.clear()
        formula = self.found[key] = Formula(self._levels, parts)
        return formula
