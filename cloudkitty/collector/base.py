# SPDX-License-Identifier: Apache-2.0
"""What a collector is: it asks a source what scopes used.

A collector works on batches (:meth:`BaseCollector.collect`). Plugins of the field know the classic contract (one
metric, one scope, one period); for them the base class loops.

Source: collection contract, section 2; configuration contract, section 8.2.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import datetime
import inspect
import logging
from typing import Any

from cloudkitty import amount
from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import metric as metrics
from cloudkitty import period as periods
from cloudkitty import series
from cloudkitty import usage
from cloudkitty.collector import exceptions
from cloudkitty.conf import metrics as metrics_file

LOG = logging.getLogger(__name__)


class BaseCollector:
    """A source of usage.

    A collector made for batches overrides :meth:`collect`; one of the classic contract overrides :meth:`fetch_all`.

    :param period: length of a period in seconds.
    :param conf: the parsed metrics file.
    :param metrics: its checked definitions, for those who know them already.
    :param zone: zone of the calendar attributes.
    """

    collector_name: str | None = None
    #: Whether :meth:`collect` answers for a part of what does not fit into memory.
    answers_in_parts = False
    #: Whether it hardly costs more to ask for some periods before those that are wanted: they are asked for again then.
    asks_again = False

    def __init__(
        self,
        period: int = 3600,
        conf: Mapping[str, Any] | None = None,
        metrics: Sequence[metrics.Metric] = (),
        zone: datetime.tzinfo = datetime.timezone.utc,
        **kwargs: Any,
    ) -> None:
        self.period = period
        self.zone = zone
        self.conf: Mapping[str, Any] = self.check_configuration(conf) if conf else {}
        self.metrics = {metric.key: metric for metric in metrics}

    @staticmethod
    def check_extra_args(extra_args: dict[str, Any]) -> dict[str, Any]:
        """Return *extra_args* of a metric definition, checked and with defaults.

        Raises ValueError('key: what was expected').
        """
        return extra_args

    @classmethod
    def check_configuration(cls, conf: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return {internal name: definition with defaults} of the parsed metrics file *conf*.

        Raises ConfigurationError naming metric, key and what was expected.
        """
        found = metrics_file.parse(conf, 'project_id', cls.check_extra_args)
        return {metric.key: as_dict(metric) for metric in found.metrics}

    def fetch_all(
        self,
        metric_name: str,
        start: datetime.datetime,
        end: datetime.datetime,
        project_id: str | None = None,
        q_filter: Any = None,
    ) -> list[dataframe.DataPoint]:
        """Return the points of one metric (internal name) and scope in ``[start, end)``, aware instants."""
        raise NotImplementedError

    def retrieve(
        self,
        metric_name: str,
        start: datetime.datetime,
        end: datetime.datetime,
        project_id: str | None = None,
        q_filter: Any = None,
    ) -> tuple[str, list[dataframe.DataPoint]]:
        """Return (metric name, points) of :meth:`fetch_all`; raises NoDataCollected if there are none."""
        points = self.fetch_all(metric_name, start, end, project_id, q_filter)
        if not points:
            raise exceptions.NoDataCollected(self.collector_name, metric_name)
        return metric_name, points

    def collect(self, batch: usage.Batch) -> usage.Usage:
        """Return what the source says about *batch*, or about a part of it; never raises for what a source does.

        A collector that cannot hold all of it in memory answers for fewer periods, or for fewer scopes, and says so in
        the batch of the usage: work with that one.
        """
        return collect_classic(self, batch)

    def _create_data_point(
        self,
        metric: Mapping[str, Any],
        qty: object,
        price: object,
        groupby: Mapping[str, Any],
        metadata: Mapping[str, Any],
        start: datetime.datetime,
    ) -> dataframe.DataPoint:
        """Return a point of definition *metric* with the calendar attributes of *start*; for plugins."""
        return dataframe.DataPoint(
            metric['unit'],
            qty,
            price,
            {**groupby, **series.calendar(start, self.zone)},
            metadata,
            metric.get('description'),
        )


