# SPDX-License-Identifier: Apache-2.0
"""``/v2/task/reprocesses``: rating past periods once more.

Source: API contract, section 3.6.
"""

from collections.abc import Collection
import datetime
from typing import Any

from cloudkitty import errors
from cloudkitty import period
from cloudkitty import reprocessing
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v2 import parameters
from cloudkitty.api.v2 import resource
from cloudkitty.db import reprocessings
from cloudkitty.db import scopes

Multi = parameters.Multi
Single = parameters.Single

#: In place of ids: every active scope.
ALL = 'ALL'
#: How many of the stretches that a task left as they were are shown.
KEPT_SHOWN = 100


class Order(types.Text):
    """``asc`` or ``desc``, in any letter case."""

    name = 'order'

    def frombasetype(self, value: Any) -> str:
        found = super().frombasetype(value).lower()
        if found not in ('asc', 'desc'):
            raise ValueError('expected asc or desc')
        return found


_LIST = {'scope_ids': Multi(types.text), 'order': Single(Order(), default='desc'), **parameters.PAGE}


@resource.handler(
    'schedule:task_reprocesses',
    body={
        'scope_ids': Multi(types.text, required=True),
        'start_reprocess_time': Single(resource.timestamp, required=True),
        'end_reprocess_time': Single(resource.timestamp, required=True),
        'reason': Single(types.text, required=True),
        'recollect': Single(types.boolean, default=True),
    },
    status=202,
)
def schedule(
    scope_ids: list[str],
    start_reprocess_time: datetime.datetime,
    end_reprocess_time: datetime.datetime,
    reason: str,
    recollect: bool,
) -> dict[str, Any]:
    """Have the periods that begin at the two instants and between them rated once more, for each scope."""
    wanted = _read_ids(scope_ids)
    if not reason.strip():
        raise errors.BadRequest('reason: expected some words.')
    if end_reprocess_time < start_reprocess_time:
        raise errors.BadRequest(
            'end_reprocess_time is before start_reprocess_time; the other way round it would be %s and %s.'
            % (end_reprocess_time.isoformat(), start_reprocess_time.isoformat())
        )
    found = rest.deployment()
    conf = found.conf
    reprocessings.schedule(
        found.database,
        scopes.Identity(conf.collect.scope_key, conf.fetcher.backend, conf.collect.collector),
        wanted,
        start_reprocess_time,
        end_reprocess_time,
        conf.collect.period,
        reason,
        rest.caller().actor,
        recollect,
    )
    return {}


def _read_ids(scope_ids: list[str]) -> list[str] | None:
    """Return the ids that are asked for; None: every active scope."""
    if not scope_ids:
        raise errors.BadRequest('scope_ids is empty.')
    if ALL in scope_ids and len(scope_ids) > 1:
        raise errors.BadRequest('scope_ids: %s stands for every scope, and alone.' % ALL)
    return None if scope_ids == [ALL] else scope_ids


@resource.handler('schedule:get_task_reprocesses', query=_LIST)
def list_tasks(scope_ids: list[str] | None, order: str, offset: int, limit: int) -> dict[str, Any]:
    """Return tasks, finished ones too."""
    return _list(scope_ids or None, order, offset, limit)


@resource.handler('schedule:get_task_reprocesses', query=_LIST)
def list_tasks_of(scope_id: str, scope_ids: list[str] | None, order: str, offset: int, limit: int) -> dict[str, Any]:
    """Return the tasks of one scope; ids in the query do not count."""
    return _list([scope_id], order, offset, limit)


def _list(scope_ids: Collection[str] | None, order: str, offset: int, limit: int) -> dict[str, Any]:
    database = rest.deployment().database
    return _describe_all(reprocessings.list_tasks(database, scope_ids, order == 'desc', offset, limit))


@resource.handler(
    'schedule:task_reprocesses',
    body={
        'scope_ids': Multi(types.text),
        'task_ids': parameters.Items(parameters.WholeNumber(1)),
        'status': Single(types.Choice(reprocessing.Status.CANCELLED.value), required=True),
    },
)
def cancel(scope_ids: list[str] | None, task_ids: list[int] | None, status: str) -> dict[str, Any]:
    """End tasks that are not finished; what is done of them stays."""
    if (scope_ids is None) == (task_ids is None):
        raise errors.BadRequest('Either scope_ids or task_ids must be given.')
    wanted = None if scope_ids is None else _read_ids(scope_ids)
    return _describe_all(reprocessings.cancel(rest.deployment().database, wanted, task_ids))


def _describe_all(tasks: list[reprocessing.Task]) -> dict[str, Any]:
    kept = reprocessings.list_kept(rest.deployment().database, [task.id for task in tasks], KEPT_SHOWN)
    length = rest.deployment().conf.collect.period
    return {'results': [_describe(task, kept.get(task.id, []), length) for task in tasks]}


def _describe(task: reprocessing.Task, kept: list[reprocessing.Kept], length: int) -> dict[str, Any]:
    done = 0 if task.current is None else min(task.current, task.last) - task.first + length
    return {
        'scope_id': task.scope_id,
        'reason': task.reason,
        'start_reprocess_time': _print(task.first),
        'end_reprocess_time': _print(task.last),
        'current_reprocess_time': '' if task.current is None else _print(task.current),
        'task_id': task.id,
        'recollect': task.recollect,
        'status': task.status.value,
        'actor': task.actor or '',
        'periods': (task.last - task.first) // length + 1,
        'periods_done': max(0, done) // length,
        'error': '' if task.trouble is None else task.trouble.error,
        'kept': [
            {'metric': item.metric, 'begin': _print(item.begin), 'end': _print(item.end), 'error': item.error}
            for item in kept
        ],
    }


def _print(second: int) -> str:
    """Return an instant as clients of old expect it here: UTC without a zone."""
    return period.to_naive(period.from_epoch(second)).isoformat()
