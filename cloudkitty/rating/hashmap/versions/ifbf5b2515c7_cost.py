# SPDX-License-Identifier: Apache-2.0
"""Increase cost fields to 30 digits"""

from cloudkitty.db import schema
from cloudkitty.rating.hashmap import history

revision = 'Ifbf5b2515c7'
down_revision = '644faa4491fd'


def upgrade():
    # Straight to the width of the next revision: 30 digits with 28 decimals hold no cost of 100 or more.
    schema.conform(history.mappings(tenant=255, cost=history.COST))
    schema.conform(history.thresholds(tenant=255, cost=history.COST))
