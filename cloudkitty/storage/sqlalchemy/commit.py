# SPDX-License-Identifier: Apache-2.0
"""Writing: what a batch, a push or a deletion does to days and roll-ups, in one transaction.

Locks are taken in one order everywhere: the key of a push, guards, states, series, coverage, failures, history, days,
roll-ups, each in the order of its key.
"""

import collections
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
from decimal import Decimal
import functools
import io
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
from cloudkitty.storage.sqlalchemy import windows

LOG = log.getLogger(__name__)

RatedDay = models.RatedDay
ScopeDay = models.ScopeDay
ScopeMonth = models.ScopeMonth

#: How many day rows are written at once: they take more room than the points they hold.
ROWS = 10_000
#: From this many rows on PostgreSQL takes them by COPY.
COPY_FROM = 100

#: Cause of a correction: see :func:`to_edit`.
IMPORTED = 'imported, then rated'

#: (day, guard id, metric, origin)
RollUpKey = tuple[int, int, str, str]


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


def write(
    database: engine.Database, cache: known.KnownSeries, commit: base.Commit, keeps_history: bool = True
) -> base.CommitResult:
    """Write *commit*; scopes that moved since it was planned are dropped from it.

    :param keeps_history: what is replaced goes to the history.
    :raises Conflict: a cell holds collected points already and the commit does not say that it replaces them, or is to
        be reprocessed and not a whole period.
    """

    def run(session: orm.Session) -> tuple[base.CommitResult, dict[str, tuple[int, Mapping[bytes, int]]]]:
        taken = transaction.lock(session, commit)
        guards = taken.guards
        if not guards:
            return taken.result, {}
        columns = [item for item in commit.columns if item.series.scope_id in guards]
        ids, learnt = series_ids(session, cache, columns, guards, taken.epochs)
        before = transaction.write_ledger(session, commit, guards)
        edit = to_edit(commit, guards, columns, ids, [run for run in before if run.is_imported])
        edit.keeps_history = keeps_history
        edit_days(session, edit)
        transaction.finish(session, commit, guards)
        return taken.result, {
            scope_id: (taken.epochs[guard_id] + 1, learnt.get(scope_id, {})) for scope_id, guard_id in guards.items()
        }

    result, learnt = database.repeat(run)
    for scope_id, (epoch, ids) in learnt.items():
        cache.learn(scope_id, epoch, ids)
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
    cache: known.KnownSeries,
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
        statements.insert_or_ignore(session, models.SeriesRow, [_to_row(wanted[key], guards) for key in part])
    found.update(_look_up(session, fresh))
    return found


def _look_up(session: orm.Session, fingerprints: Sequence[bytes]) -> dict[bytes, int]:
    result: dict[bytes, int] = {}
    for part in statements.chunks(fingerprints):
        query = sqlalchemy.select(models.SeriesRow.fingerprint, models.SeriesRow.id)
        rows = session.execute(query.where(models.SeriesRow.fingerprint.in_(part)))
        result.update((bytes(row[0]), row[1]) for row in rows)
    return result


def _to_row(item: series.Series, guards: Mapping[str, int]) -> dict[str, Any]:
    return {
        'fingerprint': item.fingerprint,
        'scope_id': guards[item.scope_id],
        'metric': item.metric,
        'unit': item.unit,
        'origin': item.origin.value,
        'description': item.description,
        'groupby': series.canonical(item.groupby),
        'metadata': series.canonical(item.metadata),
    }


