# SPDX-License-Identifier: Apache-2.0
"""Add per tenant hashmap support"""

from cloudkitty.db import schema
from cloudkitty.rating.hashmap import history

revision = '4da82e1c11c8'
down_revision = 'c88a06b1cfce'


def upgrade():
    schema.conform(history.mappings(tenant=36))
    schema.conform(history.thresholds(tenant=36))
