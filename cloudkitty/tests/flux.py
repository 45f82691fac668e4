# SPDX-License-Identifier: Apache-2.0
"""A small InfluxDB of version 2: it knows the steps of Flux that we use, and answers in annotated CSV.

Points are what :func:`cloudkitty.tests.influxdb.point` returns.
"""

import csv
import datetime
import io
import json
import re
import urllib.parse

from cloudkitty import period
from cloudkitty.tests import answering

_KINDS = ((bool, 'boolean'), (int, 'long'), (float, 'double'), (str, 'string'))
#: Columns that begin an answer's tables.
_FIRST = ('', 'result', 'table')


class Server:
    """A server on loopback with one bucket; use it as a context.

    :ivar queries: the Flux of each question.
    :ivar cut: how many bytes of an answer are sent, before the connection is closed.
    """

    def __init__(self, token='secret', org='openstack', bucket='cloudkitty'):
        self.points = {}
        self.queries = []
        self.cut = None
        self._known = token, org, bucket
        self._server = answering.serve(self.answer)
        self.url = 'http://127.0.0.1:%d' % self._server.server_port

    def __enter__(self):
        return self

    def __exit__(self, *args):
        answering.stop(self._server)

    def write(self, points):
        """A point with the tags and the time of another takes its fields' place."""
        for begin, tags, fields in points:
            self.points.setdefault((begin, tuple(sorted(tags.items()))), {}).update(fields)

    def delete(self, begin):
        for key in [key for key in self.points if key[0] == begin]:
            del self.points[key]

    def answer(self, handler):
        token, org, bucket = self._known
        body = json.loads(handler.rfile.read(int(handler.headers['Content-Length'])))
        path, _, query = handler.path.partition('?')
        if path != '/api/v2/query' or handler.headers['Authorization'] != 'Token %s' % token:
            return self._refuse(handler, 401, 'unauthorized access')
        if urllib.parse.parse_qs(query).get('org') != [org]:
            return self._refuse(handler, 404, 'organization name %r not found' % query)
        assert handler.headers['Accept'] == 'application/csv'
        assert body['dialect']['annotations'] == ['datatype', 'default'], 'it would answer otherwise'
        self.queries.append(body['query'])
        source, *steps = body['query'].split('\n  |> ')
        if source != 'from(bucket: "%s")' % bucket:
            return self._refuse(handler, 404, 'could not find bucket in %s' % source)
        tables = self._make_tables()
        for step in steps:
            name, _, arguments = step.partition('(')
            tables = getattr(self, '_' + name)(tables, arguments.removesuffix(')'))
        text = _to_csv(tables).encode()
        handler.send_response(200)
        handler.send_header('Content-Type', 'text/csv; charset=utf-8')
        handler.send_header('Content-Length', str(len(text)))
        handler.end_headers()
        handler.wfile.write(text[: self.cut])
        if self.cut is not None:
            handler.close_connection = True
        return None

    @staticmethod
    def _refuse(handler, status, text):
        answer = json.dumps({'code': 'error', 'message': text}).encode()
        handler.send_response(status)
        handler.send_header('Content-Length', str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def _make_tables(self):
        """Return [(columns of the group key, rows)], one of each series and field."""
        tables = {}
        for (begin, tags), fields in sorted(self.points.items()):
            for name, value in fields.items():
                row = {'_time': period.from_epoch(begin), '_value': value, '_field': name, '_measurement': 'dataframes'}
                tables.setdefault((tags, name), []).append(row | dict(tags))
        return [(['_field', '_measurement', *dict(tags)], rows) for (tags, _), rows in sorted(tables.items())]

    # Steps of Flux: tables in, tables out.

    def _range(self, tables, arguments):
        start, stop = (datetime.datetime.fromisoformat(text) for text in re.findall(r'(\d{4}-[^,]*Z)', arguments))
        for key, rows in tables:
            found = [row | {'_start': start, '_stop': stop} for row in rows if start <= row['_time'] < stop]
            if found:
                yield [*key, '_start', '_stop'], found

    def _filter(self, tables, arguments):
        wanted = set(re.findall(r'r\.(\w+) == "([^"]*)"', arguments))
        for key, rows in tables:
            if any(rows[0].get(name) == value for name, value in wanted):
                yield key, rows

    def _first(self, tables, arguments):
        return ((key, [min(rows, key=lambda row: row['_time'])]) for key, rows in tables)

    def _last(self, tables, arguments):
        return ((key, [max(rows, key=lambda row: row['_time'])]) for key, rows in tables)

    def _keep(self, tables, arguments):
        wanted = json.loads(arguments.removeprefix('columns: '))
        return _regroup(
            ([name for name in key if name in wanted], {name: row[name] for name in row if name in wanted})
            for key, rows in tables
            for row in rows
        )

    def _drop(self, tables, arguments):
        unwanted = json.loads(arguments.removeprefix('columns: '))
        return _regroup(
            ([name for name in key if name not in unwanted], {name: row[name] for name in row if name not in unwanted})
            for key, rows in tables
            for row in rows
        )

    def _group(self, tables, arguments):
        wanted = json.loads(arguments.removeprefix('columns: ') or '[]')
        return _regroup((wanted, row) for _, rows in tables for row in rows)

    def _sort(self, tables, arguments):
        found = re.fullmatch(r'columns: \["(\w+)"\], desc: (true|false)', arguments)
        for key, rows in tables:
            yield key, sorted(rows, key=lambda row: row[found[1]], reverse=found[2] == 'true')

    def _limit(self, tables, arguments):
        return ((key, rows[: int(arguments.removeprefix('n: '))]) for key, rows in tables)

    def _count(self, tables, arguments):
        for key, rows in tables:
            yield key, [{name: rows[0][name] for name in key} | {'_value': len(rows)}]

    def _rename(self, tables, arguments):
        prefix = re.fullmatch(r'fn: \(column\) => "(.*)\$\{column\}"', arguments)[1]
        for key, rows in tables:
            yield [prefix + name for name in key], [{prefix + name: row[name] for name in row} for row in rows]

    def _pivot(self, tables, arguments):
        found = re.fullmatch(r'rowKey: \["(.*)"\], columnKey: \["(.*)"\], valueColumn: "(.*)"', arguments)
        row_key, column_key, value_column = found.groups()
        result = {}
        for key, rows in tables:
            kept = [name for name in key if name not in (column_key, value_column)]
            for row in rows:
                place = tuple((name, row[name]) for name in kept)
                merged = result.setdefault(place, {}).setdefault(row[row_key], {row_key: row[row_key], **dict(place)})
                assert row[column_key] not in merged, 'Flux may take one for the other'
                merged[row[column_key]] = row[value_column]
        return [([name for name, _ in place], list(rows.values())) for place, rows in result.items()]


def _regroup(keyed_rows):
    tables = {}
    for key, row in keyed_rows:
        names = [name for name in key if name in row]
        tables.setdefault(tuple((name, row[name]) for name in names), []).append(row)
    return [([name for name, _ in place], rows) for place, rows in tables.items()]


def _to_csv(tables):
    """Return the annotated CSV: its head comes anew where columns or types change."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator='\r\n')
    before = None
    for number, (_, rows) in enumerate(tables):
        kinds = {name: _kind_of(value) for row in rows for name, value in row.items()}
        if kinds != before:
            if before is not None:
                output.write('\r\n')
            writer.writerow(['#datatype', 'string', 'long', *kinds.values()])
            writer.writerow(['#default', '_result', '', *([''] * len(kinds))])
            writer.writerow([*_FIRST, *kinds])
            before = kinds
        for row in rows:
            writer.writerow(['', '', number, *(_to_text(row.get(name)) for name in kinds)])
    return output.getvalue()


def _kind_of(value):
    if isinstance(value, datetime.datetime):
        return 'dateTime:RFC3339'
    return next(name for kind, name in _KINDS if isinstance(value, kind))


def _to_text(value):
    if isinstance(value, datetime.datetime):
        return value.strftime('%Y-%m-%dT%H:%M:%SZ')
    if isinstance(value, bool):
        return str(value).lower()
    return '' if value is None else repr(value) if isinstance(value, float) else str(value)
