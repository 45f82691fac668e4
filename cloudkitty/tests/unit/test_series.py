# SPDX-License-Identifier: Apache-2.0
import dataclasses
import datetime
from decimal import Decimal
import zoneinfo

import pytest

from cloudkitty import series

BASE = series.Series('p', 'cpu', 'instance', {'id': 'a'}, {'vcpus': 16}, 'text')


@pytest.mark.parametrize(
    'change',
    [
        {'scope_id': 'q'},
        {'metric': 'ram'},
        {'unit': 'MiB'},
        {'groupby': {'id': 'b'}},
        {'groupby': {'id': 'a', 'user': None}},
        {'metadata': {'vcpus': 16.0}},
        {'metadata': {'vcpus': '16'}},
        {'metadata': {'vcpus': None}},
        {'metadata': {}},
        {'description': None},
        {'origin': series.Origin.PUSHED},
        {'groupby': {}, 'metadata': {'vcpus': 16, 'id': 'a'}},
    ],
)
def test_every_member_and_its_type_tells_series_apart(change):
    assert dataclasses.replace(BASE, **change).fingerprint != BASE.fingerprint


def test_the_order_of_attributes_does_not():
    one = dataclasses.replace(BASE, groupby={'a': 1, 'b': 2})
    other = dataclasses.replace(BASE, groupby={'b': 2, 'a': 1})
    assert one == other and hash(one) == hash(other)
    assert len(one.fingerprint) == 16


def test_text_cannot_imitate_another_member():
    one = series.Series('a', 'b"', '', {}, {})
    other = series.Series('a', 'b', '"', {}, {})
    assert one.fingerprint != other.fingerprint


def test_canonical_text_keeps_types():
    assert series.canonical({'b': Decimal('1.5'), 'a': Decimal(2)}) == '{"a":2,"b":1.5}'


@pytest.mark.parametrize(
    'instant, zone, expected',
    [
        ('2026-01-01T00:00', 'UTC', ('00', '1', '1', '2026')),
        ('2026-01-04T00:00', 'UTC', ('01', '4', '1', '2026')),
        ('2026-12-31T23:30', 'Europe/Paris', ('00', '1', '1', '2027')),
    ],
)
def test_calendar_attributes_are_local(instant, zone, expected):
    begin = datetime.datetime.fromisoformat(instant).replace(tzinfo=datetime.timezone.utc)
    assert tuple(series.calendar(begin, zoneinfo.ZoneInfo(zone)).values()) == expected
