# SPDX-License-Identifier: Apache-2.0
"""The compiled rules of hashmap: they price whole columns, point by point the same, and can be written down.

Nothing here is worked out twice: what the rules make of each distinct combination of the values that they look at is
kept, and scopes and instants for which the same rules hold have it in common.
"""

import bisect
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
from decimal import Decimal
import functools
from typing import Any

from oslo_log import log

from cloudkitty import amount
from cloudkitty import period
from cloudkitty import series
from cloudkitty.rating.hashmap import classes
from cloudkitty.rating.hashmap import formulas
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import reasons
from cloudkitty.rating.hashmap import views

LOG = log.getLogger(__name__)

#: Kind of the parts that hold a service in a written rule set.
PART = 'hashmap service'

#: How many begins' calendar words a book keeps.
_CACHE = 20000

#: How many layers a book keeps to explain prices from.
_MOST_LAYERS = 100

#: Prices not yet rounded, and whether a rule took part in each: one bool for all or one each.
Added = tuple[list[Decimal], bool | list[bool]]


class RuleBook:
    """The rules of every service.

    :param zone: whose calendar the attributes ``month``, ``year``, ... follow.
    """

    def __init__(self, services: Iterable[pricing.Service], zone: datetime.tzinfo) -> None:
        self._services = {service.name: service for service in services}
        #: Those that were asked for.
        self._compiled: dict[str, views.Service] = {}
        self._zone = zone
        self._calendars: dict[int, dict[str, str]] = {}
        self._layers: dict[tuple[str, str | None, int], pricing.Layer] = {}
        self._warned: set[tuple[str, str]] = set()

    def price(self, columns: series.Columns) -> Added | None:
        """Return what the rules add to the price of each point of *columns*; None: they have no such service.

        To be called within :func:`cloudkitty.rating.rounding.local`; raises :class:`decimal.Overflow` for a price that
        does not fit the tables.
        """
        of = columns.series
        service = self._compiled.get(of.metric) or self._compile(of.metric)
        if service is None:
            return None
        begins, quantities = columns.begins, columns.quantities
        if not begins:
            return [], True
        view = service.views.get(of.scope_id, service.common)
        layer = view.latest
        if begins[0] < layer.begin or layer.end <= begins[0]:
            layer = view.at(begins[0])
        if begins[-1] < layer.end:
            return self._price_layer(layer, of, begins, quantities)
        prices: list[Decimal] = []
        matched: list[bool] = []
        start, count = 0, len(begins)
        while start < count:
            layer = view.at(begins[start])
            stop = bisect.bisect_left(begins, layer.end, start)
            part, is_matched = self._price_layer(layer, of, begins[start:stop], quantities[start:stop])
            prices += part
            matched += [is_matched] * (stop - start) if isinstance(is_matched, bool) else is_matched
            start = stop
        return prices, matched

    def _price_layer(
        self, layer: views.Layer, of: series.Series, begins: Sequence[int], quantities: Sequence[Decimal]
    ) -> Added:
        if layer.has_calendar:
            return self._price_dated(layer, of, begins, quantities)
        if len(quantities) == 1:
            (quantity,) = quantities
            line = _find_line(layer, of.groupby, of.metadata, quantity)
            return [quantity * line.factor + line.constant if line.factor else line.constant], line.is_matched
        return _find_formula(layer, of.groupby, of.metadata).apply(quantities)

    def _price_dated(
        self, layer: views.Layer, of: series.Series, begins: Sequence[int], quantities: Sequence[Decimal]
    ) -> Added:
        """Price points of a layer whose rules look at the calendar: their attributes change from day to day."""
        prices: list[Decimal] = []
        matched: list[bool] = []
        for begin, quantity in zip(begins, quantities, strict=True):
            groupby = {**of.groupby, **self._calendar(begin)}
            line = _find_line(layer, groupby, of.metadata, quantity)
            prices.append(quantity * line.factor + line.constant)
            matched.append(line.is_matched)
        return prices, matched

    def price_point(
        self, metric: str, scope_id: str | None, begin: int, quantity: Decimal, desc: Mapping[str, Any]
    ) -> tuple[Decimal, bool]:
        """Return what the rules add to the price of one point, not yet rounded, and whether any took part.

        :param begin: epoch second.
        :param desc: the attributes of the point, calendar ones included.
        """
        service = self._compiled.get(metric) or self._compile(metric)
        if service is None:
            return amount.ZERO, False
        line = _find_line(service.view(scope_id).at(begin), desc, {}, quantity)
        context = amount.CONTEXT
        return context.add(context.multiply(quantity, line.factor), line.constant), line.is_matched

    def explain(
        self, metric: str, scope_id: str | None, begin: int, quantity: Decimal, desc: Mapping[str, Any]
    ) -> list[pricing.GroupPrice]:
        """Return what each group adds to the price of a point and why; arguments as for :meth:`price_point`."""
        layer = self._layer(metric, scope_id, begin)
        return [] if layer is None else pricing.explain(layer, self._attributes(layer, metric, desc), quantity)

    def find_reasons(
        self, metric: str, scope_id: str | None, begin: int, quantity: Decimal, desc: Mapping[str, Any]
    ) -> list[reasons.Reason]:
        """Return the same as :meth:`explain` with every rule that matched, those that lost as well."""
        layer = self._layer(metric, scope_id, begin)
        if layer is None:
            return []
        service = self._services[metric]
        # Rules that lost may be of fields whose rules that hold are others.
        values = {field.name: desc[field.name] for field in service.fields if field.name in desc}
        attributes = {
            name: pricing.Attribute(str(value), classes.parse_number(value)) for name, value in values.items()
        }
        return reasons.find(service, layer, attributes, scope_id, begin, quantity)

    def write(self) -> list[dict[str, Any]]:
        """Return the written form of each service, by name, ready for JSON; :func:`read` takes it back."""
        return [_write_service(self._services[name]) for name in sorted(self._services)]

    def _compile(self, metric: str) -> views.Service | None:
        service = self._services.get(metric)
        if service is None:
            return None
        # Of threads that come at once each makes one, and one of them is kept.
        return self._compiled.setdefault(metric, views.Service(service, functools.partial(self._warn, metric)))

    def _layer(self, metric: str, scope_id: str | None, begin: int) -> pricing.Layer | None:
        """Return the rules that apply, as they are; None: there is no such service."""
        service = self._compiled.get(metric) or self._compile(metric)
        if service is None:
            return None
        tenant = scope_id if scope_id in service.views else None
        key = metric, tenant, service.view(scope_id).at(begin).begin
        found = self._layers.get(key)
        if found is None:
            if len(self._layers) >= _MOST_LAYERS:
                self._layers.clear()
            found = self._layers[key] = pricing.make_layer(self._services[metric], tenant, begin)
        return found

    def _attributes(self, layer: pricing.Layer, metric: str, desc: Mapping[str, Any]) -> list[pricing.Attribute | None]:
        result: list[pricing.Attribute | None] = []
        for field in layer.fields:
            if field.name in desc:
                value = desc[field.name]
                number = classes.parse_number(value) if field.thresholds else None
                result.append(pricing.Attribute(str(value), number))
            else:
                result.append(None)
        return result

    def _warn(self, metric: str, name: str) -> None:
        if (metric, name) not in self._warned:
            self._warned.add((metric, name))
            LOG.warning(
                'hashmap: service %s: values of field %s are no numbers; its thresholds do not apply to them.',
                metric,
                name,
            )

    def _calendar(self, begin: int) -> dict[str, str]:
        words = self._calendars.get(begin)
        if words is None:
            if len(self._calendars) >= _CACHE:
                self._calendars.clear()
            words = self._calendars[begin] = series.calendar(period.from_epoch(begin), self._zone)
        return words


