# SPDX-License-Identifier: Apache-2.0
"""Increase cost fields to 30 digits"""

from cloudkitty.db import schema
from cloudkitty.rating.hashmap import history

revision = '4e0232ce'
down_revision = 'Ifbf5b2515c7'


def upgrade():
    schema.conform(history.mappings(tenant=255, cost=history.COST))
    schema.conform(history.thresholds(tenant=255, cost=history.COST))
