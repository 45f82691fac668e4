# SPDX-License-Identifier: Apache-2.0
"""Initial migration"""

import sqlalchemy

from cloudkitty.db import schema

revision = '464e951dc3b8'
down_revision = None


def upgrade():
    schema.create(
        schema.define(
            'states',
            sqlalchemy.Column('name', sqlalchemy.String(255), primary_key=True),
            sqlalchemy.Column('state', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('s_metadata', sqlalchemy.Text, nullable=True),
        )
    )
    schema.create(
        schema.define(
            'modules_state',
            sqlalchemy.Column('name', sqlalchemy.String(255), primary_key=True),
            sqlalchemy.Column('state', sqlalchemy.Boolean, nullable=False),
        )
    )
