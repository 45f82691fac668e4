# SPDX-License-Identifier: Apache-2.0
"""Clean hashmap fields constraints."""

from cloudkitty.db import schema
from cloudkitty.rating.hashmap import history

revision = 'c88a06b1cfce'
down_revision = 'f8c799db4aa0'


def upgrade():
    schema.conform(history.fields())
