# SPDX-License-Identifier: Apache-2.0
"""Initial"""

import sqlalchemy

from cloudkitty.db import schema

revision = 'c14eea9d3cc1'
down_revision = None


def upgrade():
    schema.create(
        schema.define(
            'cloudkitty_storage_states',
            sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
            sqlalchemy.Column('identifier', sqlalchemy.String(40), nullable=False, unique=True),
            sqlalchemy.Column('state', sqlalchemy.DateTime, nullable=False),
            **schema.UTF8,
        )
    )