def edit_days(session: orm.Session, edit: Edit) -> None:
    """Merge the points of *edit* into their day rows, and what that changes into the roll-ups."""
    fresh: dict[tuple[int, int], list[body.Stretch]] = {}
    owners: dict[int, tuple[int, str, str]] = {}
    sums: dict[RollUpKey, dict[tuple[int, int, int], list[Any]]] = {}
    for item in edit.columns:
        _collect_points(item, edit, fresh, owners, sums)
    for (scope_id, metric, begin), count in edit.skipped.items():
        day, offset = divmod(begin, period.DAY)
        by_shape = sums.setdefault((day, edit.guards[scope_id], metric, series.Origin.COLLECTED.value), {})
        by_shape.setdefault((offset, 1, edit.length), [0, amount.ZERO, amount.ZERO, 0, 0])[4] += count
    for rows, gone in _merge_days(session, edit, fresh, owners):
        statements.delete_keys(session, RatedDay, gone)
        _write_days(session, rows)
    cells = {key: _to_cells(by_shape) for key, by_shape in sums.items()}
    day_rows, gone_days, deltas = _merge_roll_ups(session, edit, cells)
    month_rows, gone_months = _merge_months(session, deltas)
    statements.delete_keys(session, ScopeDay, gone_days)
    statements.upsert(session, ScopeDay, day_rows)
    statements.delete_keys(session, ScopeMonth, gone_months)
    statements.upsert(session, ScopeMonth, month_rows)


def _collect_points(
    item: series.Columns,
    edit: Edit,
    fresh: dict[tuple[int, int], list[body.Stretch]],
    owners: dict[int, tuple[int, str, str]],
    sums: dict[RollUpKey, dict[tuple[int, int, int], list[Any]]],
) -> None:
    """Add the points of *item* to *fresh*, and to *sums*: [points, qty, price, unpriced, skipped] of each period.

    Sums are kept by (offset, count, length) of the stretches, of which the series of a metric have few.
    """
    add = amount.CONTEXT.add
    series_id = edit.ids[item.series.fingerprint]
    guard_id = edit.guards[item.series.scope_id]
    metric, origin = item.series.metric, item.series.origin.value
    owners[series_id] = (guard_id, metric, origin)
    length = item.length
    last_day = None
    for begin, count, qty, price, is_unpriced in _to_stretches(item):
        day, offset = divmod(begin, period.DAY)
        if day != last_day:
            last_day = day
            stretches = fresh.setdefault((day, series_id), [])
            by_shape = sums.setdefault((day, guard_id, metric, origin), {})
        stretches.append(body.Stretch(offset, count, length, qty, price))
        if price is not None:
            found = by_shape.get((offset, count, length))
            if found is None:
                by_shape[offset, count, length] = [1, qty, price, int(is_unpriced), 0]
            else:
                found[0] += 1
                found[1] = add(found[1], qty)
                found[2] = add(found[2], price)
                found[3] += is_unpriced


def _to_stretches(item: series.Columns) -> Iterator[tuple[int, int, Decimal, Decimal | None, bool]]:
    """Yield (begin of the first, count, quantity, price, whether unpriced) of equal points in a row within a day."""
    length = item.length
    prices = item.prices if item.prices is not None else (None,) * len(item.begins)
    unpriced = item.unpriced if item.unpriced is not None else (False,) * len(item.begins)
    first = count = midnight = 0
    following = -1
    qty = amount.ZERO
    price: Decimal | None = None
    is_unpriced = False
    for begin, new_qty, new_price, flag in zip(item.begins, item.quantities, prices, unpriced, strict=True):
        if begin == following and begin < midnight and new_qty == qty and new_price == price and flag == is_unpriced:
            count += 1
        else:
            if count:
                yield first, count, qty, price, is_unpriced
            first, count, qty, price, is_unpriced = begin, 1, new_qty, new_price, flag
            midnight = begin - begin % period.DAY + period.DAY
        following = begin + length
    if count:
        yield first, count, qty, price, is_unpriced


def _to_cells(sums: Mapping[tuple[int, int, int], list[Any]]) -> dict[tuple[int, int], list[Any]]:
    """Return {(offset, length): [points, qty, price, unpriced, skipped]} of {(offset, count, length): the same}."""
    cells: dict[tuple[int, int], list[Any]] = {}
    for (first, count, length), values in sums.items():
        for offset in range(first, first + count * length, length) if count > 1 else (first,):
            old = cells.get((offset, length))
            cells[offset, length] = _add_up(old, values) if old is not None else values
    return cells


