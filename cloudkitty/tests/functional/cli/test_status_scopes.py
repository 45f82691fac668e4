# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-status scopes`` and ``cloudkitty-status coverage``, on every server."""

import datetime
import json
from types import SimpleNamespace

import pytest

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty.cli import months
from cloudkitty.cli import scopes as listing
from cloudkitty.db import coverage as ledger
from cloudkitty.db import scope_rows
from cloudkitty.db import scopes
from cloudkitty.storage import purge
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
DAY = period.DAY
Status = coverage.Status


def make_conf(**command):
    given = {'scope_id': None, 'format': 'table', 'month': '2026-06', 'incomplete': False} | command
    return SimpleNamespace(
        collect=SimpleNamespace(
            scope_key='project_id', collector='gnocchi', period=HOUR, wait_periods=2, timezone='UTC'
        ),
        fetcher=SimpleNamespace(backend='source'),
        command=SimpleNamespace(**given),
    )


@pytest.fixture
def filled(database):
    """Scopes p and q that are rated for a day; of q two hours failed."""
    states = samples.ready_states(database, 'p', 'q')
    begins = tuple(range(JUNE, JUNE + DAY, HOUR))
    failed = JUNE + 3 * HOUR, JUNE + 5 * HOUR
    runs = [
        coverage.Run('p', 'cpu', JUNE, JUNE + DAY, Status.RATED, samples.RULES),
        coverage.Run('q', 'cpu', JUNE, failed[0], Status.RATED, samples.RULES),
        coverage.Run('q', 'cpu', *failed, Status.FAILED),
        coverage.Run('q', 'cpu', failed[1], JUNE + DAY, Status.EMPTY),
    ]
    points = [samples.columns('p', begins=begins), samples.columns('q', begins=begins[:3])]
    driver.SQLAlchemyStorage(database).commit(samples.commit(states, points, periods=24, runs=runs))
    ledger.note_failures(
        database,
        [coverage.Failure('q', 'cpu', second, second, 3, second, 'It said\nno.') for second in failed],
    )
    return database


def test_scopes_with_lag_and_last_error(filled):
    other = scopes.Identity('project_id', 'source', 'prometheus')
    scopes.ensure(filled, ['other'], other, samples.instant(JUNE), HOUR)
    samples.ready_states(filled, 'off')
    scope_rows.change(filled, 'off', {}, False)
    now = samples.instant(JUNE + DAY + 5 * HOUR + 1)
    found = {item['scope_id']: item for item in listing.list_scopes(make_conf(), filled, now)}
    assert {name: (item['state'], item['lag_seconds']) for name, item in found.items()} == {
        'p': ('rated', 3 * HOUR),
        'q': ('rated', 3 * HOUR),
        'off': ('inactive', None),
        'other': ('other', None),
    }
    assert found['p']['last_error'] is None
    assert found['p']['last_period'] == {'begin': '2026-06-01T23:00:00+00:00', 'end': '2026-06-02T00:00:00+00:00'}
    assert found['q']['last_error']['begin'] == '2026-06-01T05:00:00+00:00'
    assert listing._to_row(found['q'])[1:] == ['rated', '2026-06-01T23:00:00+00:00', '3:00:00', 'cpu: It said no.']
    assert [item['scope_id'] for item in listing.list_scopes(make_conf(), filled, now, ['q', 'x', 'y '])] == ['q']


def test_a_month_by_scope_and_metric(filled):
    end = samples.instant(JUNE + DAY)
    found = months.measure(make_conf(), filled, samples.instant(JUNE), end, end + datetime.timedelta(days=1))
    assert (found['cells'], found['missing'], found['purged']) == (48, 2, None)
    assert [(row['scope_id'], row['type'], row['statuses'], row.get('first_missing')) for row in found['rows']] == [
        ('p', 'cpu', {'rated': 24}, None),
        ('q', 'cpu', {'rated': 3, 'empty': 19, 'failed': 2}, '2026-06-01T03:00:00+00:00'),
    ]


def test_a_month_in_print(filled, capsys):
    months.show(make_conf(incomplete=True, scope_id=['q']), filled)
    said = capsys.readouterr().out
    assert '| q     | cpu ' in said
    assert '2026-06-01T00:00:00+00:00 to 2026-07-01T00:00:00+00:00: ' in said
    months.show(make_conf(format='json'), filled)
    assert len(json.loads(capsys.readouterr().out)['rows']) == 2


def test_a_month_that_was_purged_says_so(filled, capsys):
    list(purge.purge(filled, JUNE + DAY, HOUR))
    months.show(make_conf(month='2026-05'), filled)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        '2026-05-01T00:00:00+00:00 to 2026-06-01T00:00:00+00:00: nothing is known of it.',
        'Data of 2 scopes was purged, up to 2026-06-02T00:00:00+00:00 at the latest.',
    ]
