# SPDX-License-Identifier: Apache-2.0
"""The rating module ``hashmap``: it reads the rules, and the rule book does the rest."""

from collections.abc import Iterable
import datetime
from typing import Any

import sqlalchemy

from cloudkitty import amount
from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import rule_actors
from cloudkitty.db import rule_revision
from cloudkitty.rating import base
from cloudkitty.rating.hashmap import models
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import rulebook


class HashMap(base.BuiltIn):
    """Prices by metric type and by the values of attributes."""

    module_name = 'hashmap'
    description = 'HashMap rating module.'
    hot_config = True
    config_controller = 'cloudkitty.api.v1.hashmap:HashMapController'

    _book: rulebook.RuleBook | None = None
    _revision: int | None = None

    @property
    def pricer(self) -> rulebook.RuleBook:  # type: ignore[override]
        """The rule book, read at the first use."""
        if self._book is None:
            self.reload_config()
        assert self._book is not None
        return self._book

    def reload_config(self, start: datetime.datetime | None = None) -> None:
        """Read the rules unless nobody changed them; those of every instant, so that *start* does not matter."""
        revision = rule_revision.current(self._bound())
        if self._book is not None and revision == self._revision and revision:
            return
        # The tables are read one after the other.
        services, self._revision = rule_revision.read_settled(
            self._bound(), revision, lambda: load_services(self._bound(), self._zone)
        )
        self._book = rulebook.RuleBook(services, self._zone)

    def write(self) -> list[tuple[str, dict[str, Any]]]:
        return [(rulebook.PART, part) for part in self.pricer.write()]

    def process(self, data: dataframe.DataFrame) -> dataframe.DataFrame:
        """Return the points of *data* with the prices of the rules added; not rounded."""
        return price_frame(self.pricer, self._tenant_id, data)


def price_frame(book: rulebook.RuleBook, scope_id: str | None, data: dataframe.DataFrame) -> dataframe.DataFrame:
    """Return the points of *data*, usage of *scope_id*, with the prices of *book* added; not rounded."""
    begin = period.to_epoch(data.start if data.start.tzinfo else data.start.replace(tzinfo=period.UTC))
    result = dataframe.DataFrame(data.start, data.end)
    for metric in data.itertypes():
        result.add_points((), metric)
    for metric, point in data.iterpoints():
        added, _ = book.price_point(metric, scope_id, begin, point.qty, point.desc)
        result.add_point(point.set_price(amount.CONTEXT.add(point.price, added)), metric)
    return result


def load_services(database: engine.Database, zone: datetime.tzinfo) -> list[pricing.Service]:
    """Return every service with its rules that are not deleted; five statements, however many rules there are.

    :param zone: what the naive dates of rules are local to.
    """
    actors = rule_actors.RuleActors
    with database.reader() as session:
        services = session.scalars(sqlalchemy.select(models.Service).order_by(models.Service.id)).all()
        fields = session.scalars(sqlalchemy.select(models.Field).order_by(models.Field.id)).all()
        groups = {row.id: row.name for row in session.scalars(sqlalchemy.select(models.Group))}
        mappings = session.execute(
            sqlalchemy.select(models.Mapping, actors)
            .outerjoin(actors, actors.rule_id == models.Mapping.mapping_id)
            .where(models.Mapping.deleted.is_(None))
        ).all()
        thresholds = session.scalars(sqlalchemy.select(models.Threshold)).all()

    mapped: dict[tuple[str, int | None], list[pricing.Mapping]] = {}
    for row, whole in mappings:
        mapped.setdefault(_parent(row), []).append(_to_mapping(row, whole, groups, zone))
    levels: dict[tuple[str, int | None], list[pricing.Threshold]] = {}
    for entry in thresholds:
        if entry.level is not None:
            levels.setdefault(_parent(entry), []).append(_to_threshold(entry, groups))

    def rules(kind: str, id_: int) -> tuple[tuple[pricing.Mapping, ...], tuple[pricing.Threshold, ...]]:
        return _sorted(mapped.get((kind, id_), ())), _sorted(levels.get((kind, id_), ()))

    by_service: dict[int, list[pricing.Field]] = {}
    for field in fields:
        by_service.setdefault(field.service_id, []).append(pricing.Field(field.name, *rules('field', field.id)))
    return [
        pricing.Service(service.name, *rules('service', service.id), tuple(by_service.get(service.id, ())))
        for service in services
    ]


def _parent(row: models.Mapping | models.Threshold) -> tuple[str, int | None]:
    return ('field', row.field_id) if row.field_id is not None else ('service', row.service_id)


def _sorted(rules: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(rules, key=lambda rule: rule.id))


def _to_mapping(
    row: models.Mapping, actors: rule_actors.RuleActors | None, groups: dict[int, str], zone: datetime.tzinfo
) -> pricing.Mapping:
    return pricing.Mapping(
        id=row.id,
        kind=pricing.Kind(row.map_type),
        cost=pricing.shorten(row.cost),
        value=row.value if row.field_id is not None else None,
        group=_group(row.group_id, groups),
        tenant=row.tenant_id,
        start=_instant(row.start, zone),
        end=None if row.end is None else _instant(row.end, zone),
        # Not who changed or deleted it: that would make another rule set of the same prices.
        label=pricing.Label(row.mapping_id, row.name, rule_actors.read(actors, row, 'created_by')),
    )


def _to_threshold(row: models.Threshold, groups: dict[int, str]) -> pricing.Threshold:
    assert row.level is not None
    return pricing.Threshold(
        id=row.id,
        level=pricing.shorten(row.level),
        kind=pricing.Kind(row.map_type),
        cost=pricing.shorten(row.cost),
        group=_group(row.group_id, groups),
        tenant=row.tenant_id,
        label=pricing.Label(row.threshold_id),
    )


def _group(group_id: int | None, groups: dict[int, str]) -> str:
    # One that is not there was deleted, or made, between two statements; the revision tells.
    return pricing.DEFAULT_GROUP if group_id is None else groups.get(group_id, pricing.DEFAULT_GROUP)


def _instant(naive: datetime.datetime, zone: datetime.tzinfo) -> int:
    return period.to_epoch(naive.replace(tzinfo=zone))
