# SPDX-License-Identifier: Apache-2.0
"""``/v2/summary``: what was used and what it costs, by anything.

Source: API contract, section 3.2.
"""

import datetime
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
) -> dict[str, Any] | resource.Table:
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
    # Most rows have the window's.
    printed: dict[datetime.datetime, str] = {}
    results = [[_print(row[column], printed) for column in columns] for row in found['results']]
    if is_table:
        return resource.Table(columns, results)
    if response_format == 'object':
        return {
            'total': found['total'],
            'results': [dict(zip(columns, row, strict=True)) for row in results],
            'format': 'object',
            **more,
        }
    return {
        'total': found['total'],
        'columns': columns if results else [],
        'results': results,
        'format': 'table',
        **more,
    }


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


def _print(value: Any, printed: dict[datetime.datetime, str]) -> Any:
    if value.__class__ is str:
        return value
    if isinstance(value, datetime.datetime):
        text = printed.get(value)
        if text is None:
            text = printed[value] = resource.print_instant(value)
        return text
    return '' if value is None else value
