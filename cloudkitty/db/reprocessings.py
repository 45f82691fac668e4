# SPDX-License-Identifier: Apache-2.0
"""Tasks of reprocessing in the database: the schedules of old, and beside them what those do not say.

What an older release must not work on, a task that is cancelled or asks no source, is finished in its schedule.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty import period
from cloudkitty import reprocessing
from cloudkitty import scope
from cloudkitty.db import engine
from cloudkitty.db import exact
from cloudkitty.db import ledger_models
from cloudkitty.db import models
from cloudkitty.db import purges
from cloudkitty.db import scope_rows
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.db import texts
from cloudkitty.db import types

Schedule = models.ReprocessingSchedule
Details = ledger_models.ReprocessingTask
KeptRow = ledger_models.ReprocessingKept

#: Characters of a reason: MySQL's TEXT has room for so many of any kind.
LONGEST_REASON = 20_000
#: Characters of an error that are kept.
_LONGEST_ERROR = 4000


def schedule(
    database: engine.Database,
    identity: scopes.Identity,
    scope_ids: Collection[str] | None,
    first: datetime.datetime,
    last: datetime.datetime,
    length: int,
    reason: str,
    actor: str | None,
    recollect: bool = True,
) -> None:
    """Make a task for each of *scope_ids* (None: every active scope), or none at all.

    :param identity: of the state that counts where a scope id has several.
    :param first, last: begins of the first and the last period.
    :param length: of a period, in seconds.
    :raises BadRequest: they are no begins of periods, a scope is not active, is not rated so far yet, has a task
        for one of the periods that is not finished, or data of one of them was purged.
    """
    texts.check(database, 'reason', reason, LONGEST_REASON)
    wanted = None if scope_ids is None else sorted(set(scope_ids))
    owners = _choose(scope_rows.find(database, {'scope_id': wanted}, active=[True]), identity)

    def run(session: orm.Session) -> None:
        guards = scopes.ensure_guards(session, [owner.id for owner in owners])
        scopes.lock(session, guards.values())
        clocks = {owner.id: clock for owner, clock in scopes.read_clocks(session, owners).items()}
        _refuse_off_grid(first, last, clocks, length)
        _refuse_strangers(wanted or (), clocks)
        _refuse_unrated(first, last, clocks)
        purges.refuse(session, {scope_id: guards[scope_id] for scope_id in clocks}, period.to_epoch(first))
        _refuse_overlaps(session, first, last, clocks)
        rows = [
            Schedule(
                identifier=scope_id,
                start_reprocess_time=period.to_naive(first),
                end_reprocess_time=period.to_naive(last),
                current_reprocess_time=None if recollect else period.to_naive(last),
                reason=reason,
            )
            for scope_id in sorted(clocks)
        ]
        session.add_all(rows)
        session.flush()
        # Servers may give an id once more whose schedule somebody deleted.
        statements.upsert(session, Details, [_details(row.id, recollect, actor) for row in rows])

    database.repeat(run, once=True)


def _choose(rows: Iterable[scope_rows.Found], identity: scopes.Identity) -> list[scope.Scope]:
    """Return one scope for each id: of several, that of *identity*."""
    result: dict[str, scope.Scope] = {}
    for owner in sorted(row.scope for row in rows):
        if owner.id not in result or (owner.key, owner.fetcher, owner.collector) == dataclasses.astuple(identity):
            result[owner.id] = owner
    return list(result.values())


def _refuse_off_grid(
    first: datetime.datetime, last: datetime.datetime, clocks: Mapping[str, datetime.datetime], length: int
) -> None:
    """Refuse instants that are no begins of periods: whole periods since the epoch, or since a scope's own first."""
    grids = {period.to_epoch(clock) % length: scope_id for scope_id, clock in sorted(clocks.items())} or {0: ''}
    for offset, scope_id in sorted(grids.items()):
        begin, end = (period.to_epoch(instant) - offset for instant in (first, last))
        if begin % length == 0 and end % length == 0:
            continue
        begin, end = begin // length * length + offset, end // length * length + offset
        raise errors.BadRequest(
            'start_reprocess_time and end_reprocess_time are not the begins of periods%s, which are %d seconds long. '
            'Around them are %s and %s.'
            % (
                ' of scope %s' % scope_id if offset else '',
                length,
                period.from_epoch(begin).isoformat(),
                period.from_epoch(end if end > begin else begin + length).isoformat(),
            )
        )


