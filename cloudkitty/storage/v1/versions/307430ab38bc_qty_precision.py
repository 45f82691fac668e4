# SPDX-License-Identifier: Apache-2.0
"""improve qty precision"""

from cloudkitty.storage.v1 import history

revision = '307430ab38bc'
down_revision = '792b438b663'


def upgrade():
    # Straight to the width of the next revision: a narrower one could cut what a table of old holds.
    history.widen_qty()
