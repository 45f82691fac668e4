# SPDX-License-Identifier: Apache-2.0
"""Update storage state constraint"""

import sqlalchemy

from cloudkitty.db import schema

revision = 'c50ed2c19204'
down_revision = 'd9d103dd4dcf'


def upgrade():
    schema.use_long_prefixes('cloudkitty_storage_states')
    # Where the version table was set back, the next revision has renamed the clock already.
    existing = schema.list_columns('cloudkitty_storage_states')
    clock = 'last_processed_timestamp' if 'last_processed_timestamp' in existing else 'state'
    schema.conform(
        schema.define(
            'cloudkitty_storage_states',
            sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
            sqlalchemy.Column('identifier', sqlalchemy.String(256), nullable=False),
            sqlalchemy.Column('scope_key', sqlalchemy.String(40), nullable=True),
            sqlalchemy.Column('fetcher', sqlalchemy.String(40), nullable=True),
            sqlalchemy.Column('collector', sqlalchemy.String(40), nullable=True),
            sqlalchemy.Column(clock, sqlalchemy.DateTime, nullable=False),
            sqlalchemy.UniqueConstraint(
                'identifier', 'scope_key', 'collector', 'fetcher', name='uq_cloudkitty_storage_states_identifier'
            ),
            **schema.UTF8,
        )
    )