def _find_line(
    layer: views.Layer, groupby: Mapping[str, Any], metadata: Mapping[str, Any], quantity: Decimal
) -> formulas.Line:
    head = layer.head
    index = bisect.bisect_right(head.levels, quantity) if head.levels else 0
    key = _classify(layer, head.classes[index] or head.make(index), groupby, metadata)
    return layer.formulas.lines.get(key) or layer.formulas.make_line(key)


def _find_formula(layer: views.Layer, groupby: Mapping[str, Any], metadata: Mapping[str, Any]) -> formulas.Formula:
    key = _classify(layer, layer.head, groupby, metadata)
    return layer.formulas.formulas.get(key) or layer.formulas.make_formula(key)


def _classify(
    layer: views.Layer, first: Any, groupby: Mapping[str, Any], metadata: Mapping[str, Any]
) -> tuple[Any, ...]:
    """Return *first* and the classes of the values that the rules of *layer* look at."""
    key = [first]
    for name, known, classify in layer.fields:
        value = groupby[name] if name in groupby else metadata.get(name, classes.MISSING)
        found = known.get(value) if value.__class__ is str else None
        key.append(found or classify(value))
    return tuple(key)


def _write_service(service: pricing.Service) -> dict[str, Any]:
    return {
        'name': service.name,
        'mappings': [_write_mapping(mapping) for mapping in _by_id(service.mappings)],
        'thresholds': [_write_threshold(threshold) for threshold in _by_id(service.thresholds)],
        'fields': [
            {
                'name': field.name,
                'mappings': [_write_mapping(mapping) for mapping in _by_id(field.mappings)],
                'thresholds': [_write_threshold(threshold) for threshold in _by_id(field.thresholds)],
            }
            for field in service.fields
        ],
    }


