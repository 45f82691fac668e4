# SPDX-License-Identifier: Apache-2.0
"""Fixed constraint name."""

from cloudkitty.db import schema
from cloudkitty.rating.hashmap import history

revision = '54cc17accf2c'
down_revision = '4fa888fd7eda'


def upgrade():
    if schema.dialect() != 'postgresql':
        schema.conform(history.thresholds(named=False))
