# SPDX-License-Identifier: Apache-2.0
"""The proof of an import: what rows of old add up to, beside what the new storage says, for the same cells."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from concurrent import futures
import functools
import itertools
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.storage.imports import sources
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import rows

Sums = sources.Sums
NOTHING = sources.NOTHING
_NEITHER = (NOTHING, NOTHING)


class Total(NamedTuple):
    """The sums of one scope, metric and UTC month: of the rows, and of the same cells in the new storage."""

    scope_id: str
    metric: str
    year: int
    month: int
    old: Sums
    new: Sums


def compare(database: engine.Database, source: sources.Source, begins: Iterable[rows.Begin]) -> Iterator[list[Total]]:
    """Yield, month by month, the totals of the rows of *begins*, which are in order; sorted by scope and metric.

    Two days at a time: servers spend one core on a question.
    """
    with futures.ThreadPoolExecutor(2) as pool:
        for (year, month), days in itertools.groupby(_to_days(begins), key=lambda day: day.month):
            totals: dict[tuple[str, str], list[Sums]] = {}
            for found in pool.map(functools.partial(_compare_day, database, source), days):
                for key, *sums in found:
                    totals[key] = [one.plus(other) for one, other in zip(totals.get(key, _NEITHER), sums, strict=True)]
            yield [Total(*key, year, month, *totals[key]) for key in sorted(totals)]


def list_differing(database: engine.Database, source: sources.Source, begins: Sequence[rows.Begin]) -> list[int]:
    """Return those of *begins* on whose UTC day some total differs."""
    days = list(_to_days(begins))
    with futures.ThreadPoolExecutor(2) as pool:
        found = pool.map(functools.partial(_compare_day, database, source), days)
        differing = {
            day.number for day, sums in zip(days, found, strict=True) if any(old != new for _, old, new in sums)
        }
    return [item.begin for item in begins if item.begin // period.DAY in differing]


def _to_days(begins: Iterable[rows.Begin]) -> Iterator[sources.Day]:
    for number, items in itertools.groupby(begins, key=lambda item: item.begin // period.DAY):
        found = list(items)
        instant = period.from_epoch(number * period.DAY)
        ids = min(item.first_id for item in found), max(item.last_id for item in found)
        yield sources.Day(number, (instant.year, instant.month), *ids)


def _compare_day(
    database: engine.Database, source: sources.Source, day: sources.Day
) -> list[tuple[tuple[str, str], Sums, Sums]]:
    """Return ((scope id, metric), sums of the rows, sums of the same cells in the new storage)."""
    with database.snapshot() as session:
        old = source.sum_day(session, day)
        guards = scopes.guard_ids(session, {scope_id for scope_id, _ in old})
        new = _sum_series(session, guards, day.number)
        # The new storage may hold periods of that day which never were in the old one.
        odd = [key for key, sums in old.items() if new.get(key) != sums]
        begins = source.begins_of(session, day, odd) if odd else {}
        new |= {key: _sum_cells(session, guards, key, day.number, begins.get(key, ())) for key in odd}
    return [(key, sums, new[key]) for key, sums in old.items()]


def _sum_series(session: orm.Session, guards: dict[str, int], number: int) -> dict[tuple[str, str], Sums]:
    """Return {(scope id, metric): sums} of the collected points of a day in the new storage."""
    names = {guard_id: scope_id for scope_id, guard_id in guards.items()}
    day = models.ScopeDay
    result = {}
    for part in statements.chunks(sorted(names)):
        query = sqlalchemy.select(day.scope_id, day.metric, day.points, day.qty, day.price).where(
            day.day == number, day.scope_id.in_(part), day.origin == series.Origin.COLLECTED.value
        )
        for row in session.execute(query):
            result[names[row.scope_id], row.metric] = Sums(row.points, row.qty, row.price)
    return result


def _sum_cells(
    session: orm.Session, guards: dict[str, int], key: tuple[str, str], number: int, begins: Iterable[int]
) -> Sums:
    """Return what the new storage says of those periods of a scope, metric and day that begin at *begins*."""
    scope_id, metric = key
    offsets = {begin - number * period.DAY for begin in begins}
    day = models.ScopeDay
    text = session.scalar(
        sqlalchemy.select(day.body).where(
            day.day == number,
            day.scope_id == guards.get(scope_id, -1),
            day.metric == metric,
            day.origin == series.Origin.COLLECTED.value,
        )
    )
    result = NOTHING
    for cell in body.decode_cells(text or ''):
        if cell.offset in offsets:
            result = result.plus(Sums(cell.points, cell.qty, cell.price))
    return result
