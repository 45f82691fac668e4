# SPDX-License-Identifier: Apache-2.0
"""The resources of some scopes, with all their revisions: read once for all metrics of a resource type.

Source: collection contract, section 9.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import datetime
import fnmatch
import math
from typing import Any
from urllib import parse

from cloudkitty import period as periods
from cloudkitty.collector.gnocchi import requests

#: Gnocchi's own limit of a page, unless its operator changed it; a smaller one only makes more pages.
PAGE = 1000
#: How long after its end a resource is still asked for: measures may arrive, and be stamped, late.
MARGIN = 86400
#: Scopes or resources named in one request: each is a bind variable of the server's database.
MOST_NAMES = 1000
#: Attributes that are always read.
_OWN = ('id', 'revision_start', 'revision_end', 'ended_at', 'metrics')


@dataclasses.dataclass(frozen=True, slots=True)
class Revision:
    """One state of a resource, in force from *begin* to *end* (epoch seconds, exact; None: still).

    :ivar ended: epoch second after which the resource is gone; None if it is not, or came back later.
    :ivar attributes: those that were asked for.
    """

    begin: float
    end: float | None
    scope_id: str
    ended: float | None
    attributes: Mapping[str, Any]

    @property
    def last_begin(self) -> float:
        """The latest begin of a window that :func:`read` still lists it for; endless for what is there."""
        if self.end is not None:
            return self.end
        return math.inf if self.ended is None else max(self.ended, self.begin) + MARGIN

    def holds_at(self, end: float) -> bool:
        """Return whether nothing followed it before *end*, known or not."""
        return self.end is None or self.end >= end


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

    @property
    def scopes(self) -> set[str]:
        if len(self.revisions) == 1:
            return {self.revisions[0].scope_id}
        return {item.scope_id for item in self.revisions}

    def has(self, metric_name: str) -> bool:
        """Return whether it has a metric of that name, which may be a pattern (``disk.*``)."""
        return metric_name in self.metrics or any(fnmatch.fnmatchcase(name, metric_name) for name in self.metrics)

    def at(self, end: float, group: Mapping[str, Any] | None = None) -> Revision:
        """Return the revision in force just before *end*: of those that show the attributes *group*, if any do.

        The first revision counts from the beginning of time.
        """
        if len(self.revisions) == 1:
            return self.revisions[0]
        fitting = [item for item in self.revisions if group is None or _shows(item.attributes, group)]
        found = None
        for item in fitting or self.revisions:
            if found is None or item.begin < end:
                found = item
        assert found is not None
        return found

    def is_in(self, scope_id: str, begin: int, end: int) -> bool:
        """Return whether a request for *scope_id* and the period ``[begin, end)`` alone would find it."""
        return any(
            item.scope_id == scope_id and begin <= item.last_begin and (index == 0 or item.begin < end)
            for index, item in enumerate(self.revisions)
        )


@dataclasses.dataclass(slots=True)
class Inventory:
    """Resources by id."""

    resources: dict[str, Resource]

    def add(self, other: 'Inventory') -> None:
        """Take in *other*, which holds the resources of other scopes."""
        for name, resource in other.resources.items():
            known = self.resources.setdefault(name, resource)
            if known is not resource:
                begins = {item.begin for item in known.revisions}
                known.revisions += [item for item in resource.revisions if item.begin not in begins]
                known.revisions.sort(key=lambda item: item.begin)

    def having(self, metric_name: str) -> list[Resource]:
        """Return the resources that have *metric_name*."""
        return [resource for resource in self.resources.values() if resource.has(metric_name)]

    def last_begins(self) -> dict[str, float]:
        """Return {scope id: the latest begin of a period in which it still has resources}."""
        result: dict[str, float] = {}
        for resource in self.resources.values():
            for item in resource.revisions:
                result[item.scope_id] = max(item.last_begin, result.get(item.scope_id, -math.inf))
        return result


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be known of the resources of *resource_type*.

    :ivar scope_key: attribute that names the scope.
    :ivar attributes: names of attributes.
    :ivar metrics: names of metrics, or patterns.
    """

    resource_type: str
    scope_key: str
    attributes: frozenset[str]
    metrics: frozenset[str]


