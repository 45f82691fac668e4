# SPDX-License-Identifier: Apache-2.0
"""Initial migration"""

from cloudkitty.db import schema
from cloudkitty.rating.hashmap import history

revision = '3dd7e13527f3'
down_revision = None


def upgrade():
    schema.create(history.services(named=False))
    schema.create(history.fields(named=False, clean=False))
    schema.create(history.groups(named=False))
    if not schema.has_table('hashmap_mappings'):
        schema.create(history.mappings('hashmap_maps', named=False))
