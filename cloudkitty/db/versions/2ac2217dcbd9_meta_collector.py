# SPDX-License-Identifier: Apache-2.0
"""Added support for meta collector"""

import sqlalchemy

from cloudkitty.db import schema

revision = '2ac2217dcbd9'
down_revision = '464e951dc3b8'


def upgrade():
    schema.create(
        schema.define(
            'service_to_collector_mappings',
            sqlalchemy.Column('service', sqlalchemy.String(255), primary_key=True),
            sqlalchemy.Column('collector', sqlalchemy.String(255), nullable=False),
        )
    )
