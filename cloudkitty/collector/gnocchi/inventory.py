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
import itertools
import math
from typing import Any
from urllib import parse

from cloudkitty import period as periods
from cloudkitty.clients import answers
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
    """A resource and its revisions since the begin of the window, oldest first. Not changed once it is read.

    :ivar metrics: metric name to Gnocchi's id of it.
    :ivar made: what was made of its revisions, for those who made it to find it again.
    """

    id: str
    metrics: Mapping[str, str]
    revisions: list[Revision]
    made: dict[Any, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    @property
    def first(self) -> float:
        return self.revisions[0].begin

    @property
    def scopes(self) -> set[str]:
        if len(self.revisions) == 1:
            return {self.revisions[0].scope_id}
        return {item.scope_id for item in self.revisions}

    @property
    def is_whole(self) -> bool:
        """Whether no revision is missing between two others."""
        return all(one.end == other.begin for one, other in itertools.pairwise(self.revisions))

    @property
    def weight(self) -> int:
        """What it takes to remember it, with what may be made of it: 1 for a revision, or for a series of it."""
        return len(self.revisions) * (1 + len(self.metrics))

    def belonged_to(self, scope_id: str) -> bool:
        """Return whether a revision is of *scope_id*."""
        if len(self.revisions) == 1:
            return self.revisions[0].scope_id == scope_id
        return scope_id in self.scopes

    def may_belong_to(self, scope_id: str) -> bool:
        """Return whether it can be of *scope_id* now, by what is known: nobody else has it."""
        last = self.revisions[-1]
        return last.end is not None or last.scope_id == scope_id

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

    def merge(self, other: 'Resource') -> 'Resource':
        """Return it with the revisions of *other*, which is the same one, too."""
        found = {item.begin: item for item in self.revisions}
        for item in other.revisions:
            if item.begin not in found or found[item.begin].end is None:
                # What has an end was read later.
                found[item.begin] = item
        metrics = {**self.metrics, **other.metrics}
        return Resource(self.id, metrics, sorted(found.values(), key=lambda item: item.begin))

    def since(self, begin: int) -> 'Resource | None':
        """Return it as :func:`read` lists it for windows from *begin* on; None if it does not."""
        kept = [item for item in self.revisions if item.last_begin >= begin]
        if len(kept) == len(self.revisions):
            return self
        return Resource(self.id, self.metrics, kept, self.made) if kept else None


class Holding:
    """The resources of a scope, by id, and what there is to know of them together. Not changed once it is made.

    :ivar moved: ids of those that others had, too.
    :ivar latest: when the last of them was first recorded.
    :ivar until: the begin of a window up to which all revisions are listed.
    :ivar weight: what it takes to remember it.
    """

    __slots__ = ('_counts', '_having', 'latest', 'moved', 'resources', 'until', 'weight')

    def __init__(self, resources: dict[str, Resource]) -> None:
        self.resources = resources
        self.latest = -math.inf
        self.until = math.inf
        moved = []
        for resource in resources.values():
            self.latest = max(self.latest, resource.first)
            if len(resource.revisions) > 1 and len(resource.scopes) > 1:
                moved.append(resource.id)
            for item in resource.revisions:
                self.until = min(self.until, item.last_begin)
        self.moved = tuple(moved)
        self.weight = sum(resource.weight for resource in resources.values()) or 1
        self._counts: dict[str, int] = {}
        self._having: dict[str, Holding] = {}

    def count(self, metric_name: str) -> int:
        """Return how many have *metric_name*."""
        count = self._counts.get(metric_name)
        if count is None:
            count = sum(resource.has(metric_name) for resource in self.resources.values())
            self._counts[metric_name] = count
        return count

    def having(self, metric_name: str) -> 'Holding':
        """Return those that have *metric_name*."""
        if self.count(metric_name) == len(self.resources):
            return self
        found = self._having.get(metric_name)
        if found is None:
            found = Holding({name: item for name, item in self.resources.items() if item.has(metric_name)})
            self._having[metric_name] = found
        return found

    def since(self, begin: int) -> 'Holding':
        """Return those that :func:`read` lists for windows from *begin* on."""
        if begin <= self.until:
            return self
        kept = ((name, resource.since(begin)) for name, resource in self.resources.items())
        return Holding({name: resource for name, resource in kept if resource is not None})


class Inventory:
    """Resources by id, and by scope.

    :param holdings: of scopes, if they are known: all that *resources* has of any scope.
    """

    def __init__(
        self, resources: dict[str, Resource] | None = None, holdings: dict[str, Holding] | None = None
    ) -> None:
        self.resources = {} if resources is None else resources
        self._holdings: dict[str, Holding] | None = holdings

    @classmethod
    def of(cls, holdings: Mapping[str, Holding]) -> 'Inventory':
        """Return an inventory of what scopes hold, by scope id."""
        resources: dict[str, Resource] = {}
        for holding in holdings.values():
            resources.update(holding.resources)
        if len(resources) == sum(len(holding.resources) for holding in holdings.values()):
            return cls(resources, dict(holdings))
        found = cls()
        for holding in holdings.values():
            found.add(cls(dict(holding.resources)))
        return found

    @property
    def holdings(self) -> Mapping[str, Holding]:
        """What each scope holds; what it held once, too."""
        if self._holdings is None:
            owned: dict[str, dict[str, Resource]] = {}
            for name, resource in self.resources.items():
                for scope_id in resource.scopes:
                    owned.setdefault(scope_id, {})[name] = resource
            self._holdings = {scope_id: Holding(resources) for scope_id, resources in owned.items()}
        return self._holdings

    def add(self, other: 'Inventory') -> None:
        """Take in *other*, which holds the resources of other scopes."""
        common = self.resources.keys() & other.resources.keys()
        merged = {
            name: self.resources[name].merge(other.resources[name])
            for name in common
            if self.resources[name] is not other.resources[name]
        }
        known, more = self.holdings, other.holdings
        self.resources.update(other.resources)
        self.resources.update(merged)
        is_plain = not merged and not known.keys() & more.keys()
        self._holdings = {**known, **more} if is_plain else None

    def count(self, metric_name: str) -> int:
        """Return how many resources have *metric_name*."""
        return sum(holding.count(metric_name) for holding in self.holdings.values())

    def last_begins(self, names: Collection[str] | None = None) -> dict[str, float]:
        """Return {scope id: the latest begin of a period in which it still has resources}.

        :param names: ids of the resources that count; all of them by default.
        """
        result: dict[str, float] = {}
        for name, resource in self.resources.items():
            if names is None or name in names:
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
    client: requests.Client, wanted: Wanted, scope_ids: Collection[str], begin: int, deadline: answers.Deadline
) -> Inventory:
    """Return the resources of *scope_ids* with the revisions in force at *begin* or later, up to now.

    A resource that another scope had before shows its revisions there too.

    Raises :class:`requests.RequestFailed`: NO_TYPE where the source has no such type.
    """
    resources: dict[str, Resource] = {}
    _read(client, wanted, wanted.scope_key, scope_ids, begin, resources, deadline)
    _sort(resources)
    # What begins inside the window, or after a gap, may have been somebody else's before: Gnocchi counts the first
    # revision that a request finds from the begin of the window, whatever there was before it.
    young = [item.id for item in resources.values() if item.first > begin or not item.is_whole]
    if young:
        _read(client, wanted, 'id', young, begin, resources, deadline)
        _sort(resources)
    return Inventory(resources)


