# SPDX-License-Identifier: Apache-2.0
"""From frames that somebody pushes to columns: only what is stored of them is kept, once."""

import datetime
from decimal import Decimal
from typing import Any

from cloudkitty import amount
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period as periods
from cloudkitty import series
from cloudkitty.db import types
from cloudkitty.storage.sqlalchemy import windows

#: How many values are remembered so that equal ones are one object.
REMEMBERED = 1000


class Reader:
    """Takes frames, one after the other.

    :param scope_key: attribute that holds the scope's id.
    :param zone: of calendar attributes.
    :param scope_id: of points that lack the scope key.
    """

    def __init__(self, scope_key: str, zone: datetime.tzinfo, scope_id: str | None) -> None:
        self._scope_key = scope_key
        self._zone = zone
        self._scope_id = scope_id
        #: (fingerprint, length of the points) to the series and begin, quantity and price of each point, in a row.
        self._found: dict[tuple[bytes, int], list[Any]] = {}
        self._names: dict[str, str] = {}
        self._amounts: dict[Decimal, Decimal] = {}
        self._attributes: dict[str, series.Packed] = {}

    def add(self, frame: dataframe.DataFrame) -> None:
        """Take the points of *frame*; raise BadRequest for what cannot be stored."""
        begin = periods.to_epoch(frame.start)
        length = periods.to_epoch(frame.end) - begin
        if not 0 < length <= windows.LONGEST_FRAME:
            raise errors.BadRequest(
                'The frame from %s to %s is not between a second and 31 days long.' % (frame.start, frame.end)
            )
        calendar = series.calendar(frame.start, self._zone)
        for metric, point in frame.iterpoints():
            item = self._to_series(metric, point, calendar)
            points = self._found.setdefault((item.fingerprint, length), [])
            if not points:
                points.append(item)
            points += (begin, self._to_amount(metric, point.qty), self._to_amount(metric, point.price))

    def finish(self) -> list[series.Columns]:
        """Return the points in columns, one of each series and length."""
        result = []
        while self._found:
            (_, length), points = self._found.popitem()
            if len(points) == 4:
                result.append(series.Columns(points[0], length, *((value,) for value in points[1:])))
                continue
            begins = points[1::3]
            order = sorted(range(len(begins)), key=begins.__getitem__)
            columns = [tuple(points[first + 3 * index] for index in order) for first in (1, 2, 3)]
            result.append(series.Columns(points[0], length, *columns))
        return result

    def _to_series(self, metric: str, point: dataframe.DataPoint, calendar: dict[str, str]) -> series.Series:
        owner = point.groupby.get(self._scope_key, point.metadata.get(self._scope_key, self._scope_id))
        return series.Series(
            scope_id=self._to_name(self._scope_key, '' if owner is None else str(owner)),
            metric=self._to_name('type', metric),
            unit=self._to_name('unit', point.unit),
            groupby=series.Packed(
                {
                    name: value
                    for name, value in point.groupby.items()
                    if name not in calendar or calendar[name] != value
                }
            ),
            metadata=self._share(series.Packed(dict(point.metadata))),
            description=point.description,
            origin=series.Origin.PUSHED,
        )

    def _to_name(self, word: str, text: str) -> str:
        if text not in self._names:
            if not types.is_name(text):
                raise errors.BadRequest('The %s %s cannot be stored.' % (word, ascii(text[:300])))
            self._names[text] = text
        return self._names[text]

    def _to_amount(self, metric: str, value: Decimal) -> Decimal:
        try:
            found = amount.quantise(value)
        except amount.AmountTooLarge as error:
            raise errors.BadRequest('Metric %s: %s' % (metric, error)) from error
        if len(self._amounts) >= REMEMBERED:
            self._amounts.clear()
        return self._amounts.setdefault(found, found)

    def _share(self, attributes: series.Packed) -> series.Packed:
        if len(self._attributes) >= REMEMBERED:
            self._attributes.clear()
        return self._attributes.setdefault(attributes.text, attributes)
