# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-storage-init``: tables of the storage, of the scopes' states and of the ledger."""

from collections.abc import Sequence
import logging
import sys
from typing import Any

from oslo_config import cfg

from cloudkitty.cli import database as cli_database

LOG = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Run the command with *argv*, default that of this process; return the exit status."""
    return cli_database.run('cloudkitty-storage-init', run, argv, cfg.CONF if conf is None else conf)


def run(conf: Any, database: Any) -> None:
    """Make the tables of the configured storage; refuse where a default could hide a cloud's history."""
    # Here, for --help and --version need none of it.
    from cloudkitty import storage
    from cloudkitty.db import history
    from cloudkitty.db import migration

    history.require_backend(conf, database)
    if conf.storage.backend != 'sqlalchemy':
        storage.from_options(conf, database).init()
    # Scopes, their clocks and what became of their cells are in the database, whatever the storage.
    migration.init_storage(database)
    warning = history.describe_frames(conf, database)
    if warning:
        LOG.warning('%s', warning)


if __name__ == '__main__':
    sys.exit(main())
