# SPDX-License-Identifier: Apache-2.0
"""``extra_args`` of a metric definition: what to ask Prometheus for.

Source: collection contract, section 1.3.
"""

from collections.abc import Callable
from typing import Any

import voluptuous

from cloudkitty.collector import definitions

AGGREGATION_METHODS = ('avg', 'count', 'max', 'min', 'stddev', 'stdvar', 'sum')
QUERY_FUNCTIONS = ('abs', 'ceil', 'exp', 'floor', 'ln', 'log2', 'log10', 'round', 'sqrt')
RANGE_FUNCTIONS = ('changes', 'delta', 'deriv', 'idelta', 'irange', 'irate', 'rate')


def _one_of(names: tuple[str, ...]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise voluptuous.Invalid('expected one of %s' % ', '.join(names))
        return value

    return check


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise voluptuous.Invalid('expected text')
    return value


SCHEMA = {
    voluptuous.Optional('aggregation_method', default='max'): _one_of(AGGREGATION_METHODS),
    voluptuous.Optional('query_function'): _one_of(QUERY_FUNCTIONS),
    voluptuous.Optional('range_function'): _one_of(RANGE_FUNCTIONS),
    voluptuous.Optional('query_prefix', default=''): _text,
    voluptuous.Optional('query_suffix', default=''): _text,
}


def check(extra_args: dict[str, Any]) -> dict[str, Any]:
    """Return *extra_args* with defaults; raise ValueError('key: what was expected')."""
    if 'query' in extra_args:
        raise ValueError(
            'query: expected aggregation_method, range_function, query_function, query_prefix and query_suffix in its '
            'place: a text of old does not tell whose usage it gives'
        )
    return definitions.check(SCHEMA, extra_args)
