# SPDX-License-Identifier: Apache-2.0
"""``extra_args`` of a metric definition: what to ask Gnocchi for.

Source: collection contract, section 1.3.
"""

from typing import Any

import voluptuous

from cloudkitty.collector import definitions

_AGGREGATES = ('mean', 'sum', 'last', 'max', 'min', 'std', 'median', 'first', 'count')
#: What an archive policy may store.
AGGREGATION_METHODS = frozenset(
    prefix + name
    for prefix in ('', 'rate:')
    for name in (*_AGGREGATES, *('%dpct' % number for number in range(1, 100)))
)
#: How stored aggregates may be aggregated once more.
RE_AGGREGATION_METHODS = frozenset(prefix + name for prefix in ('', 'rate:') for name in _AGGREGATES)
#: How the granules of a period become its value.
PERIOD_METHODS = ('first', 'sum', 'mean', 'max')


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise voluptuous.Invalid('expected text of one character or more')
    return value


def _query(value: object) -> str:
    if not isinstance(value, str):
        raise voluptuous.Invalid('expected text')
    return value


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise voluptuous.Invalid('expected true or false')
    return value


def _seconds(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise voluptuous.Invalid('expected whole seconds, 0 or more')
    return value


def _aggregation(value: object) -> str:
    if not isinstance(value, str) or value not in AGGREGATION_METHODS:
        raise voluptuous.Invalid(
            'expected one of %s, a percentile from 1pct to 99pct, or rate: and one of these' % ', '.join(_AGGREGATES)
        )
    return value


def _re_aggregation(value: object) -> str:
    if not isinstance(value, str) or value not in RE_AGGREGATION_METHODS:
        raise voluptuous.Invalid('expected one of %s, or rate: and one of these' % ', '.join(_AGGREGATES))
    return value


def _period_method(value: object) -> str:
    if not isinstance(value, str) or value not in PERIOD_METHODS:
        raise voluptuous.Invalid('expected one of %s' % ', '.join(PERIOD_METHODS))
    return value


SCHEMA = {
    voluptuous.Required('resource_type'): _text,
    voluptuous.Optional('resource_key', default='id'): _text,
    voluptuous.Optional('aggregation_method', default='max'): _aggregation,
    voluptuous.Optional('re_aggregation_method', default='max'): _re_aggregation,
    voluptuous.Optional('force_granularity', default=3600): _seconds,
    voluptuous.Optional('use_all_resource_revisions', default=True): _boolean,
    voluptuous.Optional('custom_query', default=''): _query,
    voluptuous.Optional('period_method', default='first'): _period_method,
}


def check(extra_args: dict[str, Any]) -> dict[str, Any]:
    """Return *extra_args* with defaults; raise ValueError('key: what was expected')."""
    if 'query' in extra_args:
        raise ValueError('query: expected nothing, it belongs to another collector and would be left out of the bill')
    return definitions.check(SCHEMA, extra_args)
