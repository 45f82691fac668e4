# SPDX-License-Identifier: Apache-2.0
"""What the sub-commands of ``cloudkitty-dbsync`` do."""

from typing import Any

from cloudkitty import errors
from cloudkitty import plugins
from cloudkitty.cli import chains
from cloudkitty.db import engine
from cloudkitty.db import migration

MODULES_NAMESPACE = 'cloudkitty.rating.processors'


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
