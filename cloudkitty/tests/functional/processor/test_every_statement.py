# SPDX-License-Identifier: Apache-2.0
"""Whatever statement a process is killed at, what it leaves behind is made whole by the next one.

Nothing is sampled: a child process is killed before its first statement, before its second, and so on, and before every
COMMIT, until one gets through. In CI the servers leave moments out; ``CLOUDKITTY_EVERY=1`` in the environment has all
of them.
"""

import contextlib
from decimal import Decimal
import os
import shutil
import signal

import pytest
import sqlalchemy

from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.tests import databases
from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional.processor import deployment
from cloudkitty.tests.functional.processor.deployment import DAY
from cloudkitty.tests.functional.processor.deployment import HOUR
from cloudkitty.tests.functional.processor.deployment import JUNE

EVERY = os.environ.get('CLOUDKITTY_EVERY')
#: How many moments CI goes on by.
STEPS = {'sqlite': 3, 'mariadb': 11, 'postgresql': 11}
#: What is compared: rows without the ids that servers give, and without what tells how often something was tried.
CONTENT = {
    'clocks': 'SELECT identifier, last_processed_timestamp, active FROM cloudkitty_storage_states',
    'guards': 'SELECT identifier, epoch, gone_since FROM scopes',
    'series': 'SELECT s.identifier, fingerprint FROM series JOIN scopes s ON s.id = scope_id',
    'days': 'SELECT s.identifier, fingerprint, day, qty, price, points, body FROM rated_days d '
    'JOIN series ON series.id = d.series_id JOIN scopes s ON s.id = d.scope_id',
    'scope days': 'SELECT s.identifier, metric, origin, day, qty, price, points, unpriced, skipped, body '
    'FROM scope_days JOIN scopes s ON s.id = scope_id',
    'scope months': 'SELECT s.identifier, metric, origin, month, qty, price, points, unpriced, skipped '
    'FROM scope_months JOIN scopes s ON s.id = scope_id',
    'coverage': 'SELECT s.identifier, metric, %s, %s, status, rule_set IS NULL, altered '
    'FROM coverage JOIN scopes s ON s.id = scope_id',
    'troubles': 'SELECT s.identifier, metric, %s, since FROM coverage_failures JOIN scopes s ON s.id = scope_id',
    'history': 'SELECT s.identifier, fingerprint, day, qty, price, points, body, cause FROM rated_history d '
    'JOIN series ON series.id = d.series_id JOIN scopes s ON s.id = d.scope_id',
}


def first_periods(cloud):
    cloud.clock.advance(3 * HOUR)
    cloud.make_worker().run_pass()


def rated(cloud):
    cloud.run(hours=3)


def next_period(cloud):
    cloud.clock.advance(HOUR)
    cloud.make_worker().run_pass()


def with_a_hole(cloud):
    cloud.source.fail('b', 'disk', JUNE + HOUR, permanent=True)
    cloud.run(hours=3)
    cloud.source.troubles.clear()


def mend(cloud):
    cloud.clock.advance(DAY)
    worker = cloud.make_worker()
    worker.run_pass()
    worker.run_pass()


def dearer(cloud):
    cloud.run(hours=3)
    cloud.set_cost('cpu', 4)
    cloud.schedule(0, 3)


def dearer_by_what_is_stored(cloud):
    cloud.run(hours=3)
    cloud.set_cost('cpu', 4)
    cloud.schedule(0, 3, recollect=False)


def reprocess(cloud):
    worker = cloud.make_reprocessor()
    worker.run_pass()
    worker.run_pass()
    assert all(task.is_finished for task in cloud.tasks())


def nothing(cloud):
    pass


SCENES = {
    'first periods': (nothing, first_periods),
    'the next period': (rated, next_period),
    'repair': (with_a_hole, mend),
    'reprocessing': (dearer, reprocess),
    're-rating': (dearer_by_what_is_stored, reprocess),
}


