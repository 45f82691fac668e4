# SPDX-License-Identifier: Apache-2.0
"""Which reprocessing replaced something"""

from alembic import op
import sqlalchemy

from cloudkitty.db import schema

revision = '0003'
down_revision = '0002'


def upgrade():
    if 'task_id' not in schema.list_columns('rated_history'):
        op.add_column('rated_history', sqlalchemy.Column('task_id', sqlalchemy.BigInteger, nullable=True))
