# SPDX-License-Identifier: Apache-2.0
"""What the tables of rules held when somebody last looked"""

import sqlalchemy

from cloudkitty.db import schema

revision = '0002'
down_revision = '0001'


def upgrade():
    schema.create(
        schema.define(
            'seen_rules',
            sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True, autoincrement=False),
            sqlalchemy.Column('revision', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('digest', sqlalchemy.String(32), nullable=False),
            **schema.OURS,
        )
    )