@dataclasses.dataclass(frozen=True)
class Changes:
    """What became of resources: those of *ids* are now as *found*, or gone."""

    ids: frozenset[str]
    found: Inventory


def read_changes(
    client: requests.Client,
    wanted: Wanted,
    scope_ids: Collection[str],
    begin: int,
    since: int,
    deadline: answers.Deadline,
) -> Changes:
    """Return the resources of *scope_ids* of which a revision began or ended at *since* or later.

    They are as for :func:`read`. What leaves no revision is not told: that a resource was deleted, or got a metric.

    Raises :class:`requests.RequestFailed`: NO_TYPE where the source has no such type.
    """
    path = _path(wanted.resource_type)
    query = [('history', 'true'), ('limit', str(PAGE)), ('sort', 'id:asc'), ('attrs', 'id')]
    recent = {'or': [{'>=': {name: iso(since)}} for name in ('revision_start', 'revision_end')]}
    ids: set[str] = set()
    for part in chunks(scope_ids, MOST_NAMES):
        for page in client.pages(path, query, {'and': [{'in': {wanted.scope_key: part}}, recent]}, deadline):
            with requests.sense('a list of resources'):
                ids.update(item['id'] for item in page)
    resources: dict[str, Resource] = {}
    if ids:
        _read(client, wanted, 'id', sorted(ids), begin, resources, deadline)
        _sort(resources)
    return Changes(frozenset(ids), Inventory(resources))


def _sort(resources: Mapping[str, Resource]) -> None:
    for resource in resources.values():
        if len(resource.revisions) > 1:
            resource.revisions.sort(key=lambda item: item.begin)


def _read(
    client: requests.Client,
    wanted: Wanted,
    key: str,
    values: Iterable[str],
    begin: int,
    resources: dict[str, Resource],
    deadline: answers.Deadline,
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
    client: requests.Client, resource_type: str, metric_name: str, deadline: answers.Deadline
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
