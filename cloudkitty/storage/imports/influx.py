# SPDX-License-Identifier: Apache-2.0
"""The points that a cloud of old keeps in InfluxDB, as a source of an import.

A point begins at its time; attributes of its groupby are tags beside ``type``, those of its metadata are fields beside
ours, and two fields list their names. Of attributes without a value nothing was written: they are ``''``.

Source: processor contract, section 9.1.
"""

import collections
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import datetime
import decimal
from decimal import Decimal
import itertools
import json
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.clients.influxdb import points
from cloudkitty.db import engine
from cloudkitty.db import types
from cloudkitty.storage.imports import plan
from cloudkitty.storage.imports import sources
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import rows

Imported = models.ImportedPoint

_LENGTH = '__ck_collect_period'
#: What was written over metadata of the same name.
_FIELDS = frozenset({'qty', 'price', 'unit', 'description', 'groupby', 'metadata', _LENGTH})
_NO_NUMBER = Decimal('NaN')


class Points:
    """Points in InfluxDB; see :class:`sources.Source`.

    :param scope_key: the tag that says whose a point is.
    :param length: seconds of a period, for points that do not say.
    :param zone: of calendar attributes, which are not kept: each point's begin says the same.
    """

    name = 'InfluxDB'
    marks = Imported
    tells_new = False

    def __init__(self, reader: points.Reader, scope_key: str, length: int, zone: datetime.tzinfo) -> None:
        self._reader = reader
        self._scope_key = scope_key
        self._length = length
        self._zone = zone
        self._ownerless = 0

    def survey(self, database: engine.Database) -> sources.Survey:
        bounds = self._reader.find_bounds()
        begins: list[rows.Begin] = []
        average_text = 0
        if bounds:
            first, last = bounds
            average_text = self._measure(last)
            for begin in range(first - first % period.DAY, last + 1, self._reader.stride):
                found = sorted(self._reader.count(begin, begin + self._reader.stride))
                begins += [rows.Begin(second, count, 0, 0) for second, count in found if count]
        with database.reader() as session:
            done = {item.begin: item for item in session.scalars(sqlalchemy.select(Imported))}
            session.expunge_all()
        now = {item.begin: item.row_count for item in begins}
        broken = {
            begin: 'it had %d rows when they were imported, and has %d now' % (item.row_count, now.get(begin, 0))
            for begin, item in done.items()
            if now.get(begin, 0) < item.row_count
        }
        return sources.Survey(0, begins, done, broken, average_text)

    def _measure(self, begin: int) -> int:
        """Return how long the texts of a point are, by some that begin at *begin*."""
        some = itertools.islice(self._reader.read(begin, begin + 1), 1000)
        sizes = [len(repr(point.tags)) + len(repr(point.fields)) for point in some]
        return sum(sizes) // max(1, len(sizes))

    def read(self, database: engine.Database, piece: plan.Piece, newest: int) -> Iterator[tuple[str, rows.Values]]:
        first, last = piece.begins[0].begin, piece.begins[-1].begin
        calendars: dict[int, dict[str, str]] = {}
        keys: dict[str, str] = {}
        for point in self._reader.read(first, last + 1):
            if point.begin not in calendars:
                calendars[point.begin] = series.calendar(period.from_epoch(point.begin), self._zone)
            key = self._to_key(point, calendars[point.begin])
            length = point.fields.get(_LENGTH, self._length)
            length = int(length) if isinstance(length, int | Decimal) else 0
            qty = _to_amount(point.fields.get('qty'))
            price = _to_amount(point.fields.get('price'))
            self._ownerless += self._scope_key not in point.tags
            # One text for all points that have it.
            end = point.begin + length
            yield keys.setdefault(key, key), (0, point.begin, end, _NO_NUMBER if qty is None else qty, price)

    def _to_key(self, point: points.Point, calendar: Mapping[str, str]) -> str:
        tags, fields = point.tags, point.fields
        groupby = {name: tags.get(name, '') for name in _split(fields.get('groupby'))}
        for name, value in calendar.items():
            if groupby.get(name) == value:
                del groupby[name]
        metadata = {
            name: _to_json(fields.get(name, '')) for name in _split(fields.get('metadata')) if name not in _FIELDS
        }
        description = fields.get('description')
        return json.dumps(
            [
                tags.get(self._scope_key, ''),
                tags.get('type', ''),
                str(fields.get('unit', '')),
                groupby,
                metadata,
                None if description is None else str(description),
            ],
            ensure_ascii=False,
        )

    def metric_of(self, key: str) -> str:
        return str(json.loads(key)[1])

    def split(self, key: str, begin: int) -> series.Series:
        scope_id, metric, unit, groupby, metadata, description = json.loads(key)
        for name, text in (('scope', scope_id), ('metric', metric), ('unit', unit)):
            if not types.is_name(text):
                raise errors.BadRequest('its %s %s cannot be stored' % (name, ascii(text[:300])))
        if not metric:
            raise errors.BadRequest('it has no type')
        return series.Series(scope_id, metric, unit, groupby, metadata, description)

    def depends_on_begin(self, key: str) -> bool:
        return False

    def to_mark(self, item: rows.Begin, left_out: int) -> dict[str, Any]:
        return {'begin': item.begin, 'row_count': item.row_count, 'left_out': left_out}

    def sum_day(self, session: orm.Session, day: sources.Day) -> dict[tuple[str, str], sources.Sums]:
        # Added up here: the server adds up floating-point numbers.
        result: dict[tuple[str, str], sources.Sums] = collections.defaultdict(lambda: sources.NOTHING)
        for found in self._read_amounts(day):
            value = _to_amount(found.value) or amount.ZERO
            is_price = found.name == 'price'
            sums = sources.Sums(0, amount.ZERO, value) if is_price else sources.Sums(1, value, amount.ZERO)
            key = found.owner, found.metric
            result[key] = result[key].plus(sums)
        return dict(result)

    def begins_of(
        self, session: orm.Session, day: sources.Day, keys: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Iterable[int]]:
        result: dict[tuple[str, str], set[int]] = {key: set() for key in keys}
        for found in self._read_amounts(day):
            if (found.owner, found.metric) in result:
                result[found.owner, found.metric].add(found.begin)
        return result

    def list_remarks(self) -> list[str]:
        text = '%d points have no tag %s, which [collect] scope_key names: they belong to no scope.'
        return [text % (self._ownerless, self._scope_key)] if self._ownerless else []

    def _read_amounts(self, day: sources.Day) -> Iterator[points.Amount]:
        begin = day.number * period.DAY
        return self._reader.read_amounts(begin, begin + period.DAY, self._scope_key)


def _split(names: points.Value | None) -> list[str]:
    """Return the names of a field that lists some."""
    return [name for name in str(names or '').split('|') if name]


def _to_json(value: points.Value) -> str | bool | int | float:
    return float(value) if isinstance(value, Decimal) else value


def _to_amount(value: points.Value | None) -> Decimal | None:
    """Return an amount as it is stored; None where there is none that can be."""
    try:
        return None if value is None else amount.quantise(Decimal(value))
    except (decimal.InvalidOperation, amount.AmountTooLarge):
        return None