def _by_id(rules: Iterable[Any]) -> list[Any]:
    return sorted(rules, key=lambda rule: rule.id)


def _write_mapping(mapping: pricing.Mapping) -> dict[str, Any]:
    return {
        'id': mapping.id,
        'type': mapping.kind.value,
        'cost': amount.to_text(mapping.cost),
        'value': mapping.value,
        'group': mapping.group,
        'tenant': mapping.tenant,
        'start': mapping.start,
        'end': mapping.end,
        **_write_label(mapping.label),
    }


def _write_threshold(threshold: pricing.Threshold) -> dict[str, Any]:
    return {
        'id': threshold.id,
        'level': amount.to_text(threshold.level),
        'type': threshold.kind.value,
        'cost': amount.to_text(threshold.cost),
        'group': threshold.group,
        'tenant': threshold.tenant,
        **_write_label(threshold.label),
    }


def _write_label(label: pricing.Label | None) -> dict[str, Any]:
    # Rule sets of before it was written have none, and read and written again they are to stay what they are.
    return {} if label is None else {'label': dataclasses.asdict(label)}


def _read_label(rule: Mapping[str, Any]) -> pricing.Label | None:
    return pricing.Label(**rule['label']) if 'label' in rule else None


def read(parts: Iterable[Mapping[str, Any]], zone: datetime.tzinfo) -> RuleBook:
    """Return the rule book that :meth:`RuleBook.write` wrote as *parts*."""
    return RuleBook([_read_service(part) for part in parts], zone)


def _read_service(part: Mapping[str, Any]) -> pricing.Service:
    return pricing.Service(
        part['name'],
        _read_mappings(part),
        _read_thresholds(part),
        tuple(pricing.Field(field['name'], _read_mappings(field), _read_thresholds(field)) for field in part['fields']),
    )


def _read_mappings(part: Mapping[str, Any]) -> tuple[pricing.Mapping, ...]:
    return tuple(
        pricing.Mapping(
            id=rule['id'],
            kind=pricing.Kind(rule['type']),
            cost=Decimal(rule['cost']),
            value=rule['value'],
            group=rule['group'],
            tenant=rule['tenant'],
            start=rule['start'],
            end=rule['end'],
            label=_read_label(rule),
        )
        for rule in part['mappings']
    )


def _read_thresholds(part: Mapping[str, Any]) -> tuple[pricing.Threshold, ...]:
    return tuple(
        pricing.Threshold(
            id=rule['id'],
            level=Decimal(rule['level']),
            kind=pricing.Kind(rule['type']),
            cost=Decimal(rule['cost']),
            group=rule['group'],
            tenant=rule['tenant'],
            label=_read_label(rule),
        )
        for rule in part['thresholds']
    )
