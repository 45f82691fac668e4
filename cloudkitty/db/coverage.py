# SPDX-License-Identifier: Apache-2.0
"""The coverage ledger in the database: runs of cells, and open troubles."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty.db import bulk
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import purges
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.db import types

Guard = ledger_models.Guard
CoverageRun = ledger_models.CoverageRun
CoverageFailure = ledger_models.CoverageFailure

#: Of more scopes than that troubles are not asked for by name.
MANY = 2 * statements.CHUNK

_RUN = ('scope_id', 'metric', 'begin', 'end', 'status', 'rule_set', 'altered')
_STATUSES = {status.value: status for status in coverage.Status}


def write_runs(session: orm.Session, guards: Mapping[str, int], runs: list[coverage.Run]) -> list[coverage.Run]:
    """Write *runs* over what the ledger holds: equal neighbours join, a run that is written into is split.

    Returns what the ledger held of these scopes and metrics around them.

    :param guards: scope id to guard id of every scope of *runs*; the session has locked them.
    """
    if not runs:
        return []
    first = period.from_epoch(min(run.begin for run in runs))
    month = period.to_epoch(datetime.datetime(first.year, first.month, 1, tzinfo=period.UTC))
    last = max(run.end for run in runs)
    owners = {guards[run.scope_id]: run.scope_id for run in runs}
    metrics = {run.metric for run in runs}
    before: list[coverage.Run] = []
    for part in statements.chunks(sorted(owners)):
        # Runs are cut at months, so none that begins before this month matters.
        query = sqlalchemy.select(*_columns()).where(
            CoverageRun.scope_id.in_(part), CoverageRun.begin >= month, CoverageRun.begin <= last
        )
        before += [to_run(row, owners[row.scope_id]) for row in session.execute(query) if row.metric in metrics]
    after = coverage.replace(before, runs)
    kept = set(before)
    fresh = [run for run in after if run not in kept]
    taken = {run[:3] for run in after}
    statements.delete_keys(session, CoverageRun, sorted(_key(guards, run) for run in before if run[:3] not in taken))
    bulk.replace(session, CoverageRun, _RUN, _to_rows(guards, fresh))
    return before


def list_runs(
    database: engine.Database,
    scope_ids: Collection[str] | None = None,
    begin: int | None = None,
    end: int | None = None,
    metric: str | None = None,
    status: coverage.Status | None = None,
) -> list[coverage.Run]:
    """Return the runs that overlap ``[begin, end)``, whole, sorted by scope, metric and begin."""
    query = sqlalchemy.select(CoverageRun, Guard.identifier).join(Guard, Guard.id == CoverageRun.scope_id)
    if begin is not None:
        query = query.where(CoverageRun.end > begin)
    if end is not None:
        query = query.where(CoverageRun.begin < end)
    if metric is not None:
        query = query.where(CoverageRun.metric == metric)
    if status is not None:
        query = query.where(CoverageRun.status == status.value)
    with database.reader() as session:
        rows = _by_scope(session, query, scope_ids)
    return sorted(
        (to_run(row, identifier) for row, identifier in rows), key=lambda run: (run.scope_id, run.metric, run.begin)
    )


def list_failures(
    database: engine.Database,
    due_before: int | None = None,
    scope_ids: Collection[str] | None = None,
    limit: int | None = None,
    clocks: Mapping[str, int] | None = None,
    begin: int | None = None,
    end: int | None = None,
) -> list[coverage.Failure]:
    """Return open troubles, oldest cell first.

    :param due_before: those whose next attempt is at or before this second.
    :param clocks: in place of *scope_ids*: scope id to the begin of the last cell to look at.
    :param begin, end: those of cells that begin in ``[begin, end)``.
    """
    query = sqlalchemy.select(CoverageFailure, Guard.identifier).join(Guard, Guard.id == CoverageFailure.scope_id)
    if due_before is not None:
        query = query.where(CoverageFailure.next_attempt <= due_before)
    if begin is not None:
        query = query.where(CoverageFailure.begin >= begin)
    if end is not None:
        query = query.where(CoverageFailure.begin < end)
    query = query.order_by(CoverageFailure.begin, CoverageFailure.scope_id, CoverageFailure.metric)
    if limit is not None:
        query = query.limit(limit)
    rows: list[Any] = []
    with database.reader() as session:
        if clocks is None:
            rows = _by_scope(session, query, scope_ids)
        else:
            # Scopes of the same phase share a clock, so these are few statements.
            by_clock: dict[int, list[str]] = {}
            for scope_id, clock in clocks.items():
                by_clock.setdefault(clock, []).append(scope_id)
            for clock, ids in sorted(by_clock.items()):
                rows += _by_scope(session, query.where(CoverageFailure.begin <= clock), ids)
    rows.sort(key=lambda pair: (pair[0].begin, pair[0].scope_id, pair[0].metric))
    return [
        coverage.Failure(identifier, row.metric, row.begin, row.since, row.attempts, row.next_attempt, row.error)
        for row, identifier in rows[:limit]
    ]


def count_due(database: engine.Database, now: int) -> int:
    """Return how many open troubles of anybody are to be tried again at or before epoch second *now*."""
    query = sqlalchemy.select(sqlalchemy.func.count()).where(CoverageFailure.next_attempt <= now)
    with database.reader() as session:
        return session.scalar(query) or 0


def count_all(database: engine.Database) -> int:
    """Return how many open troubles there are."""
    with database.reader() as session:
        return session.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(CoverageFailure)) or 0


def write_failures(session: orm.Session, guards: Mapping[str, int], failures: Iterable[coverage.Failure]) -> None:
    """Write open troubles, each in the place of the one that its cell has."""
    statements.upsert(
        session,
        CoverageFailure,
        [
            {
                'scope_id': guards[failure.scope_id],
                'metric': failure.metric,
                'begin': failure.begin,
                'since': failure.since,
                'attempts': failure.attempts,
                'next_attempt': failure.next_attempt,
                'error': types.clean(failure.error[:4000]),
            }
            for failure in sorted(failures, key=lambda item: (guards[item.scope_id], item.metric, item.begin))
        ],
    )


def delete_failures(session: orm.Session, guards: Mapping[str, int], cells: Iterable[tuple[str, str, int]]) -> None:
    """Delete the troubles of these cells (scope id, metric, begin)."""
    statements.delete_keys(
        session, CoverageFailure, sorted((guards[scope_id], metric, begin) for scope_id, metric, begin in cells)
    )


def failed_cells(session: orm.Session, guards: Mapping[str, int], begin: int, end: int) -> list[tuple[str, str, int]]:
    """Return the cells (scope id, metric, begin) of these scopes that have an open trouble in ``[begin, end)``."""
    names = {guard_id: scope_id for scope_id, guard_id in guards.items()}
    result = []
    for part in statements.chunks(sorted(names)):
        query = sqlalchemy.select(CoverageFailure.scope_id, CoverageFailure.metric, CoverageFailure.begin).where(
            CoverageFailure.scope_id.in_(part), CoverageFailure.begin >= begin, CoverageFailure.begin < end
        )
        result += [(names[row[0]], row[1], row[2]) for row in session.execute(query)]
    return result


def _by_scope(session: orm.Session, query: Any, scope_ids: Collection[str] | None) -> list[Any]:
    if scope_ids is None:
        return list(session.execute(query).all())
    wanted = set(scope_ids)
    if len(wanted) > MANY:
        # There are few troubles, and one statement is as good as a hundred.
        return [row for row in session.execute(query).all() if row[1] in wanted]
    rows: list[Any] = []
    for part in statements.chunks(sorted(wanted)):
        rows += session.execute(query.where(Guard.identifier.in_(part))).all()
    return rows


def _key(guards: Mapping[str, int], run: coverage.Run) -> tuple[int, str, int]:
    return guards[run.scope_id], run.metric, run.begin


def _columns() -> list[Any]:
    return [getattr(CoverageRun, name) for name in _RUN]


def to_run(row: Any, scope_id: str) -> coverage.Run:
    """Return the run that *row* holds."""
    return coverage.Run(
        scope_id, row.metric, row.begin, row.end, _STATUSES[row.status], row.rule_set, bool(row.altered)
    )


def read_runs(session: orm.Session, guards: Mapping[str, int], begin: int, end: int) -> list[coverage.Run]:
    """Return the runs of these scopes that overlap ``[begin, end)``, whole."""
    names = {guard_id: scope_id for scope_id, guard_id in guards.items()}
    result = []
    for part in statements.chunks(sorted(names)):
        query = sqlalchemy.select(*_columns()).where(
            CoverageRun.scope_id.in_(part), CoverageRun.begin < end, CoverageRun.end > begin
        )
        result += [to_run(row, names[row.scope_id]) for row in session.execute(query)]
    return result


def erase(session: orm.Session, guards: Mapping[str, int], begin: int, end: int) -> None:
    """Forget what became of the cells of these scopes in ``[begin, end)``; the session has locked the guards."""
    before = read_runs(session, guards, begin, end)
    cut(session, guards, [(run, begin, end) for run in before])
    delete_failures(session, guards, failed_cells(session, guards, begin, end))


def cut(session: orm.Session, guards: Mapping[str, int], cuts: Iterable[tuple[coverage.Run, int, int]]) -> None:
    """Take ``[begin, end)`` out of runs that are there; each of *cuts* is (run, begin, end)."""
    rests: dict[coverage.Run, list[coverage.Run]] = {}
    for run, begin, end in cuts:
        rests[run] = [piece for rest in rests.get(run, [run]) for piece in coverage.without(rest, begin, end)]
    statements.delete_keys(session, CoverageRun, sorted(_key(guards, run) for run in rests))
    bulk.replace(session, CoverageRun, _RUN, _to_rows(guards, [piece for rest in rests.values() for piece in rest]))


def _to_rows(guards: Mapping[str, int], runs: Iterable[coverage.Run]) -> list[bulk.Row]:
    return sorted(
        (guards[run.scope_id], run.metric, run.begin, run.end, run.status.value, run.rule_set, run.altered)
        for run in runs
    )


def note_failures(database: engine.Database, failures: Collection[coverage.Failure]) -> None:
    """Write troubles of scopes that stay where they are: nobody's plan becomes stale by it."""

    def run(session: orm.Session) -> None:
        guards = scopes.guard_ids(session, {failure.scope_id for failure in failures})
        scopes.lock(session, guards.values())
        purged = purges.read(session, list(guards.values()))
        write_failures(
            session,
            guards,
            [
                failure
                for failure in failures
                if failure.scope_id in guards and failure.begin >= purged.get(guards[failure.scope_id], 0)
            ],
        )

    if failures:
        database.repeat(run)


def forget_failures(database: engine.Database, cells: Collection[tuple[str, str, int]]) -> None:
    """Delete the troubles of these cells (scope id, metric, begin), which nobody wants mended any more."""

    def run(session: orm.Session) -> None:
        guards = scopes.guard_ids(session, {cell[0] for cell in cells})
        scopes.lock(session, guards.values())
        delete_failures(session, guards, [cell for cell in cells if cell[0] in guards])

    if cells:
        database.repeat(run)
