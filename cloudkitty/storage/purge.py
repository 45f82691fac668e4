# SPDX-License-Identifier: Apache-2.0
"""Purging: everything from before a UTC day goes, some scopes and days at a time.

First it is written, with the scopes' guards locked, how far they are purged, and what the ledger says of that time
goes: from then on nobody rates it again, and what anybody has in hand of it is dropped. Then the days go, each
transaction with what it takes from the roll-ups, and last the series that have no day left. A purge that was cut off is
finished by the next one; whatever is rated meanwhile goes on.

Clocks, guards, closings, rule sets, tasks of reprocessing and what tells which rows of old are imported stay.
"""

import collections
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty.db import bulk
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import models as core_models
from cloudkitty.db import purges
from cloudkitty.db import reprocessings
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.db import types
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import models as old_models

#: How many scopes one transaction takes.
AT_ONCE = 100
#: How many rows one transaction takes, unless a single day of these scopes has more.
ROWS = 10_000

Adjustment = ledger_models.Adjustment
CoverageFailure = ledger_models.CoverageFailure
CoverageRun = ledger_models.CoverageRun
Frame = old_models.RatedDataFrame
Guard = ledger_models.Guard
History = models.RatedHistory
RatedDay = models.RatedDay
ScopeDay = models.ScopeDay
ScopeMonth = models.ScopeMonth
SeriesRow = models.SeriesRow
State = core_models.State

_SUMS = ('points', 'qty', 'price', 'unpriced', 'skipped')
_SCOPE_MONTH = ('month', 'scope_id', 'metric', 'origin', *_SUMS)


@dataclasses.dataclass
class Outcome:
    """What was done.

    :ivar deleted: {table: rows}.
    :ivar refused: {scope id: why its data stays}.
    """

    deleted: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, other: 'Outcome') -> None:
        self.deleted.update(other.deleted)
        self.refused.update(other.refused)


def count(database: engine.Database, before: int, frames: bool = False) -> dict[str, int]:
    """Return {table: how many rows of it are older than epoch second *before*}, the begin of a UTC day.

    :param frames: ``rated_data_frames`` as well.
    """
    day = before // period.DAY
    wanted: dict[Any, Any] = {
        RatedDay: RatedDay.day < day,
        ScopeDay: ScopeDay.day < day,
        History: History.day < day,
        CoverageRun: CoverageRun.begin < before,
        CoverageFailure: CoverageFailure.begin < before,
        Adjustment: Adjustment.begin < before,
    }
    if frames:
        wanted[Frame] = Frame.begin < _naive(before)
    with database.reader() as session:
        return {
            model.__tablename__: session.scalar(
                sqlalchemy.select(sqlalchemy.func.count()).select_from(model).where(condition)
            )
            or 0
            for model, condition in wanted.items()
        }


def purge(database: engine.Database, before: int, length: int, frames: bool = False) -> Iterator[Outcome]:
    """Delete what is older than epoch second *before*, the begin of a UTC day; yield what each transaction did.

    A scope with a task of reprocessing for that time that is not finished is left as it is.

    :param length: of a period, in seconds.
    :param frames: delete rows of ``rated_data_frames`` as well.
    """
    with database.reader() as session:
        guards = session.execute(sqlalchemy.select(Guard.identifier, Guard.id).order_by(Guard.id)).all()
    # {scope id: up to where its data goes}, of those of which not all before that second does.
    bounds: dict[str, int] = {}
    for part in statements.chunks(guards, AT_ONCE):
        yield from _purge_some(database, {row[0]: row[1] for row in part}, before, length, bounds)
    if frames:
        yield from _purge_frames(database, before, bounds)


