# SPDX-License-Identifier: Apache-2.0
"""Writing: what a batch, a push or a deletion does to days and roll-ups, in one transaction.

Locks are taken in one order everywhere: the key of a push, guards, states, series, coverage, failures, history, days,
roll-ups, each in the order of its key.
"""

import collections
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import decimal
import functools
import operator
from typing import Any

from oslo_log import log
import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import bulk
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import pushes
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.db import types
from cloudkitty.storage import base
from cloudkitty.storage import transaction
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import known
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.sqlalchemy import slices
from cloudkitty.storage.sqlalchemy import windows

LOG = log.getLogger(__name__)

RatedDay = models.RatedDay
ScopeDay = models.ScopeDay
ScopeMonth = models.ScopeMonth

#: How many day rows are written at once: they take more room than the points they hold.
ROWS = 10_000
#: Cause of a correction: see :func:`to_edit`.
IMPORTED = 'imported, then rated'

#: (day, series id)
DayKey = tuple[int, int]
#: (day, or month, guard id, metric, origin)
RollUpKey = tuple[int, int, str, str]

# Columns of the tables, in the order of the rows that are made here.
_SERIES = ('fingerprint', 'scope_id', 'metric', 'unit', 'origin', 'description', 'groupby', 'metadata')
_DAY = ('day', 'series_id', 'scope_id', 'qty', 'price', 'points', 'body')
_TOTALS = ('points', 'qty', 'price', 'unpriced', 'skipped')
_SCOPE_DAY = ('day', 'scope_id', 'metric', 'origin', *_TOTALS, 'body')
_SCOPE_MONTH = ('month', 'scope_id', 'metric', 'origin', *_TOTALS)


@dataclasses.dataclass
class Edit:
    """A change to days: points to add, and cells whose points are taken out before.

    :ivar takes_out: (guard id, metric, begin) of a collected point to whether it goes.
    :ivar first_day, last_day: the days that *takes_out* may concern.
    :ivar appends: collected points may join those that a cell holds already.
    :ivar tasks: guard id to the task of reprocessing that does it; what it takes out has to be whole periods.
    :ivar spans: the stretches that tasks write, by guard id and metric.
    :ivar starts: guard ids of those tasks for which this is the first step.
    :ivar grid: the begin of one of those periods, epoch second.
    :ivar keeps_history: what is taken out goes to the history.
    :ivar remembered: rows that are certainly in the database, by series id or (table, guard id, metric, origin); need
        not be read.
    :ivar written: rows that were written, by the same; of several days the newest.
    """

    guards: Mapping[str, int]
    columns: Sequence[series.Columns]
    ids: Mapping[bytes, int]
    skipped: Mapping[tuple[str, str, int], int] = dataclasses.field(default_factory=dict)
    length: int = 0
    takes_out: Callable[[int, str, int], bool] | None = None
    first_day: int = 0
    last_day: int = 0
    cause: str = ''
    who: str | None = None
    appends: bool = False
    tasks: Mapping[int, int] = dataclasses.field(default_factory=dict)
    spans: Mapping[tuple[int, str], Sequence[tuple[int, int]]] = dataclasses.field(default_factory=dict)
    starts: frozenset[int] = frozenset()
    grid: int = 0
    keeps_history: bool = True
    remembered: Mapping[Any, bulk.Row] = dataclasses.field(default_factory=dict)
    written: dict[Any, bulk.Row] = dataclasses.field(default_factory=dict)


class Memory:
    """What a storage remembers of what it wrote: ids of series, and the newest rows, which the next period extends."""

    def __init__(self) -> None:
        self.ids = known.make_ids()
        self.rows = known.make_rows()


