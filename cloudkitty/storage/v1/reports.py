# SPDX-License-Identifier: Apache-2.0
"""Reading ``rated_data_frames``: the answers of version 2, as exact as the columns are.

What is in the table may have been written by any release: quantities may be NULL and descriptions no JSON. Which of a
point's attributes were its groupby the table does not say: all of them are. Points that wait for a price have no place
there; they are where version 2 keeps them.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from decimal import Decimal
import functools
import json
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import exact
from cloudkitty.db import statements
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import reports
from cloudkitty.storage.sqlalchemy import windows
from cloudkitty.storage.v1 import models
from cloudkitty.storage.v1 import rates
from cloudkitty.storage.v1 import rows
from cloudkitty.storage.v1 import table

Frame = models.RatedDataFrame

#: How many descriptions are remembered.
_REMEMBERED = 100_000


class Reports(reports.Reports):
    """Answers from the rows; see the base class."""

    def scopes(self, window: windows.Window) -> list[str]:
        with self._database.snapshot() as session:
            dialect = statements.dialect_of(session)
            owner = exact.exactly(sqlalchemy.func.coalesce(Frame.tenant_id, ''), dialect)
            has_data = ~exact.is_one_of(Frame.res_type, [table.NO_DATA], dialect)
            query = sqlalchemy.select(owner).where(*_in_window(window), has_data).distinct()
            return sorted(exact.to_text(found) for found in session.scalars(query))

    def _sum_up_owners(self, selection: windows.Selection, groupby: Sequence[str]) -> list[reports.Sum]:
        # There are no roll-ups.
        return self._sum_up_parts(selection, groupby, by_period=False)

    def parts(
        self, session: orm.Session, selection: windows.Selection, groupby: Sequence[str], by_period: bool
    ) -> Iterator[reports.Part]:
        words = {*groupby, *(name for name, _ in selection.attributes)}
        if words <= {'type', self._scope_key} and not by_period:
            for scope_id, metric, sums in self._sums(session, selection):
                yield reports.Part(reports.Found(scope_id, metric), {}, None, sums)
            return
        calendar = words & set(series.CALENDAR)
        for item, begin, point in self._points(session, selection):
            when = (begin, begin + point.length) if by_period else None
            found = windows.calendar_at(begin, calendar, self._zone)
            yield reports.Part(item, found, when, (1, point.qty, point.price, 0))

    def page(
        self, selection: windows.Selection, offset: int, limit: int | None
    ) -> tuple[int, list[dataframe.DataFrame]]:
        frames = self.frames(selection)
        total = sum(1 for frame in frames for _ in frame.iterpoints())
        return total, reports.cut(frames, offset, None if limit is None else offset + limit)

    def _sums(self, session: orm.Session, selection: windows.Selection) -> Iterator[tuple[str, str, Sequence[Any]]]:
        """Yield the sums of rows of one price; the server counts them, and adds up quantities where it is exact."""
        dialect = statements.dialect_of(session)
        function = sqlalchemy.func
        adds_up = dialect != 'sqlite'
        columns = [
            exact.exactly(function.coalesce(Frame.tenant_id, ''), dialect),
            exact.exactly(Frame.res_type, dialect),
            rates.select(Frame.rate, dialect),
            function.sum(Frame.qty) if adds_up else Frame.qty,
            function.count(),
        ]
        grouped = [sqlalchemy.text(str(number)) for number in ((1, 2, 3) if adds_up else (1, 2, 3, 4))]
        for conditions in _conditions(selection):
            for owner, type_, rate, qty, count in session.execute(
                sqlalchemy.select(*columns).where(*conditions).group_by(*grouped)
            ):
                scope_id, metric = exact.to_text(owner), exact.to_text(type_)
                if not _is_selected(selection, scope_id, metric):
                    continue
                quantity = amount.ZERO if qty is None else qty
                if not adds_up:
                    quantity = amount.CONTEXT.multiply(quantity, Decimal(count))
                price = amount.CONTEXT.multiply(rows.to_price(rate, dialect) or amount.ZERO, Decimal(count))
                yield scope_id, metric, (count, quantity, price, 0)

    def _points(
        self,
        session: orm.Session,
        selection: windows.Selection,
        priced: bool | None = True,
        days: Sequence[int] | None = None,
        known: reports.Known | None = None,
    ) -> Iterator[tuple[reports.Found, int, body.Point]]:
        if priced is not True:
            yield from super()._points(session, selection, priced=False)
        if priced is not False:
            yield from self._rows(session, selection)

    def _rows(
        self, session: orm.Session, selection: windows.Selection
    ) -> Iterator[tuple[reports.Found, int, body.Point]]:
        """Yield (attributes, begin, point) of every row of *selection*, in the order in which they were written."""
        dialect = statements.dialect_of(session)
        shared = (sqlalchemy.func.coalesce(Frame.tenant_id, ''), Frame.res_type, Frame.unit, Frame.desc)
        columns = (Frame.begin, Frame.end, Frame.qty, rates.select(Frame.rate, dialect), *shared)
        matchers = [self._matcher(selection, calendar) for calendar in (False, True)]
        words = {name for name, _ in selection.attributes} & set(series.CALENDAR)
        known: dict[tuple[str, ...], reports.Found] = {}
        for conditions in _conditions(selection):
            query = sqlalchemy.select(*columns).where(*conditions).order_by(Frame.id)
            for first, last, qty, rate, *key in session.execute(query).yield_per(5000):
                if not _is_selected(selection, key[0], key[1]):
                    continue
                item = known.get(tuple(key))
                if item is None:
                    if len(known) >= _REMEMBERED:
                        known.clear()
                    item = known[tuple(key)] = self._to_found(*key)
                begin = rows.to_second(first)
                calendar = windows.calendar_at(begin, words, self._zone) if words else {}
                if all(matches(item, calendar) for matches in matchers):
                    price = _plain(rows.to_price(rate, dialect) or amount.ZERO)
                    quantity = _plain(amount.ZERO if qty is None else qty)
                    yield item, begin, body.Point(begin % period.DAY, rows.to_second(last) - begin, quantity, price)

    def _to_found(self, scope_id: str, metric: str, unit: str, desc: str) -> reports.Found:
        attributes = _read(desc)
        if scope_id:
            attributes.setdefault(self._scope_key, scope_id)
        return reports.Found(scope_id, metric, unit, None, attributes, {}, series.Origin.COLLECTED)


@functools.lru_cache(_REMEMBERED)
def _plain(value: Decimal) -> Decimal:
    """Return *value* without the zeros at its end that only the column put there."""
    return Decimal(amount.to_text(value))


def _read(desc: str) -> dict[str, Any]:
    """Return the attributes of a description; one that is no JSON object is kept whole, as the attribute ``desc``."""
    try:
        found = json.loads(desc)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    return {'desc': desc}


def of_scopes(scope_ids: Sequence[str]) -> Any:
    """Return the condition for rows of these scopes; on MariaDB it lets some others through."""
    condition = Frame.tenant_id.in_([scope_id for scope_id in scope_ids if scope_id])
    return sqlalchemy.or_(condition, Frame.tenant_id.is_(None), Frame.tenant_id == '') if '' in scope_ids else condition


def _in_window(window: windows.Window) -> list[Any]:
    first, last = (period.to_naive(period.from_epoch(second)) for second in (window.begin, window.end))
    return [Frame.begin >= first, Frame.end <= last if window.whole else Frame.begin < last]


def _conditions(selection: windows.Selection) -> Iterator[list[Any]]:
    """Yield conditions that together let through the rows of *selection*, and on MariaDB some others."""
    conditions = _in_window(selection.window)
    if selection.metrics is not None:
        conditions.append(Frame.res_type.in_(sorted(selection.metrics)))
    if selection.scope_ids is None:
        yield conditions
        return
    for part in statements.chunks(sorted(set(selection.scope_ids))):
        yield [*conditions, of_scopes(part)]


def _is_selected(selection: windows.Selection, scope_id: str, metric: str) -> bool:
    return (
        metric != table.NO_DATA
        and (selection.scope_ids is None or scope_id in selection.scope_ids)
        and (selection.metrics is None or metric in selection.metrics)
    )
