# SPDX-License-Identifier: Apache-2.0
"""How much of the points in InfluxDB has been imported"""

import sqlalchemy

from cloudkitty.db import schema

revision = '0006'
down_revision = '0005'


def upgrade():
    schema.create(
        schema.define(
            'imported_points',
            sqlalchemy.Column('begin', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('row_count', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('left_out', sqlalchemy.BigInteger, nullable=False),
            **schema.OURS,
        )
    )