def write(
    database: engine.Database, memory: Memory, commit: base.Commit, keeps_history: bool = True
) -> base.CommitResult:
    """Write *commit*; scopes that moved since it was planned are dropped from it.

    :param keeps_history: what is replaced goes to the history.
    :raises Conflict: a cell holds collected points already and the commit does not say that it replaces them, or is to
        be reprocessed and not a whole period.
    """

    def run(session: orm.Session) -> _Written:
        taken = transaction.lock(session, commit)
        guards = taken.guards
        if not guards:
            return _Written(taken.result)
        columns = [item for item in commit.columns if item.series.scope_id in guards]
        ids, learnt = series_ids(session, memory.ids, columns, guards, taken.epochs)
        before = transaction.write_ledger(session, commit, guards)
        edit = to_edit(commit, guards, columns, ids, [run for run in before if run.is_imported])
        edit.keeps_history = keeps_history
        if edit.takes_out is None:
            edit.remembered = {
                key: row
                for scope_id, guard_id in guards.items()
                for key, row in memory.rows.get(scope_id, taken.epochs[guard_id]).items()
            }
        edit_days(session, edit)
        transaction.finish(session, commit, guards)
        epochs = {scope_id: taken.epochs[guard_id] + 1 for scope_id, guard_id in guards.items()}
        return _Written(taken.result, epochs, learnt, None if edit.takes_out else _by_scope(edit.written, guards))

    written = database.repeat(run)
    for scope_id, epoch in written.epochs.items():
        memory.ids.learn(scope_id, epoch, written.ids.get(scope_id, {}))
        if written.rows is None:
            memory.rows.forget(scope_id)
        else:
            memory.rows.learn(scope_id, epoch, written.rows.get(scope_id, {}))
    return written.result


@dataclasses.dataclass(frozen=True)
class _Written:
    """What a commit did.

    :ivar epochs: scope id to the epoch that its guard stands at now.
    :ivar ids: scope id to ids of series that are news.
    :ivar rows: scope id to rows that may be remembered; None: none may, of none of these scopes.
    """

    result: base.CommitResult
    epochs: Mapping[str, int] = dataclasses.field(default_factory=dict)
    ids: Mapping[str, Mapping[bytes, int]] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, Mapping[Any, bulk.Row]] | None = None


def _by_scope(rows: Mapping[Any, bulk.Row], guards: Mapping[str, int]) -> dict[str, dict[Any, bulk.Row]]:
    names = {guard_id: scope_id for scope_id, guard_id in guards.items()}
    result: dict[str, dict[Any, bulk.Row]] = collections.defaultdict(dict)
    for key, row in rows.items():
        # The guard id stands behind the series id in day rows, behind the day in roll-ups.
        result[names[row[2] if isinstance(key, int) else row[1]]][key] = row
    return result


def push(database: engine.Database, columns: Sequence[series.Columns], key: pushes.Key | None = None) -> None:
    """Append pushed *columns*; the clock and what is being rated stay.

    :param key: nothing is done if these points were pushed with it before.
    :raises KeyTaken: other points were pushed with *key*.
    """
    owners = sorted({item.series.scope_id for item in columns})
    digest = '' if key is None else series.digest(columns)

    def run(session: orm.Session) -> None:
        if key is not None and not pushes.claim(session, key, digest):
            return
        guards = scopes.ensure_guards(session, owners)
        scopes.lock(session, guards.values())
        edit_days(session, Edit(guards, columns, find_ids(session, columns, guards)))
        scopes.touch(session, guards.values())

    if columns or key is not None:
        # With a key it notices that it was done.
        database.repeat(run, once=key is None)


def delete(
    database: engine.Database, scope_ids: Iterable[str], begin: int, end: int, keeps_history: bool = True
) -> None:
    """Delete the collected points and the coverage of these scopes that begin in ``[begin, end)`` (epoch seconds)."""
    if begin >= end:
        return
    for part in statements.chunks(sorted(set(scope_ids)), 100):
        database.repeat(functools.partial(_delete, scope_ids=part, begin=begin, end=end, keeps_history=keeps_history))


