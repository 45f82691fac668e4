# SPDX-License-Identifier: Apache-2.0
"""Puts projects, users, resources and measures into a real cloud, and says what it put in.

What is returned is enough to work out the bill without asking the cloud or the program. Instants are epoch seconds.
"""

from collections.abc import Mapping
import dataclasses
from decimal import Decimal
import uuid

from cloudkitty.tests import cloud as clouds
from cloudkitty.tests import real_gnocchi

HOUR = 3600
DAY = 24 * HOUR
#: Gnocchi multiplies by the share of a period that a revision covers: a quarter is exact in binary numbers.
QUARTER = HOUR // 4
#: A measure is stamped so many seconds after the begin of its period.
OFFSET = 60
POLICY = 'telemetry'
ROLE = 'rating'
#: Resource types and their attributes, as telemetry makes them.
TYPES = {
    'instance': ('display_name', 'host', 'image_ref', 'flavor_id', 'flavor_name', 'server_group'),
    'volume': ('display_name', 'volume_type'),
    'image': ('name', 'container_format', 'disk_format'),
    'network': (),
    'instance_network_interface': ('instance_id', 'name'),
    'ceph_account': (),
}
FLAVORS = ('m1.small', 'm1.medium', 'm1.large')
VOLUME_TYPES = ('ssd', 'hdd')


@dataclasses.dataclass(frozen=True)
class Revision:
    """The attributes of a resource from *begin* to the next revision."""

    begin: int
    attributes: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Resource:
    """A resource; *measures* is {metric: {begin of the period: value}}, one measure a period."""

    id: str
    type: str
    user_id: str
    ended_at: int | None
    revisions: tuple[Revision, ...]
    measures: Mapping[str, Mapping[int, Decimal]]

    def attributes_before(self, second):
        """Return the attributes in force just before *second*; for the time before the first revision, its own."""
        found = [revision for revision in self.revisions if revision.begin < second]
        return (found or self.revisions[:1])[-1].attributes


@dataclasses.dataclass(frozen=True)
class Project:
    """A rated project, with a user who may read its reports."""

    id: str
    name: str
    user_id: str
    credentials: clouds.Credentials
    resources: tuple[Resource, ...]


@dataclasses.dataclass(frozen=True)
class Seed:
    """All that was put in; *service* are the credentials of the rating service's user."""

    begin: int
    end: int
    projects: tuple[Project, ...]
    service: clouds.Credentials

    def periods(self):
        return range(self.begin, self.end, HOUR)


def flavor(name):
    """Return the attributes that say a flavor; its id is made from its name."""
    return {'flavor_name': name, 'flavor_id': make_id('flavor', name)}