def _refuse_strangers(wanted: Collection[str], clocks: Collection[str]) -> None:
    strangers = [scope_id for scope_id in wanted if scope_id not in clocks]
    if strangers:
        raise errors.BadRequest(
            'scope_ids: %s %s.'
            % (_list(strangers), 'is no active scope' if len(strangers) == 1 else 'are no active scopes')
        )


def _refuse_unrated(first: datetime.datetime, last: datetime.datetime, clocks: Mapping[str, datetime.datetime]) -> None:
    latest = max(first, last)
    behind = sorted(scope_id for scope_id, clock in clocks.items() if clock < latest)
    if behind:
        raise errors.BadRequest(
            'end_reprocess_time: scope %s is rated up to the period that begins at %s only%s.'
            % (
                ascii(behind[0])[1:-1],
                clocks[behind[0]].isoformat(),
                ', and %d more are not rated so far' % (len(behind) - 1) if len(behind) > 1 else '',
            )
        )


def _refuse_overlaps(
    session: orm.Session, first: datetime.datetime, last: datetime.datetime, clocks: Collection[str]
) -> None:
    begin, end = period.to_epoch(first), period.to_epoch(last)
    for task in read_unfinished(session):
        if task.scope_id in clocks and task.first <= end and begin <= task.last:
            raise errors.BadRequest(
                'start_reprocess_time: scope %s is reprocessed from %s to %s already, and that is not finished.'
                % (
                    ascii(task.scope_id)[1:-1],
                    period.from_epoch(task.first).isoformat(),
                    period.from_epoch(task.last).isoformat(),
                )
            )


def _list(ids: Sequence[str]) -> str:
    shown = ', '.join(ascii(scope_id[:100])[1:-1] for scope_id in ids[:5])
    return shown + (' and %d more' % (len(ids) - 5) if len(ids) > 5 else '')


def list_tasks(
    database: engine.Database,
    scope_ids: Collection[str] | None = None,
    newest_first: bool = True,
    offset: int = 0,
    limit: int | None = None,
) -> list[reprocessing.Task]:
    """Return tasks, finished ones too, in the order in which they were made."""
    query = _select().order_by(Schedule.id.desc() if newest_first else Schedule.id).offset(offset).limit(limit)
    if scope_ids is not None:
        query = query.where(_of_scopes(database, scope_ids))
    with database.reader() as session:
        return _read(session, query)


def list_unfinished(database: engine.Database) -> list[reprocessing.Task]:
    """Return the tasks on which there is work left, oldest first."""
    with database.reader() as session:
        return read_unfinished(session)


def read_unfinished(session: orm.Session) -> list[reprocessing.Task]:
    """Return the same, as *session* sees it."""
    return _read(session, _select().where(_is_unfinished()).order_by(Schedule.id))


def list_kept(database: engine.Database, task_ids: Iterable[int], limit: int) -> dict[int, list[reprocessing.Kept]]:
    """Return {task id: what it left as it was}, by metric and begin, at most *limit* of each task."""
    place = sqlalchemy.func.row_number().over(partition_by=KeptRow.task_id, order_by=(KeptRow.metric, KeptRow.begin))
    result: dict[int, list[reprocessing.Kept]] = {}
    with database.reader() as session:
        for part in statements.chunks(sorted(set(task_ids))):
            query = sqlalchemy.select(KeptRow, place.label('place')).where(KeptRow.task_id.in_(part)).subquery()
            chosen = sqlalchemy.select(query).where(query.c.place <= limit).order_by(*query.c)
            for row in session.execute(chosen):
                result.setdefault(row.task_id, []).append(reprocessing.Kept(row.metric, row.begin, row.end, row.error))
    return result