def _delete(session: orm.Session, scope_ids: Sequence[str], begin: int, end: int, keeps_history: bool) -> None:
    guards = scopes.guard_ids(session, scope_ids)
    if not guards:
        return
    scopes.lock(session, guards.values())
    erase(session, guards, begin, end, keeps_history=keeps_history)
    scopes.advance(session, guards.values())


def erase(
    session: orm.Session,
    guards: Mapping[str, int],
    begin: int,
    end: int,
    who: str | None = None,
    keeps_history: bool = True,
) -> None:
    """Delete collected points and coverage of the scopes of *guards*, which the session has locked."""
    ledger.erase(session, guards, begin, end)
    edit = Edit(
        guards,
        (),
        {},
        takes_out=lambda guard_id, metric, instant: begin <= instant < end,
        first_day=begin // period.DAY,
        last_day=(end - 1) // period.DAY,
        cause='deleted',
        who=who,
        keeps_history=keeps_history,
    )
    edit_days(session, edit)


def to_edit(
    commit: base.Commit,
    guards: Mapping[str, int],
    columns: Sequence[series.Columns],
    ids: Mapping[bytes, int],
    imported: Sequence[coverage.Run] = (),
) -> Edit:
    """Return what *commit* does to the days of the scopes of *guards*: it adds *columns*.

    :param imported: what an older release wrote and did not live to set the clock behind: it would have rated that
        again, and so do we, in its place.
    """
    skipped = {key: count for key, count in commit.skipped.items() if key[0] in guards}
    edit = Edit(guards, columns, ids, skipped, commit.length)
    changed = [(change.begin, change.end) for change in commit.changes if change.state.scope.id in guards]
    cells = collections.defaultdict(list)
    for run in commit.runs:
        if run.scope_id in guards:
            cells[guards[run.scope_id], run.metric].append((run.begin, run.end))
    edit.first_day = min(begin for begin, _ in changed) // period.DAY
    edit.last_day = (max(end for _, end in changed) - 1) // period.DAY

    def is_written(guard_id: int, metric: str, instant: int) -> bool:
        return any(begin <= instant < end for begin, end in cells.get((guard_id, metric), ()))

    if commit.replace:
        edit.takes_out = is_written
        edit.cause = commit.cause or 'replaced'
        edit.who = commit.who
        edit.tasks = {guards[name]: step.task_id for name, step in commit.steps.items() if name in guards}
        edit.spans = cells
        edit.starts = frozenset(
            guards[name] for name, step in commit.steps.items() if step.before is None and name in guards
        )
        edit.grid = changed[0][0]
        return edit
    moving = {change.state.scope.id for change in commit.changes if change.moves_clock}
    leftovers = collections.defaultdict(list)
    for run in imported:
        if run.scope_id in moving:
            leftovers[guards[run.scope_id], run.metric].append((run.begin, run.end))

    def is_left_over(guard_id: int, metric: str, instant: int) -> bool:
        return is_written(guard_id, metric, instant) and any(
            begin <= instant < end for begin, end in leftovers.get((guard_id, metric), ())
        )

    if any(
        begin < last and first < end
        for key, spans in leftovers.items()
        for begin, end in spans
        for first, last in cells.get(key, ())
    ):
        edit.takes_out = is_left_over
        edit.cause = IMPORTED
    return edit


def series_ids(
    session: orm.Session,
    cache: known.Known[bytes, int],
    columns: Sequence[series.Columns],
    guards: Mapping[str, int],
    epochs: Mapping[int, int],
) -> tuple[dict[bytes, int], dict[str, dict[bytes, int]]]:
    """Return {fingerprint: id} of the series of *columns*, and those of them that are news to the cache, by scope."""
    wanted = {item.series.fingerprint: item.series for item in columns}
    ids: dict[bytes, int] = {}
    for scope_id in {item.scope_id for item in wanted.values()}:
        remembered = cache.get(scope_id, epochs[guards[scope_id]])
        ids.update(remembered)
    found = _find_ids(session, {key: item for key, item in wanted.items() if key not in ids}, guards)
    ids.update(found)
    learnt: dict[str, dict[bytes, int]] = collections.defaultdict(dict)
    for fingerprint, id_ in found.items():
        learnt[wanted[fingerprint].scope_id][fingerprint] = id_
    return ids, learnt


