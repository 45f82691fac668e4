# SPDX-License-Identifier: Apache-2.0
"""Reading: frames and totals, the same code on every database.

Totals by scope and metric come from the roll-ups: whole days by their sums, edges of the window by the cells in the
body. Totals by attribute fold the series' points in Python. No sum is ever a float.
"""

import collections
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import datetime
from decimal import Decimal
import json
from typing import Any
from typing import NamedTuple

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import statements
from cloudkitty.db import types
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import models

Guard = ledger_models.Guard
RatedDay = models.RatedDay
ScopeDay = models.ScopeDay
SeriesRow = models.SeriesRow

#: What tells rows of a report apart, to the row's values and sums.
_Totals = dict[tuple[Any, ...], tuple[tuple[Any, ...], list[Any]]]

#: Seconds before the end of a window in which a point may begin and still end after it.
LONGEST_FRAME = 31 * period.DAY


@dataclasses.dataclass(frozen=True)
class Window:
    """``[begin, end)`` in epoch seconds: points that begin inside, or, if *whole*, that lie inside altogether."""

    begin: int
    end: int
    whole: bool = False

    def holds(self, begin: int, length: int) -> bool:
        return self.begin <= begin and (begin + length <= self.end if self.whole else begin < self.end)

    @property
    def days(self) -> tuple[int, int]:
        """The first day and the one after the last that the window touches."""
        return self.begin // period.DAY, -(-self.end // period.DAY)

    @property
    def whole_days(self) -> tuple[int, int]:
        """The first and the one after the last of the days of which it holds every point, whatever its length."""
        first, last = self.days
        inner = -(-self.begin // period.DAY)
        slack = LONGEST_FRAME if self.whole else 0
        return min(inner, last), max(min(inner, last), (self.end - slack) // period.DAY)


@dataclasses.dataclass(frozen=True)
class Selection:
    """What to look at.

    :ivar scope_ids: None for all.
    :ivar metrics: None for all.
    :ivar attributes: attribute to the texts that it may have.
    """

    window: Window
    scope_ids: Collection[str] | None = None
    metrics: Collection[str] | None = None
    attributes: tuple[tuple[str, frozenset[str]], ...] = ()

    @property
    def is_impossible(self) -> bool:
        return (
            self.window.begin >= self.window.end
            or (self.scope_ids is not None and not self.scope_ids)
            or (self.metrics is not None and not self.metrics)
        )


class Sum(NamedTuple):
    """A row of a report: the values of what it was grouped by, in that order, and the sums."""

    values: tuple[Any, ...]
    points: int
    qty: Decimal
    price: Decimal
    unpriced: int


@dataclasses.dataclass(frozen=True)
class Found:
    """A series with its scope's id and its attributes."""

    scope_id: str
    metric: str
    unit: str
    description: str | None
    groupby: dict[str, Any]
    metadata: dict[str, Any]
    origin: series.Origin


class Reports:
    """Answers from *database*.

    :param scope_key: the attribute that holds the scope's id.
    :param zone: of calendar attributes.
    """

    def __init__(self, database: engine.Database, scope_key: str, zone: datetime.tzinfo) -> None:
        self._database = database
        self._scope_key = scope_key
        self._zone = zone

    def sum_up(self, selection: Selection, groupby: Sequence[str]) -> list[Sum]:
        """Return the sums over *selection* by the values of *groupby*, sorted by them; [] without points."""
        if selection.is_impossible:
            return []
        with self._database.snapshot() as session:
            if not selection.attributes and set(groupby) <= {'type', self._scope_key}:
                return self._sum_roll_ups(session, selection, groupby)
            return self._sum_points(session, selection, groupby)

    def frames(self, selection: Selection) -> list[dataframe.DataFrame]:
        """Return a frame per scope and period, sorted by begin, end and scope."""
        if selection.is_impossible:
            return []
        usage: dict[tuple[int, int, str], list[tuple[str, dataframe.DataPoint]]] = collections.defaultdict(list)
        with self._database.snapshot() as session:
            for item, begin, point in self._points(session, selection):
                made = dataframe.DataPoint(
                    item.unit,
                    point.qty,
                    point.price,
                    self._with_calendar(item.groupby, begin),
                    item.metadata,
                    item.description,
                )
                usage[begin, begin + point.length, item.scope_id].append((item.metric, made))
        result = []
        for begin, end, scope_id in sorted(usage):
            frame = dataframe.DataFrame(period.from_epoch(begin), period.from_epoch(end))
            for metric, made in sorted(usage[begin, end, scope_id], key=lambda pair: pair[0]):
                frame.add_point(made, metric)
            result.append(frame)
        return result

    def scopes(self, window: Window) -> list[str]:
        """Return the sorted ids of the scopes with points in *window*."""
        with self._database.snapshot() as session:
            found = self._sum_roll_ups(session, Selection(window), [self._scope_key])
        return [row.values[0] for row in found if row.points]

    def quantities(self, selection: Selection, priced: bool = False) -> list[series.Columns]:
        """Return the collected points of *selection* that have no price, or, if *priced*, all of them; no prices."""
        found: dict[tuple[int, int], tuple[Found, list[tuple[int, Decimal]]]] = {}
        if selection.is_impossible:
            return []
        with self._database.snapshot() as session:
            for item, begin, point in self._points(session, selection, priced=None if priced else False):
                if item.origin is series.Origin.COLLECTED:
                    found.setdefault((id(item), point.length), (item, []))[1].append((begin, point.qty))
        return [
            series.Columns(
                series.Series(item.scope_id, item.metric, item.unit, item.groupby, item.metadata, item.description),
                length,
                tuple(begin for begin, _ in points),
                tuple(qty for _, qty in points),
            )
            for (_, length), (item, points) in found.items()
        ]

    def unpriced(self, selection: Selection) -> tuple[int, int]:
        """Return (points of price 0 that no rule matched, all points)."""
        rows = self.sum_up(selection, [])
        return (rows[0].unpriced, rows[0].points) if rows else (0, 0)

    def _sum_roll_ups(self, session: orm.Session, selection: Selection, groupby: Sequence[str]) -> list[Sum]:
        totals: _Totals = {}
        for scope_id, metric, values in self._roll_ups(session, selection):
            by_word = {'type': metric, self._scope_key: scope_id}
            _add(totals, tuple(by_word[word] for word in groupby), values)
        return _to_sums(totals)

    def _roll_ups(self, session: orm.Session, selection: Selection) -> Iterator[tuple[str, str, Sequence[Any]]]:
        """Yield (scope id, metric, (points, qty, price, unpriced)) of what has points, in parts that add up."""
        names = _scope_names(session, selection.scope_ids)
        window = selection.window
        first, last = window.days
        inner_first, inner_last = window.whole_days
        for condition in self._roll_up_conditions(selection, names):
            if inner_first < inner_last:
                query = (
                    sqlalchemy.select(
                        ScopeDay.scope_id,
                        ScopeDay.metric,
                        sqlalchemy.func.count(),
                        types.exact_sum(ScopeDay.qty),
                        types.exact_sum(ScopeDay.price),
                        sqlalchemy.type_coerce(sqlalchemy.func.sum(ScopeDay.points), sqlalchemy.Integer),
                        sqlalchemy.type_coerce(sqlalchemy.func.sum(ScopeDay.unpriced), sqlalchemy.Integer),
                    )
                    .where(ScopeDay.day >= inner_first, ScopeDay.day < inner_last, *condition)
                    .group_by(ScopeDay.scope_id, ScopeDay.metric)
                )
                for row in session.execute(query):
                    if row[5]:
                        yield names[row[0]], row[1], (int(row[5]), row[3], row[4], int(row[6]))
            edges = [*range(first, inner_first), *range(inner_last, last)]
            for days in statements.chunks(edges):
                cells = sqlalchemy.select(ScopeDay.day, ScopeDay.scope_id, ScopeDay.metric, ScopeDay.body)
                for found in session.execute(cells.where(ScopeDay.day.in_(days), *condition)):
                    for cell in body.decode_cells(found.body):
                        if cell.points and window.holds(found.day * period.DAY + cell.offset, cell.length):
                            sums = (cell.points, cell.qty, cell.price, cell.unpriced)
                            yield names[found.scope_id], found.metric, sums

    def _roll_up_conditions(self, selection: Selection, names: dict[int, str]) -> Iterator[list[Any]]:
        metric = [] if selection.metrics is None else [ScopeDay.metric.in_(sorted(selection.metrics))]
        if selection.scope_ids is None:
            yield metric
            return
        for part in statements.chunks(sorted(names)):
            yield [*metric, ScopeDay.scope_id.in_(part)]

    def _sum_points(self, session: orm.Session, selection: Selection, groupby: Sequence[str]) -> list[Sum]:
        totals: _Totals = {}
        calendar = [word for word in groupby if word in series.CALENDAR]
        for item, begin, point in self._points(session, selection):
            instant = series.calendar(period.from_epoch(begin), self._zone) if calendar else {}
            values = tuple(self._value_of(item, word, instant) for word in groupby)
            _add(totals, values, (1, point.qty, point.price, 0))
        return _to_sums(totals)

    def _value_of(self, item: Found, word: str, calendar: dict[str, str]) -> Any:
        if word == 'type':
            return item.metric
        if word in item.groupby:
            return item.groupby[word]
        if word == self._scope_key:
            return item.scope_id
        if word in calendar:
            return calendar[word]
        return item.metadata.get(word)

    def _points(
        self, session: orm.Session, selection: Selection, priced: bool | None = True
    ) -> Iterator[tuple[Found, int, body.Point]]:
        """Yield (series, begin, point) of every point of *selection*, by day and series.

        :param priced: those with a price, those without, or, if None, both.
        """
        names = _scope_names(session, selection.scope_ids)
        first, last = selection.window.days
        holds = selection.window.holds
        query = (
            sqlalchemy.select(RatedDay.day, RatedDay.series_id, RatedDay.body)
            .where(RatedDay.day >= first, RatedDay.day < last)
            .order_by(RatedDay.day, RatedDay.series_id)
        )
        parts: list[list[Any]] = [[]]
        if selection.scope_ids is not None:
            parts = [[RatedDay.scope_id.in_(part)] for part in statements.chunks(sorted(names))]
        matches = self._matcher(selection, calendar=True)
        known: dict[int, Found | None] = {}
        for condition in parts:
            rows = session.execute(query.where(*condition)).all()
            self._learn(session, {row.series_id for row in rows} - known.keys(), names, selection, known)
            for row in rows:
                item = known.get(row.series_id)
                if item is None:
                    continue
                midnight = row.day * period.DAY
                for point in body.decode_points(row.body):
                    begin = midnight + point.offset
                    if priced is not None and (point.price is not None) != priced:
                        continue
                    if holds(begin, point.length) and matches(item, begin):
                        yield item, begin, point

    def _learn(
        self,
        session: orm.Session,
        ids: Collection[int],
        names: dict[int, str],
        selection: Selection,
        known: dict[int, Found | None],
    ) -> None:
        """Add the series of *ids* to *known*, None for those that are not selected."""
        matches = self._matcher(selection, calendar=False)
        for part in statements.chunks(sorted(ids)):
            for row in session.scalars(sqlalchemy.select(SeriesRow).where(SeriesRow.id.in_(part))):
                item = Found(
                    names[row.scope_id],
                    row.metric,
                    row.unit,
                    row.description,
                    json.loads(row.groupby),
                    json.loads(row.metadata_),
                    series.Origin(row.origin),
                )
                chosen = selection.metrics is None or row.metric in selection.metrics
                known[row.id] = item if chosen and matches(item, None) else None

    def _matcher(self, selection: Selection, calendar: bool) -> Callable[[Found, int | None], bool]:
        """Return what tells whether the attributes of a series, or those of the calendar, are as selected."""
        wanted = [(name, texts) for name, texts in selection.attributes if (name in series.CALENDAR) == calendar]

        def matches(item: Found, begin: int | None) -> bool:
            words = {} if begin is None else series.calendar(period.from_epoch(begin), self._zone)
            return all(str(self._value_of(item, name, words)) in texts for name, texts in wanted)

        return matches if wanted else lambda item, begin: True

    def _with_calendar(self, groupby: dict[str, Any], begin: int) -> dict[str, Any]:
        return {**series.calendar(period.from_epoch(begin), self._zone), **groupby}


def _scope_names(session: orm.Session, scope_ids: Collection[str] | None) -> dict[int, str]:
    query = sqlalchemy.select(Guard.id, Guard.identifier)
    if scope_ids is None:
        return {row[0]: row[1] for row in session.execute(query)}
    result: dict[int, str] = {}
    for part in statements.chunks(sorted(set(scope_ids))):
        result.update((row[0], row[1]) for row in session.execute(query.where(Guard.identifier.in_(part))))
    return result


def _add(totals: _Totals, values: tuple[Any, ...], more: Sequence[Any]) -> None:
    # By the typed text of what is no text: 1, 1.0 and True are three values, NaN is one, and a list is one as well.
    key = tuple([value if value.__class__ is str else (series.canonical(value),) for value in values])
    found = totals.get(key)
    if found is None:
        totals[key] = values, list(more)
        return
    row = found[1]
    row[0] += more[0]
    row[1] = amount.CONTEXT.add(row[1], more[1])
    row[2] = amount.CONTEXT.add(row[2], more[2])
    row[3] += more[3]


def _to_sums(totals: _Totals) -> list[Sum]:
    return [
        Sum(values, *row)
        for values, row in sorted(totals.values(), key=lambda entry: [(v is not None, str(v)) for v in entry[0]])
    ]
