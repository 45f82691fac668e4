# SPDX-License-Identifier: Apache-2.0
"""Which rules matched a point, which of them decided its price, and why the others did not."""

from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
from decimal import Decimal
import enum

from cloudkitty.rating.hashmap import pricing

Rule = pricing.Mapping | pricing.Threshold


class Outcome(enum.Enum):
    """What became of a rule that matched.

    :cvar DECIDED: it is in the price.
    :cvar SMALLER: another flat price of the group is at least as large, or it is not above 0.
    :cvar LOWER: another threshold of the group that is reached is at least as high.
    :cvar TENANT: it is for every tenant, and the tenant has one of its own in its place.
    :cvar OLDER: one that was made later has its place.
    """

    DECIDED = 'decided'
    SMALLER = 'smaller'
    LOWER = 'lower'
    TENANT = 'tenant'
    OLDER = 'older'


@dataclasses.dataclass(frozen=True)
class Match:
    """A rule whose condition a point meets.

    :ivar field: the field whose rule it is, or None: a rule of the service.
    :ivar value: what it was compared with: the text of the attribute, or the quantity with a threshold of the service;
        None with a mapping of the service, which asks for nothing.
    :ivar lost_to: the rule in whose favour it was left out; None: it decided, or no rule did.
    """

    rule: Rule
    field: str | None
    value: str | Decimal | None
    outcome: Outcome = Outcome.DECIDED
    lost_to: Rule | None = None


@dataclasses.dataclass(frozen=True)
class Reason:
    """What a group adds to a price, and every rule of it that matched: first those that decided, as they applied."""

    part: pricing.GroupPrice
    matches: tuple[Match, ...]


#: What tells rules apart: mappings and thresholds are counted separately.
_Key = tuple[bool, int]


def find(
    service: pricing.Service,
    layer: pricing.Layer,
    attributes: Mapping[str, pricing.Attribute],
    scope_id: str | None,
    begin: int,
    quantity: Decimal,
) -> list[Reason]:
    """Return what each group adds to the price of *quantity* and why, groups by name.

    :param layer: what :func:`pricing.make_layer` makes of *service* for *scope_id* and *begin*.
    :param attributes: of the point, by name.
    """
    parts = pricing.explain(layer, [attributes.get(field.name) for field in layer.fields], quantity)
    found: dict[str, list[Match]] = {part.group: [] for part in parts}
    for match in _matches(service, attributes, scope_id, begin, quantity):
        found[match.rule.group].append(match)
    cells = _cells(layer)
    return [Reason(part, _settle(part, found[part.group], cells)) for part in parts]


def _key(rule: Rule) -> _Key:
    return isinstance(rule, pricing.Threshold), rule.id


def _matches(
    service: pricing.Service,
    attributes: Mapping[str, pricing.Attribute],
    scope_id: str | None,
    begin: int,
    quantity: Decimal,
) -> Iterator[Match]:
    """Yield every rule whose condition is met, whatever became of it: the service's, then those of each field."""
    mine = (None, scope_id) if scope_id else (None,)
    for mapping in service.mappings:
        if mapping.tenant in mine and pricing.is_active(mapping, begin):
            yield Match(mapping, None, None)
    for threshold in service.thresholds:
        if threshold.tenant in mine and pricing.BOTTOM < threshold.level <= quantity:
            yield Match(threshold, None, quantity)
    for field in service.fields:
        attribute = attributes.get(field.name)
        if attribute is None:
            continue
        for mapping in field.mappings:
            if mapping.tenant in mine and pricing.is_active(mapping, begin) and (mapping.value or '') == attribute.text:
                yield Match(mapping, field.name, attribute.text)
        if attribute.number is None:
            continue
        for threshold in field.thresholds:
            if threshold.tenant in mine and pricing.BOTTOM < threshold.level <= attribute.number:
                yield Match(threshold, field.name, attribute.text)


#: Where a rule is: its group, field, and value or level. One rule has it at a time.
_Place = tuple[bool, str, str | None, str | Decimal | None]


def _place(rule: Rule, field: str | None) -> _Place:
    if isinstance(rule, pricing.Threshold):
        return True, rule.group, field, rule.level
    return False, rule.group, field, None if field is None else rule.value or ''


def _cells(layer: pricing.Layer) -> dict[_Place, Rule]:
    """Return the rule that holds in each place."""
    result: dict[_Place, Rule] = {}
    for mapping in layer.mappings:
        result[_place(mapping, None)] = mapping
    for threshold in layer.thresholds:
        result[_place(threshold, None)] = threshold
    for field in layer.fields:
        for mappings in field.mappings.values():
            result.update((_place(mapping, field.name), mapping) for mapping in mappings)
        result.update((_place(threshold, field.name), threshold) for threshold in field.thresholds)
    return result


def _settle(part: pricing.GroupPrice, matches: list[Match], cells: Mapping[_Place, Rule]) -> tuple[Match, ...]:
    """Return *matches*, all of one group, with what became of each."""
    by_key = {_key(match.rule): match for match in matches}
    taken = [by_key[step.level is not None, step.rule_id] for step in part.steps]
    flats = [match for match in taken if _is_flat(match.rule) and match.rule.cost > 0]
    # Of equal ones the first.
    largest = max(flats, key=lambda match: match.rule.cost, default=None)
    threshold = next((match for match in taken if isinstance(match.rule, pricing.Threshold)), None)
    decided = [match for match in taken if not _is_flat(match.rule) or match is largest]
    chosen = {_key(match.rule) for match in decided}
    lost = []
    for match in matches:
        if _key(match.rule) in chosen:
            continue
        holder = cells[_place(match.rule, match.field)]
        winner: Match | None
        if _key(holder) != _key(match.rule):
            outcome = Outcome.TENANT if match.rule.tenant is None and holder.tenant is not None else Outcome.OLDER
            winner = by_key[_key(holder)]
        elif isinstance(match.rule, pricing.Threshold):
            outcome, winner = Outcome.LOWER, threshold
        else:
            outcome, winner = Outcome.SMALLER, largest
        lost.append(dataclasses.replace(match, outcome=outcome, lost_to=None if winner is None else winner.rule))
    return (*decided, *lost)


def _is_flat(rule: Rule) -> bool:
    return isinstance(rule, pricing.Mapping) and rule.kind is pricing.Kind.FLAT
