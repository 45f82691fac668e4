# SPDX-License-Identifier: Apache-2.0
"""move from sha1 to sha512"""

from cloudkitty.db import schema
from cloudkitty.rating.pyscripts import history

revision = '75c205f6f1a2'
down_revision = '4f9efa4601c0'


def upgrade():
    schema.conform(history.scripts(checksum=128))
