# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-source-compare``."""

from collections.abc import Sequence
import sys
from typing import Any

from oslo_config import cfg

from cloudkitty.cli import database as cli_database

OPTIONS = (
    cfg.MultiStrOpt(
        'other',
        default=[],
        metavar='FILE',
        help='Configuration file of the other source: it is read after those of the service, and holds only what '
        'differs, such as [collect] collector and metrics_conf. May be repeated.',
    ),
    cfg.StrOpt(
        'begin', metavar='INSTANT', help='Begin of the period, as in 2026-06-01T12:00; of the last that is due.'
    ),
    cfg.MultiStrOpt('scope', default=[], metavar='ID', help='Scope to look at. May be repeated; all that are rated.'),
    cfg.BoolOpt('differences', default=False, help='Show only what differs.'),
)


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Run the command with *argv*, default that of this process; return the exit status."""
    conf = cfg.CONF if conf is None else conf
    conf.register_cli_opts(OPTIONS)
    return cli_database.run('cloudkitty-source-compare', run, argv, conf)


def run(conf: Any, database: Any) -> None:
    """Show what two sources would bill for one period."""
    # Here, for --help and --version need none of it.
    from cloudkitty.cli import comparing

    comparing.run(conf, database)


if __name__ == '__main__':
    sys.exit(main())
