# SPDX-License-Identifier: Apache-2.0
"""Version 1 of the API of InfluxDB: statements in InfluxQL, answers in pieces of JSON."""

from collections.abc import Iterator
from decimal import Decimal
import json
from typing import Any

from cloudkitty import period
from cloudkitty.clients.influxdb import points
from cloudkitty.clients.influxdb import server as servers

#: How many points a piece of an answer has at most.
_PIECE = 2000


class Reader:
    """See :class:`points.Reader`.

    :param policy: retention policy of *database*.
    """

    stride = 30 * period.DAY

    def __init__(self, server: servers.Server, database: str, policy: str) -> None:
        self._server = server
        self._table = '.'.join(_quote(name) for name in (database, policy, points.MEASUREMENT))

    def find_bounds(self) -> tuple[int, int] | None:
        found = []
        for function in ('first', 'last'):
            for _, _, values in self._ask('%s("qty")' % function):
                found.append(_to_second(values[0]))
        return (found[0], found[1]) if len(found) == 2 else None

    def count(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        # Steps without points cost nothing.
        where = '%s GROUP BY time(1s) fill(none)' % _between(begin, end)
        for _, _, values in self._ask('count("qty")', where):
            yield _to_second(values[0]), int(values[1])

    def read(self, begin: int, end: int) -> Iterator[points.Point]:
        # By tags: else a field would be called otherwise where a tag has its name.
        for tags, columns, values in self._ask('*', _between(begin, end) + ' GROUP BY *'):
            fields = {name: value for name, value in zip(columns, values, strict=True) if value is not None}
            yield points.Point(_to_second(fields.pop('time')), tags, fields)

    def read_amounts(self, begin: int, end: int, scope_key: str) -> Iterator[points.Amount]:
        where = '%s GROUP BY %s, "type"' % (_between(begin, end), _quote(scope_key))
        for tags, columns, values in self._ask('"qty", "price"', where):
            owner, metric = tags.get(scope_key, ''), tags.get('type', '')
            second = _to_second(values[0])
            for name, value in zip(columns[1:], values[1:], strict=True):
                if value is not None:
                    yield points.Amount(owner, metric, second, name, value)

    def _ask(self, what: str, where: str = '') -> Iterator[tuple[dict[str, str], list[str], list[Any]]]:
        """Yield (tags that have a value, names of columns, values) of each row of the answer."""
        query = ' '.join(['SELECT', what, 'FROM', self._table, *(['WHERE', where] if where else [])])
        form = {'q': query, 'epoch': 's', 'chunked': 'true', 'chunk_size': str(_PIECE)}
        for line in self._server.lines('/query', data=form):
            for one in self._parse(line):
                tags = {name: value for name, value in (one.get('tags') or {}).items() if value != ''}
                for values in one.get('values') or ():
                    yield tags, one['columns'], values

    def _parse(self, line: str) -> Iterator[Any]:
        if not line.strip():
            return
        try:
            answer = json.loads(line, parse_float=Decimal)
            results = [answer, *answer.get('results', ())]
        except (ValueError, AttributeError, TypeError) as error:
            raise self._server.refuse('what is no answer to a query: %s' % line[:100]) from error
        for result in results:
            if result.get('error'):
                raise self._server.refuse(str(result['error']))
            yield from result.get('series') or ()


def _quote(name: str) -> str:
    return '"%s"' % name.replace('\\', '\\\\').replace('"', '\\"')


def _between(begin: int, end: int) -> str:
    return 'time >= %ds AND time < %ds' % (begin, end)


def _to_second(value: Any) -> int:
    return int(value)