def _merge_days(
    session: orm.Session,
    edit: Edit,
    fresh: Mapping[tuple[int, int], list[body.Stretch]],
    owners: dict[int, tuple[int, str, str]],
) -> Iterator[tuple[list[dict[str, Any]], list[tuple[int, int]]]]:
    """Yield day rows to write and the keys of those that are empty now, some at a time in the order of their keys.

    What is replaced is written to the history before.
    """
    collected: dict[tuple[int, int], Any] = {}
    kept: dict[tuple[int, int], list[body.Point]] = {}
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
                replaced.append(_to_day_row(key, row.scope_id, body.join(out)))
                kept[key] = after
    if replaced and edit.cause == IMPORTED:
        LOG.warning(
            '%d days of series hold points behind the clocks of their scopes, which an older release wrote before it '
            'was stopped and would have written again. They are rated anew.',
            len(replaced),
        )
    _write_history(session, edit, replaced)
    for keys in statements.chunks(sorted(fresh.keys() | kept.keys()), ROWS):
        existing = _read_days(session, [key for key in keys if key in fresh and key not in collected])
        yield _merge_some(edit, keys, existing | collected, fresh, kept, owners)


def _merge_some(
    edit: Edit,
    keys: Iterable[tuple[int, int]],
    existing: Mapping[tuple[int, int], Any],
    fresh: Mapping[tuple[int, int], list[body.Stretch]],
    kept: Mapping[tuple[int, int], list[body.Point]],
    owners: Mapping[int, tuple[int, str, str]],
) -> tuple[list[dict[str, Any]], list[tuple[int, int]]]:
    rows = []
    gone = []
    for key in keys:
        row = existing.get(key)
        added = _in_order(fresh.get(key, []))
        owner = owners[key[1]]
        if row is not None and added and key not in kept:
            extended = body.append_stretches(row.body, added)
            if extended is not None:
                rows.append(_to_day_row(key, owner[0], added, row, extended))
                continue
        before = kept[key] if key in kept else body.decode_points(row.body) if row is not None else []
        if before and added and not edit.appends and owner[2] == series.Origin.COLLECTED.value:
            _refuse_doubles(key[0], before, added, owner[1])
        stretches = body.join(sorted(before + body.spread(added), key=_by_offset)) if before else added
        if stretches:
            rows.append(_to_day_row(key, owner[0], stretches))
        elif row is not None:
            gone.append(key)
    return rows, gone


_by_offset = operator.itemgetter(0)


def _in_order(stretches: list[body.Stretch]) -> list[body.Stretch]:
    """Return *stretches* sorted and side by side: columns of one series may have points of different lengths."""
    end = -1
    for stretch in stretches:
        if stretch.offset < end:
            return body.join(body.spread(stretches))
        end = stretch.offset + (stretch.points - 1) * stretch.length
    return stretches


def _refuse_doubles(day: int, before: list[body.Point], added: list[body.Stretch], metric: str) -> None:
    taken = {point.offset for point in before}
    for point in body.spread(added):
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
            end = row.day * period.DAY + body.reach(row.body)
            if any(start < end for start, _ in edit.spans.get((row.scope_id, row.metric), ())):
                raise NoPeriod(row.metric, row.day * period.DAY, end, edit.length)


class NoPeriod(errors.Conflict):
    """Something is stored that is no whole period."""

    def __init__(self, metric: str, begin: int, end: int, length: int) -> None:
        super().__init__(
            'Metric %s holds points between %s and %s that are not of one period of %d s: they cannot be rated anew '
            'period by period.' % (metric, period.from_epoch(begin), period.from_epoch(end), length)
        )


def _read_days(session: orm.Session, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Any]:
    """Return the day rows that there are of *keys*, (day, series id), and maybe others."""
    result: dict[tuple[int, int], Any] = {}
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


def _write_history(session: orm.Session, edit: Edit, rows: Sequence[dict[str, Any]]) -> None:
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
                **row,
                'cause': edit.cause,
                'who': who,
                'at': now,
                'task_id': edit.tasks.get(row['scope_id']),
            }
            for row in sorted(rows, key=lambda row: (row['day'], row['series_id']))
        ],
    )


