# SPDX-License-Identifier: Apache-2.0
"""What the schedules of old do not say of a reprocessing"""

import sqlalchemy

from cloudkitty.db import schema
from cloudkitty.db import types

revision = '0004'
down_revision = '0003'


def upgrade():
    schema.create(
        schema.define(
            'reprocessing_tasks',
            sqlalchemy.Column('id', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('recollect', sqlalchemy.Boolean, nullable=False),
            sqlalchemy.Column('cancelled', sqlalchemy.Boolean, nullable=False),
            sqlalchemy.Column('open', sqlalchemy.Boolean, nullable=False),
            sqlalchemy.Column('last_done', sqlalchemy.BigInteger),
            sqlalchemy.Column('actor', types.long_text()),
            sqlalchemy.Column('since', sqlalchemy.BigInteger),
            sqlalchemy.Column('attempts', sqlalchemy.Integer, nullable=False),
            sqlalchemy.Column('next_attempt', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('error', types.long_text()),
            **schema.OURS,
        )
    )
    schema.create(
        schema.define(
            'reprocessing_kept',
            sqlalchemy.Column('task_id', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('metric', types.exact_string(255), primary_key=True),
            sqlalchemy.Column('begin', sqlalchemy.BigInteger, primary_key=True, autoincrement=False),
            sqlalchemy.Column('end', sqlalchemy.BigInteger, nullable=False),
            sqlalchemy.Column('error', types.long_text(), nullable=False),
            **schema.OURS,
        )
    )
