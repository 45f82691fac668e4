# SPDX-License-Identifier: Apache-2.0
"""Create reprocessing scheduler table"""

import sqlalchemy

from cloudkitty.db import schema

revision = '9feccd32'
down_revision = '4d69395f'


def upgrade():
    schema.create(
        schema.define(
            'storage_scope_reprocessing_schedule',
            sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
            sqlalchemy.Column('identifier', sqlalchemy.String(256), nullable=False),
            sqlalchemy.Column('start_reprocess_time', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.Column('end_reprocess_time', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.Column('current_reprocess_time', sqlalchemy.DateTime, nullable=True),
            sqlalchemy.Column('reason', sqlalchemy.Text, nullable=False),
            **schema.UTF8,
        )
    )
