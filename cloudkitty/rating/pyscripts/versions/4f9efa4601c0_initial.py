# SPDX-License-Identifier: Apache-2.0
"""Initial migration."""

from cloudkitty.db import schema
from cloudkitty.rating.pyscripts import history

revision = '4f9efa4601c0'
down_revision = None


def upgrade():
    schema.create(history.scripts())
