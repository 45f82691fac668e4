# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-dbsync``: migrations of the core and of the rating modules."""

from collections.abc import Sequence
import sys
from typing import Any

from oslo_config import cfg

from cloudkitty.cli import database as cli_database


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Run the command with *argv*, default that of this process; return the exit status."""
    conf = cfg.CONF if conf is None else conf
    conf.register_cli_opt(cfg.SubCommandOpt('command', title='Commands', handler=add_parsers))
    return cli_database.run('cloudkitty-dbsync', run, argv, conf)


def add_parsers(subparsers: Any) -> None:
    """Add the sub-commands."""
    parser = subparsers.add_parser('upgrade', help='Bring all modules, or one, to a revision.')
    parser.add_argument('--revision', nargs='?', help='Identifier, or its beginning; default: head.')
    parser.add_argument('--module', nargs='?', help='Name of a module; default: all.')

    parser = subparsers.add_parser('stamp', help='Say at which revision a module is, without any change.')
    parser.add_argument('--revision', required=True, help='Identifier; "base" forgets the revision of the module.')
    parser.add_argument('--module', required=True, help='Name of a module.')

    parser = subparsers.add_parser('revision', help='Write a new migration script of a module.')
    parser.add_argument('-m', '--message', nargs='?', help='Title of the revision.')
    parser.add_argument('--autogenerate', action='store_true', help='Fill it with the difference to the models.')
    parser.add_argument('--module', required=True, help='Name of a module.')

    parser = subparsers.add_parser('version', help='Print at which revision a module is, or all chains are.')
    parser.add_argument('--module', help='Name of a module; default: a table of all, those of the storage too.')

    parser = subparsers.add_parser('check', help='The same; status 1 where one is not at the head of this release.')
    parser.add_argument('--module', help='Name of a module; default: all, those of the storage too.')

    parser = subparsers.add_parser('drop', help='Drop the tables that only this release knows; asks first.')
    parser.add_argument('--yes', action='store_true', help='Do not ask.')
    parser.add_argument(
        '--write-frames', action='store_true', help='Write what was rated into rated_data_frames before.'
    )
    parser.add_argument(
        '--replace', action='store_true', help='With --write-frames: replace rows there that differ from ours.'
    )


def run(conf: Any, database: Any) -> None:
    """Run the sub-command that *conf* holds."""
    # Here, for --help and --version need none of it.
    from cloudkitty.cli import drop
    from cloudkitty.cli import migrations

    actions = {
        'upgrade': migrations.upgrade,
        'stamp': migrations.stamp,
        'revision': migrations.make_revision,
        'version': migrations.print_version,
        'check': migrations.check,
        'drop': drop.run,
    }
    actions[conf.command.name](conf.command, database)


if __name__ == '__main__':
    sys.exit(main())
