# SPDX-License-Identifier: Apache-2.0
"""Collect what scopes used."""

from typing import Any

from cloudkitty import errors
from cloudkitty import plugins
from cloudkitty.collector import base
from cloudkitty.collector import exceptions
from cloudkitty.conf import metrics

NAMESPACE = 'cloudkitty.collector.backends'

# What plugins of the field import from here.
BaseCollector = base.BaseCollector
NoDataCollected = exceptions.NoDataCollected
InvalidConfiguration = errors.ConfigurationError
METRIC_BASE_SCHEMA = metrics.METRIC_BASE_SCHEMA
CONF_BASE_SCHEMA = metrics.CONF_BASE_SCHEMA
MetricDict = metrics.metric_dict
validate_conf = base.BaseCollector.check_configuration


def load_class(conf: Any) -> Any:
    """Return the collector class that [collect] collector names; raises ConfigurationError."""
    return plugins.load_class(NAMESPACE, conf.collect.collector)


def load(conf: Any, metrics_file: metrics.MetricsFile, executor: Any) -> base.BaseCollector:
    """Return the collector that [collect] collector names.

    :param executor: futurist executor its requests may run in; None runs them one after the other.

    Raises ConfigurationError.
    """
    plugin = load_class(conf)
    if hasattr(plugin, 'from_options'):
        collector: base.BaseCollector = plugin.from_options(conf, metrics_file, executor)
        return collector
    return base.make_classic(plugin, conf.collect.collector, conf.collect.period, metrics_file.document)
