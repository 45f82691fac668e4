# SPDX-License-Identifier: Apache-2.0
"""Create last processed timestamp column"""

import sqlalchemy

from cloudkitty.db import schema

revision = '750d3050cf71'
down_revision = 'c50ed2c19204'


def upgrade():
    schema.use_long_prefixes('cloudkitty_storage_states')
    schema.conform(
        schema.define(
            'cloudkitty_storage_states',
            sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
            sqlalchemy.Column('identifier', sqlalchemy.String(256), nullable=False),
            sqlalchemy.Column('scope_key', sqlalchemy.String(40), nullable=True),
            sqlalchemy.Column('fetcher', sqlalchemy.String(40), nullable=True),
            sqlalchemy.Column('collector', sqlalchemy.String(40), nullable=True),
            sqlalchemy.Column('last_processed_timestamp', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.UniqueConstraint(
                'identifier', 'scope_key', 'collector', 'fetcher', name='uq_cloudkitty_storage_states_identifier'
            ),
            **schema.UTF8,
        ),
        renamed={'last_processed_timestamp': 'state'},
    )
