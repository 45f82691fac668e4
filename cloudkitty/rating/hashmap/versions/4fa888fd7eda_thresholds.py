# SPDX-License-Identifier: Apache-2.0
"""Added threshold support."""

from cloudkitty.db import schema
from cloudkitty.rating.hashmap import history

revision = '4fa888fd7eda'
down_revision = '3dd7e13527f3'


def upgrade():
    schema.create(history.thresholds(named=False, misnamed=True))
