# SPDX-License-Identifier: Apache-2.0
"""``/v1/storage``: the rated data itself.

Source: API contract, section 2.9.
"""

import datetime
from typing import Any

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
    ) -> DataFrameCollection:
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
        result.sort(key=lambda item: (item.begin, item.end, item.resources[0].service, item.tenant_id))
        return DataFrameCollection(dataframes=result)


class StorageController(rest.Controller):
    dataframes = DataFramesController()


def _split(frame: dataframe.DataFrame, key: str) -> list[DataFrame]:
    points: dict[str, list[dataframe.DataPoint]] = {}
    for metric, point in frame.iterpoints():
        points.setdefault(metric, []).append(point)
    return [
        DataFrame(
            begin=frame.start,
            end=frame.end,
            tenant_id=str(items[0].desc.get(key, UNDEFINED)),
            resources=[Resource(rating=item.price, service=metric, desc=item.desc, volume=item.qty) for item in items],
        )
        for metric, items in points.items()
    ]