def find_ids(session: orm.Session, columns: Sequence[series.Columns], guards: Mapping[str, int]) -> dict[bytes, int]:
    """Return {fingerprint: id} of the series of *columns*."""
    return _find_ids(session, {item.series.fingerprint: item.series for item in columns}, guards)


def _find_ids(
    session: orm.Session, wanted: Mapping[bytes, series.Series], guards: Mapping[str, int]
) -> dict[bytes, int]:
    found = _look_up(session, sorted(wanted))
    fresh = sorted(fingerprint for fingerprint in wanted if fingerprint not in found)
    # Some at a time: rows are larger than what they are made of.
    for part in statements.chunks(fresh):
        bulk.add(session, models.SeriesRow, _SERIES, [_to_row(wanted[key], guards) for key in part])
    found.update(_look_up(session, fresh))
    return found


def _look_up(session: orm.Session, fingerprints: Sequence[bytes]) -> dict[bytes, int]:
    result: dict[bytes, int] = {}
    for part in statements.chunks(fingerprints):
        query = sqlalchemy.select(models.SeriesRow.fingerprint, models.SeriesRow.id)
        rows = session.execute(query.where(models.SeriesRow.fingerprint.in_(part)))
        result.update((bytes(row[0]), row[1]) for row in rows)
    return result


def _to_row(item: series.Series, guards: Mapping[str, int]) -> bulk.Row:
    return (
        item.fingerprint,
        guards[item.scope_id],
        item.metric,
        item.unit,
        item.origin.value,
        item.description,
        series.canonical(item.groupby),
        series.canonical(item.metadata),
    )


def edit_days(session: orm.Session, edit: Edit) -> None:
    """Merge the points of *edit* into their day rows, and what that changes into the roll-ups."""
    _note_length(session, edit)
    with decimal.localcontext(amount.CONTEXT):
        fresh, owners, cells, crossed = _cut(edit)
        _note_crossed(session, crossed)
        for rows, gone in _merge_days(session, edit, fresh, owners):
            statements.delete_keys(session, RatedDay, gone)
            bulk.replace(session, RatedDay, _DAY, rows)
            edit.written.update((row[1], row) for row in rows)
        day_rows, gone_days, deltas = _merge_roll_ups(session, edit, cells)
        month_rows, gone_months = _merge_months(session, edit, deltas)
        statements.delete_keys(session, ScopeDay, gone_days)
        bulk.replace(session, ScopeDay, _SCOPE_DAY, day_rows)
        edit.written.update((('day', *row[1:4]), row) for row in day_rows)
        statements.delete_keys(session, ScopeMonth, gone_months)
        bulk.replace(session, ScopeMonth, _SCOPE_MONTH, month_rows)
        edit.written.update((('month', *row[1:4]), row) for row in month_rows)


def _note_length(session: orm.Session, edit: Edit) -> None:
    """Keep the length of the longest frame of all, before there is a frame of it."""
    longest = max((item.length for item in edit.columns), default=0)
    if edit.skipped:
        longest = max(longest, edit.length)
    if longest:
        known = session.scalar(sqlalchemy.select(sqlalchemy.func.max(models.FrameLength.length)))
        if known is None or known < longest:
            bulk.add(session, models.FrameLength, ('length',), [(longest,)])