def cancel(
    database: engine.Database, scope_ids: Collection[str] | None = None, task_ids: Collection[int] | None = None
) -> list[reprocessing.Task]:
    """End tasks that are not finished, of these scopes (None: all) and ids (None: all); return them.

    What a processor has in hand of them is dropped when it wants to commit it; what is done stays.
    """
    query = _select().where(_is_unfinished()).order_by(Schedule.id)
    if scope_ids is not None:
        query = query.where(_of_scopes(database, scope_ids))
    if task_ids is not None:
        query = query.where(Schedule.id.in_(sorted(set(task_ids))))

    def run(session: orm.Session) -> list[int]:
        found = [task.id for task in _read(session, query)]
        # Locked, they are as a commit in between left them.
        tasks = [item for item in _lock(session, found) if not item.task.is_finished]
        for item in tasks:
            _end(item)
        return [item.task.id for item in tasks]

    ended = database.repeat(run)
    with database.reader() as session:
        return [
            task
            for part in statements.chunks(ended)
            for task in _read(session, _select().where(Schedule.id.in_(part)).order_by(Schedule.id))
        ]


def _end(item: '_Locked') -> None:
    item.details.last_done = item.task.current
    item.details.cancelled, item.details.open, item.details.error = True, False, None
    item.schedule.current_reprocess_time = item.schedule.end_reprocess_time


def lock(session: orm.Session, steps: Iterable[reprocessing.Progress]) -> set[int]:
    """Lock the tasks of *steps*; return the ids of those that are as they were when the step was planned."""
    wanted = {step.task_id: step for step in steps}
    return {
        item.task.id
        for item in _lock(session, wanted)
        if not item.task.is_finished and item.task.current == wanted[item.task.id].before
    }


def advance(session: orm.Session, steps: Sequence[reprocessing.Progress]) -> None:
    """Write how far tasks got that the session has locked, and what they left as it was."""
    found = {item.task.id: item for item in _lock(session, [step.task_id for step in steps])}
    kept = []
    for step in steps:
        item = found[step.task_id]
        if item.task.recollect:
            item.schedule.current_reprocess_time = period.to_naive(period.from_epoch(step.after))
        else:
            item.details.last_done = step.after
            item.details.open = step.after < item.task.last
        _set_trouble(item.details, step.trouble if step.after < item.task.last else None)
        kept += [
            {
                'task_id': step.task_id,
                'metric': left.metric,
                'begin': left.begin,
                'end': left.end,
                'error': types.clean(left.error[:_LONGEST_ERROR]),
            }
            for left in step.kept
        ]
    session.flush()
    _extend(session, kept)
    statements.upsert(session, KeptRow, sorted(kept, key=lambda row: (row['task_id'], row['metric'], row['begin'])))


def _extend(session: orm.Session, kept: Sequence[dict[str, Any]]) -> None:
    """Have stretches of *kept* begin where those begin that are there, end where they begin and say the same."""
    if not kept:
        return
    before: dict[tuple[int, str, int, str], int] = {}
    for part in statements.chunks(sorted({row['task_id'] for row in kept})):
        query = sqlalchemy.select(KeptRow).where(
            KeptRow.task_id.in_(part), KeptRow.end.in_({row['begin'] for row in kept})
        )
        before.update(((row.task_id, row.metric, row.end, row.error), row.begin) for row in session.scalars(query))
    for row in kept:
        key = (row['task_id'], row['metric'], row['begin'], row['error'])
        row['begin'] = before.get(key, row['begin'])


def note(database: engine.Database, troubles: Mapping[int, reprocessing.Trouble]) -> None:
    """Write what tasks wait for, by id."""

    def run(session: orm.Session) -> None:
        for item in _lock(session, troubles):
            if not item.task.is_finished:
                _set_trouble(item.details, troubles[item.task.id])

    if troubles:
        database.repeat(run)


