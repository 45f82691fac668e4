# SPDX-License-Identifier: Apache-2.0
"""The compiled rules of hashmap: they price whole columns, point by point the same, and can be written down.

Nothing here is worked out twice: a view per service and tenant is split at the instants at which its rules change, and
each distinct combination of the values that rules look at has its formula.
"""

import bisect
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import decimal
from decimal import Decimal
import functools
from typing import Any

from oslo_log import log

from cloudkitty import amount
from cloudkitty import period
from cloudkitty import series
from cloudkitty.rating.hashmap import formulas
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import reasons

LOG = log.getLogger(__name__)

#: Kind of the parts that hold a service in a written rule set.
PART = 'hashmap service'

#: How many begins' calendar words a book keeps.
_CACHE = 20000

#: Prices not yet rounded, and whether a rule took part in each: one bool for all or one each.
Added = tuple[list[Decimal], bool | list[bool]]


class RuleBook:
    """The rules of every service.

    :param zone: whose calendar the attributes ``month``, ``year``, ... follow.
    """

    def __init__(self, services: Iterable[pricing.Service], zone: datetime.tzinfo) -> None:
        self._services = {service.name: service for service in services}
        #: By metric type and tenant; None as tenant: all others, None as view: not made yet.
        self._views: dict[str, dict[str | None, _View | None]] = {
            name: dict.fromkeys([None, *_tenants(service)]) for name, service in self._services.items()
        }
        self._zone = zone
        self._calendars: dict[int, dict[str, str]] = {}
        self._warned: set[tuple[str, str]] = set()

    def price(self, columns: series.Columns) -> Added | None:
        """Return what the rules add to the price of each point of *columns*; None: they have no such service.

        To be called within :func:`cloudkitty.rating.rounding.local`; raises :class:`decimal.Overflow` for a price that
        does not fit the tables.
        """
        of = columns.series
        view = self._view(of.metric, of.scope_id)
        if view is None:
            return None
        begins, quantities = columns.begins, columns.quantities
        if not begins:
            return [], True
        boundaries = view.boundaries
        first = bisect.bisect_right(boundaries, begins[0])
        if first == len(boundaries) or begins[-1] < boundaries[first]:
            layer = view.layers[first] or view.make_layer(first)
            if layer.has_calendar:
                return self._price_dated(layer, of, begins, quantities)
            return self._formula(layer, of.groupby, of.metadata).apply(quantities)
        prices: list[Decimal] = []
        matched: list[bool] = []
        start = 0
        while start < len(begins):
            window = bisect.bisect_right(boundaries, begins[start])
            stop = len(begins) if window == len(boundaries) else bisect.bisect_left(begins, boundaries[window], start)
            part, is_matched = self._price_layer(
                view.layers[window] or view.make_layer(window), of, begins[start:stop], quantities[start:stop]
            )
            prices += part
            matched += [is_matched] * (stop - start) if isinstance(is_matched, bool) else is_matched
            start = stop
        return prices, matched

    def _price_layer(
        self, layer: '_CompiledLayer', of: series.Series, begins: Sequence[int], quantities: Sequence[Decimal]
    ) -> Added:
        if layer.has_calendar:
            return self._price_dated(layer, of, begins, quantities)
        return self._formula(layer, of.groupby, of.metadata).apply(quantities)

    def _price_dated(
        self, layer: '_CompiledLayer', of: series.Series, begins: Sequence[int], quantities: Sequence[Decimal]
    ) -> Added:
        """Price points of a layer whose rules look at the calendar: their attributes change from day to day."""
        prices: list[Decimal] = []
        matched: list[bool] = []
        for begin, quantity in zip(begins, quantities, strict=True):
            groupby = {**of.groupby, **self._calendar(begin)}
            line = self._formula(layer, groupby, of.metadata).line(quantity)
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
        view = self._view(metric, scope_id)
        if view is None:
            return amount.ZERO, False
        layer = view.at(begin)
        line = self._formula(layer, desc, {}).line(quantity)
        context = amount.CONTEXT
        return context.add(context.multiply(quantity, line.factor), line.constant), line.is_matched

    def explain(
        self, metric: str, scope_id: str | None, begin: int, quantity: Decimal, desc: Mapping[str, Any]
    ) -> list[pricing.GroupPrice]:
        """Return what each group adds to the price of a point and why; arguments as for :meth:`price_point`."""
        view = self._view(metric, scope_id)
        if view is None:
            return []
        layer = view.at(begin)
        return pricing.explain(layer.layer, self._attributes(layer.layer, metric, desc), quantity)

    def find_reasons(
        self, metric: str, scope_id: str | None, begin: int, quantity: Decimal, desc: Mapping[str, Any]
    ) -> list[reasons.Reason]:
        """Return the same as :meth:`explain` with every rule that matched, those that lost as well."""
        view = self._view(metric, scope_id)
        if view is None:
            return []
        layer = view.at(begin)
        service = self._services[metric]
        # Rules that lost may be of fields whose rules that hold are others.
        values = {field.name: desc[field.name] for field in service.fields if field.name in desc}
        attributes = {name: pricing.Attribute(str(value), parse_number(value)) for name, value in values.items()}
        return reasons.find(service, layer.layer, attributes, scope_id, begin, quantity)

    def write(self) -> list[dict[str, Any]]:
        """Return the written form of each service, by name, ready for JSON; :func:`read` takes it back."""
        return [_write_service(self._services[name]) for name in sorted(self._services)]

    def _view(self, metric: str, scope_id: str | None) -> '_View | None':
        views = self._views.get(metric)
        if views is None:
            return None
        tenant = scope_id if scope_id in views else None
        view = views[tenant]
        if view is None:
            view = views[tenant] = _View(self._services[metric], tenant, functools.partial(self._parse, metric))
        return view

    def _formula(
        self, layer: '_CompiledLayer', groupby: Mapping[str, Any], metadata: Mapping[str, Any]
    ) -> formulas.Formula:
        numbers = []
        for classes in layer.classes:
            name = classes.name
            value = groupby[name] if name in groupby else metadata.get(name, formulas.MISSING)
            number = classes.known.get(value) if value.__class__ is str else None
            numbers.append(classes.classify(value) if number is None else number)
        key = tuple(numbers)
        return layer.formulas.get(key) or layer.make_formula(key)

    def _attributes(self, layer: pricing.Layer, metric: str, desc: Mapping[str, Any]) -> list[pricing.Attribute | None]:
        result: list[pricing.Attribute | None] = []
        for field in layer.fields:
            if field.name in desc:
                value = desc[field.name]
                number = self._parse(metric, field.name, value) if field.thresholds else None
                result.append(pricing.Attribute(str(value), number))
            else:
                result.append(None)
        return result

    def _parse(self, metric: str, name: str, value: object) -> Decimal | None:
        """Return the number that the thresholds of field *name* compare; None, with a WARNING, for what is none."""
        number = parse_number(value)
        if number is None and (metric, name) not in self._warned:
            self._warned.add((metric, name))
            LOG.warning(
                'hashmap: service %s: values of field %s are no numbers; its thresholds do not apply to them.',
                metric,
                name,
            )
        return number

    def _calendar(self, begin: int) -> dict[str, str]:
        words = self._calendars.get(begin)
        if words is None:
            if len(self._calendars) >= _CACHE:
                self._calendars.clear()
            words = self._calendars[begin] = series.calendar(period.from_epoch(begin), self._zone)
        return words


