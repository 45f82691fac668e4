# SPDX-License-Identifier: Apache-2.0
"""Series, their days and roll-ups"""

import sqlalchemy
from sqlalchemy.dialects import mysql

from cloudkitty.db import schema
from cloudkitty.db import types

AUTO_ID = sqlalchemy.BigInteger().with_variant(sqlalchemy.Integer, 'sqlite')
FINGERPRINT = sqlalchemy.LargeBinary(16).with_variant(mysql.BINARY(16), 'mysql', 'mariadb')

revision = '0001'
down_revision = None


def upgrade():
    schema.create(
        schema.define(
            'series',
            sqlalchemy.Column('id', AUTO_ID, primary_key=True, autoincrement=True),
            sqlalchemy.Column('fingerprint', FINGERPRINT, nullable=False),
            sqlalchemy.Column('scope_id', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('metric', types.exact_string(255), nullable=False),
            sqlalchemy.Column('unit', types.exact_string(255), nullable=False),
            sqlalchemy.Column('origin', sqlalchemy.String(16), nullable=False),
            sqlalchemy.Column('description', types.long_text(), nullable=True),
            sqlalchemy.Column('groupby', types.long_text(), nullable=False),
            sqlalchemy.Column('metadata', types.long_text(), nullable=False),
            sqlalchemy.UniqueConstraint('fingerprint', name='uq_series_fingerprint'),
            sqlalchemy.Index('idx_series_scope_metric', 'scope_id', 'metric'),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'rated_days',
            sqlalchemy.Column('day', sqlalchemy.Integer, primary_key=True, autoincrement=False),
            sqlalchemy.Column('series_id', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('scope_id', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('qty', types.Amount, nullable=False),
            sqlalchemy.Column('price', types.Amount, nullable=False),
            sqlalchemy.Column('points', sqlalchemy.Integer, nullable=False),
            sqlalchemy.Column('body', types.long_text(), nullable=False),
            sqlalchemy.Index('idx_rated_days_scope_day', 'scope_id', 'day'),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'scope_days',
            sqlalchemy.Column('day', sqlalchemy.Integer, primary_key=True, autoincrement=False),
            sqlalchemy.Column('scope_id', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('metric', types.exact_string(255), primary_key=True),
            sqlalchemy.Column('origin', sqlalchemy.String(16), primary_key=True),
            sqlalchemy.Column('qty', types.Amount, nullable=False),
            sqlalchemy.Column('price', types.Amount, nullable=False),
            sqlalchemy.Column('points', sqlalchemy.Integer, nullable=False),
            sqlalchemy.Column('unpriced', sqlalchemy.Integer, nullable=False),
            sqlalchemy.Column('skipped', sqlalchemy.Integer, nullable=False),
            sqlalchemy.Column('body', types.long_text(), nullable=False),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'scope_months',
            sqlalchemy.Column('month', sqlalchemy.Integer, primary_key=True, autoincrement=False),
            sqlalchemy.Column('scope_id', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('metric', types.exact_string(255), primary_key=True),
            sqlalchemy.Column('origin', sqlalchemy.String(16), primary_key=True),
            sqlalchemy.Column('qty', types.Amount, nullable=False),
            sqlalchemy.Column('price', types.Amount, nullable=False),
            sqlalchemy.Column('points', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('unpriced', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('skipped', sqlalchemy.BigInteger, nullable=False),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'rated_history',
            sqlalchemy.Column('id', AUTO_ID, primary_key=True, autoincrement=True),
            sqlalchemy.Column('day', sqlalchemy.Integer, nullable=False),
            sqlalchemy.Column('series_id', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('scope_id', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('qty', types.Amount, nullable=False),
            sqlalchemy.Column('price', types.Amount, nullable=False),
            sqlalchemy.Column('points', sqlalchemy.Integer, nullable=False),
            sqlalchemy.Column('body', types.long_text(), nullable=False),
            sqlalchemy.Column('cause', types.long_text(), nullable=False),
            sqlalchemy.Column('who', types.exact_string(255), nullable=True),
            sqlalchemy.Column('at', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.Index('idx_rated_history_scope_day', 'scope_id', 'day'),
            **schema.OURS,
        )
    )
