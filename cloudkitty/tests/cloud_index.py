# SPDX-License-Identifier: Apache-2.0
"""Gnocchi's index on SQLite, so that a cloud needs no database server; runs in the environment of tools/cloud.

Gnocchi's own index is for MariaDB and PostgreSQL. On SQLite it works as it is once transactions that read first and
write later take their turn: SQLite refuses the second of two such at once.
"""

from alembic import command
from gnocchi.indexer import sqlalchemy as indexer
from gnocchi.indexer import sqlalchemy_base
import sqlalchemy


class SQLiteIndexer(indexer.SQLAlchemyIndexer):
    """Waits at the begin of a transaction, not in its middle."""

    def __init__(self, conf):
        super().__init__(conf)
        sqlalchemy.event.listen(self.facade.get_engine(), 'before_cursor_execute', _begin_at_once, retval=True)

    def upgrade(self, nocreate=False):
        # Gnocchi stamps its tables by a second connection while the first still makes them.
        with self.facade.writer_connection() as connection:
            sqlalchemy_base.Base.metadata.create_all(connection)
        command.stamp(self._get_alembic_config(), 'head')
        super().upgrade(nocreate=True)

    def _get_alembic_config(self):
        config = super()._get_alembic_config()
        config.conf = self.conf
        return config


def _begin_at_once(connection, cursor, statement, parameters, context, executemany):
    return ('BEGIN IMMEDIATE' if statement == 'BEGIN' else statement), parameters
