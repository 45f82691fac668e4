# SPDX-License-Identifier: Apache-2.0
"""The bill worked out by hand from what was put into the cloud: nothing of the program takes part in it."""

from collections.abc import Mapping
import dataclasses
import datetime
import decimal
from decimal import Decimal

HOUR = 3600
QUANTUM = Decimal(1).scaleb(-28)
#: Type of the metric, what it becomes, and the attributes carried along: as in etc/cloudkitty/metrics.yml.
METRICS = {
    'cpu': ('instance', lambda value: Decimal(1 if value else 0), ('flavor_name', 'flavor_id', 'vcpus')),
    'image.size': ('image.size', lambda value: value / 1048576, ('container_format', 'disk_format')),
    'volume.size': ('volume.size', lambda value: value, ('volume_type',)),
    'network.outgoing.bytes.rate': (
        'network.outgoing.bytes.rate',
        lambda value: value * 3600 / 1000000,
        ('instance_id',),
    ),
    'network.incoming.bytes.rate': (
        'network.incoming.bytes.rate',
        lambda value: value * 3600 / 1000000,
        ('instance_id',),
    ),
    'ip.floating': ('ip.floating', lambda value: Decimal(1 if value else 0), ('state',)),
}
FLAVORS = {'m1.small': '0.0123', 'm1.medium': '0.05', 'm1.large': '0.123456789012345678901234'}
#: What the first project pays for a small instance.
SPECIAL = '0.01'
SUPPORT = '0.001'
GIB, SSD, MANY, DISCOUNT = '0.0001', '1.5', '20', '0.9'
FLAT = {
    'image.size': '0.00001',
    'network.outgoing.bytes.rate': '0.3333333333333333333333333333',
    'network.incoming.bytes.rate': '0.02',
    'ip.floating': '0.005',
}


@dataclasses.dataclass(frozen=True, order=True)
class Point:
    """A rated point; *desc* holds its attributes, sorted, without those of the calendar."""

    begin: int
    project: str
    type: str
    id: str
    qty: Decimal
    price: Decimal
    desc: tuple[tuple[str, str], ...]


def points(seed):
    """Return the points of *seed*, sorted."""
    result = []
    with decimal.localcontext(prec=60):
        for number, project in enumerate(seed.projects):
            for resource in project.resources:
                for metric, values in resource.measures.items():
                    kind, convert, metadata = METRICS[metric]
                    for begin, value in values.items():
                        qty = convert(value).quantize(QUANTUM)
                        attributes = resource.attributes_before(begin + HOUR)
                        desc = {name: attributes.get(name, '') for name in metadata}
                        price = _price(kind, qty, desc, number == 0).quantize(QUANTUM)
                        desc |= {'id': resource.id, 'user_id': resource.user_id, 'project_id': project.id}
                        result.append(
                            Point(begin, project.id, kind, resource.id, qty, price, tuple(sorted(desc.items())))
                        )
    return sorted(result)


def _price(kind: str, qty: Decimal, desc: Mapping[str, str], is_first: bool) -> Decimal:
    if kind == 'instance':
        flavor = desc['flavor_name']
        cost = SPECIAL if is_first and flavor == 'm1.small' else FLAVORS[flavor]
        return qty * Decimal(cost) + qty * Decimal(SUPPORT)
    if kind == 'volume.size':
        price = qty * Decimal(GIB)
        if desc['volume_type'] == 'ssd':
            price *= Decimal(SSD)
        return price * Decimal(DISCOUNT) if qty >= Decimal(MANY) else price
    return qty * Decimal(FLAT[kind])


def totals(found):
    """Return {(project, type): sum of prices} of points."""
    result: dict[tuple[str, str], Decimal] = {}
    with decimal.localcontext(prec=60):
        for point in found:
            key = (point.project, point.type)
            result[key] = result.get(key, Decimal(0)) + point.price
    return result


def total(found):
    """Return the exact sum of the prices of points, as text."""
    with decimal.localcontext(prec=60):
        return format(sum((point.price for point in found), Decimal(0)), 'f').rstrip('0').rstrip('.')


def plain(found, seed):
    """Return points as they would be if the window began at 0 and projects and resources had no ids of their own."""
    names = {project.id: number for number, project in enumerate(seed.projects)}
    return sorted(
        (point.begin - seed.begin, names[point.project], point.type, point.qty, point.price) for point in found
    )


def from_frames(frames):
    """Return the points of the answer of ``GET /v1/storage/dataframes``, sorted."""
    result = []
    for frame in frames:
        begin = _epoch(frame['begin'])
        assert _epoch(frame['end']) == begin + HOUR
        for resource in frame['resources']:
            desc = resource['desc']
            instant = datetime.datetime.fromtimestamp(begin, datetime.timezone.utc)
            calendar = {
                'year': str(instant.year),
                'month': str(instant.month),
                'day_of_the_year': str(instant.timetuple().tm_yday),
                'week_of_the_year': instant.strftime('%U'),
            }
            assert calendar.items() <= desc.items()
            rest = tuple(sorted((name, value) for name, value in desc.items() if name not in calendar))
            assert frame['tenant_id'] == desc['project_id']
            result.append(
                Point(
                    begin,
                    frame['tenant_id'],
                    resource['service'],
                    desc['id'],
                    Decimal(resource['volume']),
                    Decimal(resource['rating']),
                    rest,
                )
            )
    return sorted(result)


def _epoch(text):
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc).timestamp())
