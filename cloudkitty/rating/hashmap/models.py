# SPDX-License-Identifier: Apache-2.0
"""Tables of the hashmap chain, as the field knows them; dates of rules are naive, in the deployment's zone."""

import datetime
from decimal import Decimal

import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import types

UTF8 = {'mysql_charset': 'utf8', 'mysql_engine': 'InnoDB'}
NAMES = {
    'pk': 'pk_%(table_name)s',
    'fk': 'fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s',
    'uq': 'uq_%(table_name)s_%(column_0_name)s',
}


class Base(orm.DeclarativeBase):
    """Tables of the hashmap chain."""

    metadata = sqlalchemy.MetaData(naming_convention=NAMES)


def _kind(name: str) -> sqlalchemy.Enum:
    return sqlalchemy.Enum('flat', 'rate', name=name, create_constraint=False)


def _reference(table: str, on_delete: str) -> sqlalchemy.ForeignKey:
    return sqlalchemy.ForeignKey('%s.id' % table, ondelete=on_delete)


class Service(Base):
    """What rules of a metric type hang on."""

    __tablename__ = 'hashmap_services'
    __table_args__ = (sqlalchemy.UniqueConstraint('service_id'), sqlalchemy.UniqueConstraint('name'), UTF8)

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=True)
    service_id: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(36))
    name: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(255))


class Field(Base):
    """An attribute of a service's points."""

    __tablename__ = 'hashmap_fields'
    __table_args__ = (
        sqlalchemy.UniqueConstraint('field_id'),
        sqlalchemy.UniqueConstraint('service_id', 'name', name='uniq_field_per_service'),
        UTF8,
    )

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=True)
    field_id: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(36))
    name: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(255))
    service_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, _reference('hashmap_services', 'CASCADE'))


class Group(Base):
    """An independent calculation; groups add up."""

    __tablename__ = 'hashmap_groups'
    __table_args__ = (sqlalchemy.UniqueConstraint('group_id'), sqlalchemy.UniqueConstraint('name'), UTF8)

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=True)
    group_id: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(36))
    name: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(255))


class Mapping(Base):
    """A price or rate of a service, or of a value of a field; rows with *deleted* rate nothing."""

    __tablename__ = 'hashmap_mappings'
    __table_args__ = (sqlalchemy.UniqueConstraint('mapping_id'), UTF8)

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=True)
    mapping_id: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(36))
    value: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(255))
    cost: orm.Mapped[Decimal] = orm.mapped_column(types.OldAmount(40, 28))
    map_type: orm.Mapped[str] = orm.mapped_column(_kind('enum_map_type'))
    service_id: orm.Mapped[int | None] = orm.mapped_column(
        sqlalchemy.Integer, _reference('hashmap_services', 'CASCADE')
    )
    field_id: orm.Mapped[int | None] = orm.mapped_column(sqlalchemy.Integer, _reference('hashmap_fields', 'CASCADE'))
    group_id: orm.Mapped[int | None] = orm.mapped_column(sqlalchemy.Integer, _reference('hashmap_groups', 'SET NULL'))
    tenant_id: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(255))
    name: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(32))
    created_at: orm.Mapped[datetime.datetime] = orm.mapped_column(
        sqlalchemy.DateTime, server_default=sqlalchemy.func.now()
    )
    start: orm.Mapped[datetime.datetime] = orm.mapped_column(sqlalchemy.DateTime, server_default=sqlalchemy.func.now())
    end: orm.Mapped[datetime.datetime | None] = orm.mapped_column(sqlalchemy.DateTime)
    description: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.Text)
    deleted: orm.Mapped[datetime.datetime | None] = orm.mapped_column(sqlalchemy.DateTime)
    created_by: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(32))
    updated_by: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(32))
    deleted_by: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(32))


class Threshold(Base):
    """A price or rate from a level of the quantity, or of a field's number, on; it has no dates."""

    __tablename__ = 'hashmap_thresholds'
    __table_args__ = (
        sqlalchemy.UniqueConstraint('threshold_id'),
        sqlalchemy.UniqueConstraint('level', 'field_id', 'tenant_id', name='uniq_field_threshold'),
        sqlalchemy.UniqueConstraint('level', 'service_id', 'tenant_id', name='uniq_service_threshold'),
        UTF8,
    )

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=True)
    threshold_id: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(36))
    level: orm.Mapped[Decimal | None] = orm.mapped_column(types.OldAmount(20, 8))
    cost: orm.Mapped[Decimal] = orm.mapped_column(types.OldAmount(40, 28))
    map_type: orm.Mapped[str] = orm.mapped_column(_kind('enum_map_type'))
    service_id: orm.Mapped[int | None] = orm.mapped_column(
        sqlalchemy.Integer, _reference('hashmap_services', 'CASCADE')
    )
    field_id: orm.Mapped[int | None] = orm.mapped_column(sqlalchemy.Integer, _reference('hashmap_fields', 'CASCADE'))
    group_id: orm.Mapped[int | None] = orm.mapped_column(sqlalchemy.Integer, _reference('hashmap_groups', 'SET NULL'))
    tenant_id: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(255))
