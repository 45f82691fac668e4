# SPDX-License-Identifier: Apache-2.0
"""``/v2/coverage``: what became of each cell of a window, and how complete the window is.

Source: admin guide, "What became of each hour: coverage".
"""

from collections.abc import Mapping
from collections.abc import Sequence
import datetime
from typing import Any

from sqlalchemy import orm

from cloudkitty import completeness
from cloudkitty import errors
from cloudkitty import period
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v2 import figures
from cloudkitty.api.v2 import parameters
from cloudkitty.api.v2 import resource
from cloudkitty.db import completeness as ledger
from cloudkitty.db import scopes
from cloudkitty.db import types as db_types
from cloudkitty.storage import base

_SHARED = ('scope_id', 'type', 'begin', 'end')
_COUNTS = ('points', 'unpriced', 'skipped')
_COLUMNS = (
    *_SHARED,
    'status',
    'cells',
    *_COUNTS,
    *('attempts', 'error', 'next_attempt', 'since', 'rule_set', 'altered'),
)
_DAY_COLUMNS = (*_SHARED, 'cells', *completeness.STATUSES, *_COUNTS)
_RESOLUTIONS = {resolution.value: resolution for resolution in completeness.Resolution}


@resource.handler(
    'coverage:get',
    query={
        **figures.WINDOW,
        'filters': parameters.Pairs(repeats=True),
        'resolution': parameters.Single(types.Choice(*_RESOLUTIONS), default='run'),
        **parameters.PAGE,
    },
    owner=figures.own_project,
)
def get_coverage(
    begin: datetime.datetime | None,
    end: datetime.datetime | None,
    filters: dict[str, list[str]],
    resolution: str,
    offset: int,
    limit: int,
) -> dict[str, Any] | resource.Table:
    """Return rows of cells that fared alike, of single cells or of days, and how complete the window is.

    The completeness is that of all cells of the scopes and metrics, whatever their status and the page.
    """
    statuses = _check(filters)
    kind = _RESOLUTIONS[resolution]
    found = rest.deployment()
    page, tally = completeness.Page(offset, limit), completeness.Tally()
    allowed = figures.restrict({word: values for word, values in filters.items() if word != 'status'})
    # Counts and statuses are those of one moment.
    with found.database.snapshot() as session:
        for pieces in () if allowed is None else _survey(session, *figures.window(begin, end), allowed):
            tally.add(pieces)
            if statuses is not None:
                pieces = [piece for piece in pieces if piece.status in statuses]
            page.add(pieces, kind)
        troubles = ledger.read_troubles(session, page.rows)
        counts = _count(session, page.rows)
    results = [_print(row, counts[number], troubles.get(number)) for number, row in enumerate(page.rows)]
    if resource.wants_table():
        return _tabulate(results, kind)
    return {'total': page.total, 'results': results, 'completeness': print_tally(tally)}


def measure(begin: datetime.datetime, end: datetime.datetime, allowed: Mapping[str, list[str]] | None) -> Any:
    """Return how complete the window is, as JSON.

    :param allowed: filters, as :func:`figures.restrict` returns them; those that are no scope's or metric's do not
        count, for a cell has no attributes.
    """
    tally = completeness.Tally()
    if allowed is not None:
        with rest.deployment().database.snapshot() as session:
            for pieces in _survey(session, begin, end, allowed):
                tally.add(pieces)
    return print_tally(tally)


def print_tally(tally: completeness.Tally) -> dict[str, Any]:
    """Return *tally* as JSON."""
    return {
        'value': tally.value,
        'cells': tally.total,
        'missing': tally.missing,
        'statuses': _print_statuses(tally.cells),
        'missing_runs_total': tally.run_count,
        'missing_runs': [
            {**_print_shared(piece), 'status': piece.status, 'cells': piece.cells} for piece in tally.runs
        ],
    }


def _check(filters: Mapping[str, list[str]]) -> frozenset[str] | None:
    """Return the statuses asked for, None for all; raise BadRequest for a word or a status that is none."""
    words = (rest.deployment().conf.collect.scope_key, 'type', 'status')
    for word in filters:
        if word not in words:
            raise errors.BadRequest('filters: %s is none of %s.' % (types.shorten(word), ', '.join(words)))
    if 'status' not in filters:
        return None
    for status in filters['status']:
        if status not in completeness.STATUSES:
            raise errors.BadRequest(
                'filters: status: %s is none of %s.' % (types.shorten(status), ', '.join(completeness.STATUSES))
            )
    return frozenset(filters['status'])


def _survey(
    session: orm.Session, begin: datetime.datetime, end: datetime.datetime, allowed: Mapping[str, list[str]]
) -> Any:
    conf = rest.deployment().conf
    key = conf.collect.scope_key
    identity = scopes.Identity(key, conf.fetcher.backend, conf.collect.collector)
    now = period.to_epoch(datetime.datetime.now(period.UTC))
    task = completeness.Task(period.to_epoch(begin), period.to_epoch(end), now, conf.collect.wait_periods)
    return ledger.survey(
        session,
        ledger.Rating(identity, conf.collect.period),
        task,
        *(_names(allowed.get(word)) for word in (key, 'type')),
    )


def _names(values: list[str] | None) -> list[str] | None:
    """Return those of *values* that can be in the database."""
    return None if values is None else [value for value in values if db_types.is_name(value)]


def _count(session: orm.Session, rows: Sequence[completeness.Row]) -> list[base.Counts | None]:
    """Return how many points each of *rows* has; what the ledger does not know the metric of has none."""
    spans = {
        number: base.Span(row.scope_id, row.metric, row.begin, row.end)
        for number, row in enumerate(rows)
        if row.metric is not None
    }
    found = dict(zip(spans, rest.deployment().storage.count(session, list(spans.values())), strict=True))
    return [found.get(number, base.Counts(0, 0, 0)) for number in range(len(rows))]


def _print(row: completeness.Row, counts: base.Counts | None, trouble: ledger.Trouble | None) -> dict[str, Any]:
    result = {
        **_print_shared(row),
        'cells': sum(row.cells.values()),
        **(dict.fromkeys(_COUNTS) if counts is None else counts._asdict()),
    }
    piece = row.piece
    if piece is None:
        return {**result, 'statuses': _print_statuses(row.cells)}
    return {
        **result,
        'status': piece.status,
        'attempts': None if trouble is None else trouble.attempts,
        'error': None if trouble is None else trouble.error,
        'next_attempt': None if trouble is None else _print_second(trouble.next_attempt),
        'since': None if trouble is None else _print_second(trouble.since),
        'rule_set': piece.rule_set,
        'altered': piece.altered,
    }


def _print_shared(item: completeness.Row | completeness.Piece) -> dict[str, Any]:
    return {
        'scope_id': item.scope_id,
        'type': item.metric,
        'begin': _print_second(item.begin),
        'end': _print_second(item.end),
    }


def _print_statuses(cells: Mapping[str, int]) -> dict[str, int]:
    return {status: cells[status] for status in completeness.STATUSES if cells.get(status)}


def _print_second(second: int) -> str:
    return resource.print_instant(period.from_epoch(second))


def _tabulate(results: Sequence[dict[str, Any]], kind: completeness.Resolution) -> resource.Table:
    if kind is not completeness.Resolution.DAY:
        return resource.Table(_COLUMNS, [[row[column] for column in _COLUMNS] for row in results])
    zeros = dict.fromkeys(completeness.STATUSES, 0)
    flat = [{**row, **zeros, **row['statuses']} for row in results]
    return resource.Table(_DAY_COLUMNS, [[row[column] for column in _DAY_COLUMNS] for row in flat])
