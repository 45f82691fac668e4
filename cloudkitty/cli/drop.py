# SPDX-License-Identifier: Apache-2.0
"""The way back: ``cloudkitty-dbsync drop`` takes the tables of this release out of a database."""

from collections.abc import Iterable
import logging
import sys
from typing import Any

import prettytable
import sqlalchemy
import tqdm

from cloudkitty import amount
from cloudkitty import errors
from cloudkitty import period
from cloudkitty.cli import asking
from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import write_back

LOG = logging.getLogger(__name__)

#: Chains of ours: no other release knows them.
CHAINS = (migration.SERIES, migration.LEDGER)

#: How many of those that are named are printed.
_LONGEST_LIST = 50


def run(command: Any, database: engine.Database) -> None:
    """Write frames, if asked to, then drop.

    :raises BadRequest: nobody said yes.
    :raises Conflict: frames could not be written as they are; nothing was dropped.
    """
    LOG.setLevel(logging.INFO)
    counts = _count_rows(database)
    if not counts:
        raise errors.NotFound('This database has no tables that only this release knows.')
    if command.replace and not command.write_frames:
        raise errors.BadRequest('--replace says what --write-frames does with rows that differ; it needs it.')
    table = prettytable.PrettyTable(['Table', 'Rows'])
    table.align['Table'], table.align['Rows'] = 'l', 'r'
    table.add_rows([[name, count] for name, count in counts.items()])
    print(table)
    print(
        'These tables go: rated data, coverage, corrections and rule sets in them are lost. '
        'Tables of other releases, rated_data_frames among them, stay. Stop all services first.'
    )
    if not command.write_frames:
        print('What was rated is not written into rated_data_frames; --write-frames does that before.')
    if not command.yes:
        asking.ask('Drop them?', 'Nothing was dropped.')
    if command.write_frames:
        write_frames(database, command.replace)
    drop(database)
    LOG.info('%d tables are dropped.', len(counts))


def _tables() -> Iterable[str]:
    for chain in CHAINS:
        yield from chain.metadata().tables
        yield chain.version_table


def _count_rows(database: engine.Database) -> dict[str, int]:
    """Return how many rows each table of ours holds that is there."""
    result = {}
    with database.engine.connect() as connection:
        there = set(sqlalchemy.inspect(connection).get_table_names())
        for name in _tables():
            if name in there:
                query = sqlalchemy.select(sqlalchemy.func.count()).select_from(sqlalchemy.table(name))
                result[name] = connection.scalar(query) or 0
    return result


def drop(database: engine.Database) -> None:
    """Drop the tables of ours; it can be run again after it was cut off."""
    with database.engine.begin() as connection:
        for chain in CHAINS:
            # First: a chain that lacks tables but has its version would never be made again.
            connection.exec_driver_sql('DROP TABLE IF EXISTS %s' % chain.version_table)
            # Before the points: rows of old that are known as imported and have none would count as deleted.
            connection.exec_driver_sql('DROP TABLE IF EXISTS %s' % models.ImportedFrame.__tablename__)
            chain.metadata().drop_all(connection)


def write_frames(database: engine.Database, replace: bool) -> None:
    """Write what was rated into ``rated_data_frames``; tell what was rounded.

    :raises Conflict: some of it cannot be there, or something else is.
    """
    if not migration.is_begun(database, migration.SERIES):
        raise errors.Conflict(
            'A drop was cut off here, and what it left cannot be written any more. With --write-frames it had written '
            'everything before; without that option the rest is dropped.'
        )
    if not migration.is_at_head(database, migration.STORAGE_V1) or not migration.is_at_head(database, migration.SERIES):
        raise errors.Conflict('Tables are missing or old: run cloudkitty-storage-init first. Nothing was dropped.')
    outcome = write_back.Outcome()
    days = write_back.list_days(database)
    with tqdm.tqdm(total=len(days), unit=' days', disable=not sys.stderr.isatty(), desc='Write') as bar:
        for done in write_back.write(database, days, replace):
            outcome.add(done)
            bar.update()
    LOG.info('%d rows are written, %d were there.', outcome.written, outcome.there)
    for name, loss in (('quantities', outcome.qty), ('prices', outcome.price)):
        LOG.info(
            '%d %s are rounded, each by %s at most; together they differ by %s.',
            loss.count,
            name,
            *(amount.to_text(value.normalize(amount.CONTEXT)) for value in (loss.largest, loss.total)),
        )
    trouble = []
    for (scope_id, metric, reason), count in sorted(outcome.refused.items())[:_LONGEST_LIST]:
        LOG.error('%s, %s: %d points cannot be written: %s.', scope_id, metric, count, reason)
    if outcome.refused:
        trouble.append('%d points cannot be written.' % sum(outcome.refused.values()))
    if outcome.unpriced:
        trouble.append('%d points have no price yet, and no place in rated_data_frames.' % outcome.unpriced)
    if outcome.replaced:
        LOG.info('Rows of %d scopes, metrics and periods are replaced.', outcome.replaced)
    elif outcome.different:
        for scope_id, metric, begin in outcome.different[:_LONGEST_LIST]:
            LOG.error('%s, %s at %s: other rows are there.', scope_id, metric, period.from_epoch(begin).isoformat())
        trouble.append(
            '%d scopes, metrics and periods have other rows; --replace replaces them.' % len(outcome.different)
        )
    if trouble:
        raise errors.Conflict(' '.join([*trouble, 'Nothing was dropped; without --write-frames it is.']))
