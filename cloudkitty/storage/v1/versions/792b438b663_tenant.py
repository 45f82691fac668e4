# SPDX-License-Identifier: Apache-2.0
"""added tenant informations"""

from alembic import op
import sqlalchemy

from cloudkitty.db import schema

revision = '792b438b663'
down_revision = '17fd1b237aa3'


def upgrade():
    if 'tenant_id' not in schema.list_columns('rated_data_frames'):
        op.add_column('rated_data_frames', sqlalchemy.Column('tenant_id', sqlalchemy.String(32), nullable=True))
