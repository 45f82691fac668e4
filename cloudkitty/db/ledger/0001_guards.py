# SPDX-License-Identifier: Apache-2.0
"""Guards, coverage and rule sets"""

from alembic import op
import sqlalchemy

from cloudkitty.db import schema
from cloudkitty.db import types

AUTO_ID = sqlalchemy.BigInteger().with_variant(sqlalchemy.Integer, 'sqlite')

revision = '0001'
down_revision = None


def upgrade():
    schema.create(
        schema.define(
            'scopes',
            sqlalchemy.Column('id', AUTO_ID, primary_key=True, autoincrement=True),
            sqlalchemy.Column('identifier', types.exact_string(255), nullable=False),
            sqlalchemy.Column('epoch', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('touched', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('gone_since', sqlalchemy.DateTime, nullable=True),
            sqlalchemy.UniqueConstraint('identifier', name='uq_scopes_identifier'),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'coverage',
            sqlalchemy.Column('scope_id', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('metric', types.exact_string(255), primary_key=True),
            sqlalchemy.Column('begin', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('end', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('status', sqlalchemy.String(16), nullable=False),
            sqlalchemy.Column('rule_set', sqlalchemy.String(32), nullable=True),
            sqlalchemy.Column('altered', sqlalchemy.Boolean, nullable=False),
            sqlalchemy.Index('idx_coverage_scope_begin', 'scope_id', 'begin'),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'coverage_failures',
            sqlalchemy.Column('scope_id', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('metric', types.exact_string(255), primary_key=True),
            sqlalchemy.Column('begin', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('since', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('attempts', sqlalchemy.Integer, nullable=False),
            sqlalchemy.Column('next_attempt', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('error', types.long_text(), nullable=False),
            sqlalchemy.Index('idx_coverage_failures_next_attempt', 'next_attempt'),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'rule_sets',
            sqlalchemy.Column('digest', sqlalchemy.String(32), primary_key=True),
            sqlalchemy.Column('created_at', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.Column('body', types.long_text(), nullable=False),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'rule_parts',
            sqlalchemy.Column('digest', sqlalchemy.String(32), primary_key=True),
            sqlalchemy.Column('kind', sqlalchemy.String(32), nullable=False),
            sqlalchemy.Column('body', types.long_text(), nullable=False),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'rule_revision',
            sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True, autoincrement=False),
            sqlalchemy.Column('revision', sqlalchemy.BigInteger, nullable=False),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'rule_actors',
            sqlalchemy.Column('rule_id', types.exact_string(36), primary_key=True),
            sqlalchemy.Column('created_by', types.long_text(), nullable=True),
            sqlalchemy.Column('updated_by', types.long_text(), nullable=True),
            sqlalchemy.Column('deleted_by', types.long_text(), nullable=True),
            **schema.OURS,
        )
    )
    bind = op.get_bind()
    if bind.exec_driver_sql('SELECT count(*) FROM rule_revision').scalar() == 0:
        bind.exec_driver_sql('INSERT INTO rule_revision (id, revision) VALUES (1, 1)')