def refuse(database: engine.Database, reasons: Mapping[int, str]) -> None:
    """End tasks, by id, that cannot go on, and say why; what is done of them stays."""

    def run(session: orm.Session) -> None:
        for item in _lock(session, reasons):
            if not item.task.is_finished:
                _end(item)
                item.details.error = types.clean(reasons[item.task.id][:_LONGEST_ERROR])

    if reasons:
        database.repeat(run)


def _select() -> Any:
    return sqlalchemy.select(Schedule, Details).outerjoin(Details, Details.id == Schedule.id)


def _is_unfinished() -> Any:
    return (
        Schedule.current_reprocess_time.is_(None)
        | (Schedule.current_reprocess_time < Schedule.end_reprocess_time)
        | (Details.open == sqlalchemy.true())
    ) & (Details.cancelled.is_(None) | (Details.cancelled == sqlalchemy.false()))


def _of_scopes(database: engine.Database, scope_ids: Iterable[str]) -> Any:
    storable = [scope_id for scope_id in scope_ids if scopes.is_storable(database.dialect, scope_id)]
    return exact.is_one_of(Schedule.identifier, storable, database.dialect)


def _read(session: orm.Session, query: Any) -> list[reprocessing.Task]:
    return [_to_task(row, details) for row, details in session.execute(query)]


@dataclasses.dataclass(frozen=True)
class _Locked:
    """A task whose schedule is locked, and the rows that hold it."""

    task: reprocessing.Task
    schedule: Schedule
    details: Details


def _lock(session: orm.Session, task_ids: Iterable[int]) -> list[_Locked]:
    """Lock the schedules of these tasks, those that exist, in the order of their ids."""
    result = []
    for part in statements.chunks(sorted(set(task_ids))):
        mine = Schedule.id.in_(part)
        session.execute(sqlalchemy.select(Schedule.id).where(mine).order_by(Schedule.id).with_for_update())
        # A statement of its own: PostgreSQL shows the one that waited for the lock what was there before.
        query = _select().where(mine).order_by(Schedule.id).execution_options(populate_existing=True)
        for row, details in session.execute(query).all():
            task = _to_task(row, details)
            if details is None:
                # Another release scheduled it.
                details = Details(**_details(task.id))
                session.add(details)
            result.append(_Locked(task, row, details))
    session.flush()
    return result


def _to_task(row: Schedule, details: Details | None) -> reprocessing.Task:
    current = _to_second(row.current_reprocess_time)
    trouble = None
    if details is not None:
        if details.cancelled or not details.recollect:
            current = details.last_done
        if details.error is not None:
            trouble = reprocessing.Trouble(details.since or 0, details.attempts, details.next_attempt, details.error)
    first, last = _to_second(row.start_reprocess_time), _to_second(row.end_reprocess_time)
    assert first is not None and last is not None
    return reprocessing.Task(
        id=row.id,
        scope_id=row.identifier,
        first=first,
        last=last,
        current=current,
        reason=row.reason,
        recollect=details is None or bool(details.recollect),
        actor=None if details is None else details.actor,
        is_cancelled=details is not None and bool(details.cancelled),
        trouble=trouble,
    )


def _to_second(instant: datetime.datetime | None) -> int | None:
    return None if instant is None else period.to_epoch(period.from_naive(instant))


def _details(task_id: int, recollect: bool = True, actor: str | None = None) -> dict[str, Any]:
    return {
        'id': task_id,
        'recollect': recollect,
        'cancelled': False,
        'open': not recollect,
        'last_done': None,
        'actor': actor,
        'since': None,
        'attempts': 0,
        'next_attempt': 0,
        'error': None,
    }


def _set_trouble(details: Details, trouble: reprocessing.Trouble | None) -> None:
    details.since = None if trouble is None else trouble.since
    details.attempts = 0 if trouble is None else trouble.attempts
    details.next_attempt = 0 if trouble is None else trouble.next_attempt
    details.error = None if trouble is None else types.clean(trouble.error[:_LONGEST_ERROR])
