# SPDX-License-Identifier: Apache-2.0
"""Add start end dates and audit in pyscripts"""

from cloudkitty.db import schema
from cloudkitty.rating.pyscripts import history

revision = 'c6e4cda29654'
down_revision = '75c205f6f1a2'


def upgrade():
    schema.conform(
        history.scripts(checksum=128, dated=True),
        fill={
            'created_at': schema.now(),
            'start': "'2014-01-01 00:00:00'",
            'created_by': "'migration'",
        },
    )
