# SPDX-License-Identifier: Apache-2.0
"""What the ledger says of a window: a part of the scopes at a time, each part by the same few statements."""

from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
from typing import Any
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import completeness
from cloudkitty import coverage
from cloudkitty import period
from cloudkitty.db import ledger_models
from cloudkitty.db import models
from cloudkitty.db import scopes
from cloudkitty.db import statements

Guard = ledger_models.Guard
CoverageRun = ledger_models.CoverageRun
CoverageFailure = ledger_models.CoverageFailure
State = models.State

#: Rows that are read from a cursor at a time.
_AT_ONCE = 5000


@dataclasses.dataclass(frozen=True)
class Rating:
    """What is rated, and how: states of *identity* by periods of *length* seconds."""

    identity: scopes.Identity
    length: int


class Clock(NamedTuple):
    """What a scope's state says: where its periods begin, and the end of the last rated one, if somebody rates it."""

    phase: int
    edge: int | None


class _Guarded(NamedTuple):
    id: int
    scope_id: str
    gone_since: datetime.datetime | None


def survey(
    session: orm.Session,
    rating: Rating,
    task: completeness.Task,
    scope_ids: Collection[str] | None = None,
    metrics: Collection[str] | None = None,
) -> Iterator[list[completeness.Piece]]:
    """Yield what became of the cells of *task*, a list per scope, sorted by scope, metric and begin.

    :param session: sees one moment of the database.
    :param scope_ids, metrics: those wanted; None for all.
    """
    if task.begin >= task.end:
        return
    for part in statements.chunks(_read_guards(session, scope_ids)):
        clocks = _read_clocks(session, rating, [guard.scope_id for guard in part])
        owners = {guard.id: _to_owner(guard, clocks.get(guard.scope_id), rating, task) for guard in part}
        runs = _read_runs(session, task, owners)
        open_ids = [id_ for id_, owner in owners.items() if completeness.needs_extents(task, owner, runs.get(id_, {}))]
        extents = _read_extents(session, open_ids)
        for id_, owner in owners.items():
            found = completeness.survey(task, owner, runs.get(id_, {}), extents.get(id_, {}), metrics)
            if found:
                yield found


def _read_guards(session: orm.Session, scope_ids: Collection[str] | None) -> list[_Guarded]:
    query = sqlalchemy.select(Guard.id, Guard.identifier, Guard.gone_since)
    rows: list[Any] = []
    if scope_ids is None:
        rows = list(session.execute(query))
    else:
        for part in statements.chunks(sorted(set(scope_ids))):
            rows += session.execute(query.where(Guard.identifier.in_(part)))
    return sorted((_Guarded(*row) for row in rows), key=lambda guard: guard.scope_id)


def _read_clocks(session: orm.Session, rating: Rating, scope_ids: list[str]) -> dict[str, Clock]:
    """Return the clocks of those that have a state; nobody rates by one of another identity."""
    dialect = statements.dialect_of(session)
    storable = [scope_id for scope_id in scope_ids if scopes.is_storable(dialect, scope_id)]
    query = sqlalchemy.select(
        State.identifier, State.scope_key, State.fetcher, State.collector, State.last_processed_timestamp, State.active
    ).where(State.identifier.in_(storable))
    result: dict[str, Clock] = {}
    for scope_id, key, fetcher, collector, last, active in session.execute(query) if storable else ():
        is_ours = (key, fetcher, collector) == dataclasses.astuple(rating.identity)
        if is_ours or scope_id not in result:
            clock = period.to_epoch(period.from_naive(last))
            result[scope_id] = Clock(clock % rating.length, clock + rating.length if is_ours and active else None)
    return result


def _to_owner(guard: _Guarded, clock: Clock | None, rating: Rating, task: completeness.Task) -> completeness.Owner:
    found = clock or Clock(0, None)
    until = task.now if guard.gone_since is None else min(task.now, period.to_epoch(guard.gone_since))
    return completeness.Owner(guard.scope_id, completeness.Grid(rating.length, found.phase), found.edge, until)


