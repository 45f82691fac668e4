# SPDX-License-Identifier: Apache-2.0
"""What became of each period, as the API says it, on every server."""

import datetime

import pytest
import sqlalchemy

from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty.db import coverage as ledger
from cloudkitty.db import ledger_models
from cloudkitty.db import scope_rows
from cloudkitty.tests import samples
from cloudkitty.tests.functional.api.deployment import ask

HOUR = samples.HOUR
JUNE = samples.JUNE
DAY = 24 * HOUR
Status = coverage.Status


@pytest.fixture
def api(make_api, ready_url):
    """An empty API whose scopes are those of samples, once on every server."""
    return make_api('noauth', url=ready_url, collect='timezone = UTC\n[fetcher]\nbackend = source')


def run(scope_id, metric, first, last, status=Status.RATED, **changes):
    """Return the run of the hours ``[first, last)`` of June."""
    rule_set = samples.RULES if status is Status.RATED else None
    return coverage.Run(scope_id, metric, JUNE + first * HOUR, JUNE + last * HOUR, status, rule_set, **changes)


def rate(api, points, runs, periods, begin=JUNE, **changes):
    """Commit *periods* hours from *begin* on of the scopes of *runs*."""
    ids = sorted({item.scope_id for item in runs})
    samples.ready_states(api.database, *ids)
    states = samples.states(api.database, *ids)
    made = samples.commit(states, points, begin, periods, runs, **changes)
    assert len(api.storage.commit(made).committed) == len(ids)


def get(api, hours=72, begin=JUNE, **query):
    """Return the answer for the *hours* from *begin* on."""
    window = [period.from_epoch(second).strftime('%Y%m%dT%H%M%SZ') for second in (begin, begin + hours * HOUR)]
    path = '/v2/coverage?begin=%s&end=%s' % tuple(window)
    answer = ask(api, path + ''.join('&%s=%s' % pair for pair in query.items()))
    assert answer.status_code == 200, answer.text
    return answer.json


def in_hours(rows):
    """Return (scope, metric, first hour of June, the one after the last, status) of each of *rows*."""
    return [
        (row['scope_id'], row['type'], *(to_hour(row[word]) for word in ('begin', 'end')), row.get('status'))
        for row in rows
    ]


def to_hour(text):
    return (period.to_epoch(datetime.datetime.fromisoformat(text)) - JUNE) // HOUR


def test_every_status_is_shown_and_what_is_missing_is_counted(api):
    runs = [
        run('p', 'cpu', 0, 10),
        run('p', 'cpu', 10, 12, Status.FAILED),
        run('p', 'cpu', 12, 20, Status.EMPTY),
        run('p', 'cpu', 20, 24, Status.PROVISIONAL),
        run('p', 'ram', 0, 24, Status.UNKNOWN),
        run('p', 'net', 0, 23, Status.LOST),
        run('p', 'net', 23, 24, Status.UNRATED, altered=True),
    ]
    failures = [
        coverage.Failure('p', 'cpu', JUNE + 10 * HOUR, JUNE + DAY, 3, JUNE + 2 * DAY, 'first'),
        coverage.Failure('p', 'cpu', JUNE + 11 * HOUR, JUNE + DAY - 5, 7, JUNE + 2 * DAY + 5, 'second'),
    ]
    rate(api, [samples.columns('p', 'cpu', (JUNE,))], runs, 24, failures=failures)
    found = get(api, hours=24)
    assert in_hours(found['results']) == [
        ('p', 'cpu', 0, 10, 'rated'),
        ('p', 'cpu', 10, 12, 'failed'),
        ('p', 'cpu', 12, 20, 'empty'),
        ('p', 'cpu', 20, 24, 'provisional'),
        ('p', 'net', 0, 23, 'lost'),
        ('p', 'net', 23, 24, 'unrated'),
        ('p', 'ram', 0, 24, 'unknown'),
    ]
    first, failed = found['results'][:2]
    assert (first['rule_set'], first['altered'], first['attempts'], first['error']) == (
        samples.RULES,
        False,
        None,
        None,
    )
    assert (failed['attempts'], failed['error']) == (7, 'first')
    assert failed['since'] == '2026-06-01T23:59:55+00:00'
    assert failed['next_attempt'] == '2026-06-03T00:00:00+00:00'
    assert found['results'][5]['altered'] is True
    assert found['completeness']['statuses'] == {
        'rated': 10, 'empty': 8, 'unknown': 24, 'failed': 2, 'provisional': 4, 'unrated': 1, 'lost': 23,
    }  # fmt: skip
    assert (found['completeness']['cells'], found['completeness']['missing']) == (72, 30)
    assert found['completeness']['value'] == 42 / 72
    assert found['completeness']['missing_runs_total'] == 4
    by_period = get(api, hours=24, resolution='period', filters='status:failed')
    assert [row['error'] for row in by_period['results']] == ['first', 'second']
    assert by_period['completeness'] == found['completeness']