class Axe:
    """Ends this process before statement or COMMIT number *moment* of it."""

    def __init__(self, moment):
        self._left = moment
        sqlalchemy.event.listen(sqlalchemy.Engine, 'before_cursor_execute', self._fall)
        sqlalchemy.event.listen(sqlalchemy.Engine, 'commit', self._fall)

    def _fall(self, *args):
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


def is_killed(act, cloud, moment):
    """Let a child *act* until it is killed; return whether it was."""
    # Nobody else may use a connection of ours.
    cloud.database.dispose()
    child = os.fork()
    if not child:
        try:
            Axe(moment)
            act(cloud)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def content(database):
    quote = database.engine.dialect.identifier_preparer.quote
    names = quote('begin'), quote('end')
    with database.engine.connect() as connection:
        return {
            name: sorted(
                tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
                for row in connection.exec_driver_sql(query % names[: query.count('%s')])
            )
            for name, query in CONTENT.items()
        }


def check(cloud):
    """Clocks, coverage, points and roll-ups went together, or not at all."""
    found = content(cloud.database)
    ends = {}
    for scope_id, _, _, end, *_ in found['coverage']:
        ends[scope_id] = max(end, ends.get(scope_id, 0))
    states = scopes.list_states(cloud.database, cloud.identity)
    clocks = {state.scope.id: period.to_epoch(state.last_processed) + HOUR for state in states}
    assert ends == {scope_id: clocks[scope_id] for scope_id in ends}
    sums = [{}, {}, {}]
    for result, name in zip(sums, ('days', 'scope days', 'scope months'), strict=True):
        for row in found[name]:
            (scope_id, _, *rest) = row
            price, points = rest[3:5] if name != 'days' else rest[2:4]
            before = result.get(scope_id, (Decimal(0), 0))
            result[scope_id] = before[0] + Decimal(price), before[1] + int(points)
    assert sums[0] == sums[1] == sums[2]


class Stage:
    """Deployments at the same state, each on a database of its own.

    :param prepare: brings a deployment there.
    """

    def __init__(self, kind, directory, prepare):
        self._kind = kind
        self._directory = directory
        self._prepare = prepare
        self._made = 0
        if kind == 'sqlite':
            # Files are copied.
            self._original = directory / 'original.sqlite'
            self._cloud = self._make('sqlite:///%s' % self._original)
            self._cloud.database.dispose()
            self._now = self._cloud.clock.now
        else:
            conftest.require(conftest.SERVERS[kind][1], kind)

    @contextlib.contextmanager
    def deployment(self):
        if self._kind == 'sqlite':
            self._made += 1
            path = shutil.copy(self._original, self._directory / ('%d.sqlite' % self._made))
            self._cloud.database = engine.Database('sqlite:///%s' % path)
            self._cloud.clock.now = self._now
            yield self._cloud
            self._cloud.database.dispose()
            path.unlink()
            return
        with databases.lend(conftest.SERVERS[self._kind][0]) as url:
            cloud = self._make(url)
            yield cloud
            cloud.database.dispose()

    def _make(self, url):
        cloud = deployment.Deployment(databases.ready(url), 'a', 'b')
        self._prepare(cloud)
        return cloud


@pytest.mark.parametrize('scene', SCENES)
def test_what_is_killed_at_any_statement_is_made_whole(scene, database_kind, tmp_path):
    prepare, act = SCENES[scene]
    step = 1 if EVERY else STEPS[database_kind]
    stage = Stage(database_kind, tmp_path, prepare)
    with stage.deployment() as cloud:
        act(cloud)
        expected = content(cloud.database)
    assert expected['days'] and expected['coverage']
    # Scenes begin elsewhere, so that all kinds of moments come in.
    moment = 1 if EVERY else 1 + list(SCENES).index(scene) % step
    while True:
        with stage.deployment() as cloud:
            was_killed = is_killed(act, cloud, moment)
            check(cloud)
            if was_killed:
                act(cloud)
            assert content(cloud.database) == expected, 'killed at moment %d' % moment
        if not was_killed:
            break
        moment += step
    assert moment > 20
    print('%s on %s: %d moments' % (scene, database_kind, moment))
