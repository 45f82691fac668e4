# SPDX-License-Identifier: Apache-2.0
"""Where the rules of hashmap are kept, and what may be done to them.

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

from cloudkitty import amount
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

#: Digits before and after the point that the columns hold.
COST_DIGITS = (12, 28)
LEVEL_DIGITS = (12, 8)
#: Characters that the columns hold.
LONGEST = {'name': 255, 'value': 255, 'tenant_id': 255, 'description': 256}
LONGEST_RULE_NAME = 32


@dataclasses.dataclass(frozen=True)
class Service:
    """A metric type that has rules."""

    id: str
    name: str


@dataclasses.dataclass(frozen=True)
class Field:
    """An attribute of a service's points that has rules."""

    id: str
    name: str
    service_id: str


@dataclasses.dataclass(frozen=True)
class Group:
    """An independent calculation."""

    id: str
    name: str


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


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which rules to list.

    :ivar service_id: rules of the service itself; wins over *field_id*.
    :ivar no_group: only rules without a group, unless *group_id* is given.
    :ivar filter_tenant: only rules whose tenant is *tenant_id*, None included.
    """

    service_id: str | None = None
    field_id: str | None = None
    group_id: str | None = None
    no_group: bool = False
    tenant_id: str | None = None
    filter_tenant: bool = False


@dataclasses.dataclass(frozen=True)
class MappingFilter(Filter, dated.Filter):
    """Which mappings to list."""


class NoSuch(errors.NotFound):
    """:ivar kind: service, field, group, mapping or threshold."""

    def __init__(self, kind: str, id_: str) -> None:
        super().__init__('No hashmap %s with id %s.' % (kind, id_))
        self.kind = kind


class NoGroup(errors.NotFound):
    def __init__(self, kind: str, id_: str) -> None:
        super().__init__('The %s %s is in no group.' % (kind, id_))


class UnknownReference(errors.BadRequest):
    """A request names a parent or a group that is not there."""

    def __init__(self, kind: str, id_: str) -> None:
        super().__init__('%s_id: no hashmap %s with id %s.' % (kind, kind, id_))


class NameTaken(errors.Conflict):
    def __init__(self, kind: str, name: str, id_: str) -> None:
        super().__init__('A %s named %s exists already, with id %s.' % (kind, name, id_))


# Services, fields, groups


def create_service(database: engine.Database, name: str) -> Service:
    """Make a service; raise Conflict if there is one of that *name*."""
    _check_name(database, 'service', name)

    def create(session: orm.Session) -> Service:
        found = session.scalars(sqlalchemy.select(models.Service).where(models.Service.name == name)).first()
        if found is not None:
            raise NameTaken('service', name, found.service_id)
        row = models.Service(service_id=_make_id(), name=name)
        session.add(row)
        return Service(row.service_id, row.name)

    return rule_revision.change(database, create)


def list_services(database: engine.Database) -> list[Service]:
    """Return every service in the order in which they were made."""
    with database.reader() as session:
        rows = session.scalars(sqlalchemy.select(models.Service).order_by(models.Service.id))
        return [Service(row.service_id, row.name) for row in rows]


def get_service(database: engine.Database, service_id: str) -> Service:
    """Return a service; raise NotFound."""
    with database.reader() as session:
        row = _get(session, 'service', service_id)
        return Service(row.service_id, row.name)


def delete_service(database: engine.Database, service_id: str) -> None:
    """Delete a service with its fields and all rules of both, for good; raise NotFound."""

    def delete(session: orm.Session) -> None:
        row = _get(session, 'service', service_id)
        fields = sqlalchemy.select(models.Field.id).where(models.Field.service_id == row.id)
        _forget_actors(session, (models.Mapping.service_id == row.id) | models.Mapping.field_id.in_(fields))
        session.execute(sqlalchemy.delete(models.Service).where(models.Service.id == row.id))

    rule_revision.change(database, delete)


def create_field(database: engine.Database, service_id: str, name: str) -> Field:
    """Make a field of a service; raise BadRequest for an unknown one, Conflict if it has a field of that *name*."""
    _check_name(database, 'field', name)

    def create(session: orm.Session) -> Field:
        service = _refer(session, 'service', service_id)
        found = session.scalars(
            sqlalchemy.select(models.Field).where(models.Field.service_id == service, models.Field.name == name)
        ).first()
        if found is not None:
            raise NameTaken('field', name, found.field_id)
        row = models.Field(field_id=_make_id(), name=name, service_id=service)
        session.add(row)
        return Field(row.field_id, row.name, service_id)

    return rule_revision.change(database, create)


def list_fields(database: engine.Database, service_id: str) -> list[Field]:
    """Return the fields of a service in the order in which they were made; none of an unknown one."""
    with database.reader() as session:
        rows = session.execute(
            _select_fields().where(_names(models.Service.service_id, service_id)).order_by(models.Field.id)
        )
        return [Field(row.field_id, row.name, public) for row, public in rows if public == service_id]


def get_field(database: engine.Database, field_id: str) -> Field:
    """Return a field; raise NotFound."""
    with database.reader() as session:
        for row, public in session.execute(_select_fields().where(_names(models.Field.field_id, field_id))):
            if row.field_id == field_id:
                return Field(row.field_id, row.name, public)
    raise NoSuch('field', field_id)


def delete_field(database: engine.Database, field_id: str) -> None:
    """Delete a field with its rules, for good; raise NotFound."""

    def delete(session: orm.Session) -> None:
        row = _get(session, 'field', field_id)
        _forget_actors(session, models.Mapping.field_id == row.id)
        session.execute(sqlalchemy.delete(models.Field).where(models.Field.id == row.id))

    rule_revision.change(database, delete)


def create_group(database: engine.Database, name: str) -> Group:
    """Make a group; raise Conflict if there is one of that *name*."""
    _check_name(database, 'group', name)

    def create(session: orm.Session) -> Group:
        found = session.scalars(sqlalchemy.select(models.Group).where(models.Group.name == name)).first()
        if found is not None:
            raise NameTaken('group', name, found.group_id)
        row = models.Group(group_id=_make_id(), name=name)
        session.add(row)
        return Group(row.group_id, row.name)

    return rule_revision.change(database, create)


def list_groups(database: engine.Database) -> list[Group]:
    """Return every group in the order in which they were made."""
    with database.reader() as session:
        rows = session.scalars(sqlalchemy.select(models.Group).order_by(models.Group.id))
        return [Group(row.group_id, row.name) for row in rows]


def get_group(database: engine.Database, group_id: str) -> Group:
    """Return a group; raise NotFound."""
    with database.reader() as session:
        row = _get(session, 'group', group_id)
        return Group(row.group_id, row.name)


def delete_group(database: engine.Database, group_id: str, recursive: bool = False) -> None:
    """Delete a group; raise NotFound.

    :param recursive: its rules too, for good; else they stay, without a group.
    """

    def delete(session: orm.Session) -> None:
        row = _get(session, 'group', group_id)
        if recursive:
            _forget_actors(session, models.Mapping.group_id == row.id)
            session.execute(sqlalchemy.delete(models.Mapping).where(models.Mapping.group_id == row.id))
            session.execute(sqlalchemy.delete(models.Threshold).where(models.Threshold.group_id == row.id))
        session.execute(sqlalchemy.delete(models.Group).where(models.Group.id == row.id))

    rule_revision.change(database, delete)


# Mappings


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
    _check_parent(request)
    if request.field_id is not None and not request.value:
        raise errors.BadRequest('value: a mapping of a field needs one.')
    if request.service_id is not None and request.value:
        raise errors.BadRequest('value: a mapping of a service has none.')

    def create(session: orm.Session) -> Mapping:
        row = models.Mapping(
            mapping_id=_make_id(),
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
            **_resolve(session, request),
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
    query = _narrow(_select_mappings(), models.Mapping, wanted).order_by(models.Mapping.id)
    query = dated.narrow(query, models.Mapping, wanted, zone)
    with database.reader() as session:
        found = [_to_mapping(*row) for row in session.execute(query)]
    return [mapping for mapping in found if _is_let_through(mapping, wanted) and dated.is_wanted(mapping, wanted, zone)]


def get_mapping(database: engine.Database, mapping_id: str) -> Mapping:
    """Return a mapping, a deleted one too; raise NotFound."""
    with database.reader() as session:
        return _read_mapping(session, mapping_id)


def get_group_of_mapping(database: engine.Database, mapping_id: str) -> Group:
    """Return the group of a mapping; raise NotFound if there is no such mapping or it is in none."""
    with database.reader() as session:
        row = _get(session, 'mapping', mapping_id)
        return _read_group(session, 'mapping', mapping_id, row.group_id)


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
        row = _get(session, 'mapping', mapping_id)
        if row.deleted is not None:
            raise NoSuch('mapping', mapping_id)
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
        row = _get(session, 'mapping', mapping_id)
        if row.deleted is not None:
            raise NoSuch('mapping', mapping_id)
        row.deleted = dates.localise(now, zone)
        row.deleted_by = actor[: rule_actors.LONGEST]
        rule_actors.note(session, mapping_id, 'deleted_by', actor)

    rule_revision.change(database, delete)


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


_TEXTS = ('value', 'service_id', 'field_id', 'group_id', 'tenant_id', 'name', 'description')


# Thresholds


def create_threshold(database: engine.Database, request: ThresholdRequest) -> Threshold:
    """Make a threshold.

    :raises BadRequest: a member makes no sense, or names what is not there.
    :raises Conflict: its place is taken.
    """
    _check_threshold(database, request)
    _check_parent(request)

    def create(session: orm.Session) -> Threshold:
        row = models.Threshold(
            threshold_id=_make_id(),
            level=request.level,
            cost=request.cost,
            map_type=(request.kind or pricing.Kind.FLAT).value,
            tenant_id=request.tenant_id,
            **_resolve(session, request),
        )
        _refuse_duplicate(session, row, request)
        session.add(row)
        session.flush()
        return _read_threshold(session, row.threshold_id)

    return rule_revision.change(database, create)


def list_thresholds(database: engine.Database, wanted: Filter) -> list[Threshold]:
    """Return the thresholds that *wanted* lets through, in the order in which they were made."""
    query = _narrow(_select_thresholds(), models.Threshold, wanted).order_by(models.Threshold.id)
    with database.reader() as session:
        found = [_to_threshold(*row) for row in session.execute(query)]
    return [threshold for threshold in found if _is_let_through(threshold, wanted)]


def get_threshold(database: engine.Database, threshold_id: str) -> Threshold:
    """Return a threshold; raise NotFound."""
    with database.reader() as session:
        return _read_threshold(session, threshold_id)


def get_group_of_threshold(database: engine.Database, threshold_id: str) -> Group:
    """Return the group of a threshold; raise NotFound if there is no such threshold or it is in none."""
    with database.reader() as session:
        row = _get(session, 'threshold', threshold_id)
        return _read_group(session, 'threshold', threshold_id, row.group_id)


def update_threshold(database: engine.Database, threshold_id: str, request: ThresholdRequest) -> Threshold:
    """Replace level, cost, type and tenant of a threshold, and its group if one is given; return it.

    :raises NotFound: there is no such threshold.
    :raises BadRequest: a member makes no sense, or names a group that is not there.
    :raises Conflict: its place is taken.
    """
    _check_threshold(database, request)

    def update(session: orm.Session) -> Threshold:
        row = _get(session, 'threshold', threshold_id)
        stored = _read_threshold(session, threshold_id)
        new: dict[str, Any] = {
            'level': request.level,
            'cost': request.cost,
            'map_type': (request.kind or pricing.Kind.FLAT).value,
            'tenant_id': request.tenant_id,
        }
        if request.group_id is not None:
            new['group_id'] = _refer(session, 'group', request.group_id)
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
        session.delete(_get(session, 'threshold', threshold_id))

    rule_revision.change(database, delete)


# What they share


_KEYS: dict[str, tuple[Any, Any]] = {
    'service': (models.Service, models.Service.service_id),
    'field': (models.Field, models.Field.field_id),
    'group': (models.Group, models.Group.group_id),
    'mapping': (models.Mapping, models.Mapping.mapping_id),
    'threshold': (models.Threshold, models.Threshold.threshold_id),
}


def _make_id() -> str:
    return str(uuid.uuid4())


def _get(session: orm.Session, kind: str, id_: str) -> Any:
    """Return the row of the *kind* with public id *id_*; raise NotFound."""
    model, key = _KEYS[kind]
    row = session.scalars(sqlalchemy.select(model).where(_names(key, id_))).first()
    # MySQL compares without regard to case.
    if row is None or getattr(row, key.key) != id_:
        raise NoSuch(kind, id_)
    return row


def _refer(session: orm.Session, kind: str, id_: str) -> int:
    """Return the key of what a request names; raise BadRequest if it is not there."""
    try:
        key: int = _get(session, kind, id_).id
    except NoSuch as error:
        raise UnknownReference(kind, id_) from error
    return key


def _resolve(session: orm.Session, request: MappingRequest | ThresholdRequest) -> dict[str, int | None]:
    """Return the keys of the parent and the group that *request* names."""
    return {
        '%s_id' % kind: None if id_ is None else _refer(session, kind, id_)
        for kind, id_ in (('service', request.service_id), ('field', request.field_id), ('group', request.group_id))
    }


def _check_parent(request: MappingRequest | ThresholdRequest) -> None:
    if request.service_id is not None and request.field_id is not None:
        raise errors.BadRequest('service_id and field_id: exactly one is to be given, not both.')
    if request.service_id is None and request.field_id is None:
        raise errors.BadRequest('service_id or field_id is missing: exactly one is to be given.')


def _check_name(database: engine.Database, kind: str, name: str) -> None:
    if not name:
        raise errors.BadRequest('name: a %s needs one.' % kind)
    texts.check(database, 'name', name, LONGEST['name'])


def _check_mapping(database: engine.Database, request: MappingRequest) -> None:
    _check_amount('cost', request.cost, *COST_DIGITS)
    for member in ('value', 'tenant_id', 'description'):
        texts.check(database, member, getattr(request, member), LONGEST[member])
    texts.check(database, 'name', request.name, LONGEST_RULE_NAME)


def _check_threshold(database: engine.Database, request: ThresholdRequest) -> None:
    _check_amount('level', request.level, *LEVEL_DIGITS)
    _check_amount('cost', request.cost, *COST_DIGITS)
    texts.check(database, 'tenant_id', request.tenant_id, LONGEST['tenant_id'])


def _check_amount(member: str, value: Decimal, before: int, after: int) -> None:
    if not value.is_finite() or value.copy_abs() >= Decimal(10) ** before:
        raise errors.BadRequest('%s: at most %d digits before the point are kept.' % (member, before))
    if value != value.quantize(Decimal(1).scaleb(-after), context=amount.CONTEXT):
        raise errors.BadRequest('%s: at most %d digits after the point are kept.' % (member, after))


def _is_wider(row: models.Mapping, stored: Mapping, zone: datetime.tzinfo) -> bool:
    """Return whether *row* is in force at some instant at which *stored* is not."""
    if dates.to_epoch(row.start, zone) < dates.to_epoch(stored.start, zone):
        return True
    if stored.end is None:
        return False
    return row.end is None or dates.to_epoch(row.end, zone) > dates.to_epoch(stored.end, zone)


def _refuse_taken_name(session: orm.Session, name: str) -> None:
    rows = session.scalars(
        sqlalchemy.select(models.Mapping).where(models.Mapping.name == name, models.Mapping.deleted.is_(None))
    )
    for row in rows:
        if row.name == name:
            raise NameTaken('mapping', name, row.mapping_id)


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
            _equals(column, getattr(row, column.key))
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
                % (other.mapping_id, row.value or '(none)', _describe_parent(place), _describe_tenant(row.tenant_id))
            )


def _refuse_duplicate(session: orm.Session, row: models.Threshold, place: ThresholdRequest | Threshold) -> None:
    """Raise Conflict if another threshold has the level, parent and tenant of *row*: in no group twice, nor with a
    tenant in two groups.

    :param place: the same as a caller names it.
    """
    query = sqlalchemy.select(models.Threshold).where(
        _equals(models.Threshold.level, row.level),
        _equals(models.Threshold.service_id, row.service_id),
        _equals(models.Threshold.field_id, row.field_id),
        _equals(models.Threshold.tenant_id, row.tenant_id),
    )
    for other in session.scalars(query):
        # With a tenant the table has a constraint, by what the server takes for equal.
        if other.id != row.id and (row.tenant_id is not None or other.group_id == row.group_id):
            raise errors.Conflict(
                'Threshold %s has the same place: level %s of %s, %s.'
                % (
                    other.threshold_id,
                    '(none)' if row.level is None else amount.to_text(row.level),
                    _describe_parent(place),
                    _describe_tenant(row.tenant_id),
                )
            )


def _names(key: Any, id_: str) -> Any:
    """Return the condition that *key* is *id_*; what is no ASCII is no id, and MySQL may refuse to look it up."""
    return key == id_ if id_.isascii() else sqlalchemy.false()


def _equals(column: Any, value: Any) -> Any:
    return column.is_(None) if value is None else column == value


def _describe_parent(place: MappingRequest | ThresholdRequest | Mapping | Threshold) -> str:
    return 'service %s' % place.service_id if place.field_id is None else 'field %s' % place.field_id


def _describe_tenant(tenant_id: str | None) -> str:
    return 'all tenants' if tenant_id is None else 'tenant %s' % tenant_id


def _forget_actors(session: orm.Session, condition: Any) -> None:
    """Delete the actors of the mappings that *condition* names, which are about to go for good."""
    rule_actors.forget(session, session.scalars(sqlalchemy.select(models.Mapping.mapping_id).where(condition)).all())


def _select_fields() -> Any:
    return sqlalchemy.select(models.Field, models.Service.service_id).join(
        models.Service, models.Service.id == models.Field.service_id
    )


def _select_rules(model: Any, *more: Any) -> Any:
    """Return a query for rows of *model*, each with the public ids of service, field and group."""
    return (
        sqlalchemy.select(model, models.Service.service_id, models.Field.field_id, models.Group.group_id, *more)
        .select_from(model)
        .outerjoin(models.Service, models.Service.id == model.service_id)
        .outerjoin(models.Field, models.Field.id == model.field_id)
        .outerjoin(models.Group, models.Group.id == model.group_id)
    )


def _select_mappings() -> Any:
    actors = ledger_models.RuleActors
    return _select_rules(models.Mapping, actors).outerjoin(actors, actors.rule_id == models.Mapping.mapping_id)


def _select_thresholds() -> Any:
    return _select_rules(models.Threshold)


def _narrow(query: Any, model: Any, wanted: Filter) -> Any:
    """Return *query* for those rules of *model* that *wanted* may let through."""
    if wanted.service_id is not None:
        query = query.where(_names(models.Service.service_id, wanted.service_id))
    elif wanted.field_id is not None:
        query = query.where(_names(models.Field.field_id, wanted.field_id))
    if wanted.group_id is not None:
        query = query.where(_names(models.Group.group_id, wanted.group_id))
    elif wanted.no_group:
        query = query.where(model.group_id.is_(None))
    if wanted.filter_tenant:
        # Not by the text itself: it may hold what MySQL does not know.
        is_null = model.tenant_id.is_(None)
        query = query.where(is_null if wanted.tenant_id is None else ~is_null)
    return query


def _is_let_through(rule: Mapping | Threshold, wanted: Filter) -> bool:
    """Return whether a rule that the database let through is wanted: MySQL takes more texts for equal than we do."""
    if wanted.filter_tenant and rule.tenant_id != wanted.tenant_id:
        return False
    if wanted.group_id not in (None, rule.group_id):
        return False
    if wanted.service_id is not None:
        return rule.service_id == wanted.service_id
    return wanted.field_id in (None, rule.field_id)


def _read_mapping(session: orm.Session, mapping_id: str) -> Mapping:
    found: Iterable[Any] = session.execute(_select_mappings().where(_names(models.Mapping.mapping_id, mapping_id)))
    for row in found:
        if row[0].mapping_id == mapping_id:
            return _to_mapping(*row)
    raise NoSuch('mapping', mapping_id)


def _read_threshold(session: orm.Session, threshold_id: str) -> Threshold:
    found: Iterable[Any] = session.execute(
        _select_thresholds().where(_names(models.Threshold.threshold_id, threshold_id))
    )
    for row in found:
        if row[0].threshold_id == threshold_id:
            return _to_threshold(*row)
    raise NoSuch('threshold', threshold_id)


def _read_group(session: orm.Session, kind: str, id_: str, key: int | None) -> Group:
    row = None if key is None else session.get(models.Group, key)
    if row is None:
        raise NoGroup(kind, id_)
    return Group(row.group_id, row.name)


def _to_mapping(
    row: models.Mapping,
    service_id: str | None,
    field_id: str | None,
    group_id: str | None,
    actors: ledger_models.RuleActors | None,
) -> Mapping:
    def actor(role: str) -> Any:
        return getattr(actors, role, None) or getattr(row, role)

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
