# SPDX-License-Identifier: Apache-2.0
"""What ``cloudkitty-storage-import`` does: rows of the storage of old become series and days."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import logging
import sys
import time
from typing import Any

import prettytable
import tqdm

from cloudkitty import amount
from cloudkitty import conf as options
from cloudkitty import errors
from cloudkitty import metric
from cloudkitty import period
from cloudkitty.conf import metrics as metrics_file
from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.storage.imports import pieces
from cloudkitty.storage.imports import plan
from cloudkitty.storage.imports import splitting
from cloudkitty.storage.imports import totals

LOG = logging.getLogger(__name__)

#: Seconds between two lines of progress where nobody looks at a terminal.
PAUSE = 10


def run(conf: Any, database: engine.Database) -> None:
    """Import what is not imported yet, and prove that the new storage says what the old one says.

    :raises Conflict: rows were left out, or totals differ.
    """
    LOG.setLevel(logging.INFO)
    if conf.storage.version == 1:
        raise errors.ConfigurationError(
            '[storage] version = 1 works on rated_data_frames itself: there is nothing to import before it is 2.'
        )
    if not migration.is_at_head(database, migration.SERIES) or not migration.is_at_head(database, migration.STORAGE_V1):
        raise errors.Conflict('Tables are missing or old: run cloudkitty-dbsync upgrade and cloudkitty-storage-init.')
    definitions = metrics_file.load(conf.collect.metrics_conf, conf.collect.scope_key).metrics
    zone = options.zone(conf)
    found = plan.make(database)
    if conf.again:
        with database.reader() as session:
            begins = {*found.broken, *plan.list_left_out(session)}
        LOG.info('The rows of %d begins are imported anew%s.', len(begins), ', but not now' if conf.dry_run else '')
        if not conf.dry_run:
            pieces.forget(database, begins)
            found = plan.make(database)
    LOG.info('rated_data_frames holds %d rows, %d of them are to be imported.', found.total, found.count)
    outcome = import_all(database, found, definitions, zone, conf.dry_run)
    _tell(outcome)
    trouble = [*_describe_broken(found), *_describe_left_out(database, outcome, conf.dry_run)]
    if conf.dry_run:
        LOG.info('This was a dry run: nothing was written.')
    else:
        trouble += check(database, found)
    if trouble:
        raise errors.Conflict(' '.join(trouble))


def import_all(
    database: engine.Database, found: plan.Plan, definitions: Sequence[metric.Metric], zone: Any, dry_run: bool
) -> pieces.Outcome:
    """Import all pieces of *found*, telling how far it is."""
    splitter = splitting.Splitter(definitions, zone)
    importer = pieces.Importer(database, splitter, [definition.type for definition in definitions], dry_run)
    outcome = pieces.Outcome()
    began = time.monotonic()
    for done in _show_progress(importer.run(found.pieces, found.newest), found.count):
        outcome.add(done)
    if found.count:
        seconds = time.monotonic() - began
        LOG.info('%d rows in %.1f s: %.0f rows/s.', found.count, seconds, found.count / max(seconds, 0.001))
    for place, text in splitter.malformed.items():
        LOG.warning('%s: a description is no JSON object, and was kept whole as the attribute desc: %s', place, text)
    return outcome


def _show_progress(imported: Iterable[tuple[plan.Piece, pieces.Outcome]], total: int) -> Iterator[pieces.Outcome]:
    """Pass on what became of each piece, with a bar on a terminal, else with a line now and then."""
    is_terminal = sys.stderr.isatty()
    count = 0
    told = began = time.monotonic()
    with tqdm.tqdm(total=total, unit=' rows', unit_scale=True, disable=not is_terminal, desc='Import') as bar:
        for piece, outcome in imported:
            yield outcome
            bar.update(piece.count)
            count += piece.count
            now = time.monotonic()
            if not is_terminal and now - told >= PAUSE:
                told = now
                LOG.info(
                    '%d of %d rows (%d %%), %.0f rows/s.', count, total, count * 100 // total, count / (now - began)
                )


def _tell(outcome: pieces.Outcome) -> None:
    LOG.info('%d rows became points, %d say that a scope had nothing.', outcome.points, outcome.empty)
    if outcome.nulls:
        LOG.warning('%d rows have no quantity; it became 0.', outcome.nulls)
    for reason, examples in sorted(outcome.examples.items()):
        LOG.error('%d rows are left out: %s; such as %s.', outcome.left_out[reason], reason, '; '.join(examples))


def _describe_broken(found: plan.Plan) -> list[str]:
    trouble = []
    if found.outside:
        count = sum(item.row_count for item in found.outside)
        ids = [str(item.first_id) for item in found.outside[:10]]
        trouble.append(
            '%d rows begin before 1970 or after 2199 and are left out, such as %s.' % (count, ', '.join(ids))
        )
    for begin, reason in sorted(found.broken.items())[:10]:
        LOG.error('Rows that begin at %s: %s.', period.from_epoch(begin).isoformat(), reason)
    if found.broken:
        trouble.append(
            'The rows of %d begins are not those that were imported, and nothing new of them is imported: --again '
            'takes out what was and imports them anew.' % len(found.broken)
        )
    return trouble


def _describe_left_out(database: engine.Database, outcome: pieces.Outcome, dry_run: bool) -> list[str]:
    now = sum(outcome.left_out.values())
    if dry_run:
        return ['%d rows would be left out.' % now] if now else []
    with database.reader() as session:
        count = plan.count_left_out(session)
    return ['%d rows of rated_data_frames are left out, %d of them in this run.' % (count, now)] if count else []


def check(database: engine.Database, found: plan.Plan) -> list[str]:
    """Compare totals per scope, metric and UTC month; print those that differ; return what is wrong."""
    count = 0
    points, qty, price = totals.NOTHING
    differing = []
    for month in totals.compare(database, found.begins):
        count += len(month)
        differing += [total for total in month if total.old != total.new]
        for total in month:
            points, qty, price = totals.Sums(points, qty, price).plus(total.old)
    if not differing:
        LOG.info(
            'The totals of %d scopes, metrics and months are equal: %d points, quantity %s, price %s.',
            count,
            points,
            amount.to_text(qty),
            amount.to_text(price),
        )
        return []
    table = prettytable.PrettyTable(['Scope', 'Metric', 'Month', 'Total of', 'rated_data_frames', 'New storage'])
    table.align = 'l'
    for total in differing:
        for name in totals.Sums._fields:
            values = [getattr(sums, name) for sums in (total.old, total.new)]
            if values[0] != values[1]:
                month_text = '%04d-%02d' % (total.year, total.month)
                table.add_row([total.scope_id, total.metric, month_text, name, *map(str, values)])
    print(table)
    return ['%d of %d totals differ.' % (len(differing), count)]
