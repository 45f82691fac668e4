# SPDX-License-Identifier: Apache-2.0
"""Where the mappings of hashmap are kept, and what may be done to them.

Everything is named by its public id. Dates are naive and local to the deployment's zone, as
:mod:`cloudkitty.rating.dates` has them; an aware one that comes in is converted.

Every change locks the revision of the rules first, so that of two that contradict each other one comes second and is
refused, and moves the revision in the same transaction.

Source: API contract, section 2.6; rating contract, sections 5.6 and 5.7.
"""

from collections.abc import Iterable
import dataclasses
import datetime
from decimal import Decimal
from typing import Any
import uuid

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import rule_actors
from cloudkitty.db import rule_revision
from cloudkitty.db import texts
from cloudkitty.rating import dated
from cloudkitty.rating import dates
from cloudkitty.rating.hashmap import models
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import rows
from cloudkitty.rating.hashmap import services

#: Characters that the column holds.
LONGEST_RULE_NAME = 32


@dataclasses.dataclass(frozen=True)
class MappingRequest:
    """What a caller says of a mapping; None: nothing.

    :ivar start, end: naive and local to the zone, or aware.
    """

    cost: Decimal
    kind: pricing.Kind | None = None
    value: str | None = None
    service_id: str | None = None
    field_id: str | None = None
    group_id: str | None = None
    tenant_id: str | None = None
    start: datetime.datetime | None = None
    end: datetime.datetime | None = None
    name: str | None = None
    description: str | None = None


@dataclasses.dataclass(frozen=True)
class Mapping:
    """A price or rate of a service or of a value of a field.

    :ivar deleted: when it was deleted; None: it was not.
    """

    id: str
    value: str | None
    kind: pricing.Kind
    cost: Decimal
    service_id: str | None
    field_id: str | None
    group_id: str | None
    tenant_id: str | None
    created_at: datetime.datetime
    start: datetime.datetime
    end: datetime.datetime | None
    name: str
    description: str | None
    deleted: datetime.datetime | None
    created_by: str
    updated_by: str | None
    deleted_by: str | None


@dataclasses.dataclass(frozen=True)
class MappingFilter(rows.Filter, dated.Filter):
    """Which mappings to list."""


def create_mapping(
    database: engine.Database,
    request: MappingRequest,
    actor: str,
    now: datetime.datetime,
    zone: datetime.tzinfo,
    force: bool = False,
) -> Mapping:
    """Make a mapping that starts *now* unless the request says otherwise.

    :param actor: id of the user who asks.
    :param now: aware.
    :param force: let it start in the past.
    :raises BadRequest: a member makes no sense, or names what is not there.
    :raises Conflict: a mapping that is not deleted has the name, or the same place at some instant.
    """
    _check_mapping(database, request)
    end = dates.to_local('end', request.end, zone)
    start = dates.check_new(dates.to_local('start', request.start, zone), end, now, zone, force)
    rows.check_parent(request)
    if request.field_id is not None and not request.value:
        raise errors.BadRequest('value: a mapping of a field needs one.')
    if request.service_id is not None and request.value:
        raise errors.BadRequest('value: a mapping of a service has none.')

    def create(session: orm.Session) -> Mapping:
        row = models.Mapping(
            mapping_id=rows.make_id(),
            value=request.value,
            cost=request.cost,
            map_type=(request.kind or pricing.Kind.FLAT).value,
            tenant_id=request.tenant_id,
            name=request.name or uuid.uuid4().hex,
            created_at=dates.localise(now, zone),
            start=start,
            end=end,
            description=request.description,
            created_by=actor[: rule_actors.LONGEST],
            **rows.resolve(session, request),
        )
        _refuse_taken_name(session, row.name)
        _refuse_overlap(session, row, request, zone)
        session.add(row)
        session.flush()
        rule_actors.note(session, row.mapping_id, 'created_by', actor)
        return _read_mapping(session, row.mapping_id)

    return rule_revision.change(database, create)


def list_mappings(database: engine.Database, wanted: MappingFilter, zone: datetime.tzinfo) -> list[Mapping]:
    """Return the mappings that *wanted* lets through, in the order in which they were made."""
    query = rows.narrow(_select_mappings(), models.Mapping, wanted).order_by(models.Mapping.id)
    query = dated.narrow(query, models.Mapping, wanted, zone)
    with database.reader() as session:
        found = [_to_mapping(*row) for row in session.execute(query)]
    return [
        mapping for mapping in found if rows.is_let_through(mapping, wanted) and dated.is_wanted(mapping, wanted, zone)
    ]


