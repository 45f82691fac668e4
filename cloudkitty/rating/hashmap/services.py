# SPDX-License-Identifier: Apache-2.0
"""Where the services, fields and groups of hashmap are kept: what its rules hang on.

Every change locks the revision of the rules first, and moves it in the same transaction.

Source: API contract, section 2.6.
"""

import dataclasses
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import engine
from cloudkitty.db import rule_revision
from cloudkitty.rating.hashmap import models
from cloudkitty.rating.hashmap import rows


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


def create_service(database: engine.Database, name: str) -> Service:
    """Make a service; raise Conflict if there is one of that *name*."""
    rows.check_name(database, 'service', name)

    def create(session: orm.Session) -> Service:
        found = session.scalars(sqlalchemy.select(models.Service).where(models.Service.name == name)).first()
        if found is not None:
            raise rows.NameTaken('service', name, found.service_id)
        row = models.Service(service_id=rows.make_id(), name=name)
        session.add(row)
        return Service(row.service_id, row.name)

    return rule_revision.change(database, create)


def list_services(database: engine.Database) -> list[Service]:
    """Return every service in the order in which they were made."""
    with database.reader() as session:
        found = session.scalars(sqlalchemy.select(models.Service).order_by(models.Service.id))
        return [Service(row.service_id, row.name) for row in found]


def get_service(database: engine.Database, service_id: str) -> Service:
    """Return a service; raise NotFound."""
    with database.reader() as session:
        row = rows.get(session, 'service', service_id)
        return Service(row.service_id, row.name)


def delete_service(database: engine.Database, service_id: str) -> None:
    """Delete a service with its fields and all rules of both, for good; raise NotFound."""

    def delete(session: orm.Session) -> None:
        row = rows.get(session, 'service', service_id)
        fields = sqlalchemy.select(models.Field.id).where(models.Field.service_id == row.id)
        rows.forget_actors(session, (models.Mapping.service_id == row.id) | models.Mapping.field_id.in_(fields))
        session.execute(sqlalchemy.delete(models.Service).where(models.Service.id == row.id))

    rule_revision.change(database, delete)


def create_field(database: engine.Database, service_id: str, name: str) -> Field:
    """Make a field of a service; raise BadRequest for an unknown one, Conflict if it has a field of that *name*."""
    rows.check_name(database, 'field', name)

    def create(session: orm.Session) -> Field:
        service = rows.refer(session, 'service', service_id)
        found = session.scalars(
            sqlalchemy.select(models.Field).where(models.Field.service_id == service, models.Field.name == name)
        ).first()
        if found is not None:
            raise rows.NameTaken('field', name, found.field_id)
        row = models.Field(field_id=rows.make_id(), name=name, service_id=service)
        session.add(row)
        return Field(row.field_id, row.name, service_id)

    return rule_revision.change(database, create)


def list_fields(database: engine.Database, service_id: str) -> list[Field]:
    """Return the fields of a service in the order in which they were made; none of an unknown one."""
    with database.reader() as session:
        found = session.execute(
            _select_fields().where(rows.names(models.Service.service_id, service_id)).order_by(models.Field.id)
        )
        return [Field(row.field_id, row.name, public) for row, public in found if public == service_id]


def get_field(database: engine.Database, field_id: str) -> Field:
    """Return a field; raise NotFound."""
    with database.reader() as session:
        for row, public in session.execute(_select_fields().where(rows.names(models.Field.field_id, field_id))):
            if row.field_id == field_id:
                return Field(row.field_id, row.name, public)
    raise rows.NoSuch('field', field_id)


def delete_field(database: engine.Database, field_id: str) -> None:
    """Delete a field with its rules, for good; raise NotFound."""

    def delete(session: orm.Session) -> None:
        row = rows.get(session, 'field', field_id)
        rows.forget_actors(session, models.Mapping.field_id == row.id)
        session.execute(sqlalchemy.delete(models.Field).where(models.Field.id == row.id))

    rule_revision.change(database, delete)


def create_group(database: engine.Database, name: str) -> Group:
    """Make a group; raise Conflict if there is one of that *name*."""
    rows.check_name(database, 'group', name)

    def create(session: orm.Session) -> Group:
        found = session.scalars(sqlalchemy.select(models.Group).where(models.Group.name == name)).first()
        if found is not None:
            raise rows.NameTaken('group', name, found.group_id)
        row = models.Group(group_id=rows.make_id(), name=name)
        session.add(row)
        return Group(row.group_id, row.name)

    return rule_revision.change(database, create)


def list_groups(database: engine.Database) -> list[Group]:
    """Return every group in the order in which they were made."""
    with database.reader() as session:
        found = session.scalars(sqlalchemy.select(models.Group).order_by(models.Group.id))
        return [Group(row.group_id, row.name) for row in found]


def get_group(database: engine.Database, group_id: str) -> Group:
    """Return a group; raise NotFound."""
    with database.reader() as session:
        row = rows.get(session, 'group', group_id)
        return Group(row.group_id, row.name)


def delete_group(database: engine.Database, group_id: str, recursive: bool = False) -> None:
    """Delete a group; raise NotFound.

    :param recursive: its rules too, for good; else they stay, without a group.
    """

    def delete(session: orm.Session) -> None:
        row = rows.get(session, 'group', group_id)
        if recursive:
            rows.forget_actors(session, models.Mapping.group_id == row.id)
            session.execute(sqlalchemy.delete(models.Mapping).where(models.Mapping.group_id == row.id))
            session.execute(sqlalchemy.delete(models.Threshold).where(models.Threshold.group_id == row.id))
        session.execute(sqlalchemy.delete(models.Group).where(models.Group.id == row.id))

    rule_revision.change(database, delete)


def read_group(session: orm.Session, kind: str, id_: str, key: int | None) -> Group:
    """Return the group *key* of the rule *id_* of the *kind*; raise NotFound if it is in none."""
    row = None if key is None else session.get(models.Group, key)
    if row is None:
        raise rows.NoGroup(kind, id_)
    return Group(row.group_id, row.name)


def _select_fields() -> Any:
    return sqlalchemy.select(models.Field, models.Service.service_id).join(
        models.Service, models.Service.id == models.Field.service_id
    )
