# SPDX-License-Identifier: Apache-2.0
"""Update storage state constraint"""

import sqlalchemy

from cloudkitty.db import schema

revision = '4d69395f'
down_revision = '750d3050cf71'


def upgrade():
    schema.conform(
        schema.define(
            'cloudkitty_storage_states',
            sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True),
            sqlalchemy.Column('identifier', sqlalchemy.String(256), nullable=False),
            sqlalchemy.Column('scope_key', sqlalchemy.String(40), nullable=True),
            sqlalchemy.Column('fetcher', sqlalchemy.String(40), nullable=True),
            sqlalchemy.Column('collector', sqlalchemy.String(40), nullable=True),
            sqlalchemy.Column('last_processed_timestamp', sqlalchemy.DateTime, nullable=False),
            sqlalchemy.Column(
                'scope_activation_toggle_date',
                sqlalchemy.DateTime,
                nullable=False,
                server_default=sqlalchemy.func.now(),
            ),
            sqlalchemy.Column('active', sqlalchemy.Boolean, nullable=False),
            sqlalchemy.UniqueConstraint(
                'identifier', 'scope_key', 'collector', 'fetcher', name='uq_cloudkitty_storage_states_identifier'
            ),
            **schema.UTF8,
        ),
        fill={'active': schema.true(), 'scope_activation_toggle_date': schema.now()},
    )
