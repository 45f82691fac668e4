# SPDX-License-Identifier: Apache-2.0
"""``/v1/storage``: the rated data itself.

Source: API contract, section 2.9.
"""

from collections.abc import Iterable
import datetime
import json
from typing import Any
from typing import NamedTuple

import wsme
import wsme.types

from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty.api import policy
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v1 import report

#: The project of points that say none.
UNDEFINED = '__UNDEF__'

#: Writes the attributes of a point as :data:`types.free` does.
_write_attributes = json.JSONEncoder(default=types.free.tobasetype).encode


class Resource(wsme.types.Base):
    rating = types.decimal_number
    service = types.text
    desc = {str: types.free}
    volume = types.decimal_number


class DataFrame(wsme.types.Base):
    begin = types.instant
    end = types.instant
    tenant_id = types.text
    resources = [Resource]


class DataFrameCollection(wsme.types.Base):
    dataframes = [DataFrame]


class Frame(NamedTuple):
    """The points of a period, project and metric type.

    :ivar points: with the attributes of each.
    """

    begin: datetime.datetime
    end: datetime.datetime
    metric: str
    tenant: str
    points: list[tuple[dataframe.DataPoint, dict[str, Any]]]


def choose_project(tenant_id: str | None = None, **others: Any) -> str | None:
    """Return the project whose frames are asked for; None: everybody's, which only administrators see."""
    caller = rest.caller()
    if caller.is_admin:
        return tenant_id or None
    if tenant_id and tenant_id != caller.project_id:
        raise errors.Forbidden('Only administrators see the data of another project.')
    return caller.project_id or policy.NOBODY


class DataFramesController(rest.Controller):
    @rest.expose(
        DataFrameCollection,
        types.instant,
        types.instant,
        types.text,
        types.text,
        rule='storage:list_data_frames',
        owner=choose_project,
    )
    def get_all(
        self,
        begin: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        tenant_id: str | None = None,
        resource_type: str | None = None,
    ) -> DataFrameCollection | rest.Json:
        """Return a frame per period, project and metric type, in the order of period and type."""
        project_id = choose_project(tenant_id)
        if project_id == policy.NOBODY and not rest.caller().project_id and not rest.caller().is_admin:
            return DataFrameCollection(dataframes=[])
        found = rest.deployment()
        key = found.conf.collect.scope_key
        begin, end = report.window(begin, end)
        frames = found.storage.retrieve(
            begin,
            end,
            filters={key: [project_id]} if project_id else None,
            metric_types=[resource_type] if resource_type else None,
            paginate=False,
            whole=True,
        )['dataframes']
        result = [item for frame in frames for item in _split(frame, key)]
        result.sort(key=lambda item: item[:4])
        return rest.Json(write_frames(result)) if rest.wants_json() else make_frames(result)


class StorageController(rest.Controller):
    dataframes = DataFramesController()


def _split(frame: dataframe.DataFrame, key: str) -> list[Frame]:
    points: dict[str, list[tuple[dataframe.DataPoint, dict[str, Any]]]] = {}
    for metric, point in frame.iterpoints():
        points.setdefault(metric, []).append((point, point.desc))
    return [
        Frame(frame.start, frame.end, metric, str(items[0][1].get(key, UNDEFINED)), items)
        for metric, items in points.items()
    ]


def make_frames(found: Iterable[Frame]) -> DataFrameCollection:
    """Return the collection of the frames *found*."""
    return DataFrameCollection(
        dataframes=[
            DataFrame(
                begin=begin,
                end=end,
                tenant_id=tenant,
                resources=[
                    Resource(rating=point.price, service=metric, desc=desc, volume=point.qty) for point, desc in points
                ],
            )
            for begin, end, metric, tenant, points in found
        ]
    )


def write_frames(found: Iterable[Frame]) -> str:
    """Return the JSON of :func:`make_frames`."""
    quote, write, number = rest.quote, _write_attributes, types.decimal_number.to_text
    parts = []
    for begin, end, metric, tenant, points in found:
        service = quote(metric)
        resources = [
            f'{{"rating": "{number(point.price)}", "service": {service}, "desc": {write(desc)}, '
            f'"volume": "{number(point.qty)}"}}'
            for point, desc in points
        ]
        parts.append(
            '{"begin": "%s", "end": "%s", "tenant_id": %s, "resources": [%s]}'
            % (types.instant.tobasetype(begin), types.instant.tobasetype(end), quote(tenant), ', '.join(resources))
        )
    return '{"dataframes": [%s]}' % ', '.join(parts)
