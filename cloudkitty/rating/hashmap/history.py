# SPDX-License-Identifier: Apache-2.0
"""The hashmap tables as they were from release to release: what their migrations make of them."""

from typing import Any

import sqlalchemy

from cloudkitty.db import schema

OLD_COST = sqlalchemy.Numeric(20, 8)
COST = sqlalchemy.Numeric(40, 28)


def services(named: bool = True) -> sqlalchemy.Table:
    return schema.define(
        'hashmap_services',
        *_id('hashmap_services', named),
        sqlalchemy.Column('service_id', sqlalchemy.String(36), nullable=False),
        sqlalchemy.Column('name', sqlalchemy.String(255), nullable=False),
        sqlalchemy.UniqueConstraint('name', name='uq_hashmap_services_name' if named else None),
        sqlalchemy.UniqueConstraint('service_id', name='uq_hashmap_services_service_id' if named else None),
        **schema.UTF8,
    )


def fields(named: bool = True, clean: bool = True) -> sqlalchemy.Table:
    """:param clean: with the constraints since c88a06b1cfce."""
    uniques = (
        [sqlalchemy.UniqueConstraint('service_id', 'name', name='uniq_field_per_service')]
        if clean
        else [
            sqlalchemy.UniqueConstraint('field_id', 'name', name='uniq_field'),
            sqlalchemy.UniqueConstraint('service_id', 'name', name='uniq_map_service_field'),
        ]
    )
    return schema.define(
        'hashmap_fields',
        *_id('hashmap_fields', named),
        sqlalchemy.Column('field_id', sqlalchemy.String(36), nullable=False),
        sqlalchemy.Column('name', sqlalchemy.String(255), nullable=False),
        sqlalchemy.Column('service_id', sqlalchemy.Integer, nullable=False),
        _reference('hashmap_fields', 'service_id', 'hashmap_services', 'CASCADE', named),
        sqlalchemy.UniqueConstraint('field_id', name='uq_hashmap_fields_field_id' if named else None),
        *uniques,
        **schema.UTF8,
    )


def groups(named: bool = True) -> sqlalchemy.Table:
    return schema.define(
        'hashmap_groups',
        *_id('hashmap_groups', named),
        sqlalchemy.Column('group_id', sqlalchemy.String(36), nullable=False),
        sqlalchemy.Column('name', sqlalchemy.String(255), nullable=False),
        sqlalchemy.UniqueConstraint('group_id', name='uq_hashmap_groups_group_id' if named else None),
        sqlalchemy.UniqueConstraint('name', name='uq_hashmap_groups_name' if named else None),
        **schema.UTF8,
    )


def mappings(
    name: str = 'hashmap_mappings',
    named: bool = True,
    tenant: int | None = None,
    cost: Any = OLD_COST,
    dated: bool = False,
) -> sqlalchemy.Table:
    """:param tenant: length of ``tenant_id``, None before 4da82e1c11c8; *dated*: since 8a591f85865f."""
    # PostgreSQL keeps the names from before the table was renamed.
    spelling = 'hashmap_maps' if schema.dialect() == 'postgresql' else name
    items: list[Any] = [
        *_id(name, named),
        sqlalchemy.Column('mapping_id', sqlalchemy.String(36), nullable=False),
        sqlalchemy.Column('value', sqlalchemy.String(255), nullable=True),
        sqlalchemy.Column('cost', cost, nullable=False),
        sqlalchemy.Column('map_type', _kind('enum_map_type'), nullable=False),
        *_parents(spelling, named),
        sqlalchemy.UniqueConstraint('mapping_id', name='uq_%s_mapping_id' % spelling if named else None),
        *_tenant(tenant),
    ]
    if dated:
        items += [sqlalchemy.Column('name', sqlalchemy.String(32), nullable=False), *schema.dates_of_rules()]
    else:
        extra = ['tenant_id'] if tenant else []
        items += [
            sqlalchemy.UniqueConstraint('value', 'field_id', *extra, name='uniq_field_mapping'),
            sqlalchemy.UniqueConstraint('value', 'service_id', *extra, name='uniq_service_mapping'),
        ]
    return schema.define(name, *items, **schema.UTF8)


def thresholds(
    named: bool = True,
    tenant: int | None = None,
    cost: Any = OLD_COST,
    misnamed: bool = False,
) -> sqlalchemy.Table:
    """:param misnamed: with the wrong names of its uniques that 4fa888fd7eda gave them but on PostgreSQL."""
    kind = 'mapping' if misnamed and schema.dialect() != 'postgresql' else 'threshold'
    enum = 'enum_hashmap_type' if named and schema.dialect() != 'postgresql' else 'enum_map_type'
    extra = ['tenant_id'] if tenant else []
    return schema.define(
        'hashmap_thresholds',
        *_id('hashmap_thresholds', named),
        sqlalchemy.Column('threshold_id', sqlalchemy.String(36), nullable=False),
        sqlalchemy.Column('level', sqlalchemy.Numeric(20, 8), nullable=True),
        sqlalchemy.Column('cost', cost, nullable=False),
        sqlalchemy.Column('map_type', _kind(enum), nullable=False),
        *_parents('hashmap_thresholds', named),
        sqlalchemy.UniqueConstraint('threshold_id', name='uq_hashmap_thresholds_threshold_id' if named else None),
        *_tenant(tenant),
        sqlalchemy.UniqueConstraint('level', 'field_id', *extra, name='uniq_field_%s' % kind),
        sqlalchemy.UniqueConstraint('level', 'service_id', *extra, name='uniq_service_%s' % kind),
        **schema.UTF8,
    )


def _id(table: str, named: bool) -> list[Any]:
    return [
        sqlalchemy.Column('id', sqlalchemy.Integer, nullable=False, autoincrement=True),
        sqlalchemy.PrimaryKeyConstraint('id', name='pk_%s' % table if named else None),
    ]


def _kind(name: str) -> sqlalchemy.Enum:
    return sqlalchemy.Enum('flat', 'rate', name=name, create_constraint=True)


def _reference(table: str, column: str, parent: str, on_delete: str, named: bool) -> sqlalchemy.ForeignKeyConstraint:
    name = 'fk_%s_%s_%s' % (table, column, parent) if named else None
    return sqlalchemy.ForeignKeyConstraint([column], ['%s.id' % parent], ondelete=on_delete, name=name)


def _parents(table: str, named: bool) -> list[Any]:
    return [
        sqlalchemy.Column('service_id', sqlalchemy.Integer, nullable=True),
        sqlalchemy.Column('field_id', sqlalchemy.Integer, nullable=True),
        sqlalchemy.Column('group_id', sqlalchemy.Integer, nullable=True),
        _reference(table, 'service_id', 'hashmap_services', 'CASCADE', named),
        _reference(table, 'field_id', 'hashmap_fields', 'CASCADE', named),
        _reference(table, 'group_id', 'hashmap_groups', 'SET NULL', named),
    ]


def _tenant(length: int | None) -> list[Any]:
    return [sqlalchemy.Column('tenant_id', sqlalchemy.String(length), nullable=True)] if length else []
