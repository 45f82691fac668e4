# SPDX-License-Identifier: Apache-2.0
"""Scopes that are closed, and what would have changed of what is closed"""

import sqlalchemy

from cloudkitty.db import schema
from cloudkitty.db import types

AUTO_ID = sqlalchemy.BigInteger().with_variant(sqlalchemy.Integer, 'sqlite')

revision = '0005'
down_revision = '0004'


def upgrade():
    schema.create(
        schema.define(
            'closings',
            sqlalchemy.Column('scope_id', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('closed_until', sqlalchemy.BigInteger, nullable=False),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'adjustments',
            sqlalchemy.Column('id', AUTO_ID, primary_key=True, autoincrement=True),
            sqlalchemy.Column('scope_id', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('begin', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('end', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('status', sqlalchemy.String(16), nullable=False),
            sqlalchemy.Column('noted_at', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('decided_at', sqlalchemy.BigInteger),
            sqlalchemy.Column('decided_by', types.long_text()),
            sqlalchemy.Column('body', types.long_text(), nullable=False),
            sqlalchemy.UniqueConstraint('scope_id', 'begin', name='uq_adjustments_scope_begin'),
            sqlalchemy.Index('idx_adjustments_status', 'status'),
            **schema.OURS,
        )
    )
