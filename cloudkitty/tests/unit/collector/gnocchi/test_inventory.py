# SPDX-License-Identifier: Apache-2.0
"""Resources and their revisions."""

import math

import pytest

from cloudkitty.collector.gnocchi import inventory
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
DAY = 24 * HOUR


def revision(begin, end=None, scope_id='p', ended=None, **attributes):
    return inventory.Revision(begin, end, scope_id, ended, attributes)


def resource(*revisions, metrics=('cpu',)):
    return inventory.Resource('a', dict.fromkeys(metrics, 'm'), list(revisions))


def test_the_revision_in_force_is_the_last_that_began_before():
    first, second = revision(JUNE, JUNE + 60, flavor='small'), revision(JUNE + 60, flavor='big')
    found = resource(first, second)
    assert found.at(JUNE + 60) is first and found.at(JUNE + 61) is second
    assert found.at(JUNE - DAY) is first
    assert found.at(JUNE + DAY, {'flavor': 'small'}) is first
    assert found.at(JUNE + DAY, {'flavor': 'none has it'}) is second
    assert found.at(JUNE + DAY, {'unread': 1, 'flavor': 'small'}) is first


def test_metrics_may_be_named_by_patterns():
    found = resource(revision(JUNE), metrics=('disk.read', 'cpu'))
    assert found.has('cpu') and found.has('disk.*') and not found.has('net.*') and not found.has('disk')
    assert inventory.is_pattern('disk.*') and not inventory.is_pattern('disk.read')


@pytest.mark.parametrize(
    ('item', 'last'),
    [
        (revision(JUNE), math.inf),
        (revision(JUNE, JUNE + 60), JUNE + 60),
        (revision(JUNE, ended=JUNE - HOUR), JUNE + DAY),
        (revision(JUNE, ended=JUNE + HOUR), JUNE + HOUR + DAY),
    ],
)
def test_how_long_a_revision_is_listed(item, last):
    assert item.last_begin == last


def test_a_resource_is_in_a_period_that_a_revision_of_the_scope_touches():
    found = resource(revision(JUNE, JUNE + 90, 'p'), revision(JUNE + 90, None, 'q'))
    begins = range(JUNE - HOUR, JUNE + 4 * HOUR, 60)
    assert [begin for begin in begins if found.is_in('p', begin, begin + 60)][-1] == JUNE + 60
    # Whatever was recorded later counts from the beginning of time, for its first owner.
    assert found.is_in('p', JUNE - DAY, JUNE - DAY + 60)
    assert [begin for begin in begins if found.is_in('q', begin, begin + 60)][0] == JUNE + 60
    assert not found.is_in('nobody', JUNE, JUNE + 60)


def test_inventories_of_two_parts_of_the_scopes_are_joined():
    first = inventory.Inventory({'a': resource(revision(JUNE, JUNE + 60, 'p'))})
    first.add(inventory.Inventory({'a': resource(revision(JUNE + 60, None, 'q'), revision(JUNE, JUNE + 60, 'p'))}))
    assert [item.scope_id for item in first.resources['a'].revisions] == ['p', 'q']
    assert first.last_begins() == {'p': JUNE + 60, 'q': math.inf}


@pytest.mark.parametrize(
    'text', ['2026-06-01T00:00:00+00:00', '2026-06-01T00:00:00', '2026-06-01T00:00:00Z', '2026-06-01T02:00:00+02:00']
)
def test_instants_are_utc_unless_they_say_otherwise(text):
    assert inventory.parse_instant(text) == JUNE


def test_parts_of_a_second_count():
    assert inventory.parse_instant('2026-06-01T00:00:00.250000+00:00') == JUNE + 0.25
