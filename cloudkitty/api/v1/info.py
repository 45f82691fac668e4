# SPDX-License-Identifier: Apache-2.0
"""``/v1/info``: what is measured.

Source: API contract, section 2.1.
"""

from typing import Any

import wsme
import wsme.types

from cloudkitty import errors
from cloudkitty import metric
from cloudkitty.api import rest
from cloudkitty.api import types


class MetricInfo(wsme.types.Base):
    metric_id = wsme.wsattr(types.text, mandatory=True)
    metadata = [types.text]
    unit = types.text


class MetricInfoCollection(wsme.types.Base):
    metrics = [MetricInfo]


class NoMetrics(errors.CloudKittyError):
    code = 405


class MetricInfoController(rest.Controller):
    @rest.expose(MetricInfoCollection, rule='info:list_metrics_info')
    def get_all(self) -> MetricInfoCollection:
        """Return every metric, in the order of the metrics file."""
        return MetricInfoCollection(metrics=[_describe(item) for item in _list_metrics()])

    @rest.expose(MetricInfo, types.text, rule='info:get_metric_info')
    def get_one(self, metric_id: str) -> MetricInfo:
        """Return the metric that frames and rules call *metric_id*."""
        for item in _list_metrics():
            if item.type == metric_id:
                return _describe(item)
        raise errors.NotFound(metric_id)


class InfoController(rest.Controller):
    _custom_actions = {'config': ['GET']}

    metrics = MetricInfoController()
    #: What ``metrics`` was called once.
    services = metrics

    @rest.expose({str: types.free}, rule='info:get_config')
    def get_config(self) -> Any:
        """Return the metrics file as it was written."""
        return rest.deployment().metrics.read()


def _list_metrics() -> tuple[metric.Metric, ...]:
    found = rest.deployment().metrics
    found.read()
    try:
        return found.get().metrics
    except errors.ConfigurationError as error:
        raise NoMetrics(str(error)) from error


def _describe(item: metric.Metric) -> MetricInfo:
    return MetricInfo(metric_id=item.type, metadata=list(item.metadata), unit=item.unit)
