# SPDX-License-Identifier: Apache-2.0
"""The resources of some scopes, with all their revisions: read once for all metrics of a resource type.

Source: collection contract, section 9.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import datetime
import fnmatch
from typing import Any

from cloudkitty import period as periods
from cloudkitty.collector.gnocchi import requests

#: Gnocchi's own limit of a page, unless its operator changed it; a smaller one only makes more pages.
PAGE = 1000
#: How long after its end a resource is still asked for: measures may arrive, and be stamped, late.
MARGIN = 86400
#: Scopes or resources named in one request: each is a bind variable of the server's database.
MOST_NAMES = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Revision:
    """One state of a resource, in force from *begin* (epoch seconds, exact) on.

    :ivar ended: epoch second after which the resource is gone, or None.
    """

    begin: float
    scope_id: str
    ended: float | None
    attributes: Mapping[str, Any]


@dataclasses.dataclass(slots=True)
class Resource:
    """A resource and its revisions since the begin of the window, oldest first.

    :ivar metrics: metric name to Gnocchi's id of it.
    """

    id: str
    metrics: Mapping[str, str]
    revisions: list[Revision]

    @property
    def first(self) -> float:
        return self.revisions[0].begin

    def has(self, metric_name: str) -> bool:
        """Return whether it has a metric of that name, which may be a pattern (``disk.*``)."""
        return metric_name in self.metrics or any(fnmatch.fnmatchcase(name, metric_name) for name in self.metrics)

    def at(self, end: float, group: Mapping[str, Any] | None = None) -> Revision:
        """Return the revision in force just before *end*: of those that show the attributes *group*, if any do.

        The first revision counts from the beginning of time.
        """
        fitting = [item for item in self.revisions if group is None or _shows(item.attributes, group)]
        found = None
        for item in fitting or self.revisions:
            if found is None or item.begin < end:
                found = item
        assert found is not None
        return found


@dataclasses.dataclass(slots=True)
class Inventory:
    """Resources by id."""

    resources: dict[str, Resource]

    def having(self, metric_name: str) -> list[Resource]:
        """Return the resources that have *metric_name*."""
        return [resource for resource in self.resources.values() if resource.has(metric_name)]

    def scopes(self) -> set[str]:
        """Return the scopes that any revision of any resource names."""
        return {item.scope_id for resource in self.resources.values() for item in resource.revisions}


def read(
    client: requests.Client,
    resource_type: str,
    scope_key: str,
    scope_ids: Iterable[str],
    begin: int,
    deadline: requests.Deadline,
) -> Inventory:
    """Return the resources of *scope_ids* with the revisions in force at *begin* or later, up to now.

    Raises :class:`requests.RequestFailed`: NO_TYPE where the source has no such type.
    """
    resources: dict[str, Resource] = {}
    names = list(scope_ids)
    for index in range(0, len(names), MOST_NAMES):
        body = {
            'and': [
                {'in': {scope_key: names[index : index + MOST_NAMES]}},
                {'or': [{'=': {'revision_end': None}}, {'>=': {'revision_end': _iso(begin)}}]},
                alive(begin),
            ]
        }
        _read_part(client, resource_type, scope_key, body, resources, deadline)
    for resource in resources.values():
        resource.revisions.sort(key=lambda item: item.begin)
    return Inventory(resources)


def _read_part(
    client: requests.Client,
    resource_type: str,
    scope_key: str,
    body: dict[str, Any],
    resources: dict[str, Resource],
    deadline: requests.Deadline,
) -> None:
    path: str | None = '/v1/search/resource/%s' % resource_type
    query = [('history', 'true'), ('limit', str(PAGE)), ('sort', 'id:asc')]
    seen: set[str | None] = set()
    while path and path not in seen:
        seen.add(path)
        answer, path = client.post(path, query, body, deadline)
        query = []
        try:
            for item in answer:
                _add(resources, item, scope_key)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise requests.RequestFailed(
                requests.Refusal.TROUBLE, 'Gnocchi: a list of resources that makes no sense.'
            ) from error


def _add(resources: dict[str, Resource], item: dict[str, Any], scope_key: str) -> None:
    begin = parse_instant(item['revision_start'])
    ended = item.get('ended_at')
    revision = Revision(begin, item[scope_key], None if ended is None else parse_instant(ended), item)
    resource = resources.get(item['id'])
    if resource is None:
        resources[item['id']] = Resource(item['id'], item.get('metrics') or {}, [revision])
    elif all(known.begin != begin for known in resource.revisions):
        # A page may show again what changed while we were reading.
        resource.revisions.append(revision)


def alive(begin: int) -> dict[str, Any]:
    """Return the filter of resources that had not long ended at *begin*."""
    return {'or': [{'=': {'ended_at': None}}, {'>=': {'ended_at': _iso(begin - MARGIN)}}]}


def has_metric_anywhere(
    client: requests.Client, resource_type: str, metric_name: str, deadline: requests.Deadline
) -> bool:
    """Return whether any resource of *resource_type*, in whatever scope, has *metric_name* (not a pattern)."""
    path: str | None = '/v1/metric'
    query = [('name', metric_name), ('limit', str(PAGE))]
    while path:
        answer, path = client.get(path, query, deadline)
        query = []
        try:
            ids = sorted({item['resource_id'] for item in answer if item.get('resource_id')})
        except (KeyError, TypeError, AttributeError) as error:
            raise requests.RequestFailed(
                requests.Refusal.TROUBLE, 'Gnocchi: a list of metrics that makes no sense.'
            ) from error
        if ids:
            found, _ = client.post(
                '/v1/search/resource/%s' % resource_type, [('limit', '1')], {'in': {'id': ids}}, deadline
            )
            if found:
                return True
    return False


def parse_instant(text: str) -> float:
    """Return the epoch seconds of Gnocchi's ISO 8601 *text*, which is UTC where it names no offset."""
    instant = datetime.datetime.fromisoformat(text.replace('Z', '+00:00'))
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=periods.UTC)
    return instant.timestamp()


def _iso(second: int) -> str:
    return periods.from_epoch(second).isoformat()


def _shows(attributes: Mapping[str, Any], group: Mapping[str, Any]) -> bool:
    return all(attributes.get(name) == value for name, value in group.items() if name in attributes)
