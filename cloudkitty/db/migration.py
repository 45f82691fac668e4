# SPDX-License-Identifier: Apache-2.0
"""The chains of migrations, and the one way to run them."""

from collections.abc import Iterator
import contextlib
import dataclasses
import datetime
import importlib
import io
import logging
import os
import sys
from typing import Any

from alembic import command
from alembic import config as alembic_config
from alembic import util as alembic_util
from alembic.script import ScriptDirectory
from oslo_log import log
from oslo_utils import importutils
import sqlalchemy

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.db import engine

LOG = log.getLogger(__name__)

HERE = os.path.dirname(os.path.abspath(__file__))


@dataclasses.dataclass(frozen=True)
class Chain:
    """A line of revisions with a version table of its own.

    :ivar package: dotted name of the package that holds the revisions.
    :ivar base: dotted name of the declarative base of its tables.
    """

    name: str
    version_table: str
    package: str
    base: str

    def metadata(self) -> sqlalchemy.MetaData:
        """The tables at its head, as models."""
        base: Any = importutils.import_class(self.base)
        return base.metadata

    @property
    def directory(self) -> str:
        return os.path.dirname(os.path.abspath(str(importlib.import_module(self.package).__file__)))


CORE = Chain('cloudkitty', 'cloudkitty_alembic', 'cloudkitty.db.versions', 'cloudkitty.db.models.CoreBase')
HASHMAP = Chain(
    'hashmap', 'hashmap_alembic', 'cloudkitty.rating.hashmap.versions', 'cloudkitty.rating.hashmap.models.Base'
)
PYSCRIPTS = Chain(
    'pyscripts',
    'pyscripts_alembic',
    'cloudkitty.rating.pyscripts.versions',
    'cloudkitty.rating.pyscripts.models.Base',
)
STORAGE_V1 = Chain(
    'storage', 'storage_sqlalchemy_alembic', 'cloudkitty.storage.v1.versions', 'cloudkitty.storage.v1.models.Base'
)
STATES = Chain('states', 'storage_states_alembic', 'cloudkitty.db.states', 'cloudkitty.db.models.StatesBase')
LEDGER = Chain('ledger', 'cloudkitty_ledger_alembic', 'cloudkitty.db.ledger', 'cloudkitty.db.ledger_models.Base')
SERIES = Chain(
    'series',
    'cloudkitty_series_alembic',
    'cloudkitty.storage.sqlalchemy.versions',
    'cloudkitty.storage.sqlalchemy.models.Base',
)

#: What ``cloudkitty-dbsync upgrade`` runs, rating modules of third parties apart.
DBSYNC = (CORE, HASHMAP, PYSCRIPTS)
#: What ``cloudkitty-storage-init`` runs for a storage in the SQL database.
STORAGE = (STORAGE_V1, STATES, LEDGER, SERIES)


def upgrade(database: engine.Database, chain: Chain, revision: str = 'head') -> None:
    """Bring *chain* of *database* to *revision*, an id or the beginning of one.

    :raises BadRequest: there is no such revision.
    """
    with _configured(database, chain) as config:
        command.upgrade(config, revision)


def stamp(database: engine.Database, chain: Chain, revision: str) -> None:
    """Say that *chain* is at *revision*, without running anything."""
    with _configured(database, chain) as config:
        command.stamp(config, revision)


def version(database: engine.Database, chain: Chain) -> str:
    """Return the revision *chain* is at, followed by ``(head)`` at its end; ``''`` before its first."""
    table = sqlalchemy.table(chain.version_table, sqlalchemy.column('version_num'))
    with database.engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table(chain.version_table):
            return ''
        found: str | None = connection.scalar(sqlalchemy.select(table.c.version_num))
    if found is None:
        return ''
    heads = ScriptDirectory.from_config(_config(chain)).get_heads()
    return '%s (head)' % found if found in heads else found


def make_revision(database: engine.Database, chain: Chain, message: str | None, autogenerate: bool) -> None:
    """Write a new revision into the directory of *chain*."""
    with _configured(database, chain) as config:
        config.stdout = sys.stdout
        command.revision(config, message=message, autogenerate=autogenerate, version_path=chain.directory)


def is_begun(database: engine.Database, chain: Chain) -> bool:
    """Return whether any revision of *chain* has been applied to *database*."""
    return bool(version(database, chain))


def is_at_head(database: engine.Database, chain: Chain) -> bool:
    return version(database, chain).endswith('(head)')


def upgrade_all(database: engine.Database) -> None:
    """Bring every chain to its head: what ``cloudkitty-dbsync upgrade`` and ``cloudkitty-storage-init`` do."""
    for chain in DBSYNC:
        upgrade(database, chain)
    init_storage(database)


