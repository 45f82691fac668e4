# SPDX-License-Identifier: Apache-2.0
"""Add start end dates and audit in hashmap mappings"""

from cloudkitty.db import schema
from cloudkitty.rating.hashmap import history

revision = '8a591f85865f'
down_revision = '4e0232ce'


def upgrade():
    name = {
        'sqlite': 'lower(hex(randomblob(16)))',
        'mysql': 'md5(concat(uuid(), rand(), id))',
        'postgresql': 'md5(random()::text || clock_timestamp()::text || id::text)',
    }[schema.dialect()]
    schema.conform(
        history.mappings(tenant=255, cost=history.COST, dated=True),
        fill={
            'name': name,
            'created_at': schema.now(),
            'start': "'1970-01-01 00:00:00'",
            'created_by': "'migration'",
        },
    )
