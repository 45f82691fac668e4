# SPDX-License-Identifier: Apache-2.0
"""What all that shows figures of projects shares: the window asked for, and whose figures the caller may see.

Without a begin or an end they are those of the current month, in the deployment's zone.
"""

import datetime

from cloudkitty import period
from cloudkitty.api import policy
from cloudkitty.api import rest
from cloudkitty.api.v2 import parameters
from cloudkitty.api.v2 import resource

#: Parameters of a window.
WINDOW = {'begin': parameters.Single(resource.timestamp), 'end': parameters.Single(resource.timestamp)}


def window(
    begin: datetime.datetime | None, end: datetime.datetime | None
) -> tuple[datetime.datetime, datetime.datetime]:
    """Return the window asked for."""
    return period.window(begin, end, datetime.datetime.now(period.UTC), rest.deployment().zone)


def own_project() -> str | None:
    """Return the project whose data the caller may see; None: everybody's."""
    caller = rest.caller()
    return caller.project_id or (None if caller.is_admin else policy.NOBODY)


def restrict(filters: dict[str, list[str]]) -> dict[str, list[str]] | None:
    """Return *filters* with the project that the caller may see in place of any other; None: he may see nothing."""
    caller = rest.caller()
    if caller.is_admin:
        return filters
    if not caller.project_id:
        return None
    return {**filters, rest.deployment().conf.collect.scope_key: [caller.project_id]}
