# SPDX-License-Identifier: Apache-2.0
"""What hashmap rules make of a quantity: values in, prices out.

A *layer* holds the rules of one service that apply at one instant to one scope. Together with the values of the
attributes that its rules look at it gives the price of a quantity.

Source: rating contract, sections 5.2 to 5.4.
"""

from collections.abc import Iterable
from collections.abc import Sequence
import dataclasses
import decimal
from decimal import Decimal
import enum
import operator
from typing import TypeVar

from cloudkitty import amount

#: The group of rules without one; a real group of this name merges with it.
DEFAULT_GROUP = '_DEFAULT_'
#: A threshold at or below this level never applies.
BOTTOM = Decimal(-1)

ONE = Decimal(1)
TEN = Decimal(10)
ZERO = amount.ZERO

#: Coefficients are worked out exactly and rounded once, so that the order of rules changes no digit.
EXACT = decimal.Context(prec=2000, rounding=decimal.ROUND_HALF_EVEN, traps=amount.CONTEXT.traps)


class Kind(enum.Enum):
    """FLAT sets (or adds to) a price, RATE multiplies it."""

    FLAT = 'flat'
    RATE = 'rate'


@dataclasses.dataclass(frozen=True)
class Label:
    """What people know a rule by; it prices nothing.

    :ivar id: public id.
    :ivar name: None: its kind has none.
    :ivar created_by: id of the user who made it; None: nobody knows.
    """

    id: str
    name: str | None = None
    created_by: str | None = None


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A price or rate of a whole service (*value* None) or of a value of a field.

    :ivar id: of its row; among rules of one cell the highest wins.
    :ivar tenant: the scope id it is for, or None: every scope.
    :ivar start, end: epoch seconds; it applies to periods that begin in ``[start, end)``, None: without end.
    """

    id: int
    kind: Kind
    cost: Decimal
    value: str | None = None
    group: str = DEFAULT_GROUP
    tenant: str | None = None
    start: int = 0
    end: int | None = None
    label: Label | None = None


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A price or rate from *level* of the quantity, or of the number in a field, on."""

    id: int
    level: Decimal
    kind: Kind
    cost: Decimal
    group: str = DEFAULT_GROUP
    tenant: str | None = None
    label: Label | None = None


Rule = TypeVar('Rule', Mapping, Threshold)


@dataclasses.dataclass(frozen=True)
class Field:
    """An attribute and the rules that look at it."""

    name: str
    mappings: tuple[Mapping, ...] = ()
    thresholds: tuple[Threshold, ...] = ()


