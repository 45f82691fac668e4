# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-status coverage``: what became of a month, by scope and metric."""

import collections
from collections.abc import Mapping
import datetime
import itertools
import re
from typing import Any

from cloudkitty import completeness
from cloudkitty import conf as options
from cloudkitty import errors
from cloudkitty import period
from cloudkitty.cli import tables
from cloudkitty.db import completeness as ledger
from cloudkitty.db import engine
from cloudkitty.db import purges
from cloudkitty.db import scopes
from cloudkitty.db import types

_MONTH = re.compile('([0-9]{4})-([0-9]{2})')


def show(conf: Any, database: engine.Database) -> None:
    """Print how complete the month is that *conf* asks for."""
    now = datetime.datetime.now(period.UTC)
    begin, end = read_month(conf.command.month, now, options.zone(conf))
    found = measure(conf, database, begin, end, now)
    if conf.command.incomplete:
        found['rows'] = [row for row in found['rows'] if row['missing']]
    if conf.command.format == tables.JSON:
        print(tables.to_json(found))
        return
    # Every status has a column that any cell has.
    statuses = [name for name in completeness.STATUSES if name in found['statuses']]
    columns = {'Scope': 'l', 'Metric': 'l', 'Periods': 'r'} | {name.capitalize(): 'r' for name in statuses}
    columns['Complete'] = 'r'
    print(
        tables.render(
            columns,
            [
                [
                    row['scope_id'],
                    row['type'] or '?',
                    row['cells'],
                    *(row['statuses'].get(name, 0) for name in statuses),
                    _percent(row['value']),
                ]
                for row in found['rows']
            ],
        )
    )
    print(
        '%s to %s: %s'
        % (
            found['begin'],
            found['end'],
            '%s of %d periods of scopes and metrics are complete; %d are not.'
            % (_percent(found['value']), found['cells'], found['missing'])
            if found['cells']
            else 'nothing is known of it.',
        )
    )
    if found['purged']:
        print('Data of %(scopes)d scopes was purged, up to %(until)s at the latest.' % found['purged'])


def read_month(
    text: str | None, now: datetime.datetime, zone: datetime.tzinfo
) -> tuple[datetime.datetime, datetime.datetime]:
    """Return the begin and the end of month *text* in *zone*; raise BadRequest for what is no month."""
    instant = now
    if text is not None:
        found = _MONTH.fullmatch(text)
        if found is None or not 1 <= int(found[2]) <= 12 or not 1970 <= int(found[1]) <= 2199:
            raise errors.BadRequest('--month: %s is no month; expected YYYY-MM, such as 2026-03.' % ascii(text[:50]))
        instant = datetime.datetime(int(found[1]), int(found[2]), 15, tzinfo=zone)
    return period.month_start(instant, zone), period.next_month_start(instant, zone)


def measure(
    conf: Any, database: engine.Database, begin: datetime.datetime, end: datetime.datetime, now: datetime.datetime
) -> dict[str, Any]:
    """Return, as JSON, what became of the cells that begin in the window, a row a scope and metric."""
    identity = scopes.Identity(conf.collect.scope_key, conf.fetcher.backend, conf.collect.collector)
    task = completeness.Task(
        period.to_epoch(begin), period.to_epoch(end), period.to_epoch(now), conf.collect.wait_periods
    )
    wanted = conf.command.scope_id
    if wanted is not None:
        wanted = [scope_id for scope_id in wanted if types.is_name(scope_id)]
    rows = []
    total = completeness.Tally(limit=0)
    with database.snapshot() as session:
        for pieces in ledger.survey(session, ledger.Rating(identity, conf.collect.period), task, wanted):
            total.add(pieces)
            for metric, group in itertools.groupby(pieces, key=lambda piece: piece.metric):
                tally = completeness.Tally(limit=1)
                tally.add(group)
                if tally.total:
                    rows.append({'scope_id': pieces[0].scope_id, 'type': metric, **_print(tally)})
                    if tally.runs:
                        rows[-1]['first_missing'] = period.from_epoch(tally.runs[0].begin).isoformat()
        count, until = purges.count(session, task.begin)
    return {
        'begin': begin.isoformat(),
        'end': end.isoformat(),
        **_print(total),
        'purged': {'scopes': count, 'until': period.from_epoch(until).isoformat()} if count else None,
        'rows': rows,
    }


def _print(tally: completeness.Tally) -> dict[str, Any]:
    return {
        'value': tally.value,
        'cells': tally.total,
        'missing': tally.missing,
        'statuses': _in_order(tally.cells),
    }


def _in_order(cells: Mapping[str, int] | collections.Counter[str]) -> dict[str, int]:
    return {status: cells[status] for status in completeness.STATUSES if cells.get(status)}


def _percent(value: float | None) -> str:
    """Return a part in percent, 100 only if it is all of it."""
    return '-' if value is None else '100 %' if value == 1 else '%.1f %%' % min(99.9, 100 * value)
