# SPDX-License-Identifier: Apache-2.0
"""improve_qty_digit"""

from cloudkitty.storage.v1 import history

revision = 'c703a1bad612'
down_revision = '307430ab38bc'


def upgrade():
    history.widen_qty()