def read(
    client: requests.Client, wanted: Wanted, scope_ids: Collection[str], begin: int, deadline: requests.Deadline
) -> Inventory:
    """Return the resources of *scope_ids* with the revisions in force at *begin* or later, up to now.

    A resource that another scope had before shows its revisions there too.

    Raises :class:`requests.RequestFailed`: NO_TYPE where the source has no such type.
    """
    resources: dict[str, Resource] = {}
    _read(client, wanted, wanted.scope_key, scope_ids, begin, resources, deadline)
    for resource in resources.values():
        resource.revisions.sort(key=lambda item: item.begin)
    # What begins inside the window may have been somebody else's before: Gnocchi counts the first revision that a
    # request finds from the begin of the window, whatever there was before it.
    young = [resource.id for resource in resources.values() if resource.first > begin]
    if young:
        _read(client, wanted, 'id', young, begin, resources, deadline)
        for name in young:
            resources[name].revisions.sort(key=lambda item: item.begin)
    return Inventory(resources)


def _read(
    client: requests.Client,
    wanted: Wanted,
    key: str,
    values: Iterable[str],
    begin: int,
    resources: dict[str, Resource],
    deadline: requests.Deadline,
) -> None:
    path = _path(wanted.resource_type)
    query = [('history', 'true'), ('limit', str(PAGE)), ('sort', 'id:asc')]
    query += [('attrs', name) for name in sorted({*_OWN, wanted.scope_key, *wanted.attributes})]
    for part in chunks(values, MOST_NAMES):
        body = {'and': [{'in': {key: part}}, alive(begin)]}
        for page in client.pages(path, query, body, deadline):
            with requests.sense('a list of resources'):
                for item in page:
                    _add(resources, item, wanted)


def _add(resources: dict[str, Resource], item: dict[str, Any], wanted: Wanted) -> None:
    begin = parse_instant(item['revision_start'])
    end, ended = (
        None if item.get(name) is None else parse_instant(item[name]) for name in ('revision_end', 'ended_at')
    )
    resource = resources.get(item['id'])
    if resource is None:
        known = item.get('metrics') or {}
        metrics = {
            name: known[name]
            for name in known
            if name in wanted.metrics or any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted.metrics)
        }
        resource = resources[item['id']] = Resource(item['id'], metrics, [])
    elif any(known.begin == begin for known in resource.revisions):
        # A page may show again what changed while we were reading.
        return
    attributes = {name: item[name] for name in wanted.attributes if name in item}
    resource.revisions.append(Revision(begin, end, item[wanted.scope_key], ended, attributes))


def alive(begin: int) -> dict[str, Any]:
    """Return the filter, in history mode, of what was in force at *begin* or later and had not long ended then."""
    margin = iso(begin - MARGIN)
    return {
        'or': [
            {'>=': {'revision_end': iso(begin)}},
            {
                'and': [
                    {'=': {'revision_end': None}},
                    {
                        'or': [
                            {'=': {'ended_at': None}},
                            {'>=': {'ended_at': margin}},
                            {'>=': {'revision_start': margin}},
                        ]
                    },
                ]
            },
        ]
    }


def has_metric_anywhere(
    client: requests.Client, resource_type: str, metric_name: str, deadline: requests.Deadline
) -> bool:
    """Return whether any resource of *resource_type*, in whatever scope, has *metric_name* (not a pattern)."""
    for page in client.pages('/v1/metric', [('name', metric_name), ('limit', str(PAGE))], None, deadline):
        with requests.sense('a list of metrics'):
            ids = sorted({item['resource_id'] for item in page if item.get('resource_id')})
        if ids:
            if client.post(_path(resource_type), [('limit', '1')], {'in': {'id': ids}}, deadline):
                return True
    return False


def _path(resource_type: str) -> str:
    return '/v1/search/resource/%s' % parse.quote(resource_type, safe='')


def is_pattern(metric_name: str) -> bool:
    """Return whether *metric_name* stands for several names."""
    return any(sign in metric_name for sign in '*?[')


def chunks(values: Iterable[str], size: int) -> Iterator[list[str]]:
    """Yield *values* in lists of at most *size*."""
    names = list(values)
    for index in range(0, len(names), size):
        yield names[index : index + size]


def parse_instant(text: str) -> float:
    """Return the epoch seconds of Gnocchi's ISO 8601 *text*, which is UTC where it names no offset."""
    instant = datetime.datetime.fromisoformat(text.replace('Z', '+00:00'))
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=periods.UTC)
    return instant.timestamp()


def _parse_optional(text: str | None) -> float | None:
    return None if text is None else parse_instant(text)


def iso(second: int) -> str:
    """Return epoch *second* as Gnocchi takes it."""
    return periods.from_epoch(second).isoformat()


def _shows(attributes: Mapping[str, Any], group: Mapping[str, Any]) -> bool:
    return all(attributes.get(name) == value for name, value in group.items() if name in attributes)