def get_mapping(database: engine.Database, mapping_id: str) -> Mapping:
    """Return a mapping, a deleted one too; raise NotFound."""
    with database.reader() as session:
        return _read_mapping(session, mapping_id)


def get_group_of_mapping(database: engine.Database, mapping_id: str) -> services.Group:
    """Return the group of a mapping; raise NotFound if there is no such mapping or it is in none."""
    with database.reader() as session:
        row = rows.get(session, 'mapping', mapping_id)
        return services.read_group(session, 'mapping', mapping_id, row.group_id)


def update_mapping(
    database: engine.Database,
    mapping_id: str,
    request: MappingRequest,
    actor: str,
    now: datetime.datetime,
    zone: datetime.tzinfo,
) -> Mapping:
    """Change a mapping to what *request* says, and return it.

    Before it starts, its cost, dates and description are changed, whatever else is said; afterwards only its end is
    set, if it has none. What changes nothing is no change, so that a request may be repeated.

    :raises NotFound: there is no such mapping, or it is deleted.
    :raises BadRequest: a member makes no sense or cannot be changed any more.
    :raises Conflict: it would overlap with a mapping in the same place.
    """
    _check_mapping(database, request)
    start = dates.to_local('start', request.start, zone)
    end = dates.to_local('end', request.end, zone)

    def update(session: orm.Session) -> Mapping:
        row = rows.get(session, 'mapping', mapping_id)
        if row.deleted is not None:
            raise rows.NoSuch('mapping', mapping_id)
        stored = _read_mapping(session, mapping_id)
        if dates.to_epoch(stored.start, zone) > period.to_epoch(now):
            changes = _plan_before_start(stored, request, start, end, now, zone)
        else:
            changes = _plan_after_start(stored, request, start, end, now, zone)
        if not changes:
            return stored
        for name, value in changes.items():
            setattr(row, name, value)
        row.updated_by = actor[: rule_actors.LONGEST]
        rule_actors.note(session, mapping_id, 'updated_by', actor)
        # Mappings may overlap since before: their group was deleted, or others let them. One can be ended still.
        if _is_wider(row, stored, zone):
            _refuse_overlap(session, row, stored, zone)
        session.flush()
        rule_revision.bump(session)
        return _read_mapping(session, mapping_id)

    return rule_revision.in_turn(database, update)


def delete_mapping(
    database: engine.Database, mapping_id: str, actor: str, now: datetime.datetime, zone: datetime.tzinfo
) -> None:
    """Delete a mapping: it rates nothing any more, and can still be read by its id.

    :raises NotFound: there is no such mapping, or it is deleted already.
    """

    def delete(session: orm.Session) -> None:
        row = rows.get(session, 'mapping', mapping_id)
        if row.deleted is not None:
            raise rows.NoSuch('mapping', mapping_id)
        row.deleted = dates.localise(now, zone)
        row.deleted_by = actor[: rule_actors.LONGEST]
        rule_actors.note(session, mapping_id, 'deleted_by', actor)

    rule_revision.change(database, delete)


_TEXTS = ('value', 'service_id', 'field_id', 'group_id', 'tenant_id', 'name', 'description')


def _plan_before_start(
    stored: Mapping,
    request: MappingRequest,
    start: datetime.datetime | None,
    end: datetime.datetime | None,
    now: datetime.datetime,
    zone: datetime.tzinfo,
) -> dict[str, Any]:
    """Return {column: value} of what *request* changes of a mapping that is not in force yet."""
    start = stored.start if start is None else start
    new = {'cost': request.cost, 'start': start, 'end': end, 'description': request.description}
    changes = {name: value for name, value in new.items() if value != getattr(stored, name)}
    if changes:
        dates.check_change(start, end, now, zone)
    return changes


def _plan_after_start(
    stored: Mapping,
    request: MappingRequest,
    start: datetime.datetime | None,
    end: datetime.datetime | None,
    now: datetime.datetime,
    zone: datetime.tzinfo,
) -> dict[str, Any]:
    """Return {column: value} of what *request* changes of a mapping that was or is in force."""
    given = {
        'cost': request.cost,
        'type': request.kind,
        'start': start,
        **{name: getattr(request, name) or None for name in _TEXTS},
    }
    kept = {'type': stored.kind, **{name: getattr(stored, name) for name in ('cost', 'start', *_TEXTS)}}
    changed = [name for name, value in given.items() if value is not None and value != kept[name]]
    if stored.end is not None:
        if changed or end != stored.end:
            raise dates.Ended('mapping', stored.id)
        return {}
    if changed:
        raise dates.Started('mapping', stored.id, changed[0], stored.start)
    if end is None:
        return {}
    dates.check_end(stored.start, end, now, zone)
    return {'end': end}


