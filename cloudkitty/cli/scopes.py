# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-status scopes``: how far each scope is rated, and what holds it."""

from collections.abc import Collection
import datetime
from typing import Any

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty import scope
from cloudkitty.cli import tables
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.db import types
from cloudkitty.processor import planner

_COLUMNS = {'Scope': 'l', 'State': 'l', 'Last period': 'l', 'Lag': 'r', 'Last error': 'l'}
#: Characters of an error that a row of a table has room for; JSON has all.
_ROOM = 60


def show(conf: Any, database: engine.Database) -> None:
    """Print the scopes that *conf* asks for."""
    now = datetime.datetime.now(period.UTC)
    found = list_scopes(conf, database, now, conf.command.scope_id)
    if conf.command.format == tables.JSON:
        print(tables.to_json({'now': now.replace(microsecond=0).isoformat(), 'scopes': found}))
    else:
        print(tables.render(_COLUMNS, [_to_row(item) for item in found]))


def list_scopes(
    conf: Any, database: engine.Database, now: datetime.datetime, scope_ids: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return the scopes as JSON, sorted by id.

    States: ``rated``; ``inactive``: switched off; ``gone``: not listed any more, and rated to the end; ``other``: of
    another scope key, fetcher or collector than those configured, so that nobody rates it.
    """
    identity = scopes.Identity(conf.collect.scope_key, conf.fetcher.backend, conf.collect.collector)
    schedule = planner.Schedule(conf.collect.period, conf.collect.wait_periods)
    if scope_ids is not None:
        scope_ids = [scope_id for scope_id in scope_ids if types.is_name(scope_id)]
    states = scopes.list_states(database, ids=scope_ids)
    newest: dict[str, coverage.Failure] = {}
    # They are sorted by the begins of their cells.
    for failure in ledger.list_failures(database, scope_ids=scope_ids):
        newest[failure.scope_id] = failure
    result = []
    for state in states:
        is_ours = (state.scope.key, state.scope.fetcher, state.scope.collector) == (
            identity.key,
            identity.fetcher,
            identity.collector,
        )
        kind = _classify(state, schedule) if is_ours else 'other'
        begin = schedule.next_begin(state)
        lag = max(0, period.to_epoch(now) - schedule.due_at(begin)) if kind == 'rated' else None
        result.append(
            {
                'scope_id': state.scope.id,
                'scope_key': state.scope.key,
                'fetcher': state.scope.fetcher,
                'collector': state.scope.collector,
                'state': kind,
                'last_period': {
                    'begin': state.last_processed.isoformat(),
                    'end': period.from_epoch(begin).isoformat(),
                },
                'lag_seconds': lag,
                'last_error': _describe(newest.get(state.scope.id)),
            }
        )
    return result


def _classify(state: scope.State, schedule: planner.Schedule) -> str:
    if not state.active:
        return 'inactive'
    is_over = state.gone_since is not None and schedule.next_begin(state) >= period.to_epoch(state.gone_since)
    return 'gone' if is_over else 'rated'


def _describe(failure: coverage.Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {
        'metric': failure.metric,
        'begin': period.from_epoch(failure.begin).isoformat(),
        'since': period.from_epoch(failure.since).isoformat(),
        'attempts': failure.attempts,
        'next_attempt': period.from_epoch(failure.next_attempt).isoformat(),
        'error': failure.error,
    }


def _to_row(item: dict[str, Any]) -> list[str]:
    lag = '-' if item['lag_seconds'] is None else str(datetime.timedelta(seconds=item['lag_seconds']))
    trouble = item['last_error']
    text = '-' if trouble is None else '%s: %s' % (trouble['metric'], ' '.join(trouble['error'].split()))
    if len(text) > _ROOM:
        text = text[: _ROOM - 3] + '...'
    return [item['scope_id'], item['state'], item['last_period']['begin'], lag, text]
