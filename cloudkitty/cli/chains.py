# SPDX-License-Identifier: Apache-2.0
"""The chains of migrations in a table: where the database is, and where this release wants it."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import enum
import os
from typing import Any

from alembic.script import ScriptDirectory
import prettytable
import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.db import migration

DBSYNC = 'cloudkitty-dbsync upgrade'
STORAGE_INIT = 'cloudkitty-storage-init'
#: Version tables of storages that this release does not have: recognised, never touched.
RETIRED = {
    'storage_hybrid': 'storage_hybrid_alembic',
    'storage_gnocchi_hybrid': 'storage_gnocchi_hybrid_alembic',
}


class State(enum.Enum):
    """How the database and this release compare."""

    HEAD = 'head'
    BEHIND = 'behind'
    MISSING = 'missing'
    UNKNOWN = 'unknown revision'
    LEFT_ALONE = 'left alone'


@dataclasses.dataclass(frozen=True)
class Row:
    """A chain as it stands in a database.

    :ivar revision: ``''`` before the first.
    :ivar head: ``''`` where it is not known.
    :ivar command: what brings it to its head; ``''``: nothing does.
    """

    name: str
    version_table: str
    revision: str
    head: str
    state: State
    command: str

    @property
    def is_fine(self) -> bool:
        return self.state in (State.HEAD, State.LEFT_ALONE)


def list_chains(database: engine.Database, modules: Mapping[str, Any]) -> list[Row]:
    """Return a row a chain: those of *modules*, those of the storage, then the retired ones that are there.

    :param modules: {name: what migrates it}, as ``cloudkitty-dbsync`` lists them.
    """
    result = []
    for name, module in modules.items():
        if isinstance(module, migration.ModuleMigration):
            result.append(_read(database, module.chain, DBSYNC))
        else:
            result.append(_ask(name, module))
    result += [_read(database, chain, STORAGE_INIT) for chain in migration.STORAGE]
    return result + _list_retired(database)


def read_module(name: str, module: Any) -> Row:
    """Return the row of one module of ``cloudkitty-dbsync``."""
    if isinstance(module, migration.ModuleMigration):
        return _read(module.database, module.chain, DBSYNC)
    return _ask(name, module)


def _read(database: engine.Database, chain: migration.Chain, command: str) -> Row:
    scripts = ScriptDirectory(os.path.join(migration.HERE, 'alembic'), version_locations=[chain.directory])
    head = scripts.get_current_head() or ''
    revision = migration.version(database, chain).partition(' ')[0]
    if not revision:
        state = State.MISSING
    elif revision == head:
        state = State.HEAD
    elif revision in {script.revision for script in scripts.walk_revisions()}:
        state = State.BEHIND
    else:
        state, command = State.UNKNOWN, ''
    return Row(chain.name, chain.version_table, revision, head, state, command)


def _ask(name: str, module: Any) -> Row:
    """Return the row of a module of a third party: it only tells its version."""
    revision, _, mark = str(module.version() or '').partition(' ')
    if not revision:
        return Row(name, '', '', '', State.MISSING, DBSYNC)
    if mark == '(head)':
        return Row(name, '', revision, revision, State.HEAD, DBSYNC)
    return Row(name, '', revision, '', State.BEHIND, DBSYNC)


def _list_retired(database: engine.Database) -> list[Row]:
    result = []
    with database.engine.connect() as connection:
        inspector = sqlalchemy.inspect(connection)
        for name, version_table in RETIRED.items():
            if inspector.has_table(version_table):
                table = sqlalchemy.table(version_table, sqlalchemy.column('version_num'))
                revision = connection.scalar(sqlalchemy.select(table.c.version_num)) or ''
                result.append(Row(name, version_table, revision, '', State.LEFT_ALONE, ''))
    return result


def render(rows: Iterable[Row]) -> str:
    """Return *rows* as a table to print."""
    table = prettytable.PrettyTable(['Chain', 'Version table', 'Revision', 'Head', 'State'])
    table.align = 'l'
    for row in rows:
        table.add_row([row.name, row.version_table or '-', row.revision or '-', row.head or '-', row.state.value])
    return str(table)


def describe_trouble(rows: Iterable[Row]) -> str:
    """Return a line that names the chains that are not at head and what to run; ``''`` where all are."""
    by_command: dict[str, list[str]] = {}
    for row in rows:
        if not row.is_fine:
            by_command.setdefault(row.command, []).append('%s (%s)' % (row.name, row.state.value))
    parts = [
        '%s: %s' % (', '.join(names), 'run %s' % command if command else 'another release has been here')
        for command, names in by_command.items()
    ]
    return 'Not at the head of this release: %s.' % '; '.join(parts) if parts else ''
