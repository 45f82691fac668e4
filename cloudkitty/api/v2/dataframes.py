# SPDX-License-Identifier: Apache-2.0
"""``/v2/dataframes``: rated points, and those that somebody else rated.

Source: API contract, sections 3.3 and 3.4.
"""

from collections.abc import Iterable
import datetime
import re
from typing import Any

from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v2 import figures
from cloudkitty.api.v2 import frames
from cloudkitty.api.v2 import parameters
from cloudkitty.api.v2 import resource
from cloudkitty.db import pushes

_PUSH_KEY = re.compile('[ -~]{1,255}')


class NoFrames(errors.NotFound):
    def __init__(self) -> None:
        super().__init__('There are no such dataframes.')


class PushKey(types.Text):
    """What a caller names a push by, in a header."""

    def frombasetype(self, value: Any) -> str:
        if not _PUSH_KEY.fullmatch(value):
            raise ValueError('expected 1 to 255 characters of printable ASCII')
        return str(value)


@resource.handler(
    'dataframes:get',
    query={**figures.WINDOW, 'filters': parameters.Pairs(repeats=False), **parameters.PAGE},
    owner=figures.own_project,
)
def list_frames(
    begin: datetime.datetime | None,
    end: datetime.datetime | None,
    filters: dict[str, list[str]],
    offset: int,
    limit: int,
) -> dict[str, Any] | rest.Json | resource.Table:
    """Return the points of a window, by period; they are counted, not the frames."""
    allowed = figures.restrict(filters)
    if allowed is None:
        return {'total': 0, 'dataframes': []}
    found = rest.deployment().storage.retrieve(begin, end, filters=allowed, offset=offset, limit=limit)
    if not found['total']:
        raise NoFrames
    if resource.wants_table():
        return _tabulate(found['dataframes'])
    return rest.Json('{"total": %d, "dataframes": %s}' % (found['total'], write_frames(found['dataframes'])))


@resource.handler(
    'dataframes:add',
    body={'dataframes': parameters.Items(types.free, required=True)},
    read=lambda text: {'dataframes': frames.read(text)},
    headers={'Idempotency-Key': parameters.Single(PushKey())},
    status=204,
)
def add_frames(dataframes: Iterable[dataframe.DataFrame], idempotency_key: str | None) -> None:
    """Store points with the prices they come with; all of them or none, and with a key once."""
    deployment = rest.deployment()
    if idempotency_key is None:
        deployment.storage.push(dataframes)
        return
    kept = datetime.timedelta(days=deployment.conf.api.idempotency_days)
    pushes.forget(deployment.database, datetime.datetime.now(period.UTC) - kept)
    caller = rest.caller()
    deployment.storage.push(dataframes, key=pushes.Key(caller.user_id, caller.project_id, idempotency_key))


def write_frames(found: Iterable[dataframe.DataFrame]) -> str:
    """Return the JSON list of the frames *found*, which are sorted by period, those of one period as one."""
    write, number = resource.write, resource.write_amount
    # Of each period what it is and what was used in it, metric by metric.
    periods: list[tuple[str, dict[str, list[str]]]] = []
    printed: dict[datetime.datetime, str] = {}
    for frame in found:
        for instant in (frame.start, frame.end):
            if instant not in printed:
                printed[instant] = resource.print_instant(instant)
        when = '{"begin": "%s", "end": "%s"}' % (printed[frame.start], printed[frame.end])
        if not periods or periods[-1][0] != when:
            periods.append((when, {}))
        usage = periods[-1][1]
        for metric, point in frame.iterpoints():
            usage.setdefault(metric, []).append(
                f'{{"vol": {{"unit": {rest.quote(point.unit)}, "qty": {number(point.qty)}}}, '
                f'"rating": {{"price": {number(point.price)}}}, '
                f'"groupby": {write(dict(point.groupby))}, "metadata": {write(dict(point.metadata))}}}'
            )
    return '[%s]' % ', '.join(
        '{"period": %s, "usage": {%s}}'
        % (when, ', '.join(f'{rest.quote(metric)}: [{", ".join(points)}]' for metric, points in usage.items()))
        for when, usage in periods
    )


def _tabulate(found: Iterable[dataframe.DataFrame]) -> resource.Table:
    """Return a row per point, with a column for each attribute that any of them has."""
    points = [(frame, metric, point) for frame in found for metric, point in frame.iterpoints()]
    kinds = ('groupby', 'metadata')
    names = [(kind, name) for kind in kinds for name in sorted({n for p in points for n in getattr(p[2], kind)})]
    rows = [
        [
            *(resource.print_instant(instant) for instant in (frame.start, frame.end)),
            *(metric, point.unit, point.qty, point.price),
            *(getattr(point, kind).get(name) for kind, name in names),
        ]
        for frame, metric, point in points
    ]
    columns = ['begin', 'end', 'type', 'unit', 'qty', 'price', *('%s.%s' % pair for pair in names)]
    return resource.Table(columns, rows)
