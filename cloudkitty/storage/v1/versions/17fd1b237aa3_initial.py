# SPDX-License-Identifier: Apache-2.0
"""Initial migration"""

import sqlalchemy

from cloudkitty.db import schema

revision = '17fd1b237aa3'
down_revision = None


def upgrade():
    schema.create(
        schema.define(
            'rated_data_frames',
            sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
            sqlalchemy.Column('begin', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.Column('end', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.Column('unit', sqlalchemy.String(255), nullable=False),
            sqlalchemy.Column('qty', sqlalchemy.Numeric, nullable=False),
            sqlalchemy.Column('res_type', sqlalchemy.String(255), nullable=False),
            sqlalchemy.Column('rate', sqlalchemy.Float, nullable=False),
            sqlalchemy.Column('desc', sqlalchemy.Text, nullable=False),
            **schema.UTF8,
        )
    )
