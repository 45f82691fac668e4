# SPDX-License-Identifier: Apache-2.0
"""Writing rows of ``rated_data_frames``, coverage and clocks, in one transaction.

A point that has a price is a row. One that has none yet is kept where version 2 keeps it, with all of its digits, until
a commit with its price takes it out of there.
"""

import collections
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import functools
from typing import Any
from typing import NamedTuple

from oslo_log import log
import sqlalchemy
from sqlalchemy import orm

from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import pushes
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.storage import base
from cloudkitty.storage import transaction
from cloudkitty.storage.sqlalchemy import commit as days
from cloudkitty.storage.sqlalchemy import known
from cloudkitty.storage.sqlalchemy import windows
from cloudkitty.storage.v1 import models
from cloudkitty.storage.v1 import reports
from cloudkitty.storage.v1 import rows
from cloudkitty.storage.v1 import table

LOG = log.getLogger(__name__)

Frame = models.RatedDataFrame

#: (scope id, metric, epoch second)
Cell = tuple[str, str, int]

#: Seconds before a cell that the table has no room for is tried again.
_PAUSE = 3600


class _Row(NamedTuple):
    """A row that is there."""

    id: int
    cell: Cell


@dataclasses.dataclass
class _Content:
    """What a commit writes.

    :ivar rows: cell to the rows of its priced points.
    :ivar unpriced: the points without a price.
    :ivar refused: cell to why the table has no room for it: nothing of it is written.
    """

    rows: dict[Cell, list[dict[str, Any]]]
    unpriced: list[series.Columns]
    refused: dict[Cell, str]


def write(database: engine.Database, cache: known.Known[bytes, int], commit: base.Commit) -> base.CommitResult:
    """Write *commit*; scopes that moved since it was planned are dropped from it.

    :raises Conflict: a cell holds points already and the commit does not say that it replaces them.
    """
    content = _prepare(commit, database.dialect)
    commit = dataclasses.replace(
        commit, runs=_runs(commit, content), failures=[*commit.failures, *_failures(database, commit, content)]
    )

    def run(session: orm.Session) -> tuple[base.CommitResult, dict[str, tuple[int, Mapping[bytes, int]]]]:
        taken = transaction.lock(session, commit)
        guards = taken.guards
        if not guards:
            return taken.result, {}
        unpriced = [item for item in content.unpriced if item.series.scope_id in guards]
        ids, learnt = days.series_ids(session, cache, unpriced, guards, taken.epochs)
        there, gone = _find_replaced(session, commit, guards, content)
        transaction.write_ledger(session, commit, guards)
        edit = days.to_edit(commit, guards, unpriced, ids)
        if commit.replace or edit.columns or edit.skipped:
            days.edit_days(session, edit)
        fresh = [row for cell in sorted(content.rows) if cell[0] in guards for row in content.rows[cell]]
        _delete_rows(session, [row.id for row in gone])
        statements.insert(session, Frame, fresh + _empty_rows(commit, guards, content, there, gone))
        transaction.finish(session, commit, guards)
        return taken.result, {
            scope_id: (taken.epochs[guard_id] + 1, learnt.get(scope_id, {})) for scope_id, guard_id in guards.items()
        }

    result, learnt = database.repeat(run)
    for scope_id, (epoch, ids) in learnt.items():
        cache.learn(scope_id, epoch, ids)
    return result


def push(
    database: engine.Database,
    columns: Sequence[series.Columns],
    empty: Sequence[tuple[str, int, int]],
    key: pushes.Key | None = None,
) -> None:
    """Append *columns*, and a row that says that there was nothing for each (scope id, begin, length) of *empty*.

    :param key: nothing is done if that was pushed with it before.
    :raises KeyTaken: something else was pushed with *key*.
    :raises BadRequest: the table has no room for something.
    """
    content = _prepare(base.Commit(0, (), columns, ()), database.dialect)
    for cell, reason in content.refused.items():
        raise errors.BadRequest('Metric %s of scope %s: %s.' % (cell[1], cell[0], reason))
    fresh = [row for cell in sorted(content.rows) for row in content.rows[cell]]
    owners = {cell[0] for cell in content.rows}
    for scope_id, begin, length in empty:
        fresh.append(table.to_empty_row(scope_id, begin, length))
        owners.add(scope_id)
    digest = '' if key is None else series.digest(columns, repr(empty))

    def run(session: orm.Session) -> None:
        if key is not None and not pushes.claim(session, key, digest):
            return
        guards = scopes.ensure_guards(session, owners)
        scopes.lock(session, guards.values())
        statements.insert(session, Frame, fresh)
        scopes.touch(session, guards.values())

    if fresh or key is not None:
        # With a key it notices that it was done.
        database.repeat(run, once=key is None)


def delete(database: engine.Database, scope_ids: Iterable[str], begin: int, end: int) -> None:
    """Delete rows and coverage of these scopes that begin in ``[begin, end)`` (epoch seconds)."""
    if begin >= end:
        return
    for part in statements.chunks(sorted(set(scope_ids)), 100):
        database.repeat(functools.partial(_delete, scope_ids=part, begin=begin, end=end))


