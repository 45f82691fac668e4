# SPDX-License-Identifier: Apache-2.0
"""``/v2/scope``: whom we rate and how far we got.

Source: API contract, section 3.1.
"""

import datetime
from typing import Any

from cloudkitty import errors
from cloudkitty import period
from cloudkitty import scope
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v2 import parameters
from cloudkitty.api.v2 import resource
from cloudkitty.db import closings
from cloudkitty.db import scope_rows
from cloudkitty.storage import reset

Multi = parameters.Multi
Single = parameters.Single

#: Longest text of the columns.
_ID = types.Text(255, shortest=1)
_WORD = types.Text(40, shortest=1)
_FILTERS = {name: Multi(types.text) for name in scope_rows.COLUMNS}
_WORDS = {name: Single(_WORD) for name in ('scope_key', 'fetcher', 'collector')}


#: In place of an instant: the scope is not closed by itself.
OPEN = datetime.datetime.min.replace(tzinfo=period.UTC)


class Closing(resource.Timestamp):
    """An instant; no text at all opens."""

    def frombasetype(self, value: Any) -> datetime.datetime:
        return OPEN if value == '' else super().frombasetype(value)


class NoScopes(errors.NotFound):
    def __init__(self) -> None:
        super().__init__('No scope is like that.')


@resource.handler('scope:get_state', query={**_FILTERS, 'active': Multi(types.boolean), **parameters.PAGE})
def list_scopes(active: list[bool] | None, offset: int, limit: int, **filters: list[str] | None) -> dict[str, Any]:
    """Return the scopes that match, active or not."""
    found = scope_rows.find(rest.deployment().database, filters, active, offset, limit)
    if not found:
        raise NoScopes
    closed = closings.read(rest.deployment().database, {row.scope.id for row in found})
    return {'results': [_describe(row, closed.get(row.scope.id)) for row in found]}


@resource.handler(
    'scope:reset_state',
    body={
        **_FILTERS,
        'all_scopes': Single(types.boolean, default=False),
        'last_processed_timestamp': Single(resource.timestamp),
        'state': Single(resource.timestamp),
    },
    status=202,
)
def reset_scopes(
    all_scopes: bool,
    last_processed_timestamp: datetime.datetime | None,
    state: datetime.datetime | None,
    **filters: list[str] | None,
) -> dict[str, Any]:
    """Make the period that begins at the timestamp the last rated one of the active scopes that match.

    It is done when this is answered, though clients expect 202.
    """
    if bool(all_scopes) == bool(filters['scope_id']):
        raise errors.BadRequest('Either scope_id or all_scopes must be given.')
    clock = last_processed_timestamp or state
    if clock is None:
        raise errors.BadRequest('last_processed_timestamp is missing.')
    if state is not None and state != clock:
        raise errors.BadRequest('state is the old name of last_processed_timestamp, and says something else.')
    found = rest.deployment()
    owners = [row.scope for row in scope_rows.find(found.database, filters, active=[True])]
    if not owners:
        raise NoScopes
    reset.reset(found.database, found.storage, owners, clock, found.conf.collect.period, rest.caller().actor)
    return {}


@resource.handler(
    'scope:post_state',
    body={
        'scope_id': Single(_ID, required=True),
        **_WORDS,
        'last_processed_timestamp': Single(resource.timestamp, required=True),
        'active': Single(types.boolean, default=True),
    },
)
def create_scope(
    scope_id: str,
    scope_key: str | None,
    fetcher: str | None,
    collector: str | None,
    last_processed_timestamp: datetime.datetime,
    active: bool,
) -> dict[str, Any]:
    """Make a scope; what is not said is as configured."""
    found = rest.deployment()
    conf = found.conf
    owner = scope.Scope(
        scope_id,
        scope_key or conf.collect.scope_key,
        fetcher or conf.fetcher.backend,
        collector or conf.collect.collector,
    )
    return _describe(scope_rows.create(found.database, owner, last_processed_timestamp, active))


@resource.handler(
    'scope:patch_state',
    body={
        'scope_id': Single(_ID, required=True),
        **_WORDS,
        'active': Single(types.boolean),
        'closed_until': Single(Closing()),
    },
)
def change_scope(
    scope_id: str, active: bool | None, closed_until: datetime.datetime | None, **words: str | None
) -> dict[str, Any]:
    """Change the only scope with that id."""
    database = rest.deployment().database
    values = {name: value for name, value in words.items() if value is not None}
    changed = scope_rows.change(database, scope_id, values, active)
    if closed_until is not None:
        closings.close(database, scope_id, None if closed_until == OPEN else period.to_epoch(closed_until))
    return _describe(changed, closings.read(database, [scope_id]).get(scope_id))


def _describe(row: scope_rows.Found, closed_until: int | None = None) -> dict[str, Any]:
    clock = resource.print_instant(row.last_processed)
    return {
        'scope_id': row.scope.id,
        'scope_key': row.scope.key,
        'fetcher': row.scope.fetcher,
        'collector': row.scope.collector,
        'last_processed_timestamp': clock,
        'active': row.active,
        'scope_activation_toggle_date': resource.print_instant(row.toggled_at),
        # Its name in releases 10 to 18, which the client reads.
        'state': clock,
        'closed_until': None if closed_until is None else resource.print_instant(period.from_epoch(closed_until)),
    }
