# SPDX-License-Identifier: Apache-2.0
"""The table of the storage of old as it was from release to release."""

from alembic import op
import sqlalchemy

from cloudkitty.db import schema

QTY = sqlalchemy.Numeric(15, 5)


def widen_qty() -> None:
    """Make quantities NUMERIC(15, 5).

    They stay nullable where they are: releases 5 and later made them so on MySQL, and a row may have none.
    """
    if schema.dialect() != 'sqlite':
        columns = sqlalchemy.inspect(op.get_bind()).get_columns('rated_data_frames')
        nullable = next(column['nullable'] for column in columns if column['name'] == 'qty')
        op.alter_column('rated_data_frames', 'qty', type_=QTY, existing_type=sqlalchemy.Numeric(), nullable=nullable)
        return
    schema.conform(
        schema.define(
            'rated_data_frames',
            sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
            sqlalchemy.Column('begin', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.Column('end', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.Column('unit', sqlalchemy.String(255), nullable=False),
            sqlalchemy.Column('qty', QTY, nullable=False),
            sqlalchemy.Column('res_type', sqlalchemy.String(255), nullable=False),
            sqlalchemy.Column('rate', sqlalchemy.Float, nullable=False),
            sqlalchemy.Column('desc', sqlalchemy.Text, nullable=False),
            sqlalchemy.Column('tenant_id', sqlalchemy.String(32), nullable=True),
        )
    )