def _note_crossed(session: orm.Session, days: Collection[int]) -> None:
    """Keep that points which begin on *days* end after them, before there are such points."""
    for part in statements.chunks(sorted(days)):
        column = models.CrossedMidnight.day
        known = set(session.scalars(sqlalchemy.select(column).where(column.in_(part))))
        bulk.add(session, models.CrossedMidnight, ('day',), [(day,) for day in part if day not in known])


def _cut(
    edit: Edit,
) -> tuple[dict[DayKey, list[slices.Slice]], dict[int, tuple[int, str, str]], dict[RollUpKey, slices.Cells], set[int]]:
    """Return the points of *edit* by day and series, the owners of the series, and what they add up to.

    Then, the days on which some begin that end after them.
    """
    cutter = slices.Cutter()
    fresh: dict[DayKey, list[slices.Slice]] = {}
    owners: dict[int, tuple[int, str, str]] = {}
    by_owner: dict[tuple[int, str, str], dict[int, slices.Cells]] = {}
    origins = {origin: origin.value for origin in series.Origin}
    for item in edit.columns:
        of = item.series
        series_id = edit.ids[of.fingerprint]
        owner = owners[series_id] = edit.guards[of.scope_id], of.metric, origins[of.origin]
        by_day = by_owner.setdefault(owner, {})
        for day, part in cutter.cut(item):
            place = (day, series_id)
            if place in fresh:
                fresh[place].append(part)
            else:
                fresh[place] = [part]
            found = by_day.get(day)
            if found is None:
                found = by_day[day] = slices.Cells()
            found.add(part)
    cells: dict[RollUpKey, slices.Cells] = {
        (day, *owner): found for owner, by_day in by_owner.items() for day, found in by_day.items()
    }
    for (scope_id, metric, begin), count in edit.skipped.items():
        day, offset = divmod(begin, period.DAY)
        key = (day, edit.guards[scope_id], metric, series.Origin.COLLECTED.value)
        cells.setdefault(key, slices.Cells()).skip(offset, edit.length, count)
    return fresh, owners, cells, cutter.crossed()


def _merge_days(
    session: orm.Session,
    edit: Edit,
    fresh: Mapping[DayKey, list[slices.Slice]],
    owners: dict[int, tuple[int, str, str]],
) -> Iterator[tuple[list[bulk.Row], list[DayKey]]]:
    """Yield day rows to write and the keys of those that are empty now, some at a time in the order of their keys.

    What is replaced is written to the history before.
    """
    collected: dict[DayKey, Any] = {}
    kept: dict[DayKey, list[body.Point]] = {}
    replaced = []
    if edit.starts:
        _refuse_long(session, edit)
    if edit.takes_out is not None:
        for row in _list_collected(session, edit):
            key = (row.day, row.series_id)
            collected[key] = row
            owners[row.series_id] = (row.scope_id, row.metric, series.Origin.COLLECTED.value)
            midnight = row.day * period.DAY
            before = body.decode_points(row.body)
            if edit.tasks:
                _refuse_parts(edit, row, before)
            after: list[body.Point] = []
            out: list[body.Point] = []
            for point in before:
                goes = edit.takes_out(row.scope_id, row.metric, midnight + point.offset)
                (out if goes else after).append(point)
            if out:
                replaced.append(_to_day_row(key, row.scope_id, out))
                kept[key] = after
    if replaced and edit.cause == IMPORTED:
        LOG.warning(
            '%d days of series hold points behind the clocks of their scopes, which an older release wrote before it '
            'was stopped and would have written again. They are rated anew.',
            len(replaced),
        )
    _write_history(session, edit, replaced)
    for keys in statements.chunks(sorted(fresh.keys() | kept.keys()), ROWS):
        existing = {key: row for key in keys if (row := edit.remembered.get(key[1])) is not None and row[0] == key[0]}
        existing |= _read_days(
            session, [key for key in keys if key in fresh and key not in collected and key not in existing]
        )
        yield _merge_some(edit, keys, existing | collected, fresh, kept, owners)


