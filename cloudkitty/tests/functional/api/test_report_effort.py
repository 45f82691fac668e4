# SPDX-License-Identifier: Apache-2.0
"""What reports ask of the database does not grow with what is stored, on every server."""

import datetime

import pytest

from cloudkitty import period
from cloudkitty.tests import bulk
from cloudkitty.tests import effort
from cloudkitty.tests import samples
from cloudkitty.tests.functional.api.deployment import ask

CLOUD = bulk.Cloud(scopes=6, resources=4)
OWNER = CLOUD.scope_ids[2]
JUNE = samples.JUNE // period.DAY
BEGIN, END = samples.instant(samples.JUNE), samples.instant(samples.JUNE + 30 * period.DAY)
HOURS = datetime.timedelta(hours=6)
#: The whole month; and one whose first and last day are in it only partly.
WINDOWS = [(BEGIN, END), (BEGIN + HOURS, END - HOURS)]
ROLL_UPS = ('scope_days', 'scope_months')


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


def test_reports_on_a_month_read_what_they_are_about_and_nothing_of_other_months(api):
    before = measure(api)
    days, series = CLOUD.metrics * 30, CLOUD.metrics * CLOUD.resources
    for (name, number), found in before.items():
        label = (name, number, found)
        assert found.statements <= 4, label
        if api.database.dialect == 'sqlite':
            continue
        owners = CLOUD.scopes if 'cloud' in name else 1
        assert found.read.pop('scopes') <= owners, label
        if name == 'resource':
            assert found.read.pop('series') == series, label
            assert found.read.pop('rated_days') == series * 30, label
        else:
            assert sum(found.read.pop(table, 0) for table in ROLL_UPS) <= owners * days, label
            if name in ('type', 'cloud') and number == 0:
                assert found.fetched <= owners * (CLOUD.metrics + 1), label
        assert not found.read, label
    bulk.load(api.database, CLOUD, JUNE + 30, JUNE + 61)
    bulk.load(api.database, CLOUD, JUNE - 31, JUNE)
    again = measure(api)
    for key, found in again.items():
        assert (found.statements, found.fetched) == (before[key].statements, before[key].fetched), key
        read = {**found.read}
        owners = CLOUD.scopes if 'cloud' in key[0] else 1
        most = series * 30 if key[0] == 'resource' else owners * days
        assert sum(read.get(table, 0) for table in (*ROLL_UPS, 'rated_days')) <= most, (key, found)
