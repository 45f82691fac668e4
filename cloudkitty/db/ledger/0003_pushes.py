# SPDX-License-Identifier: Apache-2.0
"""Keys of pushes, by which one that is repeated is known"""

import sqlalchemy

from cloudkitty.db import schema
from cloudkitty.db import types

revision = '0003'
down_revision = '0002'


def upgrade():
    schema.create(
        schema.define(
            'pushes',
            sqlalchemy.Column('id', sqlalchemy.String(32), primary_key=True),
            sqlalchemy.Column('text', types.exact_string(255), nullable=False),
            sqlalchemy.Column('digest', sqlalchemy.String(32), nullable=False),
            sqlalchemy.Column('at', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.Index('idx_pushes_at', 'at'),
            **schema.OURS,
        )
    )
