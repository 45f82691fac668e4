# SPDX-License-Identifier: Apache-2.0
"""What ``cloudkitty-storage-import`` does: what a storage of old holds becomes series and days."""

from collections.abc import Collection
from collections.abc import Sequence
import logging
import time
from typing import Any

import prettytable

from cloudkitty import amount
from cloudkitty import conf as options
from cloudkitty import errors
from cloudkitty import metric
from cloudkitty import period
from cloudkitty.cli import asking
from cloudkitty.cli import storage_import
from cloudkitty.clients import influxdb
from cloudkitty.conf import metrics as metrics_file
from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.storage.imports import frames
from cloudkitty.storage.imports import influx
from cloudkitty.storage.imports import pieces
from cloudkitty.storage.imports import plan
from cloudkitty.storage.imports import sources
from cloudkitty.storage.imports import totals
from cloudkitty.storage.sqlalchemy import models

LOG = logging.getLogger(__name__)


def run(conf: Any, database: engine.Database) -> None:
    """Import what is not imported yet, and prove that the new storage says what the old one says.

    :raises Conflict: rows were left out, or totals differ.
    """
    LOG.setLevel(logging.INFO)
    if conf.storage.version == 1:
        raise errors.ConfigurationError(
            '[storage] version = 1 works on rated_data_frames itself: there is nothing to import before it is 2.'
        )
    if not all(migration.is_at_head(database, chain) for chain in migration.STORAGE):
        raise errors.Conflict('Tables are missing or old: run cloudkitty-dbsync upgrade and cloudkitty-storage-init.')
    definitions = metrics_file.load(conf.collect.metrics_conf, conf.collect.scope_key).metrics
    source = _make_source(conf, definitions)
    found = plan.make(database, source)
    if conf.again:
        begins = list_again(database, source, found)
        LOG.info('The rows of %d begins are imported anew%s.', len(begins), ', but not now' if conf.dry_run else '')
        if not conf.dry_run:
            _forget(database, source, begins)
            found = plan.make(database, source)
    LOG.info('%s holds %d rows, %d of them are to be imported.', source.name, found.total, found.count)
    outcome = import_all(database, source, found, [definition.type for definition in definitions], conf.dry_run)
    _tell(outcome)
    trouble = [*_describe_broken(found), *_describe_left_out(database, source, outcome, conf.dry_run)]
    if conf.dry_run:
        LOG.info('This was a dry run: nothing was written.')
    else:
        trouble += check(database, source, found)
    if trouble:
        raise errors.Conflict(' '.join(trouble))


def _make_source(conf: Any, definitions: Sequence[metric.Metric]) -> sources.Source:
    zone = options.zone(conf)
    if conf.source == storage_import.SQL:
        return frames.Frames(definitions, zone)
    return influx.Points(influxdb.from_options(conf), conf.collect.scope_key, conf.collect.period, zone)


def list_again(database: engine.Database, source: sources.Source, found: plan.Plan) -> set[int]:
    """Return the begins that are to be imported anew: something of them was left out, or is not what it was."""
    differing = totals.list_differing(database, source, found.begins)
    with database.reader() as session:
        imported = plan.list_done(session, source.marks, differing)
        begins = {*found.broken, *plan.list_left_out(session, source.marks), *imported}
    # What the source does not hold any more, or was purged, could not be brought back.
    return begins & {item.begin for item in found.begins}


def _forget(database: engine.Database, source: sources.Source, begins: Collection[int]) -> None:
    """Take *begins* out; tell where that takes out what came from another source."""
    for option, marks in ((storage_import.SQL, models.ImportedFrame), (storage_import.INFLUXDB, models.ImportedPoint)):
        with database.reader() as session:
            count = 0 if marks is source.marks else len(plan.list_done(session, marks, begins))
        if count:
            LOG.warning('%d of these begins were imported with --from %s too: run it again as well.', count, option)
    pieces.forget(database, begins)


def import_all(
    database: engine.Database,
    source: sources.Source,
    found: plan.Plan,
    metric_types: Collection[str],
    dry_run: bool,
) -> pieces.Outcome:
    """Import all pieces of *found*, telling how far it is.

    :param metric_types: those that an empty period is empty of.
    """
    importer = pieces.Importer(database, source, metric_types, dry_run)
    outcome = pieces.Outcome()
    began = time.monotonic()
    steps = ((done, piece.count) for piece, done in importer.run(found.pieces, found.newest))
    for done in asking.show_progress(steps, found.count, 'Import', LOG):
        outcome.add(done)
    if found.count:
        seconds = time.monotonic() - began
        LOG.info('%d rows in %.1f s: %.0f rows/s.', found.count, seconds, found.count / max(seconds, 0.001))
    for remark in source.list_remarks():
        LOG.warning('%s', remark)
    return outcome


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
    there = {item.begin for item in found.begins}
    if found.broken.keys() & there:
        trouble.append(
            'The rows of %d begins are not those that were imported, and nothing new of them is imported: --again '
            'takes out what was and imports them anew.' % len(found.broken.keys() & there)
        )
    if found.broken.keys() - there:
        LOG.warning(
            'The rows of %d begins that were imported are gone where they came from; what was imported stays.',
            len(found.broken.keys() - there),
        )
    if found.passed:
        trouble.append(
            '%d rows that were never imported are older than what was purged here, and are left out.' % found.passed
        )
    return trouble


def _describe_left_out(
    database: engine.Database, source: sources.Source, outcome: pieces.Outcome, dry_run: bool
) -> list[str]:
    now = sum(outcome.left_out.values())
    if dry_run:
        return ['%d rows would be left out.' % now] if now else []
    with database.reader() as session:
        count = plan.count_left_out(session, source.marks)
    return ['%d rows of %s are left out, %d of them in this run.' % (count, source.name, now)] if count else []


def check(database: engine.Database, source: sources.Source, found: plan.Plan) -> list[str]:
    """Compare totals per scope, metric and UTC month; print those that differ; return what is wrong."""
    count = 0
    points, qty, price = totals.NOTHING
    differing = []
    for month in totals.compare(database, source, found.begins):
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
    table = prettytable.PrettyTable(['Scope', 'Metric', 'Month', 'Total of', source.name, 'New storage'])
    table.align = 'l'
    for total in differing:
        for name in totals.Sums._fields:
            values = [getattr(sums, name) for sums in (total.old, total.new)]
            if values[0] != values[1]:
                month_text = '%04d-%02d' % (total.year, total.month)
                table.add_row([total.scope_id, total.metric, month_text, name, *map(str, values)])
    print(table)
    return ['%d of %d totals differ.' % (len(differing), count)]
