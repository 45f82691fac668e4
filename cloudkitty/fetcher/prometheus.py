# SPDX-License-Identifier: Apache-2.0
"""Scopes from Prometheus: the values of a label of a metric, as it is now.

Source: collection contract, section 6.
"""

from collections.abc import Mapping
import re
from typing import Any

from cloudkitty import errors
from cloudkitty.clients import prometheus
from cloudkitty.fetcher import base

GROUP = 'fetcher_prometheus'
_METRIC = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*')
_LABEL = re.compile(r'[a-zA-Z_][a-zA-Z0-9_]*')


class PrometheusFetcher(base.BaseFetcher):
    """Rates what a metric names.

    :param query: gives one series a scope.
    :param label: of the series; it holds the id of the scope.
    """

    name = 'prometheus'

    def __init__(self, client: prometheus.Client, query: str, label: str) -> None:
        self._client = client
        self._query = query
        self._label = label

    @classmethod
    def from_options(cls, conf: Any) -> 'PrometheusFetcher':
        """Return the fetcher that [fetcher_prometheus] describes; raises ConfigurationError."""
        options = conf[GROUP]
        query = make_query(options.metric or '', options.filters, options.scope_attribute)
        return cls(prometheus.from_options(conf, GROUP, 1), query, options.scope_attribute)

    def get_tenants(self) -> list[str]:
        """Return the ids of the scopes that the metric names now; a series without the label names none.

        Raises SourceError where there is no answer, or one that may not be all: a scope that it lacks would seem gone.
        """
        # A host whose clock is wrong would see fewer of them.
        answer = self._client.query(self._query, None)
        if answer.warnings:
            raise errors.TransientSourceError('Prometheus warns: %s' % '; '.join(answer.warnings))
        found = [item.labels.get(self._label, '') for item in answer.series]
        if not all(isinstance(value, str) for value in found):
            raise errors.TransientSourceError('Prometheus: an answer that makes no sense.')
        return sorted({*found} - {''})


def make_query(metric: str, filters: Mapping[str, str], label: str) -> str:
    """Return the query that gives one series a value of *label*; raises ConfigurationError."""
    if not _METRIC.fullmatch(metric):
        raise errors.ConfigurationError('[%s] metric: expected the name of a metric, not %r.' % (GROUP, metric))
    if not _LABEL.fullmatch(label):
        raise errors.ConfigurationError('[%s] scope_attribute: %r is no name of a label.' % (GROUP, label))
    for name in filters:
        if not _LABEL.fullmatch(name):
            raise errors.ConfigurationError('[%s] filters: %r is no name of a label.' % (GROUP, name))
    matchers = ['%s=%s' % (name, prometheus.quote(value)) for name, value in sorted(filters.items())]
    return 'max(%s{%s}) by (%s)' % (metric, ', '.join(matchers), label)
