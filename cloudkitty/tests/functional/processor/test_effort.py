# SPDX-License-Identifier: Apache-2.0
"""How much a batch may cost: counted, never timed."""

import sqlalchemy

from cloudkitty.tests import samples
from cloudkitty.tests.functional.processor import deployment

HOUR = samples.HOUR


def count_commits(database):
    """Return a list that grows with every transaction of *database* that is committed."""
    commits = []
    sqlalchemy.event.listen(database.engine, 'commit', lambda connection: commits.append(1))
    return commits


def count_statements(database):
    statements = []
    sqlalchemy.event.listen(
        database.engine, 'before_cursor_execute', lambda *arguments: statements.append(arguments[2])
    )
    return statements


def test_catching_up_a_day_of_fifty_scopes_is_one_batch_one_rule_load_and_few_transactions(database):
    scope_ids = ['scope-%02d' % number for number in range(50)]
    cloud = deployment.Deployment(database, *scope_ids, types=('cpu', 'disk', 'ram', 'net'))
    cloud.limits = deployment.planner.Limits(scopes=100, cells=150000 // 40)
    cloud.worker = cloud.make_worker()
    cloud.clock.advance(23 * HOUR)
    commits = count_commits(database)
    cloud.run()
    assert len(cloud.source.batches) == 1
    assert cloud.worker._line._chains.loads == 1
    assert len(commits) <= 10
    assert len(cloud.points()) == 50 * 4 * 24


def test_statements_do_not_grow_with_scopes_and_periods(small):
    statements = count_statements(small.database)
    small.run()
    first = len(statements)
    small.fetcher.ids = ['c-%02d' % number for number in range(50)]
    small.clock.advance(deployment.DAY)
    small.run()
    assert len(small.points()) > 50 * 2 * 24
    # The two scopes that are gone are a batch of their own.
    assert len(statements) - first < 3 * first


def test_pass_without_work_asks_for_nothing(small):
    small.run()
    commits = count_commits(small.database)
    statements = count_statements(small.database)
    small.run()
    assert commits == []
    assert len(statements) < 20
    assert len(small.source.batches) == 1
