# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-dbsync``: migrations of the core and of the rating modules."""

from collections.abc import Sequence
import sys
from typing import Any

from oslo_config import cfg

from cloudkitty import errors
from cloudkitty import plugins
from cloudkitty.cli import chains
from cloudkitty.cli import database as cli_database
from cloudkitty.cli import drop
from cloudkitty.db import engine
from cloudkitty.db import migration

MODULES_NAMESPACE = 'cloudkitty.rating.processors'


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Run the command with *argv*, default that of this process; return the exit status."""
    conf = cfg.CONF if conf is None else conf
    conf.register_cli_opt(cfg.SubCommandOpt('command', title='Commands', handler=add_parsers))
    return cli_database.run('cloudkitty-dbsync', run, argv, conf)


def add_parsers(subparsers: Any) -> None:
    """Add the sub-commands."""
    parser = subparsers.add_parser('upgrade', help='Bring all modules, or one, to a revision.')
    parser.set_defaults(action=upgrade)
    parser.add_argument('--revision', nargs='?', help='Identifier, or its beginning; default: head.')
    parser.add_argument('--module', nargs='?', help='Name of a module; default: all.')

    parser = subparsers.add_parser('stamp', help='Say at which revision a module is, without any change.')
    parser.set_defaults(action=stamp)
    parser.add_argument('--revision', required=True, help='Identifier; "base" forgets the revision of the module.')
    parser.add_argument('--module', required=True, help='Name of a module.')

    parser = subparsers.add_parser('revision', help='Write a new migration script of a module.')
    parser.set_defaults(action=make_revision)
    parser.add_argument('-m', '--message', nargs='?', help='Title of the revision.')
    parser.add_argument('--autogenerate', action='store_true', help='Fill it with the difference to the models.')
    parser.add_argument('--module', required=True, help='Name of a module.')

    parser = subparsers.add_parser('version', help='Print at which revision a module is, or all chains are.')
    parser.set_defaults(action=print_version)
    parser.add_argument('--module', help='Name of a module; default: a table of all, those of the storage too.')

    parser = subparsers.add_parser('check', help='The same; status 1 where one is not at the head of this release.')
    parser.set_defaults(action=check)
    parser.add_argument('--module', help='Name of a module; default: all, those of the storage too.')

    drop.add_parser(subparsers)


def run(conf: Any, database: engine.Database) -> None:
    """Run the sub-command that *conf* holds."""
    conf.command.action(conf.command, database)


def upgrade(command: Any, database: engine.Database) -> None:
    revision = command.revision or 'head'
    if command.module:
        find_module(database, command.module).upgrade(revision)
        return
    if revision not in ('head', 'base'):
        raise errors.BadRequest('--revision %s needs --module: every module has revisions of its own.' % revision)
    for module in list_modules(database).values():
        module.upgrade(revision)


def stamp(command: Any, database: engine.Database) -> None:
    find_module(database, command.module).stamp(command.revision)


def make_revision(command: Any, database: engine.Database) -> None:
    find_module(database, command.module).revision(command.message, command.autogenerate)


def print_version(command: Any, database: engine.Database) -> None:
    if not command.module:
        print(chains.render(chains.list_chains(database, list_modules(database))))
        return
    found = find_module(database, command.module).version()
    if found:
        print(found)


def check(command: Any, database: engine.Database) -> None:
    """Print as ``version`` does; raise Conflict that says what to run where a chain is not at its head."""
    if command.module:
        print_version(command, database)
        rows = [chains.read_module(command.module, find_module(database, command.module))]
    else:
        rows = chains.list_chains(database, list_modules(database))
        print(chains.render(rows))
    trouble = chains.describe_trouble(rows)
    if trouble:
        raise errors.Conflict(trouble)


def find_module(database: engine.Database, name: str) -> Any:
    """Return what migrates module *name*; raise NotFound for a module without tables, too."""
    try:
        return list_modules(database)[name]
    except KeyError:
        raise errors.NotFound('There is no module "%s" with migrations.' % name) from None


def list_modules(database: engine.Database) -> dict[str, Any]:
    """Return what migrates each module, in order: the core, ours, then modules of third parties that have tables."""
    result: dict[str, Any] = {chain.name: migration.ModuleMigration(database, chain) for chain in migration.DBSYNC}
    for name, module in plugins.load_all(MODULES_NAMESPACE).items():
        if name not in result and getattr(module, 'db_api', None) is not None:
            result[name] = module.db_api.get_migration()
    return result


if __name__ == '__main__':
    sys.exit(main())