def test_what_was_imported_is_done(api):
    rate(api, [], [coverage.Run('p', 'cpu', JUNE, JUNE + DAY, Status.RATED, None, True)], 24)
    found = get(api, hours=24)
    assert (found['results'][0]['rule_set'], found['results'][0]['altered']) == (None, True)
    assert found['completeness']['value'] == 1


def test_what_nobody_has_rated_yet_is_pending_with_why_it_is_held(api):
    rate(api, [], [run('p', 'cpu', 0, 24), run('q', 'cpu', 0, 24)], 24)
    samples.ready_states(api.database, 'new')
    ledger.note_failures(
        api.database,
        [coverage.Failure('p', 'cpu', JUNE + DAY, JUNE + DAY + 9, 2, JUNE + 2 * DAY, 'The source is away.')],
    )
    scope_rows.change(api.database, 'q', {}, False)
    found = get(api, hours=48)
    assert in_hours(found['results']) == [
        ('new', None, 0, 48, 'pending'),
        ('p', 'cpu', 0, 24, 'rated'),
        ('p', 'cpu', 24, 48, 'pending'),
        ('q', 'cpu', 0, 24, 'rated'),
    ]
    assert (found['results'][2]['attempts'], found['results'][2]['error']) == (2, 'The source is away.')
    assert found['completeness']['missing'] == 72
    # Behind the clock the ledger is asked what the last period had.
    assert in_hours(get(api, hours=24, begin=JUNE + 5 * DAY)['results']) == [
        ('new', None, 120, 144, 'pending'),
        ('p', 'cpu', 120, 144, 'pending'),
    ]
    assert get(api, begin=JUNE - 9 * DAY, hours=24)['completeness']['value'] is None
    assert get(api, begin=JUNE + 9999 * DAY, hours=24)['completeness']['value'] is None


def test_a_scope_that_is_gone_has_nothing_pending_behind_its_last_listing(api):
    rate(api, [], [run('p', 'cpu', 0, 24)], 24)
    with api.database.writer() as session:
        session.execute(
            sqlalchemy.update(ledger_models.Guard).values(gone_since=period.from_epoch(JUNE + 25 * HOUR + 1))
        )
    assert in_hours(get(api)['results'])[1:] == [('p', 'cpu', 24, 26, 'pending')]


def test_what_has_begun_and_is_not_due_waits(api):
    now = int(datetime.datetime.now(period.UTC).timestamp()) // HOUR * HOUR
    samples.ready_states(api.database, 'p', first=now - 10 * HOUR)
    states = samples.states(api.database, 'p')
    begin = now - 10 * HOUR
    runs = [coverage.Run('p', 'cpu', begin, begin + 6 * HOUR, Status.RATED, samples.RULES)]
    api.storage.commit(samples.commit(states, [], begin, 6, coverage.join(runs)))
    found = get(api, begin=begin, hours=24)['completeness']
    # The hour may be over since.
    assert found['statuses']['rated'] == 6
    assert found['statuses']['waiting'] in (2, 3)
    assert found['cells'] in (11, 12)


def test_counts_are_those_committed(api):
    hours = range(60)
    points = [
        samples.columns('p', 'cpu', [JUNE + h * HOUR for h in hours], prices=[h % 3 for h in hours], id='a'),
        samples.columns('p', 'cpu', [JUNE + h * HOUR for h in hours if h % 7 == 0], prices=[1] * 9, id='b'),
        samples.columns('q', 'cpu', [JUNE + h * HOUR for h in hours if h % 2], id='c'),
    ]
    skipped = {('p', 'cpu', JUNE + 5 * HOUR): 4, ('q', 'cpu', JUNE + 59 * HOUR): 2}
    runs = [run('p', 'cpu', 0, 31), run('p', 'cpu', 31, 60, altered=True), run('q', 'cpu', 0, 60)]
    rate(api, points, runs, 60, skipped=skipped)
    api.storage.push(
        [
            dataframe.DataFrame(
                period.from_epoch(JUNE),
                period.from_epoch(JUNE + HOUR),
                {'cpu': [dataframe.DataPoint('u', 1, 1, {'project_id': 'p', 'id': 'pushed'}, {})]},
            )
        ]
    )
    wanted = {}
    for h in hours:
        wanted['p', h] = (1 + (h % 7 == 0), 4 if h == 5 else 0)
        wanted['q', h] = (h % 2, 2 if h == 59 else 0)
    by_period = get(api, resolution='period', limit=1000, filters='status:rated')
    assert by_period['total'] == 120
    found = {(r['scope_id'], to_hour(r['begin'])): (r['points'], r['skipped']) for r in by_period['results']}
    assert found == wanted
    for query in ({}, {'resolution': 'day'}, {'hours': 50, 'begin': JUNE + 7 * HOUR, 'resolution': 'day'}):
        rows = get(api, **{**query, 'filters': 'status:rated'})['results']
        for row in rows:
            inside = [wanted[row['scope_id'], h] for h in range(to_hour(row['begin']), to_hour(row['end']))]
            assert (row['points'], row['skipped']) == (sum(p for p, _ in inside), sum(s for _, s in inside)), row
            assert row['cells'] == len(inside)
    # Prices of 0 count as unpriced where nobody says that a rule matched.
    unpriced = {r['scope_id']: 0 for r in by_period['results']}
    for row in by_period['results']:
        unpriced[row['scope_id']] += row['unpriced']
    with api.database.reader() as session:
        stored = dict(
            session.execute(
                sqlalchemy.text(
                    'SELECT s.identifier, SUM(d.unpriced) FROM scope_days d JOIN scopes s ON s.id = d.scope_id '
                    "WHERE d.origin = 'collected' GROUP BY s.identifier"
                )
            ).all()
        )
    assert unpriced == {scope_id: int(count) for scope_id, count in stored.items()}


