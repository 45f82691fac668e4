# SPDX-License-Identifier: Apache-2.0
"""Which metrics cannot be read as asked: their archive policy keeps no such granularity or aggregate."""

from collections.abc import Mapping
import datetime
import re
from typing import Any

from cloudkitty import metric as metrics
from cloudkitty.clients import answers
from cloudkitty.collector.gnocchi import inventory
from cloudkitty.collector.gnocchi import requests

_TIMESPAN = re.compile(r'(?:(\d+) days?, )?(\d+):(\d\d):(\d\d)(?:\.(\d+))?$')


def find_refusing(
    client: requests.Client,
    metric: metrics.Metric,
    resources: Mapping[str, inventory.Resource],
    named: frozenset[str],
    deadline: answers.Deadline,
) -> dict[str, str]:
    """Return {resource id: what to change} of those of *resources* whose archive policy does not fit *metric*.

    :param named: ids of metrics that Gnocchi named itself.

    Raises :class:`requests.RequestFailed`.
    """
    method = metric.extra_args['aggregation_method']
    result = {}
    for resource in resources.values():
        if named.intersection(resource.metrics.values()):
            result[resource.id] = 'Gnocchi keeps no aggregate %s of metric %s.' % (method, metric.name)
    if inventory.is_pattern(metric.name):
        return result
    for page in client.pages('/v1/archive_policy', [], None, deadline):
        with requests.sense('a list of archive policies'):
            unfit = {policy['name']: text for policy in page if (text := _judge(policy, metric))}
        for name, text in unfit.items():
            query = [('name', metric.name), ('archive_policy_name', name), ('limit', str(inventory.PAGE))]
            for items in client.pages('/v1/metric', query, None, deadline):
                with requests.sense('a list of metrics'):
                    result.update({item['resource_id']: text for item in items if item['resource_id'] in resources})
    return result


def _judge(policy: Mapping[str, Any], metric: metrics.Metric) -> str | None:
    """Return what is wrong with *policy* for *metric*, None if nothing is."""
    method, granularity = metric.extra_args['aggregation_method'], metric.extra_args['force_granularity']
    if method not in policy['aggregation_methods']:
        return (
            'The archive policy %s of metric %s in Gnocchi keeps no aggregate %s: change the policy, or '
            'aggregation_method in metrics.yml.' % (policy['name'], metric.name, method)
        )
    if granularity and granularity not in [_seconds(item['granularity']) for item in policy['definition']]:
        return (
            'The archive policy %s of metric %s in Gnocchi keeps no granularity of %d s: change the policy, or '
            'force_granularity in metrics.yml.' % (policy['name'], metric.name, granularity)
        )
    return None


def _seconds(timespan: Any) -> float:
    """Return the seconds of ``0:05:00`` or ``1 day, 0:00:00``, or of a number of them."""
    if isinstance(timespan, int | float):
        return timespan
    found = _TIMESPAN.match(timespan)
    if found is None:
        raise ValueError('%r is no timespan' % timespan)
    days, hours, minutes, seconds, _ = found.groups()
    span = datetime.timedelta(days=int(days or 0), hours=int(hours), minutes=int(minutes), seconds=int(seconds))
    return span.total_seconds()
