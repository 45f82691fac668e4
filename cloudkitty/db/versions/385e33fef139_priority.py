# SPDX-License-Identifier: Apache-2.0
"""Added priority to modules_state."""

from alembic import op
import sqlalchemy

from cloudkitty.db import schema

revision = '385e33fef139'
down_revision = '2ac2217dcbd9'


def upgrade():
    if 'priority' not in schema.list_columns('modules_state'):
        op.add_column('modules_state', sqlalchemy.Column('priority', sqlalchemy.Integer, nullable=True))