def _delete(session: orm.Session, scope_ids: Sequence[str], begin: int, end: int) -> None:
    # Scopes of an older release may have rows, but no guard.
    owners = {row.cell[0] for row in _find_rows(session, scope_ids, begin, end)}
    guards = scopes.ensure_guards(session, owners | scopes.guard_ids(session, scope_ids).keys())
    if not guards:
        return
    scopes.lock(session, guards.values())
    erase(session, guards, begin, end)
    scopes.advance(session, guards.values())


def erase(session: orm.Session, guards: Mapping[str, int], begin: int, end: int) -> None:
    """Delete rows and coverage of the scopes of *guards*, which the session has locked."""
    days.erase(session, guards, begin, end)
    _delete_rows(session, [row.id for row in _find_rows(session, sorted(guards), begin, end)])


def _prepare(commit: base.Commit, dialect: str) -> _Content:
    content = _Content(collections.defaultdict(list), [], {})
    for item in commit.columns:
        _add_rows(item, content, dialect)
    for cell in content.refused:
        content.rows.pop(cell, None)
    for item in commit.columns:
        of = item.series
        prices = item.prices if item.prices is not None else (None,) * len(item.begins)
        waiting = [
            (begin, qty)
            for begin, qty, price in zip(item.begins, item.quantities, prices, strict=True)
            if price is None and (of.scope_id, of.metric, begin) not in content.refused
        ]
        if waiting:
            begins, quantities = zip(*waiting, strict=True)
            content.unpriced.append(series.Columns(of, item.length, begins, quantities))
    return content


def _add_rows(item: series.Columns, content: _Content, dialect: str) -> None:
    of = item.series
    if item.prices is None:
        return
    desc = table.to_desc(of.groupby, of.metadata)
    reason = table.refuse(of.scope_id, of.metric, of.unit, desc, dialect)
    for begin, exact, price in zip(item.begins, item.quantities, item.prices, strict=True):
        if price is None:
            continue
        cell = (of.scope_id, of.metric, begin)
        qty = table.round_qty(exact)
        if reason or table.is_too_large(qty):
            content.refused[cell] = 'rated_data_frames has no room for %s' % (reason or 'a quantity of 10^10 or more')
        else:
            row = table.to_row(of.scope_id, of.metric, of.unit, desc, begin, item.length, qty, price)
            content.rows[cell].append(row)


def _runs(commit: base.Commit, content: _Content) -> list[coverage.Run]:
    """Return the coverage of *commit*: what the table has no room for has failed.

    Where it would have replaced something, that stays, and so does its coverage.

    *altered* keeps everybody from rating rows again: their quantities are rounded.
    """
    runs = [run if run.rule_set is None else run._replace(altered=True) for run in commit.runs]
    if commit.replace:
        for scope_id, metric, begin in content.refused:
            runs = [
                piece
                for run in runs
                for piece in (
                    coverage.without(run, begin, begin + commit.length)
                    if (run.scope_id, run.metric) == (scope_id, metric)
                    else [run]
                )
            ]
        return runs
    failed = [
        coverage.Run(scope_id, metric, begin, begin + commit.length, coverage.Status.FAILED)
        for scope_id, metric, begin in content.refused
    ]
    return coverage.replace(runs, failed) if failed else runs


def _failures(database: engine.Database, commit: base.Commit, content: _Content) -> list[coverage.Failure]:
    """Return the open troubles of what the table has no room for, each an attempt older than it was."""
    if not content.refused:
        return []
    now = period.to_epoch(datetime.datetime.now(period.UTC)) if commit.now is None else commit.now
    begins = {cell[2] for cell in content.refused}
    known_before = {
        (failure.scope_id, failure.metric, failure.begin): failure
        for failure in ledger.list_failures(
            database, scope_ids={cell[0] for cell in content.refused}, begin=min(begins), end=max(begins) + 1
        )
    }
    cell, reason = next(iter(sorted(content.refused.items())))
    LOG.error(
        '%d cells are not rated, the first of them %s, metric %s at %s: %s.',
        len(content.refused), cell[0], cell[1], period.from_epoch(cell[2]), reason,
    )  # fmt: skip
    result = []
    for cell, reason in content.refused.items():
        before = known_before.get(cell)
        result.append(
            coverage.Failure(
                *cell, before.since if before else now, before.attempts + 1 if before else 1, now + _PAUSE, reason
            )
        )
    return result


