# SPDX-License-Identifier: Apache-2.0
"""Checks ``extra_args`` of metric definitions against the keys that a collector knows."""

from collections.abc import Mapping
from typing import Any

import voluptuous


def check(schema: Mapping[Any, Any], extra_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return *extra_args* with the defaults of *schema*; raise ValueError('key: what was expected')."""
    try:
        checked: dict[str, Any] = voluptuous.Schema(schema)(extra_args)
    except voluptuous.MultipleInvalid as error:
        first = error.errors[0]
        expectation = {
            'extra keys not allowed': 'there is no such key; expected one of %s'
            % ', '.join(sorted(str(key) for key in schema)),
            'required key not provided': 'expected, and missing',
        }.get(first.error_message, first.error_message)
        raise ValueError('%s: %s' % ('.'.join(str(part) for part in first.path), expectation)) from error
    return checked
