# SPDX-License-Identifier: Apache-2.0
"""What reports ask of the database does not grow with what is stored, on every server."""

import collections
import datetime

import pytest

from cloudkitty import period
from cloudkitty.tests import bulk
from cloudkitty.tests import effort
from cloudkitty.tests import samples
from cloudkitty.tests.functional.api.deployment import ask

CLOUD = bulk.Cloud(scopes=12, resources=2)
OWNER = CLOUD.scope_ids[2]
JUNE = samples.JUNE // period.DAY
BEGIN, END = samples.instant(samples.JUNE), samples.instant(samples.JUNE + 30 * period.DAY)
HOURS = datetime.timedelta(hours=6)
#: The whole month; and one whose first and last day are in it only partly.
WINDOWS = [(BEGIN, END), (BEGIN + HOURS, END - HOURS)]
#: MariaDB reads the row behind a range too.
BEHIND = 1


@pytest.fixture
def api(make_api, database_url):
    """An API with a month of a cloud, once on every server."""
    api = make_api('noauth', url=database_url, collect='timezone = UTC')
    bulk.load(api.database, CLOUD, JUNE, JUNE + 30)
    return api


def summaries(api):
    """Return {name: function that asks for a summary} of reports on the month."""
    found = {}
    for number, (begin, end) in enumerate(WINDOWS):
        words = 'begin=%s&end=%s&limit=1000' % tuple(each.strftime('%Y-%m-%dT%H:%M:%SZ') for each in (begin, end))
        for name, groupby, filters in (
            ('type', 'type', '&filters=project_id:' + OWNER),
            ('resource', 'id', '&filters=project_id:' + OWNER),
            ('cloud', 'project_id', ''),
        ):
            path = '/v2/summary?%s&groupby=%s%s' % (words, groupby, filters)
            found[name, number] = lambda path=path: ask(api, path).json['total']
    old = '/v1/report/summary?begin=2026-06-01T00:00:00&end=2026-07-01T00:00:00&groupby='
    found['v1 type', 0] = lambda: len(ask(api, '%sres_type&tenant_id=%s' % (old, OWNER)).json['summary'])
    found['v1 cloud', 0] = lambda: len(ask(api, '%stenant_id&all_tenants=true' % old).json['summary'])
    return found


def measure(api):
    """Return {report: its effort}; each is asked before, for what is remembered then."""
    found = {}
    rows = {'type': CLOUD.metrics, 'resource': CLOUD.metrics * CLOUD.resources, 'cloud': CLOUD.scopes}
    for key, ask_for in summaries(api).items():
        assert ask_for() == rows[key[0].removeprefix('v1 ')]
        with effort.note() as noted:
            ask_for()
        found[key] = effort.measure(api.database, noted)
    return found


def most_rows(api, name):
    """Return {table: how many rows a report may read of it}, roll-ups together."""
    owners, days = (CLOUD.scopes, CLOUD.scopes * 90) if 'cloud' in name else (1, 90)
    if name == 'resource':
        each = CLOUD.metrics * CLOUD.resources
        return {'scopes': owners, 'series': each, 'rated_days': each * 30}
    # The longest frame of all; no day has frames that end after it.
    return {
        'frame_lengths': 1,
        'crossed_midnights': 0,
        'scopes': owners,
        'roll-ups': days + (BEHIND if owners > 1 and api.database.dialect == 'mysql' else 0),
    }


def rows_read(found):
    result = collections.Counter()
    for table, count in found.read.items():
        result['roll-ups' if table in ('scope_days', 'scope_months') else table] += count
    return result


def test_reports_on_a_month_read_what_they_are_about_and_nothing_of_other_months(api):
    before = measure(api)
    bulk.load(api.database, CLOUD, JUNE + 30, JUNE + 61)
    bulk.load(api.database, CLOUD, JUNE - 31, JUNE)
    after = measure(api)
    for (name, number), found in after.items():
        label = (name, number, before[name, number], found)
        assert found.statements <= 4, label
        assert (found.statements, found.fetched) == (before[name, number].statements, before[name, number].fetched)
        for effort_ in (before[name, number], found):
            most = most_rows(api, name)
            for table, count in rows_read(effort_).items():
                assert count <= most[table], (table, label)
    # The month's own sums, of which none is told apart that was not asked for, and the scopes' ids.
    assert after['type', 0].fetched == CLOUD.metrics + 1
    assert after['cloud', 0].fetched == CLOUD.scopes * 2
    # Version 1 wants what ends in the month, and needs no more for it than the longest frame.
    assert after['v1 type', 0].fetched == after['type', 0].fetched + 1
    assert after['v1 cloud', 0].fetched == after['cloud', 0].fetched + 1
