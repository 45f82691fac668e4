# SPDX-License-Identifier: Apache-2.0
"""Rename mapping table to hashmap_mappings."""

from cloudkitty.db import schema

revision = '10d2738b67df'
down_revision = '54cc17accf2c'


def upgrade():
    schema.rename_table('hashmap_maps', 'hashmap_mappings')
