# SPDX-License-Identifier: Apache-2.0
"""Adjustments in the database: noted by the processor, decided by an operator."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import json
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import adjustment
from cloudkitty import coverage
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import scopes

Row = ledger_models.Adjustment
Guard = ledger_models.Guard
Status = adjustment.Status


def note(
    database: engine.Database,
    proposals: Collection[adjustment.Adjustment],
    failures: Collection[coverage.Failure],
    now: int,
    epochs: Mapping[str, int] | None = None,
) -> int:
    """Note *proposals* as pending, and the open troubles of their cells; return how many say something new.

    What would change of other metrics of the period stays in it. What was dropped before, as it is, stays dropped, and
    nobody tries it again.

    :param epochs: scope id to the epoch at which its guard stood when the work was planned; of a scope that was changed
        since nothing is noted.
    """

    def run(session: orm.Session) -> int:
        guards = scopes.guard_ids(session, {item.scope_id for item in proposals})
        found = scopes.lock(session, guards.values())
        if epochs is not None:
            guards = {scope_id: id_ for scope_id, id_ in guards.items() if found.get(id_) == epochs.get(scope_id)}
        advanced = set()
        fresh = 0
        waiting = {(failure.scope_id, failure.metric, failure.begin): failure for failure in failures}
        for item in sorted(proposals, key=lambda item: (guards.get(item.scope_id, 0), item.begin)):
            if item.scope_id not in guards:
                continue
            row = _read_one(session, guards[item.scope_id], item.begin)
            if row is not None and _is_dropped(row, item):
                _leave(session, guards, item)
                advanced.add(guards[item.scope_id])
                continue
            fresh += _note_one(session, guards[item.scope_id], row, item, now)
            cells = [waiting.get((item.scope_id, name, item.begin)) for name in item.cells]
            ledger.write_failures(session, guards, [failure for failure in cells if failure is not None])
        scopes.advance(session, advanced)
        return fresh

    return database.repeat(run) if proposals else 0


def _read_one(session: orm.Session, guard_id: int, begin: int) -> Row | None:
    """Return the adjustment of a period of a scope whose guard the session has locked."""
    return session.scalars(sqlalchemy.select(Row).where(Row.scope_id == guard_id, Row.begin == begin)).first()


def _is_dropped(row: Row, item: adjustment.Adjustment) -> bool:
    """Return whether all that *item* would change was dropped as it is; *row* may have had more."""
    if row.status != Status.DROPPED.value or row.end != item.end:
        return False
    known = json.loads(row.body)
    return all(known.get(name) == cell for name, cell in json.loads(adjustment.encode(item.cells)).items())


def _note_one(session: orm.Session, guard_id: int, row: Row | None, item: adjustment.Adjustment, now: int) -> bool:
    if row is None:
        session.add(
            Row(
                scope_id=guard_id,
                begin=item.begin,
                end=item.end,
                status=Status.PENDING.value,
                noted_at=now,
                body=adjustment.encode(item.cells),
            )
        )
        session.flush()
        return True
    known = adjustment.decode(row.body, item.scope_id, row.begin, row.end)
    cells = {**known, **item.cells} if row.status == Status.PENDING.value else dict(item.cells)
    text = adjustment.encode(cells)
    if row.body == text and row.status == Status.PENDING.value:
        return False
    row.end, row.status, row.noted_at, row.body = item.end, Status.PENDING.value, now, text
    row.decided_at = row.decided_by = None
    session.flush()
    return True


def withdraw(database: engine.Database, cells: Collection[tuple[str, str, int]]) -> None:
    """Take *cells* (scope id, metric, begin) out of what is pending: nothing of them would change any more."""
    if not cells:
        return
    begins = [cell[2] for cell in cells]
    names: dict[tuple[str, int], set[str]] = {}
    for scope_id, name, begin in cells:
        names.setdefault((scope_id, begin), set()).add(name)
    owners = {scope_id for scope_id, _ in names}
    _, found = find(database, owners, [Status.PENDING], min(begins), max(begins) + 1)
    stale = [item for item in found if not names.get((item.scope_id, item.begin), set()).isdisjoint(item.cells)]

    def run(session: orm.Session) -> None:
        guards = scopes.guard_ids(session, {item.scope_id for item in stale})
        scopes.lock(session, guards.values())
        for item in stale:
            row = _read_one(session, guards[item.scope_id], item.begin)
            if row is None or row.status != Status.PENDING.value:
                continue
            known = adjustment.decode(row.body, item.scope_id, row.begin, row.end)
            gone = names[item.scope_id, item.begin]
            left = {name: cell for name, cell in known.items() if name not in gone}
            if left:
                row.body = adjustment.encode(left)
            else:
                session.delete(row)
        session.flush()

    if stale:
        database.repeat(run)


def find(
    database: engine.Database,
    scope_ids: Collection[str] | None = None,
    statuses: Collection[Status] | None = None,
    begin: int | None = None,
    end: int | None = None,
    ids: Collection[int] | None = None,
    offset: int = 0,
    limit: int | None = None,
) -> tuple[int, list[adjustment.Adjustment]]:
    """Return how many there are, and some of them, oldest period first.

    :param begin, end: those of periods that begin in ``[begin, end)``.
    """
    conditions: list[Any] = [Guard.id == Row.scope_id]
    if scope_ids is not None:
        conditions.append(Guard.identifier.in_(sorted(set(scope_ids))))
    if statuses is not None:
        conditions.append(Row.status.in_(sorted(status.value for status in statuses)))
    if begin is not None:
        conditions.append(Row.begin >= begin)
    if end is not None:
        conditions.append(Row.begin < end)
    if ids is not None:
        conditions.append(Row.id.in_(sorted(set(ids))))
    query = sqlalchemy.select(Row, Guard.identifier).where(*conditions).order_by(Row.begin, Row.id)
    with database.reader() as session:
        total = session.scalar(sqlalchemy.select(sqlalchemy.func.count()).where(*conditions)) or 0
        rows = session.execute(query.offset(offset).limit(limit)).all()
        return total, [_to_adjustment(row, identifier) for row, identifier in rows]


def count_pending(database: engine.Database) -> int:
    """Return how many wait for a decision."""
    query = sqlalchemy.select(sqlalchemy.func.count()).where(Row.status == Status.PENDING.value)
    with database.reader() as session:
        return session.scalar(query) or 0


def _to_adjustment(row: Row, scope_id: str) -> adjustment.Adjustment:
    return adjustment.Adjustment(
        scope_id,
        row.begin,
        row.end,
        adjustment.decode(row.body, scope_id, row.begin, row.end),
        Status(row.status),
        row.noted_at,
        row.decided_at,
        row.decided_by,
        row.id,
    )


def lock_pending(session: orm.Session, items: Iterable[adjustment.Adjustment]) -> set[int]:
    """Lock those of *items* that are pending as they were read, and return their ids.

    The session has locked their guards. What the processor brought up to date since says something else.
    """
    known = {item.id: item for item in items if item.id is not None}
    query = sqlalchemy.select(Row).where(Row.id.in_(sorted(known)), Row.status == Status.PENDING.value)
    result = set()
    for row in session.scalars(query.order_by(Row.id).with_for_update()):
        item = known[row.id]
        cells = adjustment.decode(row.body, item.scope_id, row.begin, row.end)
        if adjustment.encode(cells) == adjustment.encode(item.cells):
            result.add(row.id)
    return result


def decide(session: orm.Session, ids: Iterable[int], status: Status, who: str | None, now: int) -> None:
    """Write what was decided about adjustments that the session has locked."""
    session.execute(
        sqlalchemy.update(Row)
        .where(Row.id.in_(sorted(ids)))
        .values(status=status.value, decided_by=who, decided_at=now)
    )


def drop(database: engine.Database, ids: Collection[int], who: str | None, now: int) -> set[int]:
    """Leave the periods of pending adjustments as they are; return the ids of those that were pending."""
    _, found = find(database, ids=ids)

    def run(session: orm.Session) -> set[int]:
        guards = scopes.guard_ids(session, {item.scope_id for item in found})
        scopes.lock(session, guards.values())
        pending = lock_pending(session, found)
        dropped = [item for item in found if item.id in pending]
        for item in dropped:
            _leave(session, guards, item)
        decide(session, pending, Status.DROPPED, who, now)
        scopes.advance(session, [guards[item.scope_id] for item in dropped])
        return pending

    return database.repeat(run) if found else set()


def _leave(session: orm.Session, guards: Mapping[str, int], item: adjustment.Adjustment) -> None:
    """Have nobody try again what *item* would change; what was provisional on its account is so no more."""
    own = {item.scope_id: guards[item.scope_id]}
    runs = [
        run._replace(begin=item.begin, end=item.end, status=_settle(run, item.cells[run.metric]))
        for run in ledger.read_runs(session, own, item.begin, item.end)
        if run.metric in item.cells and run.status is coverage.Status.PROVISIONAL
    ]
    ledger.write_runs(session, own, runs)
    ledger.delete_failures(session, own, [(item.scope_id, name, item.begin) for name in item.cells])


def _settle(run: coverage.Run, cell: adjustment.Cell) -> coverage.Status:
    """Return what a provisional cell is that stays as it is."""
    if run.rule_set is not None:
        return coverage.Status.RATED
    return coverage.Status.UNRATED if cell.before.points else coverage.Status.EMPTY
