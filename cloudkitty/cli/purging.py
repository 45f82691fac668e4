# SPDX-License-Identifier: Apache-2.0
"""What ``cloudkitty-storage-purge`` does: what is older than an instant goes for ever."""

import datetime
import logging
from typing import Any

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.cli import asking
from cloudkitty.cli import tables
from cloudkitty.db import engine
from cloudkitty.db import history
from cloudkitty.db import migration
from cloudkitty.storage import purge

LOG = logging.getLogger(__name__)

#: Tables whose rows show how far it is.
_MEASURE = ('rated_days', 'rated_history', 'rated_data_frames')


def run(conf: Any, database: engine.Database) -> None:
    """Tell what is older, ask, and delete it.

    :raises BadRequest: the instant is none to purge up to, or nobody said yes.
    :raises Conflict: tables are missing, or data of some scopes has to stay for now.
    """
    LOG.setLevel(logging.INFO)
    before = read_before(conf.before, datetime.datetime.now(period.UTC))
    if conf.storage.backend != 'sqlalchemy':
        raise errors.ConfigurationError('[storage] backend = %s is purged by its own means.' % conf.storage.backend)
    if not all(migration.is_at_head(database, chain) for chain in migration.STORAGE):
        raise errors.Conflict('Tables are missing or old: run cloudkitty-dbsync upgrade and cloudkitty-storage-init.')
    is_old = conf.storage.version == 1
    second = period.to_epoch(before)
    counts = purge.count(database, second, is_old)
    if conf.dry_run:
        _print(conf, before, {'rows': counts})
        return
    _describe(database, before, counts, is_old)
    if not conf.yes:
        asking.ask('Delete that for ever?', 'Nothing was deleted.')
    outcome = purge.Outcome()
    total = sum(counts.get(name, 0) for name in _MEASURE)
    steps = (
        (done, sum(done.deleted[name] for name in _MEASURE))
        for done in purge.purge(database, second, conf.collect.period, is_old)
    )
    for done in asking.show_progress(steps, total, 'Purge', LOG):
        outcome.add(done)
    _print(conf, before, {'deleted': {name: outcome.deleted[name] for name in sorted(outcome.deleted)}}, outcome)
    if outcome.refused:
        scope_id, reason = min(outcome.refused.items())
        raise errors.Conflict(
            'Data of %d scopes stays as it is, such as that of %s: %s Run it again then.'
            % (len(outcome.refused), scope_id, reason)
        )


def read_before(text: str | None, now: datetime.datetime) -> datetime.datetime:
    """Return the begin of the UTC day of instant *text*; raise BadRequest for what is none, or not over yet."""
    if text is None:
        raise errors.BadRequest('--before is missing: an instant such as 2025-01-01.')
    try:
        found = period.floor(period.parse(text), period.DAY)
    except ValueError:
        raise errors.BadRequest('--before: %s is no instant; expected the like of 2025-01-01.' % ascii(text[:50]))
    if not period.EPOCH <= found <= period.floor(now, period.DAY):
        raise errors.BadRequest('--before: %s is not between 1970 and today.' % found.isoformat())
    return found


def _describe(database: engine.Database, before: datetime.datetime, counts: dict[str, int], is_old: bool) -> None:
    LOG.info(
        'Older than %s are: %s.',
        before.isoformat(),
        ', '.join('%d rows of %s' % (number, name) for name, number in counts.items()),
    )
    if not is_old and history.count_frames(database):
        LOG.info('rated_data_frames, the table of older releases, stays as it is.')


def _print(
    conf: Any, before: datetime.datetime, found: dict[str, dict[str, int]], outcome: purge.Outcome | None = None
) -> None:
    refused = {} if outcome is None else outcome.refused
    if conf.format == tables.JSON:
        print(tables.to_json({'before': before.isoformat(), **found, 'refused': refused}))
        return
    for title, rows in found.items():
        print('Before %s:' % before.isoformat())
        print(tables.render({'Table': 'l', title.capitalize(): 'r'}, rows.items()))
    if refused:
        print(tables.render({'Scope': 'l', 'Stays as it is': 'l'}, sorted(refused.items())))
