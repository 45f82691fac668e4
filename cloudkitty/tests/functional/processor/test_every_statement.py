# SPDX-License-Identifier: Apache-2.0
"""Whatever statement a worker is killed at, what it leaves behind is made whole by the next one."""

from decimal import Decimal

import pytest

from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.tests import databases
from cloudkitty.tests import killing
from cloudkitty.tests.functional.processor import deployment
from cloudkitty.tests.functional.processor.deployment import DAY
from cloudkitty.tests.functional.processor.deployment import HOUR
from cloudkitty.tests.functional.processor.deployment import JUNE

#: How many moments CI goes on by.
STEPS = {'sqlite': 3, 'mariadb': 11, 'postgresql': 11}


class Cloud(deployment.Deployment):
    """One that can go on elsewhere from where it stands."""

    def __init__(self, url, prepare):
        super().__init__(databases.ready(url), 'a', 'b')
        prepare(self)
        self._stands_at = self.clock.now

    def move(self, url):
        self.database = engine.Database(url)
        self.clock.now = self._stands_at
        return self

    def close(self):
        self.database.dispose()


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


def check(cloud, was_killed):
    """Clocks, coverage, points and roll-ups went together, or not at all."""
    found = killing.read_rows(cloud.database, killing.CONTENT)
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


@pytest.mark.parametrize('scene', SCENES)
def test_what_is_killed_at_any_statement_is_made_whole(scene, database_kind, tmp_path):
    prepare, act = SCENES[scene]

    def read(cloud):
        found = killing.read_rows(cloud.database, killing.CONTENT)
        assert found['days'] and found['coverage']
        return found

    stage = killing.Stage(database_kind, tmp_path, lambda url: Cloud(url, prepare), Cloud.move)
    step = STEPS[database_kind]
    # Scenes begin elsewhere, so that all kinds of moments come in.
    begin = 1 + list(SCENES).index(scene) % step
    moment = killing.kill_everywhere(stage, act, read, check, begin=begin, step=step)
    assert moment > 20
    print('%s on %s: %d moments' % (scene, database_kind, moment))
