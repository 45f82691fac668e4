# SPDX-License-Identifier: Apache-2.0
"""Rows of hashmap's tables by their public ids: what the stores of services, mappings and thresholds share.

Source: API contract, section 2.6.
"""

import dataclasses
from decimal import Decimal
from typing import Any
from typing import Protocol
import uuid

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import errors
from cloudkitty.db import engine
from cloudkitty.db import rule_actors
from cloudkitty.db import texts
from cloudkitty.rating.hashmap import models

#: Digits before and after the point that the columns hold.
COST_DIGITS = (12, 28)
#: Characters that the columns hold.
LONGEST = {'name': 255, 'value': 255, 'tenant_id': 255, 'description': 256}


class Place(Protocol):
    """Where a rule is, as callers name it: under a service or a field, in a group or none."""

    @property
    def service_id(self) -> str | None: ...

    @property
    def field_id(self) -> str | None: ...

    @property
    def group_id(self) -> str | None: ...

    @property
    def tenant_id(self) -> str | None: ...


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


_KEYS: dict[str, tuple[Any, Any]] = {
    'service': (models.Service, models.Service.service_id),
    'field': (models.Field, models.Field.field_id),
    'group': (models.Group, models.Group.group_id),
    'mapping': (models.Mapping, models.Mapping.mapping_id),
    'threshold': (models.Threshold, models.Threshold.threshold_id),
}


def make_id() -> str:
    return str(uuid.uuid4())


def get(session: orm.Session, kind: str, id_: str) -> Any:
    """Return the row of the *kind* with public id *id_*; raise NotFound."""
    model, key = _KEYS[kind]
    row = session.scalars(sqlalchemy.select(model).where(names(key, id_))).first()
    # MySQL compares without regard to case.
    if row is None or getattr(row, key.key) != id_:
        raise NoSuch(kind, id_)
    return row


def refer(session: orm.Session, kind: str, id_: str) -> int:
    """Return the key of what a request names; raise BadRequest if it is not there."""
    try:
        key: int = get(session, kind, id_).id
    except NoSuch as error:
        raise UnknownReference(kind, id_) from error
    return key


def resolve(session: orm.Session, request: Place) -> dict[str, int | None]:
    """Return the keys of the parent and the group that *request* names."""
    return {
        '%s_id' % kind: None if id_ is None else refer(session, kind, id_)
        for kind, id_ in (('service', request.service_id), ('field', request.field_id), ('group', request.group_id))
    }


def check_parent(request: Place) -> None:
    if request.service_id is not None and request.field_id is not None:
        raise errors.BadRequest('service_id and field_id: exactly one is to be given, not both.')
    if request.service_id is None and request.field_id is None:
        raise errors.BadRequest('service_id or field_id is missing: exactly one is to be given.')


def check_name(database: engine.Database, kind: str, name: str) -> None:
    if not name:
        raise errors.BadRequest('name: a %s needs one.' % kind)
    texts.check(database, 'name', name, LONGEST['name'])


def check_amount(member: str, value: Decimal, before: int, after: int) -> None:
    if not value.is_finite() or value.copy_abs() >= Decimal(10) ** before:
        raise errors.BadRequest('%s: at most %d digits before the point are kept.' % (member, before))
    if value != value.quantize(Decimal(1).scaleb(-after), context=amount.CONTEXT):
        raise errors.BadRequest('%s: at most %d digits after the point are kept.' % (member, after))


def names(key: Any, id_: str) -> Any:
    """Return the condition that *key* is *id_*; what is no ASCII is no id, and MySQL may refuse to look it up."""
    return key == id_ if id_.isascii() else sqlalchemy.false()


def equals(column: Any, value: Any) -> Any:
    return column.is_(None) if value is None else column == value


def describe_parent(place: Place) -> str:
    return 'service %s' % place.service_id if place.field_id is None else 'field %s' % place.field_id


def describe_tenant(tenant_id: str | None) -> str:
    return 'all tenants' if tenant_id is None else 'tenant %s' % tenant_id


def forget_actors(session: orm.Session, condition: Any) -> None:
    """Delete the actors of the mappings that *condition* names, which are about to go for good."""
    rule_actors.forget(session, session.scalars(sqlalchemy.select(models.Mapping.mapping_id).where(condition)).all())


def select_rules(model: Any, *more: Any) -> Any:
    """Return a query for rows of *model*, each with the public ids of service, field and group."""
    return (
        sqlalchemy.select(model, models.Service.service_id, models.Field.field_id, models.Group.group_id, *more)
        .select_from(model)
        .outerjoin(models.Service, models.Service.id == model.service_id)
        .outerjoin(models.Field, models.Field.id == model.field_id)
        .outerjoin(models.Group, models.Group.id == model.group_id)
    )


def narrow(query: Any, model: Any, wanted: Filter) -> Any:
    """Return *query* for those rules of *model* that *wanted* may let through."""
    if wanted.service_id is not None:
        query = query.where(names(models.Service.service_id, wanted.service_id))
    elif wanted.field_id is not None:
        query = query.where(names(models.Field.field_id, wanted.field_id))
    if wanted.group_id is not None:
        query = query.where(names(models.Group.group_id, wanted.group_id))
    elif wanted.no_group:
        query = query.where(model.group_id.is_(None))
    if wanted.filter_tenant:
        # Not by the text itself: it may hold what MySQL does not know.
        is_null = model.tenant_id.is_(None)
        query = query.where(is_null if wanted.tenant_id is None else ~is_null)
    return query


def is_let_through(rule: Place, wanted: Filter) -> bool:
    """Return whether a rule that the database let through is wanted: MySQL takes more texts for equal than we do."""
    if wanted.filter_tenant and rule.tenant_id != wanted.tenant_id:
        return False
    if wanted.group_id not in (None, rule.group_id):
        return False
    if wanted.service_id is not None:
        return rule.service_id == wanted.service_id
    return wanted.field_id in (None, rule.field_id)