def init_storage(database: engine.Database) -> None:
    """Bring the chains of the storage to their heads: the old one, the states, then ours.

    Where ours begin, scopes that have rated rows of old but no state get one: releases up to 7 took their clocks from
    these rows, and rating them again from the start of a month would bill it twice.
    """
    for chain in (STORAGE_V1, STATES):
        upgrade(database, chain)
    _repair_sequences(database)
    if not is_begun(database, SERIES):
        _seed_states(database)
    for chain in (LEDGER, SERIES):
        upgrade(database, chain)


def _repair_sequences(database: engine.Database) -> None:
    """Let ids of states count on from the highest: releases 15 to 25 rebuilt the table on PostgreSQL from 1 on."""
    if database.dialect != 'postgresql':
        return
    with database.writer() as session:
        for table in ('cloudkitty_storage_states', 'storage_scope_reprocessing_schedule'):
            sequence = session.scalar(sqlalchemy.text("SELECT pg_get_serial_sequence('%s', 'id')" % table))
            highest = session.scalar(sqlalchemy.text('SELECT max(id) FROM %s' % table))  # nosec B608
            if sequence and highest:
                # A sequence that nobody has used gives its last value next.
                query = 'SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM %s' % sequence  # nosec B608
                last = session.scalar(sqlalchemy.text(query))
                if last is not None and last < highest:
                    session.execute(sqlalchemy.text("SELECT setval('%s', %d)" % (sequence, highest)))


def _seed_states(database: engine.Database) -> None:
    frames: Any = importutils.import_class(STORAGE_V1.base).metadata.tables['rated_data_frames']
    states: Any = importutils.import_class(STATES.base).metadata.tables['cloudkitty_storage_states']
    newest = sqlalchemy.select(frames.c.tenant_id, sqlalchemy.func.max(frames.c.begin)).group_by(frames.c.tenant_id)
    now = datetime.datetime.now(period.UTC).replace(tzinfo=None, microsecond=0)
    with database.writer() as session:
        # Compared here: the two tables may have collations that MariaDB refuses to compare.
        known = {None, *session.scalars(sqlalchemy.select(states.c.identifier))}
        rows = [
            {
                'identifier': tenant_id,
                'last_processed_timestamp': begin,
                'scope_activation_toggle_date': now,
                'active': True,
            }
            for tenant_id, begin in session.execute(newest)
            if tenant_id not in known
        ]
        if rows:
            session.execute(sqlalchemy.insert(states), rows)
            LOG.info('%d scopes go on after their newest rated rows.', len(rows))


@dataclasses.dataclass(frozen=True)
class ModuleMigration:
    """The chain of a rating module, in the form that plugins of the field give theirs."""

    database: engine.Database
    chain: Chain

    def upgrade(self, revision: str = 'head') -> None:
        upgrade(self.database, self.chain, revision)

    def version(self) -> str:
        return version(self.database, self.chain)

    def stamp(self, revision: str) -> None:
        stamp(self.database, self.chain, revision)

    def revision(self, message: str | None, autogenerate: bool) -> None:
        make_revision(self.database, self.chain, message, autogenerate)


def log_to_stderr() -> None:
    """Show alembic's lines, and nothing else, on stderr in the form operators know."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter('%(levelname)-5.5s [%(name)s] %(message)s'))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger('alembic').setLevel(logging.INFO)


def _config(chain: Chain) -> alembic_config.Config:
    config = alembic_config.Config(stdout=io.StringIO())
    config.set_main_option('script_location', os.path.join(HERE, 'alembic').replace('%', '%%'))
    config.set_main_option('version_locations', chain.directory.replace('%', '%%'))
    config.set_main_option('path_separator', 'newline')
    config.set_main_option('version_path_separator', 'newline')
    config.attributes['chain'] = chain
    return config


@contextlib.contextmanager
def _configured(database: engine.Database, chain: Chain) -> Iterator[alembic_config.Config]:
    config = _config(chain)
    with database.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
        if connection.dialect.name == 'sqlite' and raw is not None:
            # A table that is rebuilt is dropped on the way; its rows must not take others along.
            raw.execute('PRAGMA foreign_keys=OFF')
        config.attributes['connection'] = connection
        try:
            yield config
            connection.commit()
        except alembic_util.CommandError as error:
            raise errors.BadRequest('%s: %s' % (chain.name, error)) from error
        finally:
            if connection.dialect.name == 'sqlite' and raw is not None:
                connection.rollback()
                raw.execute('PRAGMA foreign_keys=ON')
