# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-storage-purge``."""

from collections.abc import Sequence
import sys
from typing import Any

from oslo_config import cfg

from cloudkitty.cli import database as cli_database
from cloudkitty.cli import tables

OPTIONS = (
    cfg.StrOpt('before', metavar='INSTANT', help='Delete what is older, such as 2025-01-01; whole UTC days only.'),
    cfg.BoolOpt('dry-run', default=False, help='Only tell how much that is.'),
    cfg.BoolOpt('yes', default=False, help='Do not ask.'),
    cfg.StrOpt(
        'format', default=tables.TABLE, choices=(tables.TABLE, tables.JSON), help='Of what is printed in the end.'
    ),
)


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Run the command with *argv*, default that of this process; return the exit status."""
    conf = cfg.CONF if conf is None else conf
    conf.register_cli_opts(OPTIONS)
    return cli_database.run('cloudkitty-storage-purge', run, argv, conf)


def run(conf: Any, database: Any) -> None:
    """Delete what is older than asked for."""
    # Here, for --help and --version need none of it.
    from cloudkitty.cli import purging

    purging.run(conf, database)


if __name__ == '__main__':
    sys.exit(main())
