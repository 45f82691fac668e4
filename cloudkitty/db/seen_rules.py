# SPDX-License-Identifier: Apache-2.0
"""Noticing rules that another release wrote: it knows nothing of the revision by which our processes reload them."""

import hashlib

from oslo_log import log
import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import rule_revision

LOG = log.getLogger(__name__)

SeenRules = ledger_models.SeenRules

#: What prices come from. Tables of third parties are theirs to watch.
TABLES = (
    'modules_state',
    'hashmap_services',
    'hashmap_fields',
    'hashmap_groups',
    'hashmap_mappings',
    'hashmap_thresholds',
    'pyscripts_scripts',
)


def look(database: engine.Database) -> bool:
    """Compare the rules with what they were the last time; advance their revision if they differ.

    Returns whether somebody changed them who does not advance it. Before ``cloudkitty-storage-init`` nothing is done.
    """
    with database.engine.connect() as connection:
        if not sqlalchemy.inspect(connection).has_table(SeenRules.__tablename__):
            return False
    is_foreign = rule_revision.in_turn(database, _look)
    if is_foreign:
        LOG.info('Rules were changed by another release, or by hand, since this one looked: they are read again.')
    return is_foreign


def _look(session: orm.Session) -> bool:
    revision = session.scalar(sqlalchemy.select(ledger_models.RuleRevision.revision)) or 0
    digest = _digest(session)
    row = session.get(SeenRules, 1)
    if row is None:
        session.add(SeenRules(id=1, revision=revision, digest=digest))
        return False
    if row.digest == digest and row.revision == revision:
        return False
    # Ours advance the revision with every change; where it did move, others may have changed rules as well, and be it
    # back to what they were.
    is_foreign = row.revision == revision
    rule_revision.bump(session)
    row.revision, row.digest = revision + 1, digest
    return is_foreign


def _digest(session: orm.Session) -> str:
    """Return what tells all rows of the tables of rules, as 32 hexadecimal digits."""
    connection = session.connection()
    inspector = sqlalchemy.inspect(connection)
    found = hashlib.blake2b(digest_size=16)
    for name in TABLES:
        if not inspector.has_table(name):
            continue
        columns = sorted(column['name'] for column in inspector.get_columns(name))
        table = sqlalchemy.table(name, *(sqlalchemy.column(column) for column in columns))
        key = 'name' if name == 'modules_state' else 'id'
        found.update(repr((name, columns)).encode())
        for row in connection.execute(sqlalchemy.select(table).order_by(table.c[key])):
            values = [bytes(value) if isinstance(value, memoryview) else value for value in row]
            found.update(repr(values).encode('utf-8', 'surrogatepass'))
    return found.hexdigest()
