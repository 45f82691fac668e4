# SPDX-License-Identifier: Apache-2.0
"""Add details to state management"""

from alembic import op
import sqlalchemy

from cloudkitty.db import schema

revision = 'd9d103dd4dcf'
down_revision = 'c14eea9d3cc1'


def upgrade():
    existing = schema.list_columns('cloudkitty_storage_states')
    for name in ('scope_key', 'collector', 'fetcher'):
        if name not in existing:
            op.add_column('cloudkitty_storage_states', sqlalchemy.Column(name, sqlalchemy.String(40), nullable=True))
