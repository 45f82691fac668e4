# SPDX-License-Identifier: Apache-2.0
"""``/v2/rating/modules``: which rating modules there are, and in which order they run.

Source: API contract, section 3.5.
"""

import decimal
from typing import Any

from cloudkitty.api import types
from cloudkitty.api.v1 import rating
from cloudkitty.api.v2 import parameters
from cloudkitty.api.v2 import resource


class Enabled(types.Boolean):
    """``true`` or ``false``, or a word that says so, ``enable`` and ``disable`` among them."""

    def frombasetype(self, value: Any) -> bool:
        words = {'enable': 'true', 'disable': 'false'}
        return super().frombasetype(words.get(value.strip().lower(), value) if isinstance(value, str) else value)


class Priority(types.Integer):
    """A whole number, not the text of one."""

    def frombasetype(self, value: Any) -> int:
        if not isinstance(value, int | decimal.Decimal):
            raise ValueError('expected a whole number')
        return super().frombasetype(value)


@resource.handler('v2_rating:list_modules')
def list_modules() -> dict[str, Any]:
    """Return every module that is installed, by name."""
    return {'modules': [_describe(name, module) for name, module in rating.list_modules().items()]}


@resource.handler('v2_rating:get_module')
def get_module(module_id: str) -> dict[str, Any]:
    """Return module *module_id*."""
    return _describe(module_id, rating.find_module(module_id))


@resource.handler(
    'v2_rating:update_module',
    body={'enabled': parameters.Single(Enabled()), 'priority': parameters.Single(Priority())},
    status=204,
)
def update_module(module_id: str, enabled: bool | None, priority: int | None) -> None:
    """Enable or disable module *module_id*, set its priority."""
    rating.update_module(rating.find_module(module_id), enabled, priority)


def _describe(name: str, module: Any) -> dict[str, Any]:
    found = rating.describe(name, module)
    members = ('module_id', 'description', 'enabled', 'hot_config', 'priority')
    return {member: getattr(found, member) for member in members}