def _merge_some(
    edit: Edit,
    keys: Iterable[DayKey],
    existing: Mapping[DayKey, Any],
    fresh: Mapping[DayKey, list[slices.Slice]],
    kept: Mapping[DayKey, list[body.Point]],
    owners: Mapping[int, tuple[int, str, str]],
) -> tuple[list[bulk.Row], list[DayKey]]:
    rows: list[bulk.Row] = []
    gone = []
    for key in keys:
        row = existing.get(key)
        added = fresh.get(key, ())
        owner = owners[key[1]]
        if len(added) == 1 and key not in kept:
            (part,) = added
            count, qty, price = part.totals()
            if row is None:
                rows.append((*key, owner[0], qty, price, count, part.encode()))
                continue
            extended = body.append(row[6], part.shape.offsets[0], part.encode())
            if extended is not None:
                rows.append((*key, owner[0], row[3] + qty, row[4] + price, row[5] + count, extended))
                continue
        before = kept[key] if key in kept else body.decode_points(row[6]) if row is not None else []
        after = [point for part in added for point in part.points()]
        if before and after and not edit.appends and owner[2] == series.Origin.COLLECTED.value:
            _refuse_doubles(key[0], before, after, owner[1])
        if before or after:
            rows.append(_to_day_row(key, owner[0], sorted(before + after, key=_by_offset)))
        elif row is not None:
            gone.append(key)
    return rows, gone


_by_offset = operator.itemgetter(0)


def _refuse_doubles(day: int, before: list[body.Point], added: list[body.Point], metric: str) -> None:
    taken = {point.offset for point in before}
    for point in added:
        if point.offset in taken:
            raise errors.Conflict(
                'Metric %s holds collected points at %s already.'
                % (metric, period.from_epoch(day * period.DAY + point.offset))
            )


def _refuse_parts(edit: Edit, row: Any, points: Iterable[body.Point]) -> None:
    """Refuse to replace anything but whole periods: what reaches over the edge of one would be lost, or paid twice."""
    spans = edit.spans.get((row.scope_id, row.metric), ())
    midnight = row.day * period.DAY
    for point in points:
        begin = midnight + point.offset
        end = begin + point.length
        if not any(begin < stop and start < end for start, stop in spans):
            continue
        is_whole = point.length == edit.length and (begin - edit.grid) % edit.length == 0
        if not is_whole or not any(start <= begin and end <= stop for start, stop in spans):
            raise NoPeriod(row.metric, begin, end, edit.length)


