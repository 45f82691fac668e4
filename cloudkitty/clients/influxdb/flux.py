# SPDX-License-Identifier: Apache-2.0
"""Version 2 of the API of InfluxDB: queries in Flux, answers in annotated CSV."""

from collections.abc import Iterator
import csv
import decimal
from decimal import Decimal
import json
import sys

from cloudkitty import period
from cloudkitty.clients.influxdb import points
from cloudkitty.clients.influxdb import server as servers

#: Put before the names of tags, so that a field may have the name of one.
_TAG = 'tag:'
_DIALECT = {'annotations': ['datatype', 'default'], 'header': True, 'delimiter': ','}


class Reader:
    """See :class:`points.Reader`."""

    stride = period.DAY

    def __init__(self, server: servers.Server, org: str, bucket: str) -> None:
        self._server = server
        self._org = org
        self._bucket = bucket

    def find_bounds(self) -> tuple[int, int] | None:
        found = []
        for function in ('first', 'last'):
            steps = [
                'filter(fn: (r) => r._field == "qty")',
                # Of each series; then of all.
                '%s()' % function,
                'keep(columns: ["_time"])',
                'group()',
                'sort(columns: ["_time"], desc: %s)' % ('true' if function == 'last' else 'false'),
                'limit(n: 1)',
            ]
            found += [int(row['_time']) for row in self._ask(0, 2**33, steps)]
        return (found[0], found[1]) if len(found) == 2 else None

    def count(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        steps = [
            'filter(fn: (r) => r._field == "qty")',
            'keep(columns: ["_time", "_value"])',
            'group(columns: ["_time"])',
            'count()',
        ]
        for row in self._ask(begin, end, steps):
            yield int(row['_time']), int(row['_value'])

    def read(self, begin: int, end: int) -> Iterator[points.Point]:
        steps = [
            'drop(columns: ["_start", "_stop", "_measurement"])',
            'rename(fn: (column) => "%s${column}")' % _TAG,
            'pivot(rowKey: ["%s_time"], columnKey: ["%s_field"], valueColumn: "%s_value")' % (_TAG, _TAG, _TAG),
        ]
        for row in self._ask(begin, end, steps):
            second = int(row.pop(_TAG + '_time'))
            tags = {name.removeprefix(_TAG): str(value) for name, value in row.items() if name.startswith(_TAG)}
            fields = {name: value for name, value in row.items() if not name.startswith(_TAG)}
            yield points.Point(second, tags, fields)

    def read_amounts(self, begin: int, end: int, scope_key: str) -> Iterator[points.Amount]:
        steps = [
            'filter(fn: (r) => r._field == "qty" or r._field == "price")',
            'keep(columns: ["_time", "_field", "_value", %s, "type"])' % _quote(scope_key),
        ]
        for row in self._ask(begin, end, steps):
            owner, metric = (str(row.get(name, '')) for name in (scope_key, 'type'))
            yield points.Amount(owner, metric, int(row['_time']), str(row['_field']), row['_value'])

    def _ask(self, begin: int, end: int, steps: list[str]) -> Iterator[dict[str, points.Value]]:
        """Yield the rows that *steps* make of the points of ``[begin, end)``: values by column, those there are."""
        query = '\n  |> '.join(
            [
                'from(bucket: %s)' % _quote(self._bucket),
                'range(start: %s, stop: %s)' % (_to_text(begin), _to_text(end)),
                'filter(fn: (r) => r._measurement == "%s")' % points.MEASUREMENT,
                *steps,
            ]
        )
        lines = self._server.lines(
            '/api/v2/query',
            params={'org': self._org},
            data=json.dumps({'query': query, 'type': 'flux', 'dialect': _DIALECT}).encode(),
            headers={'Content-Type': 'application/json', 'Accept': 'application/csv'},
        )
        types: list[str] = []
        defaults: list[str] = []
        names: list[str] = []
        for cells in _split(lines):
            if not cells:
                names = []  # another table follows, or nothing
            elif cells[0].startswith('#'):
                names = []
                if cells[0] == '#datatype':
                    types, defaults = cells, [''] * len(cells)
                elif cells[0] == '#default':
                    defaults = cells
            elif not names:
                names = cells
            elif len(cells) != len(names) or len(types) != len(names):
                raise self._server.refuse('a line that has other columns than its table: %s' % ','.join(cells)[:100])
            elif 'error' in names and 'reference' in names and '_time' not in names:
                raise self._server.refuse(cells[names.index('error')])
            else:
                try:
                    yield {
                        name: _to_value(text or default, kind)
                        for name, text, default, kind in zip(names[3:], cells[3:], defaults[3:], types[3:], strict=True)
                        if text or default
                    }
                except (ValueError, decimal.InvalidOperation) as error:
                    raise self._server.refuse('a value that is not of its type: %s' % ','.join(cells)[:100]) from error


def _split(lines: Iterator[str]) -> Iterator[list[str]]:
    csv.field_size_limit(sys.maxsize)
    return csv.reader(lines)


def _to_value(text: str, kind: str) -> points.Value:
    if kind == 'double':
        return Decimal(text)
    if kind in ('long', 'unsignedLong'):
        return int(text)
    if kind == 'boolean':
        return text == 'true'
    if kind.startswith('dateTime'):
        return period.to_epoch(period.parse(text))
    return text


def _quote(text: str) -> str:
    """Return a string literal of Flux."""
    return '"%s"' % text.replace('\\', '\\\\').replace('"', '\\"').replace('${', '\\${')


def _to_text(second: int) -> str:
    return period.from_epoch(second).strftime('%Y-%m-%dT%H:%M:%SZ')