def _find_replaced(
    session: orm.Session, commit: base.Commit, guards: Mapping[str, int], content: _Content
) -> tuple[list[_Row], list[_Row]]:
    """Return the rows that are there in the periods of *commit*, and those of them that go."""
    changes = {change.state.scope.id: change for change in commit.changes if change.state.scope.id in guards}
    fresh = {cell for cell in content.rows if cell[0] in guards}
    fresh.update(
        (item.series.scope_id, item.series.metric, begin)
        for item in content.unpriced
        if item.series.scope_id in guards
        for begin in item.begins
    )
    first, last = (
        min(change.begin for change in changes.values()),
        max(change.end for change in changes.values()),
    )
    if commit.steps:
        _refuse_parts(session, commit, guards, first, last)
    there = _find_rows(session, sorted(guards), first, last)
    if not there:
        return [], []
    periods = {(scope_id, begin) for scope_id, _, begin in fresh}
    gone = [row for row in there if row.cell[1] == table.NO_DATA and (row.cell[0], row.cell[2]) in periods]
    if commit.replace:
        written = _Spans(run for run in commit.runs if run.scope_id in guards)
        return there, gone + [row for row in there if written.hold(row.cell)]
    taken = [row for row in there if row.cell in fresh]
    if taken:
        rated = _Spans(ledger.read_runs(session, guards, first, last))
        for row in taken:
            if rated.hold(row.cell) or not changes[row.cell[0]].moves_clock:
                raise errors.Conflict(
                    'Metric %s holds collected points at %s already.' % (row.cell[1], period.from_epoch(row.cell[2]))
                )
        LOG.warning(
            '%s to %s: %d rows that another release left behind the clocks of %d scopes are replaced: it was stopped '
            'after it wrote them and would have written them again.',
            period.from_epoch(min(row.cell[2] for row in taken)),
            period.from_epoch(max(row.cell[2] for row in taken)),
            len(taken),
            len({row.cell[0] for row in taken}),
        )
    return there, gone + taken


def _refuse_parts(session: orm.Session, commit: base.Commit, guards: Mapping[str, int], first: int, last: int) -> None:
    """Refuse to replace anything but whole periods, as :mod:`cloudkitty.storage.sqlalchemy.commit` does."""
    spans = collections.defaultdict(list)
    for run in commit.runs:
        spans[run.scope_id, run.metric].append((run.begin, run.end))
    for part in statements.chunks(sorted(guards)):
        query = sqlalchemy.select(Frame.tenant_id, Frame.res_type, Frame.begin, Frame.end).where(
            reports.of_scopes(part),
            *rows.between(first - windows.LONGEST_FRAME, last),
            Frame.end > period.to_naive(period.from_epoch(first)),
        )
        for owner, metric, start, stop in session.execute(query):
            begin, end = rows.to_second(start), rows.to_second(stop)
            written = spans.get((owner or '', metric), ())
            if not any(begin < until and since < end for since, until in written):
                continue
            is_whole = end - begin == commit.length and (begin - first) % commit.length == 0
            if not is_whole or not any(since <= begin and end <= until for since, until in written):
                raise days.NoPeriod(metric, begin, end, commit.length)


class _Spans:
    """Tells whether a cell is in one of some runs."""

    def __init__(self, runs: Iterable[coverage.Run]) -> None:
        self._spans: dict[tuple[str, str], list[tuple[int, int]]] = collections.defaultdict(list)
        for run in runs:
            self._spans[run.scope_id, run.metric].append((run.begin, run.end))

    def hold(self, cell: Cell) -> bool:
        return any(begin <= cell[2] < end for begin, end in self._spans.get(cell[:2], ()))


def _empty_rows(
    commit: base.Commit,
    guards: Collection[str],
    content: _Content,
    there: Iterable[_Row],
    gone: Iterable[_Row],
) -> list[dict[str, Any]]:
    """Return the rows that say that there was nothing: of periods whose points were skipped, all of them."""
    skipped = {(scope_id, begin) for scope_id, _, begin in commit.skipped if scope_id in guards}
    if not skipped:
        return []
    away = {row.id for row in gone}
    filled = {(cell[0], cell[2]) for cell in content.rows}
    filled |= {(item.series.scope_id, begin) for item in content.unpriced for begin in item.begins}
    filled |= {(row.cell[0], row.cell[2]) for row in there if row.id not in away}
    return [table.to_empty_row(scope_id, begin, commit.length) for scope_id, begin in sorted(skipped - filled)]


def _find_rows(session: orm.Session, scope_ids: Sequence[str], begin: int, end: int) -> list[_Row]:
    """Return the rows of these scopes that begin in ``[begin, end)``."""
    wanted = set(scope_ids)
    result = []
    for part in statements.chunks(scope_ids):
        query = sqlalchemy.select(Frame.id, Frame.tenant_id, Frame.res_type, Frame.begin).where(
            reports.of_scopes(part), *rows.between(begin, end)
        )
        for id_, owner, metric, instant in session.execute(query):
            if (owner or '') in wanted:
                result.append(_Row(id_, (owner or '', metric, rows.to_second(instant))))
    return result


def _delete_rows(session: orm.Session, ids: Iterable[int]) -> None:
    for part in statements.chunks(sorted(ids)):
        session.execute(sqlalchemy.delete(Frame).where(Frame.id.in_(part)).execution_options(synchronize_session=False))
