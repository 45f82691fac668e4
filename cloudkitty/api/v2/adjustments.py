# SPDX-License-Identifier: Apache-2.0
"""``/v2/adjustments``: what would change of periods that are closed, to be applied or dropped.

Source: admin guide, "Late data and closed periods".
"""

import datetime
import time
from typing import Any

from cloudkitty import adjustment
from cloudkitty import errors
from cloudkitty import period
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v2 import parameters
from cloudkitty.api.v2 import resource
from cloudkitty.db import adjustments
from cloudkitty.storage import adjusting

Multi = parameters.Multi
Single = parameters.Single
Status = adjustment.Status

#: What may be done with an adjustment.
APPLY, DROP = 'apply', 'drop'
#: How many are decided by one request.
MOST = 1000


@resource.handler(
    'adjustments:list',
    query={
        'scope_id': Multi(types.text),
        'status': Multi(types.Choice(*(status.value for status in Status))),
        'begin': Single(resource.timestamp),
        'end': Single(resource.timestamp),
        **parameters.PAGE,
    },
)
def list_adjustments(
    scope_id: list[str] | None,
    status: list[str] | None,
    begin: datetime.datetime | None,
    end: datetime.datetime | None,
    offset: int,
    limit: int,
) -> dict[str, Any]:
    """Return adjustments of periods that begin in the window, oldest first; by default those that are pending."""
    statuses = [Status(word) for word in status or [Status.PENDING.value]]
    total, found = adjustments.find(
        rest.deployment().database,
        scope_id,
        statuses,
        None if begin is None else period.to_epoch(begin),
        None if end is None else period.to_epoch(end),
        offset=offset,
        limit=limit,
    )
    return {'total': total, 'results': [_describe(item) for item in found]}


@resource.handler(
    'adjustments:decide',
    body={
        'adjustment_ids': parameters.Items(parameters.WholeNumber(1), required=True),
        'action': Single(types.Choice(APPLY, DROP), required=True),
    },
)
def decide(adjustment_ids: list[int], action: str) -> dict[str, Any]:
    """Apply or drop adjustments; those that were decided before, or are not there, are left alone."""
    if len(adjustment_ids) > MOST:
        raise errors.BadRequest('adjustment_ids: expected at most %d.' % MOST)
    found = rest.deployment()
    who, now = rest.caller().actor, int(time.time())
    if action == APPLY:
        decided = adjusting.apply(found.database, found.storage, adjustment_ids, who, now)
    else:
        decided = adjustments.drop(found.database, adjustment_ids, who, now)
    _, results = adjustments.find(found.database, ids=decided)
    return {'total': len(results), 'results': [_describe(item) for item in results]}


def _describe(item: adjustment.Adjustment) -> dict[str, Any]:
    return {
        'adjustment_id': item.id,
        'scope_id': item.scope_id,
        'begin': _print(item.begin),
        'end': _print(item.end),
        'status': item.status.value,
        'noted_at': _print(item.noted_at),
        'decided_at': None if item.decided_at is None else _print(item.decided_at),
        'decided_by': item.decided_by,
        'metrics': [
            {
                'type': name,
                'cause': cell.cause,
                'before': _describe_sum(cell.before),
                'after': _describe_sum(cell.after),
            }
            for name, cell in sorted(item.cells.items())
        ],
    }


def _describe_sum(found: adjustment.Sum) -> dict[str, Any]:
    return {'points': found.points, 'qty': found.qty, 'rate': found.price}


def _print(second: int) -> str:
    return resource.print_instant(period.from_epoch(second))
