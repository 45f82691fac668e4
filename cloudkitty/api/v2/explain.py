# SPDX-License-Identifier: Apache-2.0
"""``/v2/explain``: why a point costs what it does.

Amounts are text here, with every digit: who asks for an explanation wants to check it.
"""

from collections.abc import Iterator
import datetime
from decimal import Decimal
from typing import Any

from cloudkitty import amount
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v2 import figures
from cloudkitty.api.v2 import parameters
from cloudkitty.api.v2 import resource
from cloudkitty.db import coverage as ledger
from cloudkitty.db import rule_sets
from cloudkitty.db import scopes
from cloudkitty.rating import explanation
from cloudkitty.rating import records
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import reasons

#: How often one looks again when the scope was changed meanwhile: point and rule set have to be of one moment.
ATTEMPTS = 3


class NoPoint(errors.NotFound):
    def __init__(self) -> None:
        super().__init__('There is no such point: nothing with this scope, metric, begin and these attributes.')


@resource.handler(
    'explain:get',
    query={
        'scope_id': parameters.Single(types.text),
        'metric': parameters.Single(types.text, required=True),
        'begin': parameters.Single(resource.timestamp, required=True),
        'filters': parameters.Pairs(repeats=False),
        **parameters.PAGE,
    },
    owner=figures.own_project,
    others='attributes',
)
def explain(
    scope_id: str | None,
    metric: str,
    begin: datetime.datetime,
    filters: dict[str, list[str]],
    attributes: dict[str, str],
    offset: int,
    limit: int,
) -> dict[str, Any]:
    """Explain the points of a scope and metric type that begin at *begin* and have all of these attributes."""
    found = rest.deployment()
    wanted = _join(filters, attributes)
    if not rest.caller().is_admin:
        # As in every report: whatever he asks for.
        scope_id = rest.caller().project_id
        wanted.pop(found.conf.collect.scope_key, None)
        if not scope_id:
            return {'total': 0, 'results': []}
    if scope_id is None:
        raise errors.BadRequest('scope_id is missing.')
    for _ in range(ATTEMPTS):
        mark = scopes.read_mark(found.database, scope_id)
        answer = _explain(scope_id, metric, period.to_epoch(begin), wanted, offset, limit)
        if scopes.read_mark(found.database, scope_id) == mark:
            break
    return answer


def _explain(scope_id: str, metric: str, begin: int, wanted: dict[str, str], offset: int, limit: int) -> dict[str, Any]:
    found = rest.deployment()
    points = found.storage.points_at(scope_id, metric, begin, wanted)
    if not points:
        raise NoPoint
    explainer = explanation.Explainer(
        found.database,
        found.chains.jail,
        ledger.list_runs(found.database, [scope_id], begin, begin + 1),
        lambda: found.storage.quantities([scope_id], None, begin, begin + 1, priced=True),
    )
    page = points[offset : offset + limit]
    explained = [(point, explainer.explain(point)) for point in page]
    rules = [rule for _, why in explained for rule in _list_rules(why)]
    known = records.Records(found.database, rules)
    return {'total': len(points), 'results': [_print(point, why, known) for point, why in explained]}


def _join(filters: dict[str, list[str]], attributes: dict[str, str]) -> dict[str, str]:
    """Return the attributes asked for, from wherever they were given."""
    twice = sorted(set(filters) & set(attributes))
    if twice:
        raise errors.BadRequest('%s is given more than once.' % types.shorten(twice[0]))
    return {**{name: values[0] for name, values in filters.items()}, **attributes}


def _list_rules(why: explanation.Explanation) -> Iterator[records.Rule]:
    for reason in why.reasons:
        for match in reason.matches:
            yield match.rule
    for price in why.scripts:
        yield price.script


