# SPDX-License-Identifier: Apache-2.0
"""``/v2/summary``: what was used and what it costs, by anything.

Source: API contract, section 3.2.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import datetime
from decimal import Decimal
import re
from typing import Any

from cloudkitty import errors
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v2 import coverage
from cloudkitty.api.v2 import figures
from cloudkitty.api.v2 import parameters
from cloudkitty.api.v2 import resource
from cloudkitty.storage import base
from cloudkitty.storage import fields

_TIME_OPTION = re.compile('time-.')


@resource.handler(
    'summary:get_summary',
    query={
        **figures.WINDOW,
        'groupby': parameters.Multi(types.text, default=()),
        'filters': parameters.Pairs(repeats=True),
        'response_format': parameters.Single(types.Choice('table', 'object'), default='table'),
        'custom_fields': parameters.Single(types.text),
        'completeness': parameters.Single(types.boolean, default=False),
        **parameters.PAGE,
    },
    owner=figures.own_project,
)
def get_summary(
    begin: datetime.datetime | None,
    end: datetime.datetime | None,
    groupby: list[str],
    filters: dict[str, list[str]],
    response_format: str,
    custom_fields: str | None,
    completeness: bool,
    offset: int,
    limit: int,
) -> rest.Json | resource.Table:
    """Return sums over the points of a window, by the values of *groupby*.

    :param completeness: say as well how complete the window is.
    """
    words = _read_words(groupby)
    chosen = [column.alias for column in fields.parse(custom_fields)]
    columns = ['begin', 'end', *chosen, *(word for word in words if word != base.BY_PERIOD)]
    if len(set(columns)) != len(columns):
        raise errors.BadRequest('groupby: a custom field has the name of a group.')
    allowed = figures.restrict(filters)
    begin, end = figures.window(begin, end)
    is_table = resource.wants_table()
    # Before the sums: what is done now is in them.
    more = {'completeness': coverage.measure(begin, end, allowed)} if completeness and not is_table else {}
    found: dict[str, Any] = {'total': 0, 'results': []}
    if allowed is not None:
        found = rest.deployment().storage.total(
            groupby=words,
            begin=begin,
            end=end,
            filters=allowed,
            custom_fields=custom_fields,
            offset=offset,
            limit=limit,
        )
    rows = found['results']
    if is_table:
        printed: dict[datetime.datetime, str] = {}
        return resource.Table(columns, [[_print(row[column], printed) for column in columns] for row in rows])
    is_object = response_format == 'object'
    members = {
        'total': str(found['total']),
        **({} if is_object else {'columns': resource.write(columns if rows else [])}),
        'results': (write_objects if is_object else write_lists)(columns, rows),
        'format': resource.write(response_format),
        **{name: resource.write(value) for name, value in more.items()},
    }
    return rest.Json('{%s}' % ', '.join(f'"{name}": {text}' for name, text in members.items()))


def write_lists(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the JSON list of lists of the values of *columns* in *rows*."""
    printed: dict[datetime.datetime, str] = {}
    return '[%s]' % ', '.join(
        ['[%s]' % ', '.join([_write(row[column], printed) for column in columns]) for row in rows]
    )


def write_objects(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the JSON list of objects with the values of *columns* in *rows*."""
    printed: dict[datetime.datetime, str] = {}
    heads = [(rest.quote(column) + ': ', column) for column in columns]
    return '[%s]' % ', '.join(
        ['{%s}' % ', '.join([head + _write(row[column], printed) for head, column in heads]) for row in rows]
    )


def _read_words(groupby: list[str]) -> list[str]:
    """Return the attributes to group by, each once, with ``time-d`` and the like turned into what they stand for."""
    words: dict[str, None] = {}
    for word in groupby:
        if _TIME_OPTION.match(word) and word not in base.TIME_WORDS:
            raise errors.BadRequest(
                'groupby: %s is none of %s.' % (types.shorten(word), ', '.join([base.BY_PERIOD, *base.TIME_WORDS]))
            )
        if word in ('begin', 'end'):
            raise errors.BadRequest('groupby: every row has a begin and an end.')
        words[base.TIME_WORDS.get(word, word)] = None
    return list(words)


def _write(value: Any, printed: dict[datetime.datetime, str]) -> str:
    """Return the JSON of :func:`_print`.

    :param printed: that of instants that have been printed already: most rows have the window's.
    """
    kind = value.__class__
    if kind is str:
        return rest.quote(value)
    if kind is Decimal:
        return resource.write_amount(value)
    if kind is datetime.datetime:
        text = printed.get(value)
        if text is None:
            text = printed[value] = rest.quote(resource.print_instant(value))
        return text
    return resource.write(_print(value, {}))


def _print(value: Any, printed: dict[datetime.datetime, str]) -> Any:
    if value.__class__ is str:
        return value
    if isinstance(value, datetime.datetime):
        text = printed.get(value)
        if text is None:
            text = printed[value] = resource.print_instant(value)
        return text
    return '' if value is None else value
