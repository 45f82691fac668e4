# SPDX-License-Identifier: Apache-2.0
"""The table of the storage of old as it was from release to release."""

from alembic import op
import sqlalchemy

from cloudkitty.db import schema

QTY = sqlalchemy.Numeric(15, 5)


def widen_qty() -> None:
    """Make quantities NUMERIC(15, 5)."""
    if schema.dialect() != 'sqlite':
        op.alter_column('rated_data_frames', 'qty', type_=QTY, existing_type=sqlalchemy.Numeric(), nullable=False)
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