def _print(point: series.Columns, why: explanation.Explanation, known: records.Records) -> dict[str, Any]:
    of, begin, quantity = point.series, point.begins[0], point.quantities[0]
    price = None if point.prices is None else point.prices[0]
    start = period.from_epoch(begin)
    printed: dict[str, Any] = {
        'period': {
            'begin': resource.print_instant(start),
            'end': resource.print_instant(start + datetime.timedelta(seconds=point.length)),
        },
        'metric': of.metric,
        'scope_id': of.scope_id,
        'unit': of.unit,
        'qty': amount.to_text(quantity),
        'price': _print_amount(price),
        'groupby': {**series.calendar(start, rest.deployment().zone), **of.groupby},
        'metadata': of.metadata,
        'description': of.description,
        'origin': of.origin.value,
    }
    return {
        'point': printed,
        'status': None if why.status is None else why.status.value,
        'rule_set': None if why.rule_set is None else _print_rule_set(why.rule_set),
        'steps': [_print_step(of.metric, match, known) for reason in why.reasons for match in reason.matches],
        'groups': [_print_group(reason.part, quantity) for reason in why.reasons],
        'scripts': [_print_script(found, known) for found in why.scripts],
        'replayed_price': _print_amount(why.price),
        'equals': why.equals,
        'why': why.why,
    }


def _print_rule_set(written: rule_sets.RuleSet) -> dict[str, Any]:
    body = written.body
    return {
        'digest': written.digest,
        'created_at': resource.print_instant(written.created_at),
        'chain': [{'module_id': link['name'], 'priority': link['priority']} for link in body['chain']],
        'zone': body['zone'],
        'arithmetic': body['arithmetic'],
    }


def _print_group(part: pricing.GroupPrice, quantity: Decimal) -> dict[str, Any]:
    return {
        'group': part.group,
        'factor': amount.to_text(part.factor),
        'constant': amount.to_text(part.constant),
        'price': amount.to_text(part.price(quantity)),
    }


def _print_step(service: str, match: reasons.Match, known: records.Records) -> dict[str, Any]:
    rule, value = match.rule, match.value
    start, end = (rule.start, rule.end) if isinstance(rule, pricing.Mapping) else (None, None)
    return {
        'module_id': 'hashmap',
        'service': service,
        'field': match.field,
        'value': _print_amount(value) if isinstance(value, Decimal) else value,
        'group': rule.group,
        'kind': _kind(rule),
        'type': rule.kind.value,
        'cost': amount.to_text(rule.cost),
        'level': amount.to_text(rule.level) if isinstance(rule, pricing.Threshold) else None,
        'outcome': match.outcome.value,
        'lost_to': None if match.lost_to is None else _name(match.lost_to, known),
        'tenant_id': rule.tenant,
        'rule': _print_rule(rule, start, end, known),
    }


def _name(rule: reasons.Rule, known: records.Records) -> dict[str, Any]:
    """Return what tells a rule from the others: rows of mappings and thresholds are counted separately."""
    return {'kind': _kind(rule), 'row': rule.id, 'id': known.of(rule).id}


def _kind(rule: reasons.Rule) -> str:
    return 'threshold' if isinstance(rule, pricing.Threshold) else 'mapping'


def _print_script(found: explanation.ScriptPrice, known: records.Records) -> dict[str, Any]:
    script = found.script
    return {
        'name': script.name,
        'checksum': script.checksum,
        'price_before': _print_amount(found.before),
        'price_after': _print_amount(found.after),
        'rule': _print_rule(script, script.start, script.end, known),
    }


def _print_rule(rule: records.Rule, start: int | None, end: int | None, known: records.Records) -> dict[str, Any]:
    record = known.of(rule)
    return {
        'row': rule.id,
        'id': record.id,
        'name': record.name,
        'start': _print_second(start),
        'end': _print_second(end),
        'created_by': record.created_by,
        'updated_by': record.updated_by,
        'deleted_by': record.deleted_by,
        'is_deleted': record.is_deleted,
    }


def _print_amount(value: Decimal | None) -> str | None:
    return None if value is None else amount.to_text(value)


def _print_second(second: int | None) -> str | None:
    if second is None:
        return None
    try:
        return resource.print_instant(period.from_epoch(second))
    except OverflowError:
        # A zone may carry the last date that a table knows beyond the last one of the calendar.
        return '0001-01-01T00:00:00+00:00' if second < 0 else '9999-12-31T23:59:59+00:00'