@dataclasses.dataclass(frozen=True)
class Service:
    """Every rule of one metric type; *fields* in the order of their rows, which decides ties."""

    name: str
    mappings: tuple[Mapping, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    fields: tuple[Field, ...] = ()


@dataclasses.dataclass(frozen=True)
class FieldLayer:
    """The rules of one field in a layer.

    :ivar mappings: by value: one a group.
    :ivar thresholds: the highest level first.
    """

    name: str
    mappings: dict[str, tuple[Mapping, ...]]
    thresholds: tuple[Threshold, ...]


@dataclasses.dataclass(frozen=True)
class Layer:
    """The rules of one service at one instant for one scope, one a cell; fields without rules left out."""

    mappings: tuple[Mapping, ...]
    thresholds: tuple[Threshold, ...]
    fields: tuple[FieldLayer, ...]


@dataclasses.dataclass(frozen=True)
class Attribute:
    """The value of an attribute: *text* is what mappings compare, *number* what thresholds do (None: no number)."""

    text: str
    number: Decimal | None = None


@dataclasses.dataclass(frozen=True)
class Step:
    """A rule that took part in a price.

    :ivar field: the field whose rule it is, or None: a rule of the service.
    :ivar value: the value that a mapping of a field matched.
    :ivar level: of a threshold, or None: a mapping.
    """

    group: str
    rule_id: int
    kind: Kind
    cost: Decimal
    field: str | None = None
    value: str | None = None
    level: Decimal | None = None


@dataclasses.dataclass(frozen=True)
class GroupPrice:
    """What one group adds to a price, and the rules that made it so, in the order in which they applied.

    ``price = factor * quantity + constant``.
    """

    group: str
    factor: Decimal
    constant: Decimal
    steps: tuple[Step, ...]

    def price(self, quantity: Decimal) -> Decimal:
        """Return what it adds to the price of *quantity*, not rounded."""
        return EXACT.add(EXACT.multiply(self.factor, quantity), self.constant)


def make_layer(service: Service, scope_id: str | None, begin: int) -> Layer:
    """Return the rules of *service* that price periods beginning at *begin* (epoch second) for *scope_id*.

    Rules of every scope come first, then those of *scope_id* replace them cell by cell; within each the rule with the
    highest id has its cell. None or '' as *scope_id*: no rules of a scope.
    """
    fields = []
    for field in service.fields:
        mappings: dict[str, dict[str, Mapping]] = {}
        for mapping in _in_order(field.mappings, scope_id):
            if is_active(mapping, begin):
                mappings.setdefault(mapping.value or '', {})[mapping.group] = mapping
        thresholds = _one_a_level(_in_order(field.thresholds, scope_id))
        if mappings or thresholds:
            by_value = {value: tuple(cells.values()) for value, cells in mappings.items()}
            fields.append(FieldLayer(field.name, by_value, thresholds))
    cells = {mapping.group: mapping for mapping in _in_order(service.mappings, scope_id) if is_active(mapping, begin)}
    return Layer(tuple(cells.values()), _one_a_level(_in_order(service.thresholds, scope_id)), tuple(fields))


def is_active(mapping: Mapping, begin: int) -> bool:
    """Return whether *mapping* applies to a period that begins at epoch second *begin*."""
    return mapping.start <= begin and (mapping.end is None or begin < mapping.end)


def _in_order(rules: Sequence[Rule], scope_id: str | None) -> list[Rule]:
    found = sorted([rule for rule in rules if rule.tenant is None], key=BY_ID)
    return found + sorted([rule for rule in rules if rule.tenant == scope_id], key=BY_ID) if scope_id else found


BY_ID = operator.attrgetter('id')


def _one_a_level(thresholds: Iterable[Threshold]) -> tuple[Threshold, ...]:
    cells = {(threshold.group, threshold.level): threshold for threshold in thresholds if threshold.level > BOTTOM}
    return tuple(sorted(cells.values(), key=lambda threshold: threshold.level, reverse=True))


def combine(flat: Decimal, rate: Decimal, kept: Step | Threshold | None, is_of_field: bool) -> tuple[Decimal, Decimal]:
    """Return factor and constant of a group.

    :param flat, rate: the largest flat cost and the product of the rates of its mappings.
    :param kept: the threshold that holds.
    :param is_of_field: whether it is one of a field, or one of the service.
    """
    if kept is None:
        return EXACT.multiply(rate, flat), ZERO
    if is_of_field:
        if kept.kind is Kind.FLAT:
            return EXACT.multiply(rate, EXACT.add(flat, kept.cost)), ZERO
        return EXACT.multiply(EXACT.multiply(rate, kept.cost), flat), ZERO
    factor = EXACT.multiply(rate, flat)
    if kept.kind is Kind.FLAT:
        return factor, kept.cost
    return EXACT.multiply(factor, kept.cost), ZERO


@dataclasses.dataclass
class _Group:
    """The rules of one group that apply to a combination of values, whatever the quantity."""

    steps: list[Step] = dataclasses.field(default_factory=list)
    field_threshold: Step | None = None
    service_thresholds: list[Threshold] = dataclasses.field(default_factory=list)

    def price(self, name: str, reached: Decimal) -> GroupPrice | None:
        """Return the group's part of the price while the quantity is at or above *reached* and below the next level.

        None when no rule of it applies: then the group does not exist for the point.
        """
        flat, rate = ZERO, ONE
        for step in self.steps:
            if step.kind is Kind.FLAT:
                flat = max(flat, step.cost)
            else:
                rate = EXACT.multiply(rate, step.cost)
        kept = self._threshold(name, reached)
        if kept is None and not self.steps:
            return None
        steps = tuple(self.steps) if kept is None else (*self.steps, kept)
        factor, constant = combine(flat, rate, kept, kept is not None and kept.field is not None)
        return GroupPrice(name, factor, constant, steps)

    def _threshold(self, name: str, reached: Decimal) -> Step | None:
        # The one with the highest level, over service and fields; a tie goes to the service.
        for threshold in self.service_thresholds:
            if threshold.level <= reached:
                found = self.field_threshold
                if found is not None and found.level is not None and found.level > threshold.level:
                    return found
                return Step(name, threshold.id, threshold.kind, threshold.cost, level=threshold.level)
        return self.field_threshold


def _collect(layer: Layer, attributes: Sequence[Attribute | None]) -> dict[str, _Group]:
    """Return the groups of *layer* for points with these *attributes* (of its fields, in their order; None: not there).

    A group without rules that apply may be missing.
    """
    groups: dict[str, _Group] = {}
    for mapping in layer.mappings:
        step = Step(mapping.group, mapping.id, mapping.kind, mapping.cost)
        groups.setdefault(mapping.group, _Group()).steps.append(step)
    for threshold in layer.thresholds:
        groups.setdefault(threshold.group, _Group()).service_thresholds.append(threshold)
    for field, attribute in zip(layer.fields, attributes, strict=True):
        if attribute is None:
            continue
        for mapping in field.mappings.get(attribute.text, ()):
            step = Step(mapping.group, mapping.id, mapping.kind, mapping.cost, field.name, attribute.text)
            groups.setdefault(mapping.group, _Group()).steps.append(step)
        if attribute.number is None:
            continue
        for threshold in field.thresholds:
            if threshold.level > attribute.number:
                continue
            group = groups.setdefault(threshold.group, _Group())
            kept = group.field_threshold
            if kept is None or kept.level is None or threshold.level > kept.level:
                group.field_threshold = Step(
                    threshold.group, threshold.id, threshold.kind, threshold.cost, field.name, level=threshold.level
                )
    return groups


def shorten(value: Decimal) -> Decimal:
    """Return *value* in the arithmetic of amounts, without zeros at the end after the point."""
    value = amount.CONTEXT.normalize(value)
    if not value:
        return ZERO
    # Only numbers of two digits or more can have lost a zero before the point; asking for the exponent is slow.
    if -TEN < value < TEN or value.as_tuple().exponent <= 0:  # type: ignore[operator]
        return value
    return value.quantize(ONE, context=EXACT)


def explain(layer: Layer, attributes: Sequence[Attribute | None], quantity: Decimal) -> list[GroupPrice]:
    """Return what each group adds to the price of *quantity*, with the rules that took part; groups by name.

    Their sum, quantised, is the price that :mod:`cloudkitty.rating.hashmap.formulas` gives.
    """
    groups = _collect(layer, attributes)
    parts = [group.price(name, quantity) for name, group in sorted(groups.items())]
    return [part for part in parts if part is not None]