def _read_runs(
    session: orm.Session, task: completeness.Task, owners: Mapping[int, completeness.Owner]
) -> dict[int, dict[str, list[coverage.Run]]]:
    """Return {guard id: {metric: runs that overlap the window}}."""
    first = period.from_epoch(task.begin)
    # Runs are cut at months: none that begins before this one matters.
    month = period.to_epoch(datetime.datetime(first.year, first.month, 1, tzinfo=period.UTC))
    query = sqlalchemy.select(
        CoverageRun.scope_id,
        CoverageRun.metric,
        CoverageRun.begin,
        CoverageRun.end,
        CoverageRun.status,
        CoverageRun.rule_set,
        CoverageRun.altered,
    ).where(
        CoverageRun.scope_id.in_(sorted(owners)),
        CoverageRun.begin >= month,
        CoverageRun.begin < task.end,
        CoverageRun.end > task.begin,
    )
    result: dict[int, dict[str, list[coverage.Run]]] = {}
    for id_, metric, begin, end, status, rule_set, altered in session.execute(query):
        run = coverage.Run(owners[id_].scope_id, metric, begin, end, coverage.Status(status), rule_set, bool(altered))
        result.setdefault(id_, {}).setdefault(metric, []).append(run)
    for by_metric in result.values():
        for runs in by_metric.values():
            runs.sort(key=lambda run: run.begin)
    return result


def _read_extents(session: orm.Session, ids: Collection[int]) -> dict[int, dict[str, tuple[int, int]]]:
    """Return {guard id: {metric: (begin of its first run, end of its last)}}."""
    result: dict[int, dict[str, tuple[int, int]]] = {}
    for part in statements.chunks(sorted(ids)):
        query = (
            sqlalchemy.select(
                CoverageRun.scope_id,
                CoverageRun.metric,
                sqlalchemy.func.min(CoverageRun.begin),
                sqlalchemy.func.max(CoverageRun.end),
            )
            .where(CoverageRun.scope_id.in_(part))
            .group_by(CoverageRun.scope_id, CoverageRun.metric)
        )
        for id_, metric, begin, end in session.execute(query):
            result.setdefault(id_, {})[metric] = (begin, end)
    return result


class Trouble(NamedTuple):
    """The open troubles of some cells together.

    :ivar since: of the one that is there for longest.
    :ivar attempts: at the cell that was tried most often.
    :ivar next_attempt: the next at any of them.
    :ivar error: of the first cell that has one.
    """

    since: int
    attempts: int
    next_attempt: int
    error: str


def read_troubles(session: orm.Session, rows: Sequence[completeness.Row]) -> dict[int, Trouble]:
    """Return {place in *rows*: its open troubles} of those that have one; rows without a metric have those of any."""
    # Those of cells that are done are over.
    asked = {
        number: row
        for number, row in enumerate(rows)
        if row.piece is not None and row.piece.status not in completeness.DONE
    }
    if not asked:
        return {}
    numbers = list(asked)
    spans = completeness.Spans((row.scope_id, row.metric, row.begin, row.end) for row in asked.values())
    guards = scopes.guard_ids(session, {row.scope_id for row in asked.values()})
    names = {id_: scope_id for scope_id, id_ in guards.items()}
    result: dict[int, Trouble] = {}
    for part in statements.chunks(sorted(names)):
        query = (
            sqlalchemy.select(
                CoverageFailure.scope_id,
                CoverageFailure.metric,
                CoverageFailure.begin,
                CoverageFailure.since,
                CoverageFailure.attempts,
                CoverageFailure.next_attempt,
                CoverageFailure.error,
            )
            .where(
                CoverageFailure.scope_id.in_(part),
                CoverageFailure.begin >= min(row.begin for row in asked.values()),
                CoverageFailure.begin < max(row.end for row in asked.values()),
            )
            .order_by(CoverageFailure.begin, CoverageFailure.scope_id, CoverageFailure.metric)
        )
        for id_, metric, begin, since, attempts, next_attempt, error in session.execute(query).yield_per(_AT_ONCE):
            trouble = Trouble(since, attempts, next_attempt, error)
            for name in (metric, None):
                for _, _, place in spans.overlapping(names[id_], name, begin, begin + 1):
                    number = numbers[place]
                    result[number] = _join(result.get(number), trouble)
    return result


def _join(found: Trouble | None, more: Trouble) -> Trouble:
    if found is None:
        return more
    return Trouble(
        min(found.since, more.since),
        max(found.attempts, more.attempts),
        min(found.next_attempt, more.next_attempt),
        found.error,
    )
