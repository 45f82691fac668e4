# SPDX-License-Identifier: Apache-2.0
"""How long frames are"""

from alembic import op
import sqlalchemy

from cloudkitty.db import schema

revision = '0004'
down_revision = '0003'

#: Frames that are there may be as long as any.
LONGEST = 31 * 86400


def upgrade():
    lengths = schema.define(
        'frame_lengths',
        sqlalchemy.Column('length', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
        **schema.OURS,
    )
    schema.create(lengths)
    connection = op.get_bind()
    is_empty = connection.exec_driver_sql('SELECT 1 FROM scope_days LIMIT 1').first() is None
    if not is_empty and connection.execute(sqlalchemy.select(lengths.c.length)).first() is None:
        connection.execute(lengths.insert().values(length=LONGEST))