def make_id(*words):
    """Return the same id for the same words."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, ' '.join(str(word) for word in words)))


def seed(cloud, begin, periods=72, projects=5, mark=''):
    """Put *projects* with usage in *periods* hours from *begin* into *cloud*; return the :class:`Seed`.

    Whatever the size: one instance is resized within a period in the middle, one volume is deleted, one instance
    starts late, one does not report for some hours, and a resource of type ``ceph_account`` lacks the metric
    ``radosgw.objects.size``, which nobody has.

    A cloud without Gnocchi gets projects and users only; what they used is in what is returned.

    :param begin: epoch second, a full hour. The past is fine; the end should not lie in the future.
    :param projects: two at least.
    :param mark: tells projects and users from those of another call in the same cloud.
    """
    if begin % HOUR:
        raise ValueError('%s is not a full hour.' % begin)
    gnocchi = real_gnocchi.RealGnocchi(cloud) if cloud.has_gnocchi else None
    if gnocchi is not None:
        gnocchi.create_policy(POLICY, (300, 3600), ('mean', 'max'))
        for name, attributes in TYPES.items():
            gnocchi.create_type(name, attributes)
    service = _create_service(cloud, mark)
    end = begin + periods * HOUR
    made = tuple(
        _create_project(cloud, gnocchi, service, 'project-%d%s' % (number, mark), number, projects, begin, end)
        for number in range(projects)
    )
    if gnocchi is not None:
        gnocchi.settle()
    return Seed(begin, end, made, service[1])


def _create_service(cloud, mark):
    cloud.create_role(ROLE)
    return cloud.create_user('cloudkitty%s' % mark, 'service', 'admin', 'service')


def _create_project(cloud, gnocchi, service, name, number, projects, begin, end):
    project_id = cloud.create_project(name)
    cloud.grant(ROLE, service[0], project_id)
    user_id, credentials = cloud.create_user('user-of-%s' % name, name, 'reader')
    resources = tuple(_describe(name, user_id, number, projects, begin, end))
    if gnocchi is not None:
        _measure(gnocchi, project_id, resources)
    return Project(project_id, name, user_id, credentials, resources)


def _measure(gnocchi, project_id, resources):
    for resource in resources:
        _create(gnocchi, project_id, resource)
    gnocchi.measure_all(
        {
            resource.id: {
                metric: {second + OFFSET: value for second, value in values.items()}
                for metric, values in resource.measures.items()
            }
            for resource in resources
            if any(resource.measures.values())
        }
    )


def _create(gnocchi, project_id, resource):
    first, *later = resource.revisions
    # One without measures of what is rated still has some metric, as in a real cloud.
    metrics = tuple(resource.measures) or ('radosgw.objects',)
    gnocchi.create_resource(
        resource.type, resource.id, project_id, first.begin, metrics, POLICY,
        user_id=resource.user_id, **first.attributes,
    )  # fmt: skip
    for revision in later:
        gnocchi.revise(resource.id, revision.begin, **revision.attributes)
    if resource.ended_at is not None:
        gnocchi.revise(resource.id, resource.ended_at, ended_at=resource.ended_at)
    if resource.ended_at is not None:
        gnocchi.revise(resource.id, resource.ended_at, ended_at=resource.ended_at)


def _describe(name, user_id, number, projects, begin, end):
    """Yield the resources of project *number*."""
    hours = (end - begin) // HOUR
    whole = range(begin, end, HOUR)
    before = begin - DAY

    def make(kind, label, measures, attributes=None, since=before, more=(), ended_at=None):
        revisions = (Revision(since, attributes or {}), *more)
        measures = {metric: {second: Decimal(value) for second, value in of.items()} for metric, of in measures.items()}
        return Resource(make_id(name, label), kind, user_id, ended_at, revisions, measures)

    def is_in(which):
        return number == which % projects

    for count in range(2 + number % 2):
        label = 'instance-%d' % count
        periods, since, more = whole, before, ()
        attributes = {'display_name': label, 'host': 'node-1', **flavor(FLAVORS[(number + count) % len(FLAVORS)])}
        if count == 0 and is_in(0):
            middle = begin + hours // 2 * HOUR + QUARTER
            more = (Revision(middle, {**attributes, **flavor(FLAVORS[2])}),)
        elif count == 0 and is_in(1):
            periods = [second for second in whole if not hours // 4 <= (second - begin) // HOUR < hours // 4 + 3]
        elif count == 0 and is_in(2):
            since = begin + hours // 3 * HOUR
            periods = range(since, end, HOUR)
        busy = {second: 10**9 * (1 + (second - before) // HOUR) for second in periods}
        yield make('instance', label, {'cpu': busy}, attributes, since, more)
    instance_id = make_id(name, 'instance-0')

    size = 10 * (number + 1)
    for count, kind in enumerate(VOLUME_TYPES[: 1 + (number + 1) % 2] if not is_in(1) else VOLUME_TYPES):
        ended_at, periods = None, whole
        if count == 1 and is_in(1):
            ended_at = begin + hours * 2 // 3 * HOUR + QUARTER
            periods = range(begin, ended_at, HOUR)
        sizes = dict.fromkeys(periods, size + 5 * count)
        label = 'volume-%d' % count
        yield make(
            'volume', label, {'volume.size': sizes}, {'display_name': label, 'volume_type': kind}, before, (), ended_at
        )

    image = {'name': 'image', 'container_format': 'bare', 'disk_format': ('qcow2', 'raw')[number % 2]}
    yield make('image', 'image', {'image.size': dict.fromkeys(whole, 13287936 + 104857601 * number)}, image)

    for count in range(1 + number % 3):
        yield make('network', 'floating-ip-%d' % count, {'ip.floating': dict.fromkeys(whole, 1)})

    rates = {
        'network.incoming.bytes.rate': {
            second: '%d.5' % (1000 * (number + 1) + (second - begin) // HOUR % 24) for second in whole
        },
        'network.outgoing.bytes.rate': {
            second: '%d.25' % (9000 * (number + 1) + (second - begin) // HOUR % 7) for second in whole
        },
    }
    yield make('instance_network_interface', 'tap', rates, {'instance_id': instance_id, 'name': 'tap0'})

    if is_in(3):
        yield make('ceph_account', 'account', {})
