# SPDX-License-Identifier: Apache-2.0
"""How many points cells hold: whole days by the sums of their roll-ups, others by what is in the body."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import completeness
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.storage import base
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import models

ScopeDay = models.ScopeDay

#: Rows that are read from a cursor at a time.
_AT_ONCE = 5000


def read(session: orm.Session, spans: Sequence[base.Span]) -> list[base.Counts]:
    """Return how many collected points each of *spans* has."""
    if not spans:
        return []
    found = [[0, 0, 0] for _ in spans]
    index = completeness.Spans(spans)
    days = range(min(span.begin for span in spans) // period.DAY, -(-max(span.end for span in spans) // period.DAY))
    metrics = sorted({span.metric for span in spans})
    guards = scopes.guard_ids(session, {span.scope_id for span in spans})
    names = {id_: scope_id for scope_id, id_ in guards.items()}
    for part in statements.chunks(sorted(names)):
        for some in statements.chunks(metrics):
            where = [
                ScopeDay.scope_id.in_(part),
                ScopeDay.metric.in_(some),
                ScopeDay.origin == series.Origin.COLLECTED.value,
            ]
            edges = _add_days(
                session, [*where, ScopeDay.day >= days.start, ScopeDay.day < days.stop], names, index, found
            )
            for cut_days in statements.chunks(sorted({day for day, _, _ in edges})):
                _add_cells(session, [*where, ScopeDay.day.in_(cut_days)], names, index, found, edges)
    return [base.Counts(*values) for values in found]


def _add_days(
    session: orm.Session,
    where: list[Any],
    names: dict[int, str],
    index: completeness.Spans,
    found: list[list[int]],
) -> set[tuple[int, int, str]]:
    """Add the sums of days that lie in one span; return (day, guard id, metric) of those of which a span has a part."""
    query = sqlalchemy.select(
        ScopeDay.day, ScopeDay.scope_id, ScopeDay.metric, ScopeDay.points, ScopeDay.unpriced, ScopeDay.skipped
    ).where(*where)
    edges = set()
    for day, id_, metric, *values in session.execute(query).yield_per(_AT_ONCE):
        midnight = day * period.DAY
        for begin, end, number in index.overlapping(names[id_], metric, midnight, midnight + period.DAY):
            if begin <= midnight and midnight + period.DAY <= end:
                _add(found[number], values)
            else:
                edges.add((day, id_, metric))
    return edges


def _add_cells(
    session: orm.Session,
    where: list[Any],
    names: dict[int, str],
    index: completeness.Spans,
    found: list[list[int]],
    edges: set[tuple[int, int, str]],
) -> None:
    """Add the cells of the days of *edges*."""
    query = sqlalchemy.select(ScopeDay.day, ScopeDay.scope_id, ScopeDay.metric, ScopeDay.body).where(*where)
    for day, id_, metric, text in session.execute(query).yield_per(_AT_ONCE):
        if (day, id_, metric) not in edges:
            continue
        for cell in body.decode_cells(text):
            begin = day * period.DAY + cell.offset
            for _, _, number in index.overlapping(names[id_], metric, begin, begin + 1):
                _add(found[number], (cell.points, cell.unpriced, cell.skipped))


def _add(row: list[int], more: Sequence[int]) -> None:
    for place, count in enumerate(more):
        row[place] += int(count)
