# SPDX-License-Identifier: Apache-2.0
"""Reading: frames and totals, the same code on every database.

Totals by scope and metric come from the roll-ups, others from the day rows of series, whose attributes are folded in
Python: whole months and days by their sums, edges of the window, and local days that are none of UTC, by what is in the
body. No sum is ever a float.
"""

import collections
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import datetime
import decimal
from decimal import Decimal
import functools
import itertools
import json
from typing import Any
from typing import NamedTuple
from typing import TypeAlias

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import statements
from cloudkitty.db import types
from cloudkitty.storage import fields
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.sqlalchemy import windows

Guard = ledger_models.Guard
RatedDay = models.RatedDay
ScopeDay = models.ScopeDay
ScopeMonth = models.ScopeMonth
SeriesRow = models.SeriesRow

#: Rows of :class:`Found`, without entities.
_SERIES = sqlalchemy.select(
    SeriesRow.id, SeriesRow.scope_id, SeriesRow.metric, SeriesRow.unit, SeriesRow.description, SeriesRow.groupby,
    SeriesRow.metadata_, SeriesRow.origin,
)  # fmt: skip

#: A window longer than this, in seconds, is looked at before it is taken apart by day.
_LONG = 62 * period.DAY

#: What tells rows of a report apart, to the row's values, period and sums.
_Totals = dict[tuple[Any, ...], tuple[tuple[Any, ...], tuple[int, int] | None, list[Any]]]


class Sum(NamedTuple):
    """A row of a report: the values of what it was grouped by, in that order, and the sums.

    :ivar period: (begin, end) of its period, of a report by period.
    """

    values: tuple[Any, ...]
    points: int
    qty: Decimal
    price: Decimal
    unpriced: int
    period: tuple[int, int] | None = None


class Aggregate(NamedTuple):
    """A row of a report with columns of a caller's; see :class:`Sum`."""

    values: tuple[Any, ...]
    columns: tuple[Decimal, ...]
    period: tuple[int, int] | None


#: What adds up: (points, quantity, price, unpriced).
Sums = Sequence[Any]

#: Guard id, metric, calendar attributes, period and sums of what roll-ups say.
_RollUp = tuple[int, str, dict[str, str], tuple[int, int] | None, Sums]


class Part(NamedTuple):
    """Something that a report adds up.

    :ivar calendar: calendar attributes of all of its points, those asked for.
    :ivar period: (begin, end) of all of its points, in a report by period.
    """

    item: 'Found'
    calendar: dict[str, str]
    period: tuple[int, int] | None
    sums: Sums


#: Begin, end and scope of a frame.
_Place: TypeAlias = tuple[int, int, str]


@dataclasses.dataclass(frozen=True)
class Found:
    """A series with its scope's id and its attributes; or, without those, all series of a scope and metric."""

    scope_id: str
    metric: str
    unit: str = ''
    description: str | None = None
    groupby: dict[str, Any] = dataclasses.field(default_factory=dict)
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
    origin: series.Origin = series.Origin.COLLECTED

    def to_series(self) -> series.Series:
        return series.Series(
            self.scope_id, self.metric, self.unit, self.groupby, self.metadata, self.description, self.origin
        )


@dataclasses.dataclass
class Known:
    """What a report has read already.

    :ivar names: guard id to scope id, of the scopes that are selected.
    :ivar series: series id to its attributes, None for one that is not selected.
    """

    names: dict[int, str]
    series: dict[int, Found | None] = dataclasses.field(default_factory=dict)