class _View:
    """The rules of a service for one tenant (None: for all others), split at the instants at which they change."""

    def __init__(
        self, service: pricing.Service, tenant: str | None, parse: Callable[[str, object], Decimal | None]
    ) -> None:
        self._service = service
        self._parse = parse
        self._tenant = tenant
        mappings = [*service.mappings, *(mapping for field in service.fields for mapping in field.mappings)]
        mine = [mapping for mapping in mappings if mapping.tenant in (None, tenant)]
        ends = {mapping.end for mapping in mine if mapping.end is not None}
        self.boundaries = sorted({mapping.start for mapping in mine} | ends)
        #: Layer i holds from boundary i - 1 on, up to boundary i; None: not made yet.
        self.layers: list[_CompiledLayer | None] = [None] * (len(self.boundaries) + 1)

    def at(self, begin: int) -> '_CompiledLayer':
        """Return the layer for periods that begin at epoch second *begin*."""
        window = bisect.bisect_right(self.boundaries, begin)
        return self.layers[window] or self.make_layer(window)

    def make_layer(self, window: int) -> '_CompiledLayer':
        """Make, keep and return layer *window*."""
        # Before the first boundary no mapping applies, whatever the instant.
        begin = self.boundaries[window - 1] if window else (self.boundaries[0] - 1 if self.boundaries else 0)
        layer = self.layers[window] = _CompiledLayer(
            pricing.make_layer(self._service, self._tenant, begin), self._parse
        )
        return layer


class _CompiledLayer:
    """A layer and the formulas made of it.

    :ivar classes: of the values of the fields, in their order.
    :ivar formulas: by the classes.
    """

    __slots__ = ('layer', 'classes', 'has_calendar', 'formulas', 'make_formula')

    def __init__(self, layer: pricing.Layer, parse: Callable[[str, object], Decimal | None]) -> None:
        self.layer = layer
        made = formulas.Formulas(layer, parse)
        self.classes = made.classes
        self.has_calendar = any(classes.name in series.CALENDAR for classes in made.classes)
        self.formulas = made.found
        self.make_formula = made.make


def _tenants(service: pricing.Service) -> frozenset[str]:
    parts: list[pricing.Service | pricing.Field] = [service, *service.fields]
    found = {mapping.tenant for part in parts for mapping in part.mappings}
    found |= {threshold.tenant for part in parts for threshold in part.thresholds}
    return frozenset(tenant for tenant in found if tenant)


def parse_number(value: object) -> Decimal | None:
    """Return the number that thresholds compare, or None for what is none; a float by its shortest text.

    Source: rating contract, section 5.4 and verdict R6.
    """
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)  # type: ignore[arg-type]
    except (decimal.InvalidOperation, TypeError, ValueError):
        return None
    return None if number.is_nan() else number


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