class BatchCollector(BaseCollector):
    """A collector made for batches, which serves the classic contract too; it overrides :meth:`_collect`."""

    def __init__(
        self,
        period: int = 3600,
        conf: Mapping[str, Any] | None = None,
        metrics: Sequence[metrics.Metric] = (),
        zone: datetime.tzinfo = datetime.timezone.utc,
        **kwargs: Any,
    ) -> None:
        super().__init__(period, conf, metrics, zone, **kwargs)
        if metrics:
            self.conf = {metric.key: as_dict(metric) for metric in metrics}

    def collect(self, batch: usage.Batch) -> usage.Usage:
        if any(getattr(type(self), name) is not getattr(BatchCollector, name) for name in ('fetch_all', 'retrieve')):
            # A plugin of the field that derives from one of ours.
            return collect_classic(self, batch)
        return self._collect(batch)

    def fetch_all(
        self,
        metric_name: str,
        start: datetime.datetime,
        end: datetime.datetime,
        project_id: str | None = None,
        q_filter: Any = None,
    ) -> list[dataframe.DataPoint]:
        if project_id is None or q_filter is not None:
            raise exceptions.CollectError('A scope is needed, and no filter can be given.')
        metric = self.metrics[metric_name]
        begin = periods.to_epoch(start)
        found = self._collect(usage.Batch((project_id,), (metric,), begin, periods.to_epoch(end) - begin, 1))
        for trouble in found.troubles:
            if trouble.status is coverage.Status.FAILED:
                raise (errors.PermanentSourceError if trouble.permanent else exceptions.CollectError)(trouble.error)
        return [
            self._create_data_point(as_dict(metric), quantity, 0, item.series.groupby, item.series.metadata, start)
            for item in found.columns
            for quantity in item.quantities
        ]

    def _collect(self, batch: usage.Batch) -> usage.Usage:
        """Return what :meth:`collect` does."""
        raise NotImplementedError


class ClassicCollector(BaseCollector):
    """A plugin that knows nothing of batches and need not derive from our base class."""

    def __init__(self, plugin: Any, name: str) -> None:
        super().__init__()
        self._plugin = plugin
        self.collector_name = getattr(plugin, 'collector_name', None) or name

    def collect(self, batch: usage.Batch) -> usage.Usage:
        return collect_classic(self._plugin, batch)


def make_classic(plugin: Any, name: str, period: int, document: Mapping[str, Any]) -> ClassicCollector:
    """Return a collector around class *plugin*, which takes the classic constructor arguments (either era's)."""
    arguments: dict[str, Any] = {'period': period, 'conf': document}
    if 'transformers' in inspect.signature(plugin).parameters:
        arguments['transformers'] = {}
    return ClassicCollector(plugin(**arguments), name)


def collect_classic(plugin: Any, batch: usage.Batch) -> usage.Usage:
    """Return the usage of *batch*, asked from *plugin* cell by cell."""
    columns: dict[series.Series, list[tuple[int, Any]]] = {}
    troubles = []
    answered = asked = 0
    for scope_id in batch.scope_ids:
        for metric in batch.metrics:
            for begin in batch.begins:
                asked += 1
                try:
                    points = _retrieve(plugin, metric, scope_id, begin, begin + batch.length)
                    cell = [(_make_series(scope_id, metric, point), amount.quantise(point.qty)) for point in points]
                except amount.AmountTooLarge as error:
                    answered += 1
                    troubles.append(_fail(scope_id, metric, begin, batch.length, error, True))
                except Exception as error:
                    # The call into a plugin: whatever it raises is its cell's trouble, not the batch's.
                    answered += isinstance(error, errors.PermanentSourceError)
                    troubles.append(_fail(scope_id, metric, begin, batch.length, error, False))
                else:
                    answered += 1
                    for key, quantity in cell:
                        columns.setdefault(key, []).append((begin, quantity))
    found = [
        series.Columns(key, batch.length, tuple(begin for begin, _ in points), tuple(qty for _, qty in points))
        for key, points in columns.items()
    ]
    return usage.Usage(batch, found, troubles, source_down=bool(asked) and not answered)


def _retrieve(plugin: Any, metric: metrics.Metric, scope_id: str, begin: int, end: int) -> list[dataframe.DataPoint]:
    try:
        answer = plugin.retrieve(metric.key, periods.from_epoch(begin), periods.from_epoch(end), scope_id)
    except Exception as error:
        # A plugin may bring a class of that name of its own.
        if type(error).__name__ == 'NoDataCollected':
            return []
        raise
    points: list[dataframe.DataPoint] = list(answer[1])
    return points


def _make_series(scope_id: str, metric: metrics.Metric, point: dataframe.DataPoint) -> series.Series:
    groupby = {name: value for name, value in point.groupby.items() if name not in series.CALENDAR}
    return series.Series(scope_id, metric.type, point.unit, groupby, dict(point.metadata), point.description)


def _fail(
    scope_id: str, metric: metrics.Metric, begin: int, length: int, error: Exception, permanent: bool
) -> usage.Trouble:
    permanent = permanent or getattr(error, 'permanent', False)
    text = ' '.join(str(error).split()) or type(error).__name__
    return usage.Trouble(
        scope_id, metric.type, begin, begin + length, coverage.Status.FAILED, text[:500], permanent=permanent
    )


def as_dict(metric: metrics.Metric) -> dict[str, Any]:
    """Return *metric* as the classic contract knows a definition."""
    return {
        'unit': metric.unit,
        'alt_name': metric.alt_name,
        'description': metric.description,
        'factor': metric.factor,
        'offset': metric.offset,
        'groupby': list(metric.groupby),
        'metadata': list(metric.metadata),
        'mutate': metric.mutate.value,
        'mutate_map': dict(metric.mutate_map),
        'skip_datapoints_expression': metric.skip_expression,
        'extra_args': dict(metric.extra_args),
    }
