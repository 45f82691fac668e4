# SPDX-License-Identifier: Apache-2.0
"""Where the thresholds of hashmap are kept, and what may be done to them.

Everything is named by its public id. Every change locks the revision of the rules first, so that of two that contradict
each other one comes second and is refused, and moves the revision in the same transaction.

Source: API contract, section 2.6.
"""

from collections.abc import Iterable
import dataclasses
from decimal import Decimal
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import errors
from cloudkitty.db import engine
from cloudkitty.db import rule_revision
from cloudkitty.db import texts
from cloudkitty.rating.hashmap import models
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import rows
from cloudkitty.rating.hashmap import services

#: Digits before and after the point that the column holds.
LEVEL_DIGITS = (12, 8)


@dataclasses.dataclass(frozen=True)
class ThresholdRequest:
    """What a caller says of a threshold; None: nothing."""

    level: Decimal
    cost: Decimal
    kind: pricing.Kind | None = None
    service_id: str | None = None
    field_id: str | None = None
    group_id: str | None = None
    tenant_id: str | None = None


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A price or rate from a level on."""

    id: str
    level: Decimal | None
    kind: pricing.Kind
    cost: Decimal
    service_id: str | None
    field_id: str | None
    group_id: str | None
    tenant_id: str | None


def create_threshold(database: engine.Database, request: ThresholdRequest) -> Threshold:
    """Make a threshold.

    :raises BadRequest: a member makes no sense, or names what is not there.
    :raises Conflict: its place is taken.
    """
    _check_threshold(database, request)
    rows.check_parent(request)

    def create(session: orm.Session) -> Threshold:
        row = models.Threshold(
            threshold_id=rows.make_id(),
            level=request.level,
            cost=request.cost,
            map_type=(request.kind or pricing.Kind.FLAT).value,
            tenant_id=request.tenant_id,
            **rows.resolve(session, request),
        )
        _refuse_duplicate(session, row, request)
        session.add(row)
        session.flush()
        return _read_threshold(session, row.threshold_id)

    return rule_revision.change(database, create)


def list_thresholds(database: engine.Database, wanted: rows.Filter) -> list[Threshold]:
    """Return the thresholds that *wanted* lets through, in the order in which they were made."""
    query = rows.narrow(_select_thresholds(), models.Threshold, wanted).order_by(models.Threshold.id)
    with database.reader() as session:
        found = [_to_threshold(*row) for row in session.execute(query)]
    return [threshold for threshold in found if rows.is_let_through(threshold, wanted)]


def get_threshold(database: engine.Database, threshold_id: str) -> Threshold:
    """Return a threshold; raise NotFound."""
    with database.reader() as session:
        return _read_threshold(session, threshold_id)


def get_group_of_threshold(database: engine.Database, threshold_id: str) -> services.Group:
    """Return the group of a threshold; raise NotFound if there is no such threshold or it is in none."""
    with database.reader() as session:
        row = rows.get(session, 'threshold', threshold_id)
        return services.read_group(session, 'threshold', threshold_id, row.group_id)


def update_threshold(database: engine.Database, threshold_id: str, request: ThresholdRequest) -> Threshold:
    """Replace level, cost, type and tenant of a threshold, and its group if one is given; return it.

    :raises NotFound: there is no such threshold.
    :raises BadRequest: a member makes no sense, or names a group that is not there.
    :raises Conflict: its place is taken.
    """
    _check_threshold(database, request)

    def update(session: orm.Session) -> Threshold:
        row = rows.get(session, 'threshold', threshold_id)
        stored = _read_threshold(session, threshold_id)
        new: dict[str, Any] = {
            'level': request.level,
            'cost': request.cost,
            'map_type': (request.kind or pricing.Kind.FLAT).value,
            'tenant_id': request.tenant_id,
        }
        if request.group_id is not None:
            new['group_id'] = rows.refer(session, 'group', request.group_id)
        changes = {name: value for name, value in new.items() if value != getattr(row, name)}
        if not changes:
            return stored
        with session.no_autoflush:
            for name, value in changes.items():
                setattr(row, name, value)
            # Two may have the same place since before: their group was deleted, or others let them.
            if {'level', 'tenant_id', 'group_id'} & set(changes):
                _refuse_duplicate(session, row, stored)
        session.flush()
        rule_revision.bump(session)
        return _read_threshold(session, threshold_id)

    return rule_revision.in_turn(database, update)


def delete_threshold(database: engine.Database, threshold_id: str) -> None:
    """Delete a threshold for good; raise NotFound."""

    def delete(session: orm.Session) -> None:
        session.delete(rows.get(session, 'threshold', threshold_id))

    rule_revision.change(database, delete)


def _check_threshold(database: engine.Database, request: ThresholdRequest) -> None:
    rows.check_amount('level', request.level, *LEVEL_DIGITS)
    rows.check_amount('cost', request.cost, *rows.COST_DIGITS)
    texts.check(database, 'tenant_id', request.tenant_id, rows.LONGEST['tenant_id'])


def _refuse_duplicate(session: orm.Session, row: models.Threshold, place: ThresholdRequest | Threshold) -> None:
    """Raise Conflict if another threshold has the level, parent and tenant of *row*: in no group twice, nor with a
    tenant in two groups.

    :param place: the same as a caller names it.
    """
    query = sqlalchemy.select(models.Threshold).where(
        rows.equals(models.Threshold.level, row.level),
        rows.equals(models.Threshold.service_id, row.service_id),
        rows.equals(models.Threshold.field_id, row.field_id),
        rows.equals(models.Threshold.tenant_id, row.tenant_id),
    )
    for other in session.scalars(query):
        # With a tenant the table has a constraint, by what the server takes for equal.
        if other.id != row.id and (row.tenant_id is not None or other.group_id == row.group_id):
            raise errors.Conflict(
                'Threshold %s has the same place: level %s of %s, %s.'
                % (
                    other.threshold_id,
                    '(none)' if row.level is None else amount.to_text(row.level),
                    rows.describe_parent(place),
                    rows.describe_tenant(row.tenant_id),
                )
            )


def _select_thresholds() -> Any:
    return rows.select_rules(models.Threshold)


def _read_threshold(session: orm.Session, threshold_id: str) -> Threshold:
    found: Iterable[Any] = session.execute(
        _select_thresholds().where(rows.names(models.Threshold.threshold_id, threshold_id))
    )
    for row in found:
        if row[0].threshold_id == threshold_id:
            return _to_threshold(*row)
    raise rows.NoSuch('threshold', threshold_id)


def _to_threshold(
    row: models.Threshold, service_id: str | None, field_id: str | None, group_id: str | None
) -> Threshold:
    return Threshold(
        id=row.threshold_id,
        level=row.level,
        kind=pricing.Kind(row.map_type),
        cost=row.cost,
        service_id=service_id,
        field_id=field_id,
        group_id=group_id,
        tenant_id=row.tenant_id,
    )
