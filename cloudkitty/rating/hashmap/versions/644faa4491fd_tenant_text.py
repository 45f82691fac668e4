# SPDX-License-Identifier: Apache-2.0
"""Update tenant_id type from uuid to text"""

from cloudkitty.db import schema
from cloudkitty.rating.hashmap import history

revision = '644faa4491fd'
down_revision = '4da82e1c11c8'


def upgrade():
    schema.conform(history.mappings(tenant=255))
    schema.conform(history.thresholds(tenant=255))