class Reports:
    """Answers from *database*.

    :param scope_key: the attribute that holds the scope's id.
    :param zone: of calendar attributes.
    """

    def __init__(self, database: engine.Database, scope_key: str, zone: datetime.tzinfo) -> None:
        self._database = database
        self._scope_key = scope_key
        self._zone = zone

    def sum_up(self, selection: windows.Selection, groupby: Sequence[str], by_period: bool = False) -> list[Sum]:
        """Return the sums over *selection* by the values of *groupby*, sorted by them; [] without points.

        :param by_period: a row per period as well.
        """
        if selection.is_impossible:
            return []
        if not by_period and not selection.attributes and {'type', self._scope_key}.issuperset(groupby):
            return self._sum_up_owners(selection, groupby)
        return self._sum_up_parts(selection, groupby, by_period)

    def _sum_up_parts(self, selection: windows.Selection, groupby: Sequence[str], by_period: bool) -> list[Sum]:
        """Return :meth:`sum_up` by anything."""
        totals: _Totals = {}
        with self._database.snapshot() as session:
            for part in self.parts(session, selection, groupby, by_period):
                values = tuple(self._value_of(part.item, word, part.calendar) for word in groupby)
                _add(totals, values, part.period, part.sums)
        return _to_sums(totals)

    def _sum_up_owners(self, selection: windows.Selection, groupby: Sequence[str]) -> list[Sum]:
        """Return the sums by scope, by metric, by both or by neither: what roll-ups are made for."""
        by_scope, by_metric = self._scope_key in groupby, 'type' in groupby
        totals: dict[tuple[int, str], Sums] = {}
        with contextlib.ExitStack() as stack:
            stack.enter_context(decimal.localcontext(amount.CONTEXT))
            # Scopes are never forgotten: their names may be read before or after.
            see = self._database.reader if _is_one_statement(selection, self._zone) else self._database.snapshot
            session = stack.enter_context(see())
            selection = self._narrow(session, selection)
            # Sums of days and months, whatever ends after the window: that is taken off again.
            stretches, edges = windows.split_days(selection.window.of_begins, (), self._zone)
            names = None if selection.scope_ids is None else _scope_names(session, selection.scope_ids)
            found_sums = self._roll_ups(session, selection, names, stretches, edges, (), False, by_scope, by_metric)
            taken_off = self._crossing(session, selection, names, stretches, by_scope, by_metric)
            for scope_id, metric, _, _, sums in itertools.chain(found_sums, taken_off):
                key = scope_id, metric
                found = totals.get(key)
                if found is not None:
                    sums = found[0] + sums[0], found[1] + sums[1], found[2] + sums[2], found[3] + sums[3]
                totals[key] = sums
            if names is None and by_scope and totals:
                # After the sums: there is no scope in them that has no name by now.
                names = _scope_names(session, None)
        named = names or {}
        rows = []
        for (scope_id, metric), sums in totals.items():
            if not sums[0]:
                continue
            values = tuple([metric if word == 'type' else named[scope_id] for word in groupby])
            rows.append(Sum(values, *sums))
        # Of texts alone, which are the same in no two rows.
        rows.sort()
        return rows

    def aggregate(
        self,
        selection: windows.Selection,
        groupby: Sequence[str],
        columns: Sequence[fields.Field],
        by_period: bool,
        limit: int,
    ) -> list[Aggregate]:
        """Return a row like those of :meth:`sum_up`, with the values of *columns*.

        :param limit: how many points may be looked at one by one.
        :raises BadRequest: there are more.
        """
        if tuple(columns) == fields.USUAL:
            return [
                Aggregate(values, (qty, price), when)
                for values, points, qty, price, _, when in self.sum_up(selection, groupby, by_period)
                if points
            ]
        if not any(column.needs_points for column in columns):
            return [
                Aggregate(
                    row.values, tuple(column.of_sums(row.points, row.qty, row.price) for column in columns), row.period
                )
                for row in self.sum_up(selection, groupby, by_period)
                if row.points
            ]
        if sum(row.points for row in self.sum_up(selection, [])) > limit:
            raise errors.BadRequest(
                'custom_fields: the window holds more than the %d points that may be looked at one by one. '
                'Ask for a shorter one, or for sums, counts and means.' % limit
            )
        found: dict[tuple[Any, ...], tuple[tuple[Any, ...], tuple[int, int] | None, list[fields.PointValue]]] = {}
        words = {word for word in groupby if word in series.CALENDAR}
        with self._database.snapshot() as session:
            for item, begin, point in () if selection.is_impossible else self._points(session, selection):
                calendar = windows.calendar_at(begin, words, self._zone)
                values = tuple(self._value_of(item, word, calendar) for word in groupby)
                when = (begin, begin + point.length) if by_period else None
                assert point.price is not None
                found.setdefault(_key_of(values, when), (values, when, []))[2].append(
                    fields.PointValue(begin, point.qty, point.price)
                )
        return [
            Aggregate(values, tuple(_evaluate(column, points) for column in columns), when)
            for values, when, points in sorted(found.values(), key=_order)
        ]

    def page(
        self, selection: windows.Selection, offset: int, limit: int | None
    ) -> tuple[int, list[dataframe.DataFrame]]:
        """Return how many points there are, and the frames of those from *offset* on, at most *limit* points.

        Only days of which something is shown are read whole; of these, only frames that are shown are made.
        """
        if selection.is_impossible:
            return 0, []
        with self._database.snapshot() as session:
            selection = self._narrow(session, selection)
            known = Known(_scope_names(session, selection.scope_ids))
            counts = self._count_by_day(session, selection, known)
            first, days, skipped = 0, [], None
            for day in sorted(counts):
                if first + counts[day] > offset and (limit is None or first < offset + limit):
                    days.append(day)
                    skipped = first if skipped is None else skipped
                first += counts[day]
            start = offset - (skipped or 0)
            end = None if limit is None else start + limit
            if start <= 0 and (end is None or end >= sum(counts[day] for day in days)):
                return first, self._frames(session, selection, days, known)
            return first, self._page(session, selection, days, known, start, end)

    def _page(
        self, session: orm.Session, selection: windows.Selection, days: list[int], known: Known, start: int, end: Any
    ) -> list[dataframe.DataFrame]:
        """Return the frames of the points ``[start, end)`` of *days*; *end* None: of all from *start* on.

        A point that is only counted takes no memory, and a third of the time.
        """
        counts: collections.Counter[_Place] = collections.Counter()
        for item, begin, point in self._points(session, selection, days=days, known=known):
            counts[begin, begin + point.length, item.scope_id] += 1
        shown: set[_Place] = set()
        position, skipped = 0, None
        for place in sorted(counts):
            if position + counts[place] > start and (end is None or position < end):
                shown.add(place)
                skipped = position if skipped is None else skipped
            position += counts[place]
        ids = {scope_id for _, _, scope_id in shown}
        selection = dataclasses.replace(selection, scope_ids=ids)
        known = Known({id_: name for id_, name in known.names.items() if name in ids}, known.series)
        days = sorted({begin // period.DAY for begin, _, _ in shown})
        frames = self._frames(session, selection, days, known, shown)
        start -= skipped or 0
        return cut(frames, start, None if end is None else end - (skipped or 0))

    def _narrow(self, session: orm.Session, selection: windows.Selection) -> windows.Selection:
        """Return *selection* with its window cut to what may matter.

        A long one is cut to the days of which there is something, for others cost as much. Where points have to end
        inside, as many days before its end are looked at as the longest frame takes.
        """
        window = selection.window
        if window.whole:
            longest = session.scalar(sqlalchemy.select(sqlalchemy.func.max(models.FrameLength.length)))
            if longest is not None:
                window = dataclasses.replace(window, longest=min(longest, window.longest))
        if window.end - window.begin > _LONG:
            first, last = session.execute(
                sqlalchemy.select(sqlalchemy.func.min(ScopeDay.day), sqlalchemy.func.max(ScopeDay.day))
            ).one()
            begin, end = 0, 0
            if first is not None:
                begin, end = first * period.DAY, (last + 1) * period.DAY + windows.LONGEST_FRAME
            begin = max(begin, window.begin)
            window = dataclasses.replace(window, begin=begin, end=max(begin, min(end, window.end)))
        return dataclasses.replace(selection, window=window)

    def _count_by_day(self, session: orm.Session, selection: windows.Selection, known: Known) -> dict[int, int]:
        """Return how many points each day has."""
        words = {name for name, _ in selection.attributes if name in series.CALENDAR}
        first, last = (0, 0) if words else selection.window.whole_days
        edges = [day for day in range(*selection.window.days) if not first <= day < last]
        counts: dict[int, int] = collections.Counter()
        for part in _scope_parts(selection, known.names):
            where = [RatedDay.day >= first, RatedDay.day < last, *_of_series(selection, part)]
            points = sqlalchemy.type_coerce(sqlalchemy.func.sum(RatedDay.points), sqlalchemy.Integer)
            if not selection.attributes:
                for day, count in session.execute(
                    sqlalchemy.select(RatedDay.day, points).where(*where).group_by(RatedDay.day)
                ):
                    counts[day] += int(count)
                continue
            query = sqlalchemy.select(RatedDay.day, RatedDay.series_id, RatedDay.points).where(*where)
            rows = session.execute(query).all()
            self._learn(session, {row[1] for row in rows}, selection, known)
            for day, series_id, count in rows:
                if known.series[series_id] is not None:
                    counts[day] += count
        for _, begin, _ in self._points(session, selection, days=edges, known=known):
            counts[begin // period.DAY] += 1
        return {day: count for day, count in counts.items() if count}

    def parts(
        self, session: orm.Session, selection: windows.Selection, groupby: Sequence[str], by_period: bool
    ) -> Iterator[Part]:
        """Yield what adds up to the report."""
        selection = self._narrow(session, selection)
        asked = {*groupby, *(name for name, _ in selection.attributes)}
        words = asked & set(series.CALENDAR)
        stretches, edges = windows.split_days(selection.window, words, self._zone, by_period)
        known = Known(_scope_names(session, selection.scope_ids))
        matches = self._matcher(selection, calendar=True)
        if asked - words <= {'type', self._scope_key}:
            found: Iterator[Part] = (
                Part(Found(known.names[scope_id], metric), calendar, when, sums)
                for scope_id, metric, calendar, when, sums in self._roll_ups(
                    session, selection, known.names, stretches, edges, words, by_period
                )
            )
        else:
            found = self._series_sums(session, selection, known, stretches, edges, words)
        for part in found:
            if matches(part.item, part.calendar):
                yield part if by_period else part._replace(period=None)

    def frames(self, selection: windows.Selection) -> list[dataframe.DataFrame]:
        """Return a frame per scope and period, sorted by begin, end and scope."""
        if selection.is_impossible:
            return []
        with self._database.snapshot() as session:
            return self._frames(session, selection)

    def _frames(
        self,
        session: orm.Session,
        selection: windows.Selection,
        days: Sequence[int] | None = None,
        known: Known | None = None,
        shown: Collection[_Place] | None = None,
    ) -> list[dataframe.DataFrame]:
        """Return frames, those of *shown* only unless it is None."""
        usage: dict[_Place, list[tuple[str, dataframe.DataPoint]]] = collections.defaultdict(list)
        # Many points begin together.
        calendars: dict[int, dict[str, Any]] = {}
        for item, begin, point in self._points(session, selection, days=days, known=known):
            place = (begin, begin + point.length, item.scope_id)
            if shown is not None and place not in shown:
                continue
            calendar = calendars.get(begin)
            if calendar is None:
                calendar = calendars[begin] = series.calendar(period.from_epoch(begin), self._zone)
            made = dataframe.DataPoint(
                item.unit,
                point.qty,
                point.price,
                {**calendar, **item.groupby},
                item.metadata,
                item.description,
            )
            usage[place].append((item.metric, made))
        result = []
        for begin, end, scope_id in sorted(usage):
            frame = dataframe.DataFrame(period.from_epoch(begin), period.from_epoch(end))
            for metric, made in sorted(usage[begin, end, scope_id], key=lambda pair: pair[0]):
                frame.add_point(made, metric)
            result.append(frame)
        return result

    def scopes(self, window: windows.Window) -> list[str]:
        """Return the sorted ids of the scopes with points in *window*."""
        return [row.values[0] for row in self.sum_up(windows.Selection(window), [self._scope_key]) if row.points]

    def quantities(self, selection: windows.Selection, priced: bool = False) -> list[series.Columns]:
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
                item.to_series(), length, tuple(begin for begin, _ in points), tuple(qty for _, qty in points)
            )
            for (_, length), (item, points) in found.items()
        ]

    def points(self, selection: windows.Selection) -> list[series.Columns]:
        """Return each point of *selection* by itself, whatever its origin, priced or not, by day and series."""
        if selection.is_impossible:
            return []
        with self._database.snapshot() as session:
            return [
                series.Columns(item.to_series(), point.length, (begin,), (point.qty,), (point.price,))
                for item, begin, point in self._points(session, selection, priced=None)
            ]

    def _roll_ups(
        self,
        session: orm.Session,
        selection: windows.Selection,
        names: Mapping[int, str] | None,
        stretches: Sequence[windows.Stretch],
        edges: Sequence[int],
        words: Collection[str],
        by_period: bool,
        by_scope: bool = True,
        by_metric: bool = True,
    ) -> Iterator[_RollUp]:
        """Yield the sums of what has points: of months, of days, and of periods.

        :param names: of the scopes that are selected; None: all are.
        :param by_scope, by_metric: what to tell apart; of what is not, the guard's id is 0 and the metric ''.
        """
        # Without a session's work on every row.
        connection = session.connection()
        window = selection.window
        holds = window.holds
        # Most days of a window that wants points to end in it lie inside altogether: a look tells, without decoding.
        sums_serve = window.whole and not words and not by_period
        for part in _scope_parts(selection, names or {}):
            for stretch in stretches:
                months, days = stretch.months()
                spans: list[tuple[Any, Any, int, int]] = (
                    [(ScopeMonth, ScopeMonth.month, months.start, months.stop)] if months else []
                )
                spans += [(ScopeDay, ScopeDay.day, first, last) for first, last in days]
                for model, column, first, last in spans:
                    query = _sums_of(model, by_scope, by_metric).where(
                        _among(column, range(first, last), part), *_conditions(model, selection, part)
                    )
                    for scope_id, metric, points, qty, price, unpriced in connection.execute(query).all():
                        if points:
                            yield scope_id, metric, stretch.calendar, None, (int(points), qty, price, int(unpriced))
            cells = sqlalchemy.select(
                ScopeDay.day, ScopeDay.scope_id, ScopeDay.metric, ScopeDay.body,
                ScopeDay.points, ScopeDay.qty, ScopeDay.price, ScopeDay.unpriced,
            )  # fmt: skip
            for some in statements.chunks(edges):
                query = cells.where(_among(ScopeDay.day, some, part), *_conditions(ScopeDay, selection, part))
                for day, scope_id, metric, text, points, qty, price, unpriced in connection.execute(query):
                    midnight = day * period.DAY
                    scope_id, metric = scope_id if by_scope else 0, metric if by_metric else ''
                    if sums_serve and window.begin <= midnight and midnight + body.end_of(text) <= window.end:
                        if points:
                            yield scope_id, metric, {}, None, (points, qty, price, unpriced)
                        continue
                    for cell in body.decode_cells(text):
                        begin = midnight + cell.offset
                        if cell.points and holds(begin, cell.length):
                            calendar = windows.calendar_at(begin, words, self._zone)
                            sums = (cell.points, cell.qty, cell.price, cell.unpriced)
                            yield scope_id, metric, calendar, (begin, begin + cell.length), sums

    def _crossing(
        self,
        session: orm.Session,
        selection: windows.Selection,
        names: Mapping[int, str] | None,
        stretches: Sequence[windows.Stretch],
        by_scope: bool,
        by_metric: bool,
    ) -> Iterator[_RollUp]:
        """Yield, negative, the sums of what begins in *stretches* and ends after a window in which points have to end.

        The other parameters are those of :meth:`_roll_ups`.
        """
        window = selection.window
        if not window.whole:
            return
        first = (window.end - window.longest) // period.DAY
        days = _crossed(session, [day for part in stretches for day in range(max(first, part.first), part.last)])
        cells = sqlalchemy.select(ScopeDay.day, ScopeDay.scope_id, ScopeDay.metric, ScopeDay.body)
        for part in _scope_parts(selection, names or {}):
            for some in statements.chunks(days):
                query = cells.where(_among(ScopeDay.day, some, part), *_conditions(ScopeDay, selection, part))
                for day, scope_id, metric, text in session.connection().execute(query):
                    midnight = day * period.DAY
                    if midnight + body.end_of(text) <= window.end:
                        continue
                    owner = scope_id if by_scope else 0, metric if by_metric else ''
                    for cell in body.decode_cells(text):
                        if cell.points and midnight + cell.offset + cell.length > window.end:
                            yield *owner, {}, None, (-cell.points, -cell.qty, -cell.price, -cell.unpriced)

    def _series_sums(
        self,
        session: orm.Session,
        selection: windows.Selection,
        known: Known,
        stretches: Sequence[windows.Stretch],
        edges: Sequence[int],
        words: Collection[str],
    ) -> Iterator[Part]:
        """Yield the sums of series: of days, and of single points."""
        for part in _scope_parts(selection, known.names):
            for stretch in stretches:
                query = (
                    sqlalchemy.select(
                        RatedDay.series_id,
                        sqlalchemy.type_coerce(sqlalchemy.func.sum(RatedDay.points), sqlalchemy.Integer),
                        types.exact_sum(RatedDay.qty),
                        types.exact_sum(RatedDay.price),
                    )
                    .where(RatedDay.day >= stretch.first, RatedDay.day < stretch.last)
                    .where(*_of_series(selection, part))
                    .group_by(RatedDay.series_id)
                )
                rows = session.execute(query).all()
                self._learn(session, {row[0] for row in rows}, selection, known)
                for series_id, points, qty, price in rows:
                    item = known.series[series_id]
                    if item is not None and points:
                        yield Part(item, stretch.calendar, None, (int(points), qty, price, 0))
        for item, begin, point in self._points(session, selection, days=edges, known=known):
            end = begin + point.length
            yield Part(
                item, windows.calendar_at(begin, words, self._zone), (begin, end), (1, point.qty, point.price, 0)
            )

    def _value_of(self, item: Found, word: str, calendar: dict[str, str]) -> Any:
        if word == 'type':
            return item.metric
        if word in calendar:
            return calendar[word]
        if word in item.groupby:
            return item.groupby[word]
        if word == self._scope_key:
            return item.scope_id
        if word == 'resource_id' and word not in item.metadata:
            # So the dashboard asks for what most sources call otherwise.
            return item.groupby.get('id')
        return item.metadata.get(word)

    def _points(
        self,
        session: orm.Session,
        selection: windows.Selection,
        priced: bool | None = True,
        days: Sequence[int] | None = None,
        known: Known | None = None,
    ) -> Iterator[tuple[Found, int, body.Point]]:
        """Yield (series, begin, point) of every point of *selection*, by day and series.

        :param priced: those with a price, those without, or, if None, both.
        :param days: of these only.
        :param known: what is known already, to be added to.
        """
        known = Known(_scope_names(session, selection.scope_ids)) if known is None else known
        holds = selection.window.holds
        first, last = selection.window.days
        spans = [RatedDay.day.between(first, last - 1)]
        if days is not None:
            spans = [RatedDay.day.in_(some) for some in statements.chunks(days)]
        words = [name for name, _ in selection.attributes if name in series.CALENDAR]
        matches = self._matcher(selection, calendar=True)
        query = sqlalchemy.select(RatedDay.day, RatedDay.series_id, RatedDay.body)
        for part in _scope_parts(selection, known.names):
            for span in spans:
                rows = session.execute(
                    query.where(span, *_of_series(selection, part)).order_by(RatedDay.day, RatedDay.series_id)
                ).all()
                self._learn(session, {row.series_id for row in rows}, selection, known)
                for row in rows:
                    item = known.series.get(row.series_id)
                    if item is None:
                        continue
                    midnight = row.day * period.DAY
                    for point in body.decode_points(row.body):
                        begin = midnight + point.offset
                        if priced is not None and (point.price is not None) != priced:
                            continue
                        if holds(begin, point.length) and (
                            not words or matches(item, windows.calendar_at(begin, words, self._zone))
                        ):
                            yield item, begin, point

    def _learn(self, session: orm.Session, ids: Collection[int], selection: windows.Selection, known: Known) -> None:
        """Add the series of *ids* to *known*."""
        matches = self._matcher(selection, calendar=False)
        for part in statements.chunks(sorted(set(ids) - known.series.keys())):
            for id_, scope_id, metric, unit, description, groupby, metadata, origin in session.connection().execute(
                _SERIES.where(SeriesRow.id.in_(part))
            ):
                item = Found(
                    known.names[scope_id],
                    metric,
                    unit,
                    description,
                    json.loads(groupby),
                    json.loads(metadata),
                    series.Origin(origin),
                )
                chosen = selection.metrics is None or metric in selection.metrics
                known.series[id_] = item if chosen and matches(item, {}) else None

    def _matcher(self, selection: windows.Selection, calendar: bool) -> Callable[[Found, dict[str, str]], bool]:
        """Return what tells whether the attributes of a series, or those of the calendar, are as selected."""
        wanted = [(name, texts) for name, texts in selection.attributes if (name in series.CALENDAR) == calendar]

        def matches(item: Found, words: dict[str, str]) -> bool:
            return all(str(self._value_of(item, name, words)) in texts for name, texts in wanted)

        return matches if wanted else lambda item, words: True


def _is_one_statement(selection: windows.Selection, zone: datetime.tzinfo) -> bool:
    """Return whether one statement gives all sums of *selection*: by itself it sees one moment of the database."""
    window = selection.window
    if window.end - window.begin > _LONG or len(selection.scope_ids or ()) > statements.CHUNK:
        return False
    stretches, edges = windows.split_days(window, (), zone)
    if edges or len(stretches) != 1:
        return False
    months, days = stretches[0].months()
    return bool(months) + len(days) == 1


def _crossed(session: orm.Session, days: Sequence[int]) -> list[int]:
    """Return those of *days* that points may begin on and end after."""
    column = models.CrossedMidnight.day
    found: set[int] = set()
    for part in statements.chunks(days):
        found.update(session.connection().scalars(sqlalchemy.select(column).where(column.in_(part))))
    return sorted(found)


def _scope_names(session: orm.Session, scope_ids: Collection[str] | None) -> dict[int, str]:
    query = sqlalchemy.select(Guard.id, Guard.identifier)
    if scope_ids is None:
        return dict(session.connection().execute(query).all())
    result: dict[int, str] = {}
    for part in statements.chunks(sorted(set(scope_ids))):
        result.update((row[0], row[1]) for row in session.execute(query.where(Guard.identifier.in_(part))))
    return result


def _scope_parts(selection: windows.Selection, names: Mapping[int, str]) -> Iterator[list[int] | None]:
    """Yield guard ids in parts that one question takes; None for all."""
    if selection.scope_ids is None:
        yield None
    else:
        yield from statements.chunks(sorted(names))


@functools.cache
def _sums_of(model: Any, by_scope: bool, by_metric: bool) -> Any:
    """Return the question for the sums of a roll-up, by scope and metric, or 0 and '' in the place of either."""
    groups = ([model.scope_id] if by_scope else []) + ([model.metric] if by_metric else [])
    return sqlalchemy.select(
        model.scope_id if by_scope else sqlalchemy.literal_column('0'),
        model.metric if by_metric else sqlalchemy.literal_column("''"),
        sqlalchemy.type_coerce(sqlalchemy.func.sum(model.points), sqlalchemy.Integer),
        types.exact_sum(model.qty),
        types.exact_sum(model.price),
        sqlalchemy.type_coerce(sqlalchemy.func.sum(model.unpriced), sqlalchemy.Integer),
    ).group_by(*groups)


def _among(column: Any, values: Sequence[int], part: list[int] | None) -> Any:
    """Return the condition that *column*, which the key begins with, is one of *values*, which are in order.

    For some scopes each value is named, for then the rest of the key counts too: of a range the server reads every
    scope's rows. For all of them a range is a range: PostgreSQL reads the whole table rather than so many places of it.
    """
    first, last = values[0], values[-1]
    is_range = last - first == len(values) - 1
    if first == last:
        return column == first
    if is_range and (part is None or len(values) > statements.CHUNK):
        return column.between(first, last)
    return column.in_(values)


def _conditions(model: Any, selection: windows.Selection, part: list[int] | None) -> list[Any]:
    found = [] if part is None else [model.scope_id.in_(part)]
    return found if selection.metrics is None else [*found, model.metric.in_(sorted(selection.metrics))]


def _of_series(selection: windows.Selection, part: list[int] | None) -> list[Any]:
    found = [] if part is None else [RatedDay.scope_id.in_(part)]
    if selection.metrics is None:
        return found
    chosen = sqlalchemy.select(SeriesRow.id).where(SeriesRow.metric.in_(sorted(selection.metrics)))
    if part is not None:
        chosen = chosen.where(SeriesRow.scope_id.in_(part))
    return [*found, RatedDay.series_id.in_(chosen)]


def _add(totals: _Totals, values: tuple[Any, ...], when: tuple[int, int] | None, more: Sums) -> None:
    key = _key_of(values, when)
    found = totals.get(key)
    if found is None:
        totals[key] = values, when, list(more)
        return
    row = found[2]
    row[0] += more[0]
    row[1] = amount.CONTEXT.add(row[1], more[1])
    row[2] = amount.CONTEXT.add(row[2], more[2])
    row[3] += more[3]


def _to_sums(totals: _Totals) -> list[Sum]:
    """Return the rows by their values as text, those of equal values by time."""
    return [
        Sum(values, row[0], row[1], row[2], row[3], when) for values, when, row in sorted(totals.values(), key=_order)
    ]


def _key_of(values: tuple[Any, ...], when: tuple[int, int] | None) -> tuple[Any, ...]:
    """Return what tells rows apart.

    By the typed text of what is no text: 1, 1.0 and True are three values, NaN is one, and a list is one as well.
    """
    return (when, *[value if value.__class__ is str else (series.canonical(value),) for value in values])


def _order(entry: tuple[tuple[Any, ...], tuple[int, int] | None, Any]) -> Any:
    values, when, _ = entry
    return [(value is not None, str(value)) for value in values], when or ()


def _evaluate(column: fields.Field, points: Sequence[fields.PointValue]) -> Decimal:
    if column.needs_points:
        return column.of_points(points)
    qty = amount.total(point.qty for point in points)
    return column.of_sums(len(points), qty, amount.total(point.price for point in points))


def cut(frames: Sequence[dataframe.DataFrame], first: int, last: int | None) -> list[dataframe.DataFrame]:
    """Return the frames of the points ``[first, last)`` of *frames*."""
    result = []
    position = 0
    for frame in frames:
        page = dataframe.DataFrame(frame.start, frame.end)
        for metric, point in frame.iterpoints():
            if position >= first and (last is None or position < last):
                page.add_point(point, metric)
            position += 1
        if any(True for _ in page.iterpoints()):
            result.append(page)
    return result
