# SPDX-License-Identifier: Apache-2.0
"""Fix unnamed constraints."""

from cloudkitty.db import schema
from cloudkitty.rating.hashmap import history

revision = 'f8c799db4aa0'
down_revision = '10d2738b67df'


def upgrade():
    schema.conform(history.services())
    schema.conform(history.groups())
    schema.conform(history.fields(clean=False))
    schema.conform(history.mappings())
    schema.conform(history.thresholds())