def _purge_some(
    database: engine.Database, guards: Mapping[str, int], before: int, length: int, bounds: dict[str, int]
) -> Iterator[Outcome]:
    begun, ends = database.repeat(lambda session: _begin(session, guards, before, length))
    yield begun
    bounds.update(dict.fromkeys(begun.refused, 0))
    bounds.update({scope_id: ends[id_] for scope_id, id_ in guards.items() if ends.get(id_, before) < before})
    for end in sorted(set(ends.values())):
        ids = sorted(id_ for id_, until in ends.items() if until == end)
        # Of a month that somebody may be adding to, workers remember the roll-up.
        fresh = _month_of(end // period.DAY)
        for days in _list_days(database, ids, end // period.DAY):
            yield database.repeat(
                lambda session, ids=ids, days=days, fresh=fresh: _delete_days(session, ids, days, fresh)  # type: ignore[misc]
            )
    if ends:
        yield _delete_series(database, sorted(ends))


def _begin(session: orm.Session, guards: Mapping[str, int], before: int, length: int) -> tuple[Outcome, dict[int, int]]:
    """Write how far scopes are purged, and take that time out of the ledger; return {guard id: up to where}.

    A scope that is behind is purged up to the day that it stands in: what is rated of it from now on stays.
    """
    scopes.lock(session, guards.values())
    outcome = Outcome(refused=_find_tasks(session, guards, before))
    taken = {scope_id: id_ for scope_id, id_ in guards.items() if scope_id not in outcome.refused}
    states = _read_states(session, taken)
    found = purges.read(session, taken.values())
    ends = {}
    for scope_id, id_ in taken.items():
        reached = max((_end_of(state, length) for state in states.get(scope_id, ())), default=before)
        ends[id_] = max(found.get(id_, 0), min(before, reached // period.DAY * period.DAY))
    is_changed = ends != found
    if is_changed:
        purges.write(session, ends)
    for scope_id, some in states.items():
        is_changed = _catch_up(some, ends[taken[scope_id]], length) or is_changed
    for end in sorted(set(ends.values())):
        equal = {scope_id: id_ for scope_id, id_ in taken.items() if ends[id_] == end}
        is_changed = _take_out(session, equal, end, outcome) or is_changed
    if is_changed:
        scopes.advance(session, taken.values())
    return outcome, ends


def _take_out(session: orm.Session, guards: Mapping[str, int], end: int, outcome: Outcome) -> bool:
    """Take what the ledger says of the time before *end* out of it; return whether there was anything."""
    runs = ledger.read_runs(session, guards, 0, end)
    failures = ledger.failed_cells(session, guards, 0, end)
    ledger.erase(session, guards, 0, end)
    proposals: list[int] = []
    for part in statements.chunks(sorted(guards.values())):
        query = sqlalchemy.select(Adjustment.id).where(Adjustment.scope_id.in_(part), Adjustment.begin < end)
        proposals += session.scalars(query.order_by(Adjustment.id)).all()
    statements.delete_keys(session, Adjustment, [(id_,) for id_ in proposals])
    outcome.deleted.update(
        {
            CoverageRun.__tablename__: sum(not coverage.without(run, 0, end) for run in runs),
            CoverageFailure.__tablename__: len(failures),
            Adjustment.__tablename__: len(proposals),
        }
    )
    return bool(runs or failures or proposals)


def _catch_up(states: Collection[Any], end: int, length: int) -> bool:
    """Have states of a scope whose clock another one left behind, before *end*, go on from there.

    A collector that is used again would rate what is purged once more.
    """
    newest = max(state.last_processed_timestamp for state in states)
    behind = [state for state in states if state.last_processed_timestamp < newest and _end_of(state, length) < end]
    for state in behind:
        state.last_processed_timestamp = newest
    return bool(behind)


def _find_tasks(session: orm.Session, guards: Mapping[str, int], before: int) -> dict[str, str]:
    """Return {scope id: why it cannot be purged} of those that are to be rated once more in that time."""
    return {
        task.scope_id: 'Task %d is to reprocess it from %s on; wait until it is done, or cancel it.'
        % (task.id, period.from_epoch(task.first).isoformat())
        for task in reprocessings.read_unfinished(session)
        if task.scope_id in guards and task.first < before
    }


def _read_states(session: orm.Session, scope_ids: Collection[str]) -> dict[str, list[Any]]:
    """Return {scope id: its states, of whatever collector} of those that have one."""
    dialect = statements.dialect_of(session)
    storable = [scope_id for scope_id in sorted(scope_ids) if scopes.is_storable(dialect, scope_id)]
    result: dict[str, list[Any]] = {}
    for part in statements.chunks(storable):
        for row in session.scalars(sqlalchemy.select(State).where(State.identifier.in_(part))):
            # MariaDB finds it in other letters too.
            if row.identifier in scope_ids:
                result.setdefault(row.identifier, []).append(row)
    return result


def _end_of(state: Any, length: int) -> int:
    """Return where the last rated period of *state* ends."""
    return period.to_epoch(period.from_naive(state.last_processed_timestamp)) + length


def _list_days(database: engine.Database, ids: Sequence[int], end: int) -> list[list[int]]:
    """Return the days before *end* of which these scopes have anything, in lists that a transaction takes."""
    counts: collections.Counter[int] = collections.Counter()
    with database.reader() as session:
        for model in (RatedDay, History, ScopeDay):
            query = (
                sqlalchemy.select(model.day, sqlalchemy.func.count())
                .where(model.scope_id.in_(ids), model.day < end)
                .group_by(model.day)
            )
            for day, rows in session.execute(query):
                counts[day] += rows
    result: list[list[int]] = []
    room = 0
    for day in sorted(counts):
        if counts[day] > room:
            result.append([])
            room = ROWS
        result[-1].append(day)
        room -= counts[day]
    return result


def _delete_days(session: orm.Session, ids: Sequence[int], days: Sequence[int], fresh: int) -> Outcome:
    """Delete *days* of these scopes; roll-ups of their months are made anew.

    :param fresh: from this month on workers may remember roll-ups.
    """
    scopes.lock(session, ids)
    outcome = Outcome()
    entries = sqlalchemy.select(History.id).where(History.scope_id.in_(ids), History.day.in_(days))
    for part in statements.chunks(session.scalars(entries.order_by(History.id)).all()):
        outcome.deleted[History.__tablename__] += _delete(session, History, History.id.in_(part))
    found: dict[int, list[int]] = {}
    query = sqlalchemy.select(RatedDay.day, RatedDay.series_id).where(
        RatedDay.scope_id.in_(ids), RatedDay.day.in_(days)
    )
    for day, series_id in session.execute(query):
        found.setdefault(day, []).append(series_id)
    for day, series in sorted(found.items()):
        for part in statements.chunks(sorted(series)):
            outcome.deleted[RatedDay.__tablename__] += _delete(
                session, RatedDay, RatedDay.day == day, RatedDay.series_id.in_(part)
            )
    for day in days:
        outcome.deleted[ScopeDay.__tablename__] += _delete(
            session, ScopeDay, ScopeDay.day == day, ScopeDay.scope_id.in_(ids)
        )
    months = sorted({_month_of(day) for day in days})
    for month in months:
        outcome.deleted[ScopeMonth.__tablename__] += _make_month(session, ids, month)
    if months[-1] >= fresh:
        scopes.advance(session, ids)
    return outcome


def _make_month(session: orm.Session, ids: Sequence[int], month: int) -> int:
    """Make the roll-ups of a month anew from those of its days that are left; return how many are gone."""
    columns = (ScopeDay.scope_id, ScopeDay.metric, ScopeDay.origin)
    # Servers make of a sum of integers what drivers make a Decimal of.
    sums = [
        types.exact_sum(column) if column.key in ('qty', 'price') else sqlalchemy.func.sum(column)
        for column in (getattr(ScopeDay, name) for name in _SUMS)
    ]
    query = (
        sqlalchemy.select(*columns, *sums)
        .where(ScopeDay.day.in_(range(_first_day(month), _first_day(month + 1))), ScopeDay.scope_id.in_(ids))
        .group_by(*columns)
    )
    rows = [(month, *row[:3], int(row[3]), row[4], row[5], int(row[6]), int(row[7])) for row in session.execute(query)]
    before = _delete(session, ScopeMonth, ScopeMonth.month == month, ScopeMonth.scope_id.in_(ids))
    bulk.replace(session, ScopeMonth, _SCOPE_MONTH, sorted(rows, key=lambda row: row[:4]))
    return before - len(rows)


def _delete_series(database: engine.Database, ids: Sequence[int]) -> Outcome:
    """Delete the series of these scopes that have no day left.

    They are looked for before the guards are locked, which takes a while; of scopes that changed since, once more.
    """
    with database.reader() as session:
        seen = _read_marks(session, ids)
        orphans = _find_orphans(session, ids)

    def run(session: orm.Session) -> int:
        scopes.lock(session, ids)
        marks = _read_marks(session, ids)
        moved = [id_ for id_ in ids if marks.get(id_) != seen.get(id_)]
        gone = sorted(set().union(*(orphans.get(id_, ()) for id_ in ids if id_ not in set(moved))))
        gone += sorted(set().union(*_find_orphans(session, moved).values()))
        for part in statements.chunks(sorted(gone)):
            _delete(session, SeriesRow, SeriesRow.id.in_(part))
        if gone:
            scopes.advance(session, ids)
        return len(gone)

    return Outcome(collections.Counter({SeriesRow.__tablename__: database.repeat(run)}))


def _read_marks(session: orm.Session, ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Return what changes with whatever is done to the data of these scopes, by guard id."""
    query = sqlalchemy.select(Guard.id, Guard.epoch, Guard.touched).where(Guard.id.in_(ids))
    return {row[0]: (row[1], row[2]) for row in session.execute(query)}


def _find_orphans(session: orm.Session, ids: Sequence[int]) -> dict[int, set[int]]:
    """Return {guard id: ids of its series that have no day}."""
    result: dict[int, set[int]] = {}
    if not ids:
        return result
    query: Any = sqlalchemy.select(SeriesRow.scope_id, SeriesRow.id).where(SeriesRow.scope_id.in_(ids))
    for guard_id, series_id in session.execute(query):
        result.setdefault(guard_id, set()).add(series_id)
    for model in (RatedDay, History):
        query = sqlalchemy.select(model.scope_id, model.series_id).where(model.scope_id.in_(ids)).distinct()
        for guard_id, series_id in session.execute(query):
            result.get(guard_id, set()).discard(series_id)
    return result


def _purge_frames(database: engine.Database, before: int, bounds: Mapping[str, int]) -> Iterator[Outcome]:
    """Delete rows of ``rated_data_frames``; of the scopes of *bounds* only those before what it says."""
    rest = Frame.tenant_id.is_(None) | Frame.tenant_id.not_in(sorted(bounds)) if bounds else sqlalchemy.true()
    parts = [(before, rest)] + [(end, Frame.tenant_id == scope_id) for scope_id, end in sorted(bounds.items()) if end]
    for end, condition in parts:

        def run(session: orm.Session, end: int = end, condition: Any = condition) -> int:
            query = sqlalchemy.select(Frame.id).where(Frame.begin < _naive(end), condition)
            ids = session.scalars(query.order_by(Frame.begin).limit(ROWS)).all()
            for part in statements.chunks(sorted(ids)):
                _delete(session, Frame, Frame.id.in_(part))
            return len(ids)

        while gone := database.repeat(run):
            yield Outcome(collections.Counter({Frame.__tablename__: gone}))


def _delete(session: orm.Session, model: Any, *conditions: Any) -> int:
    """Delete the rows that *conditions*, which name keys, tell; return how many they were."""
    statement = sqlalchemy.delete(model).where(*conditions).execution_options(synchronize_session=False)
    done: Any = session.execute(statement)
    return int(done.rowcount)


def _month_of(day: int) -> int:
    year, month = coverage.month_of(day * period.DAY)
    return year * 12 + month - 1


def _first_day(month: int) -> int:
    return period.to_epoch(period.parse('%04d-%02d-01' % (month // 12, month % 12 + 1))) // period.DAY


def _naive(second: int) -> Any:
    return period.to_naive(period.from_epoch(second))
