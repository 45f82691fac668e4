# SPDX-License-Identifier: Apache-2.0
"""How much of the storage of old has been imported"""

import sqlalchemy

from cloudkitty.db import schema

revision = '0002'
down_revision = '0001'


def upgrade():
    schema.create(
        schema.define(
            'imported_frames',
            sqlalchemy.Column('begin', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('row_count', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('last_id', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('left_out', sqlalchemy.BigInteger, nullable=False),
            **schema.OURS,
        )
    )
