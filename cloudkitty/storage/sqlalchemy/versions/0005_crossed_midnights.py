# SPDX-License-Identifier: Apache-2.0
"""Which days have points that end after them"""

from alembic import op
import sqlalchemy

from cloudkitty.db import schema

revision = '0005'
down_revision = '0004'


def upgrade():
    crossed = schema.define(
        'crossed_midnights',
        sqlalchemy.Column('day', sqlalchemy.Integer, primary_key=True, autoincrement=False),
        **schema.OURS,
    )
    schema.create(crossed)
    connection = op.get_bind()
    if connection.execute(sqlalchemy.select(crossed.c.day).limit(1)).first() is None:
        # Of the days that are there any may have some.
        connection.exec_driver_sql('INSERT INTO crossed_midnights (day) SELECT DISTINCT day FROM scope_days')