def test_pages_are_those_of_the_whole(api):
    runs = [run(scope_id, metric, 0, 50) for scope_id in 'pqr' for metric in ('cpu', 'ram')]
    rate(api, [samples.columns('q', 'ram', [JUNE + h * HOUR for h in range(50)])], runs, 50)
    for resolution, count in (('run', 12), ('period', 432), ('day', 18)):
        whole = get(api, resolution=resolution, limit=1000)
        assert whole['total'] == len(whole['results']) == count
        keys = [(row['scope_id'], row['type'], row['begin']) for row in whole['results']]
        assert keys == sorted(keys)
        paged = []
        for offset in range(0, count, 5):
            paged += get(api, resolution=resolution, offset=offset, limit=5)['results']
        assert paged == whole['results']


def test_names_that_a_server_minds_do_no_harm(api):
    frame = dataframe.DataFrame(
        period.from_epoch(JUNE),
        period.from_epoch(JUNE + HOUR),
        {'cpu': [dataframe.DataPoint('u', 1, 1, {'project_id': 'p\N{GRINNING FACE}'}, {})]},
    )
    api.storage.push([frame])
    rate(api, [], [run('p', 'cpu', 0, 1), run('p', 'CPU', 0, 1)], 1)
    assert get(api, hours=1)['total'] == 2
    assert get(api, hours=1, filters='type:CPU')['completeness']['cells'] == 1
    for odd in ('%F0%9F%98%80', '%00', 'p%20', '%ED%A0%80', 'x' * 300, ''):
        for word in ('project_id', 'type'):
            answer = ask(api, '/v2/coverage?begin=2026-06-01&end=2026-06-02&filters=%s:%s' % (word, odd))
            assert answer.status_code in (200, 400), answer.text


def test_a_summary_says_how_complete_its_window_is(api):
    runs = [run('p', 'cpu', 0, 23), run('p', 'cpu', 23, 24, Status.FAILED), run('q', 'cpu', 0, 24)]
    rate(api, [samples.columns('p', 'cpu', (JUNE,)), samples.columns('q', 'cpu', (JUNE,))], runs, 24)
    path = '/v2/summary?begin=2026-06-01&end=2026-06-02&completeness=true'
    found = ask(api, path).json
    assert found['results'][0][3] == 1
    assert found['completeness']['value'] == 47 / 48
    assert in_hours(found['completeness']['missing_runs']) == [('p', 'cpu', 23, 24, 'failed')]
    assert ask(api, path + '&filters=project_id:q').json['completeness']['value'] == 1
    assert ask(api, path + '&filters=type:ram').json['completeness']['value'] is None
    assert 'completeness' not in ask(api, path.replace('true', 'false')).json


def test_instants_are_those_of_the_deployments_zone(make_api, sqlite_url):
    api = make_api('noauth', url=sqlite_url, collect='timezone = Europe/Paris\n[fetcher]\nbackend = source')
    rate(api, [], [run('p', 'cpu', 0, 48)], 48)
    rows = get(api, hours=48, resolution='day')['results']
    # Days are those of UTC all the same.
    assert [row['begin'] for row in rows] == ['2026-06-01T02:00:00+02:00', '2026-06-02T02:00:00+02:00']


def test_statements_do_not_grow_with_scopes_periods_or_rows(api, statements):
    def count(**query):
        statements.clear()
        get(api, limit=1000, **query)
        return len(statements)

    rate(api, [samples.columns('p0', 'cpu', (JUNE,))], [run('p0', 'cpu', 0, 24)], 24)
    kinds = [{'resolution': word} for word in ('run', 'period', 'day')]
    few = [count(**query) for query in kinds]
    ids = ['p%d' % number for number in range(1, 60)]
    points = [samples.columns(scope_id, 'cpu', (JUNE,)) for scope_id in ids]
    runs = [run(scope_id, metric, 0, 24) for scope_id in ids for metric in ('cpu', 'ram', 'net')]
    rate(api, points, runs, 24)
    assert [count(**query) for query in kinds] == few
    assert max(few) <= 12
