# SPDX-License-Identifier: Apache-2.0
"""How far back data of scopes was purged"""

import sqlalchemy

from cloudkitty.db import schema

revision = '0006'
down_revision = '0005'


def upgrade():
    schema.create(
        schema.define(
            'purges',
            sqlalchemy.Column('scope_id', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('purged_until', sqlalchemy.BigInteger, nullable=False),
            **schema.OURS,
        )
    )
