# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-storage-import``."""

from collections.abc import Sequence
import sys
from typing import Any

from oslo_config import cfg

from cloudkitty.cli import database as cli_database

SQL, INFLUXDB = 'sql', 'influxdb'

OPTIONS = (
    cfg.StrOpt(
        'from',
        dest='source',
        default=SQL,
        choices=[(SQL, 'the table rated_data_frames'), (INFLUXDB, 'the InfluxDB of [storage_influxdb]')],
        help='Where the history is.',
    ),
    cfg.BoolOpt('dry-run', default=False, help='Do everything, and take it back: nothing is written.'),
    cfg.BoolOpt(
        'again',
        default=False,
        help='Import anew the rows of instants of which rows were left out, deleted or slipped in, and of days whose '
        'totals differ: first take out what was imported of them, where it is still as it was.',
    ),
)


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Run the command with *argv*, default that of this process; return the exit status."""
    conf = cfg.CONF if conf is None else conf
    conf.register_cli_opts(OPTIONS)
    return cli_database.run('cloudkitty-storage-import', run, argv, conf)


def run(conf: Any, database: Any) -> None:
    """Import what is not imported yet."""
    # Here, for --help and --version need none of it.
    from cloudkitty.cli import history_import

    history_import.run(conf, database)


if __name__ == '__main__':
    sys.exit(main())