def _check_mapping(database: engine.Database, request: MappingRequest) -> None:
    rows.check_amount('cost', request.cost, *rows.COST_DIGITS)
    for member in ('value', 'tenant_id', 'description'):
        texts.check(database, member, getattr(request, member), rows.LONGEST[member])
    texts.check(database, 'name', request.name, LONGEST_RULE_NAME)


def _is_wider(row: models.Mapping, stored: Mapping, zone: datetime.tzinfo) -> bool:
    """Return whether *row* is in force at some instant at which *stored* is not."""
    if dates.to_epoch(row.start, zone) < dates.to_epoch(stored.start, zone):
        return True
    if stored.end is None:
        return False
    return row.end is None or dates.to_epoch(row.end, zone) > dates.to_epoch(stored.end, zone)


def _refuse_taken_name(session: orm.Session, name: str) -> None:
    found = session.scalars(
        sqlalchemy.select(models.Mapping).where(models.Mapping.name == name, models.Mapping.deleted.is_(None))
    )
    for row in found:
        if row.name == name:
            raise rows.NameTaken('mapping', name, row.mapping_id)


def _refuse_overlap(
    session: orm.Session, row: models.Mapping, place: MappingRequest | Mapping, zone: datetime.tzinfo
) -> None:
    """Raise Conflict if a mapping of the same place is in force at some instant at which *row* is.

    :param place: the same as a caller names it.
    """
    # MySQL takes more texts for equal than we do.
    query = sqlalchemy.select(models.Mapping).where(
        models.Mapping.deleted.is_(None),
        *(
            rows.equals(column, getattr(row, column.key))
            for column in (
                models.Mapping.service_id,
                models.Mapping.field_id,
                models.Mapping.group_id,
                models.Mapping.tenant_id,
            )
        ),
    )
    if row.value:
        query = query.where(models.Mapping.value == row.value)
    for other in session.scalars(query):
        if other.id == row.id or other.tenant_id != row.tenant_id or (other.value or '') != (row.value or ''):
            continue
        begin = max(dates.to_epoch(row.start, zone), dates.to_epoch(other.start, zone))
        if all(end is None or begin < dates.to_epoch(end, zone) for end in (row.end, other.end)):
            raise errors.Conflict(
                'Mapping %s has the same place at the same time: value %s of %s, %s.'
                % (
                    other.mapping_id,
                    row.value or '(none)',
                    rows.describe_parent(place),
                    rows.describe_tenant(row.tenant_id),
                )
            )


def _select_mappings() -> Any:
    actors = ledger_models.RuleActors
    return rows.select_rules(models.Mapping, actors).outerjoin(actors, actors.rule_id == models.Mapping.mapping_id)


def _read_mapping(session: orm.Session, mapping_id: str) -> Mapping:
    found: Iterable[Any] = session.execute(_select_mappings().where(rows.names(models.Mapping.mapping_id, mapping_id)))
    for row in found:
        if row[0].mapping_id == mapping_id:
            return _to_mapping(*row)
    raise rows.NoSuch('mapping', mapping_id)


def _to_mapping(
    row: models.Mapping,
    service_id: str | None,
    field_id: str | None,
    group_id: str | None,
    actors: ledger_models.RuleActors | None,
) -> Mapping:
    def actor(role: str) -> Any:
        return rule_actors.read(actors, row, role)

    return Mapping(
        id=row.mapping_id,
        value=row.value,
        kind=pricing.Kind(row.map_type),
        cost=row.cost,
        service_id=service_id,
        field_id=field_id,
        group_id=group_id,
        tenant_id=row.tenant_id,
        created_at=row.created_at,
        # Others may have written parts of a second, which rate nothing.
        start=row.start.replace(microsecond=0),
        end=None if row.end is None else row.end.replace(microsecond=0),
        name=row.name,
        description=row.description,
        deleted=row.deleted,
        created_by=actor('created_by'),
        updated_by=actor('updated_by'),
        deleted_by=actor('deleted_by'),
    )