def _refuse_long(session: orm.Session, edit: Edit) -> None:
    """Refuse what begins on a day before and reaches into what is written."""
    first = min(start for spans in edit.spans.values() for start, _ in spans) if edit.spans else 0
    for part in statements.chunks(sorted(edit.starts)):
        query = sqlalchemy.select(ScopeDay.day, ScopeDay.scope_id, ScopeDay.metric, ScopeDay.body).where(
            ScopeDay.scope_id.in_(part),
            ScopeDay.day.in_(range((first - windows.LONGEST_FRAME) // period.DAY, edit.first_day)),
            ScopeDay.origin == series.Origin.COLLECTED.value,
        )
        for row in session.execute(query):
            end = row.day * period.DAY + body.end_of(row.body)
            if any(start < end for start, _ in edit.spans.get((row.scope_id, row.metric), ())):
                raise NoPeriod(row.metric, row.day * period.DAY, end, edit.length)


class NoPeriod(errors.Conflict):
    """Something is stored that is no whole period."""

    def __init__(self, metric: str, begin: int, end: int, length: int) -> None:
        super().__init__(
            'Metric %s holds points between %s and %s that are not of one period of %d s: they cannot be rated anew '
            'period by period.' % (metric, period.from_epoch(begin), period.from_epoch(end), length)
        )


def _read_days(session: orm.Session, keys: Sequence[DayKey]) -> dict[DayKey, Any]:
    """Return the day rows that there are of *keys*, and maybe others."""
    result: dict[DayKey, Any] = {}
    for days, ids in _touched(keys):
        query = sqlalchemy.select(
            RatedDay.day, RatedDay.series_id, RatedDay.scope_id, RatedDay.qty, RatedDay.price, RatedDay.points,
            RatedDay.body,
        ).where(RatedDay.day.in_(days), RatedDay.series_id.in_(ids))  # fmt: skip
        result.update(((row.day, row.series_id), row) for row in session.execute(query))
    return result


def _touched(keys: Iterable[tuple[int, int]]) -> Iterable[tuple[list[int], list[int]]]:
    """Yield (days, series ids) that cover *keys*."""
    days = sorted({day for day, _ in keys})
    for part in statements.chunks(sorted({series_id for _, series_id in keys})):
        for some in statements.chunks(days, 200):
            yield some, part


def _list_collected(session: orm.Session, edit: Edit) -> list[Any]:
    result: list[Any] = []
    for part in statements.chunks(sorted(edit.guards.values())):
        query = (
            sqlalchemy.select(
                RatedDay.day, RatedDay.series_id, RatedDay.scope_id, RatedDay.qty, RatedDay.price, RatedDay.points,
                RatedDay.body, models.SeriesRow.metric,
            )
            .join(models.SeriesRow, models.SeriesRow.id == RatedDay.series_id)
            .where(
                RatedDay.scope_id.in_(part),
                RatedDay.day >= edit.first_day,
                RatedDay.day <= edit.last_day,
                models.SeriesRow.origin == series.Origin.COLLECTED.value,
            )
        )  # fmt: skip
        result += session.execute(query).all()
    return result


def _write_history(session: orm.Session, edit: Edit, rows: Sequence[bulk.Row]) -> None:
    """Write day rows of the points that are taken out."""
    if not rows or not edit.keeps_history:
        return
    now = datetime.datetime.now(period.UTC).replace(microsecond=0)
    who = None if edit.who is None else types.clean(edit.who)[: types.LONGEST_NAME]
    statements.insert(
        session,
        models.RatedHistory,
        [
            {
                **dict(zip(_DAY, row, strict=True)),
                'cause': edit.cause,
                'who': who,
                'at': now,
                'task_id': edit.tasks.get(row[2]),
            }
            for row in sorted(rows, key=operator.itemgetter(0, 1))
        ],
    )


def _to_day_row(key: DayKey, guard_id: int, points: Sequence[body.Point]) -> bulk.Row:
    """Return the day row of *points*, which are sorted."""
    priced = [point for point in points if point.price is not None]
    qty, price = amount.total(point.qty for point in priced), amount.total(point.price for point in priced)  # type: ignore[misc]
    return *key, guard_id, qty, price, len(priced), body.encode_points(points)


def _merge_roll_ups(
    session: orm.Session, edit: Edit, fresh: Mapping[RollUpKey, slices.Cells]
) -> tuple[list[bulk.Row], list[RollUpKey], dict[RollUpKey, list[Any]]]:
    """Return the rows of ``scope_days`` to write, the keys of those to delete, and what changes by (month, ...)."""
    first = min([key[0] for key in fresh] + ([edit.first_day] if edit.takes_out else []), default=0)
    last = max([key[0] for key in fresh] + ([edit.last_day] if edit.takes_out else []), default=-1)
    existing = _remembered(edit, 'day', fresh)
    missing = edit.guards.values() if edit.takes_out is not None else {key[1] for key in fresh if key not in existing}
    for part in statements.chunks(sorted(missing)):
        query = sqlalchemy.select(*(getattr(ScopeDay, name) for name in _SCOPE_DAY)).where(
            ScopeDay.scope_id.in_(part), ScopeDay.day >= first, ScopeDay.day <= last
        )
        existing.update((tuple(found[:4]), found) for found in session.execute(query))
    rows = []
    gone = []
    deltas: dict[RollUpKey, list[Any]] = {}
    candidates = set(fresh)
    if edit.takes_out is not None:
        candidates |= {key for key in existing if key[3] == series.Origin.COLLECTED.value}
    for key in sorted(candidates):
        row = existing.get(key)
        if edit.takes_out is None and fresh[key]:
            offset, text, totals = fresh[key].fold()
            extended = text if row is None else body.append(row[9], offset, text)
            if extended is not None:
                _add_to_month(deltas, key, totals)
                if row is not None:
                    totals = slices.add_up(row[4:9], totals)
                rows.append((*key, *totals, extended))
                continue
        added = fresh[key].by_place() if key in fresh else {}
        cells = dict(slices.decode_cells(None if row is None else row[9]))
        if edit.takes_out is not None and key[3] == series.Origin.COLLECTED.value:
            midnight = key[0] * period.DAY
            cells = {
                place: cell for place, cell in cells.items() if not edit.takes_out(key[1], key[2], midnight + place[0])
            }
        if key[3] == series.Origin.COLLECTED.value and not edit.appends:
            _refuse_filled(key, cells, added)
        for place, values in added.items():
            old = cells.get(place)
            cells[place] = values if old is None else slices.add_up(old, values)
        totals = slices.add_up_all(cells.values())
        if cells:
            text = body.encode_cells(body.Cell(*place, *cells[place]) for place in sorted(cells))
            rows.append((*key, *totals, text))
        elif row is not None:
            gone.append(key)
        _add_to_month(deltas, key, totals if row is None else slices.subtract(totals, row[4:9]))
    return rows, gone, deltas


def _remembered(edit: Edit, table: str, keys: Iterable[RollUpKey]) -> dict[RollUpKey, Any]:
    """Return the rows of *keys* that need not be read."""
    found = ((key, edit.remembered.get((table, *key[1:]))) for key in keys)
    return {key: row for key, row in found if row is not None and row[0] == key[0]}


def _add_to_month(deltas: dict[RollUpKey, list[Any]], key: RollUpKey, change: Sequence[Any]) -> None:
    first = period.from_epoch(key[0] * period.DAY)
    month = (first.year * 12 + first.month - 1, *key[1:])
    deltas[month] = slices.add_up(deltas[month], change) if month in deltas else list(change)


def _refuse_filled(key: RollUpKey, cells: Mapping[tuple[int, int], Sequence[Any]], fresh: Mapping[Any, Any]) -> None:
    taken = {offset for (offset, _), values in cells.items() if values[0]}
    for place in fresh:
        if place[0] in taken and fresh[place][0]:
            raise errors.Conflict(
                'Metric %s holds collected points at %s already.'
                % (key[2], period.from_epoch(key[0] * period.DAY + place[0]))
            )


def _merge_months(
    session: orm.Session, edit: Edit, deltas: Mapping[RollUpKey, Sequence[Any]]
) -> tuple[list[bulk.Row], list[RollUpKey]]:
    if not deltas:
        return [], []
    existing = _remembered(edit, 'month', deltas)
    months = sorted({key[0] for key in deltas})
    for part in statements.chunks(sorted({key[1] for key in deltas if key not in existing})):
        query = sqlalchemy.select(*(getattr(ScopeMonth, name) for name in _SCOPE_MONTH))
        query = query.where(ScopeMonth.month.in_(months), ScopeMonth.scope_id.in_(part))
        existing.update((tuple(found[:4]), found) for found in session.execute(query))
    rows: list[bulk.Row] = []
    gone = []
    for key in sorted(deltas):
        row = existing.get(key)
        values = list(deltas[key])
        if row is not None:
            values = slices.add_up(row[4:9], values)
        if values[0] or values[4]:
            rows.append((*key, *values))
        elif row is not None:
            gone.append(key)
    return rows, gone