def _to_day_row(
    key: tuple[int, int], guard_id: int, stretches: Sequence[body.Stretch], row: Any = None, text: str | None = None
) -> dict[str, Any]:
    """Return the day row of *stretches*; with *row* and *text*, the row they are added to and the body that makes."""
    points, qty, price = (0, amount.ZERO, amount.ZERO) if row is None else (row.points, row.qty, row.price)
    fma, add = amount.CONTEXT.fma, amount.CONTEXT.add
    for _, count, _, each_qty, each_price in stretches:
        if each_price is not None:
            points += count
            if count == 1:
                qty, price = add(qty, each_qty), add(price, each_price)
            else:
                qty, price = fma(each_qty, count, qty), fma(each_price, count, price)
    return {
        'day': key[0],
        'series_id': key[1],
        'scope_id': guard_id,
        'qty': qty,
        'price': price,
        'points': points,
        'body': body.encode_stretches(stretches) if text is None else text,
    }


def _merge_roll_ups(
    session: orm.Session, edit: Edit, fresh: dict[RollUpKey, dict[tuple[int, int], list[Any]]]
) -> tuple[list[dict[str, Any]], list[RollUpKey], dict[RollUpKey, list[Any]]]:
    """Return the rows of ``scope_days`` to write, the keys of those to delete, and what changes by (month, ...)."""
    first = min([key[0] for key in fresh] + ([edit.first_day] if edit.takes_out else []), default=0)
    last = max([key[0] for key in fresh] + ([edit.last_day] if edit.takes_out else []), default=-1)
    existing: dict[RollUpKey, Any] = {}
    for part in statements.chunks(sorted(edit.guards.values())):
        query = sqlalchemy.select(ScopeDay).where(
            ScopeDay.scope_id.in_(part), ScopeDay.day >= first, ScopeDay.day <= last
        )
        for found in session.scalars(query):
            existing[found.day, found.scope_id, found.metric, found.origin] = found
    rows = []
    gone = []
    deltas: dict[RollUpKey, list[Any]] = {}
    candidates = set(fresh)
    if edit.takes_out is not None:
        candidates |= {key for key in existing if key[3] == series.Origin.COLLECTED.value}
    for key in sorted(candidates):
        row = existing.get(key)
        if row is not None and edit.takes_out is None and fresh[key]:
            added = [body.Cell(*place, *fresh[key][place]) for place in sorted(fresh[key])]
            extended = body.append_cells(row.body, added)
            if extended is not None:
                change = _sum_cells(added)
                rows.append(_to_roll_up(key, _add_up(totals_of(row), change), extended))
                _add_to_month(deltas, key, change)
                continue
        cells = _index_cells(row)
        if edit.takes_out is not None and key[3] == series.Origin.COLLECTED.value:
            midnight = key[0] * period.DAY
            cells = {
                place: cell for place, cell in cells.items() if not edit.takes_out(key[1], key[2], midnight + place[0])
            }
        if key[3] == series.Origin.COLLECTED.value and not edit.appends:
            _refuse_filled(key, cells, fresh.get(key, {}))
        for place, values in fresh.get(key, {}).items():
            old = cells.get(place)
            cells[place] = body.Cell(*place, *(_add_up(old[2:], values) if old is not None else values))
        totals = _sum_cells(cells.values())
        if cells:
            rows.append(_to_roll_up(key, totals, body.encode_cells(cells[place] for place in sorted(cells))))
        elif row is not None:
            gone.append(key)
        _add_to_month(deltas, key, totals if row is None else _subtract(totals, totals_of(row)))
    return rows, gone, deltas


def totals_of(row: Any) -> list[Any]:
    """Return [points, qty, price, unpriced, skipped] of a roll-up."""
    return [row.points, row.qty, row.price, row.unpriced, row.skipped]


def _to_roll_up(key: RollUpKey, totals: Sequence[Any], text: str) -> dict[str, Any]:
    names = ('day', 'scope_id', 'metric', 'origin', 'points', 'qty', 'price', 'unpriced', 'skipped')
    return dict(zip(names, [*key, *totals], strict=True)) | {'body': text}


