# SPDX-License-Identifier: Apache-2.0
"""Creating indexes to allow SQL query optimizations"""

from alembic import op
import sqlalchemy

revision = 'd875621d0384'
down_revision = 'c703a1bad612'


INDEXES = {
    'idx_rated_data_frames_date': ['begin', 'end'],
    'idx_tenantid_begin_end': ['tenant_id', 'begin', 'end'],
}


def upgrade():
    existing = {index['name'] for index in sqlalchemy.inspect(op.get_bind()).get_indexes('rated_data_frames')}
    for name, columns in INDEXES.items():
        if name not in existing:
            op.create_index(name, 'rated_data_frames', columns)