def _add_to_month(deltas: dict[RollUpKey, list[Any]], key: RollUpKey, change: Sequence[Any]) -> None:
    first = period.from_epoch(key[0] * period.DAY)
    month = (first.year * 12 + first.month - 1, *key[1:])
    deltas[month] = _add_up(deltas[month], change) if month in deltas else list(change)


def _index_cells(row: Any) -> dict[tuple[int, int], body.Cell]:
    return {} if row is None else {(cell.offset, cell.length): cell for cell in body.decode_cells(row.body)}


def _refuse_filled(key: RollUpKey, cells: Mapping[tuple[int, int], body.Cell], fresh: Mapping[Any, Any]) -> None:
    taken = {cell.offset for cell in cells.values() if cell.points}
    for place in fresh:
        if place[0] in taken and fresh[place][0]:
            raise errors.Conflict(
                'Metric %s holds collected points at %s already.'
                % (key[2], period.from_epoch(key[0] * period.DAY + place[0]))
            )


def _add_up(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    return [
        amount.CONTEXT.add(left, right) if isinstance(left, Decimal) else left + right
        for left, right in zip(one, other, strict=True)
    ]


def _subtract(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    return [
        amount.CONTEXT.subtract(left, right) if isinstance(left, Decimal) else left - right
        for left, right in zip(one, other, strict=True)
    ]


def _sum_cells(cells: Iterable[body.Cell]) -> list[Any]:
    totals: list[Any] = [0, amount.ZERO, amount.ZERO, 0, 0]
    for cell in cells:
        totals = _add_up(totals, cell[2:])
    return totals


def _merge_months(
    session: orm.Session, deltas: Mapping[RollUpKey, Sequence[Any]]
) -> tuple[list[dict[str, Any]], list[RollUpKey]]:
    if not deltas:
        return [], []
    existing: dict[RollUpKey, Any] = {}
    months = sorted({key[0] for key in deltas})
    for part in statements.chunks(sorted({key[1] for key in deltas})):
        query = sqlalchemy.select(ScopeMonth).where(ScopeMonth.month.in_(months), ScopeMonth.scope_id.in_(part))
        for found in session.scalars(query):
            existing[found.month, found.scope_id, found.metric, found.origin] = found
    rows = []
    gone = []
    for key in sorted(deltas):
        row = existing.get(key)
        values = list(deltas[key])
        if row is not None:
            values = _add_up(totals_of(row), values)
        if values[0] or values[4]:
            names = ('month', 'scope_id', 'metric', 'origin', 'points', 'qty', 'price', 'unpriced', 'skipped')
            rows.append(dict(zip(names, [*key, *values], strict=True)))
        elif row is not None:
            gone.append(key)
    return rows, gone


def _write_days(session: orm.Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write day rows, sorted by key, by the fastest way of the database that is safe."""
    if session.get_bind().dialect.name != 'postgresql' or len(rows) < COPY_FROM:
        statements.upsert(session, RatedDay, rows)
        return
    names = list(rows[0])
    text = io.StringIO()
    for row in rows:
        # No value holds a tab, a backslash or a line break: see body.py.
        text.write('\t'.join(str(row[name]) for name in names))
        text.write('\n')
    text.seek(0)
    connection = session.connection()
    connection.exec_driver_sql(
        'CREATE TEMPORARY TABLE rated_days_new (LIKE rated_days INCLUDING DEFAULTS) ON COMMIT DROP'
    )
    cursor = connection.connection.cursor()
    cursor.copy_expert('COPY rated_days_new (%s) FROM STDIN' % ', '.join(names), text)
    cursor.close()
    others = [name for name in names if name not in ('day', 'series_id')]
    connection.exec_driver_sql(
        'INSERT INTO rated_days (%s) SELECT %s FROM rated_days_new ORDER BY day, series_id '
        'ON CONFLICT (day, series_id) DO UPDATE SET %s'
        % (', '.join(names), ', '.join(names), ', '.join('%s = excluded.%s' % (name, name) for name in others))
    )
    connection.exec_driver_sql('DROP TABLE rated_days_new')
