# SPDX-License-Identifier: Apache-2.0
"""Rating past periods once more, on real databases."""

import contextlib
import dataclasses
from decimal import Decimal
import re
import threading
import time

import pytest
import sqlalchemy

from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import reprocessing
from cloudkitty.db import coverage as ledger
from cloudkitty.db import models as tables
from cloudkitty.db import reprocessings
from cloudkitty.db import scope_rows
from cloudkitty.processor import tidy
from cloudkitty.rating.pyscripts import store
from cloudkitty.storage import base as storage_base
from cloudkitty.storage import reset
from cloudkitty.storage.sqlalchemy import driver as v2
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import driver as v1
from cloudkitty.tests import fakes
from cloudkitty.tests import samples
from cloudkitty.tests.functional.processor import deployment
from cloudkitty.tests.functional.processor import test_scripts

HOUR = samples.HOUR
JUNE = samples.JUNE
Status = coverage.Status


def rated(found, hours=6):
    """Return the deployment *found* after it has rated *hours*."""
    found.run(hours=hours)
    return found


def history(database):
    """Return the rows of the history."""
    with database.reader() as session:
        return list(session.scalars(sqlalchemy.select(models.RatedHistory).order_by(models.RatedHistory.id)))


def coverages(database):
    return ledger.list_runs(database)


def test_periods_are_rated_once_more_both_ends_included(cloud):
    rated(cloud)
    before = cloud.points()
    cloud.source.quantities['a', 'cpu'] = 10
    cloud.schedule(1, 3, 'a')
    cloud.make_reprocessor().run_pass()
    assert cloud.points() == [
        (hour, scope_id, name, Decimal(10), Decimal(20))
        if scope_id == 'a' and name == 'cpu' and 1 <= hour <= 3
        else (hour, scope_id, name, qty, price)
        for hour, scope_id, name, qty, price in before
    ]
    (task,) = cloud.tasks()
    assert (task.status, task.current) == (reprocessing.Status.FINISHED, JUNE + 3 * HOUR)
    assert cloud.clock_of('a') == 6
    assert cloud.total('type')[('cpu',)] == 3 * 20 + 4 * 2 + 7 * 2


def test_one_period_is_enough(small):
    rated(small).source.quantities['a',] = 3
    small.schedule(2, 2, 'a')
    small.make_reprocessor().run_pass()
    assert [hour for hour, scope_id, _, qty, _ in small.points() if qty == 3] == [2, 2]


def test_all_active_scopes_are_taken(cloud):
    rated(cloud)
    cloud.set_cost('cpu', 4)
    cloud.schedule(0, 5)
    cloud.source.batches.clear()
    cloud.make_reprocessor().run_pass()
    assert {scope_id: cloud.bill(scope_id) for scope_id in 'ab'} == dict.fromkeys('ab', 6 * 7 + 5)
    assert [(batch.scope_ids, batch.count) for batch in cloud.source.batches] == [(('a', 'b'), 6)]


def test_what_was_replaced_goes_to_the_history(cloud):
    rated(cloud)
    cloud.source.quantities['a', 'cpu'] = 10
    cloud.schedule(1, 3, 'a', reason='price list fixed')
    cloud.make_reprocessor().run_pass()
    (task,) = cloud.tasks()
    rows = history(cloud.database)
    assert {(row.cause, row.who, row.task_id) for row in rows} == {('reprocessing: price list fixed', 'me', task.id)}
    # What was taken out, and nothing of the rest of the day.
    assert [(row.points, row.price) for row in rows] == [(3, 6), (3, 9)]


def test_no_history_is_kept_where_nobody_wants_it(small):
    small.driver_class = lambda database, length: deployment.driver.SQLAlchemyStorage(
        database, length, keeps_history=False
    )
    rated(small).schedule(1, 3, 'a')
    small.make_reprocessor().run_pass()
    assert small.tasks()[0].is_finished
    assert history(small.database) == []


def test_old_history_is_forgotten(small):
    rated(small).schedule(1, 3, 'a')
    small.make_reprocessor().run_pass()
    with small.database.writer() as session:
        session.execute(sqlalchemy.update(models.RatedHistory).values(at=samples.instant(JUNE)))
    (first, *_) = history(small.database)
    with small.database.writer() as session:
        session.execute(
            sqlalchemy.update(models.RatedHistory)
            .where(models.RatedHistory.id != first.id)
            .values(at=samples.instant(JUNE + 5 * HOUR))
        )
    clean = tidy.Tidy(small.storage, period.to_epoch(small.clock()) - JUNE - HOUR, small.clock)
    clean()
    assert first.id not in {row.id for row in history(small.database)}
    assert len(history(small.database)) == 1


def test_re_rating_asks_no_source(cloud):
    rated(cloud)
    cloud.set_cost('cpu', 5)
    cloud.schedule(0, 3, 'a', recollect=False)
    cloud.source.batches.clear()
    cloud.source.quantities[()] = 100
    cloud.make_reprocessor().run_pass()
    assert cloud.source.batches == []
    assert cloud.bill('a') == 4 * (5 + 3) + 3 * (2 + 3)
    assert cloud.bill('b') == 7 * 5
    (task,) = cloud.tasks()
    assert (task.status, task.recollect, task.current) == (reprocessing.Status.FINISHED, False, JUNE + 3 * HOUR)
    assert {row.cause for row in history(cloud.database)} == {'re-rating: why'}


def test_older_release_leaves_re_rating_and_cancelled_tasks_alone(small):
    rated(small).schedule(0, 3, 'a', recollect=False)
    small.schedule(0, 3, 'b')
    reprocessings.cancel(small.database, ['b'])
    with small.database.reader() as session:
        rows = session.scalars(sqlalchemy.select(tables.ReprocessingSchedule)).all()
    assert all(row.current_reprocess_time == row.end_reprocess_time for row in rows)
    assert [task.scope_id for task in reprocessings.list_unfinished(small.database)] == ['a']


def test_schedule_of_an_older_release_is_worked_on(cloud):
    rated(cloud)
    cloud.set_cost('cpu', 4)
    with cloud.database.writer() as session:
        session.add(
            tables.ReprocessingSchedule(
                identifier='a',
                start_reprocess_time=period.to_naive(samples.instant(JUNE)),
                end_reprocess_time=period.to_naive(samples.instant(JUNE + 3 * HOUR)),
                current_reprocess_time=period.to_naive(samples.instant(JUNE + HOUR)),
                reason='old',
            )
        )
    cloud.make_reprocessor().run_pass()
    assert cloud.bill('a') == 5 * 5 + 2 * 7
    assert cloud.tasks()[0].is_finished


def test_transient_failure_keeps_the_old_figures_and_is_tried_again(small):
    rated(small)
    before = small.points()
    small.set_cost('cpu', 4)
    small.source.fail('a', 'cpu', JUNE + 2 * HOUR)
    small.schedule(0, 3, 'a')
    worker = small.make_reprocessor()
    worker.run_pass()
    (task,) = small.tasks()
    assert (task.status, task.current, task.trouble.error) == (reprocessing.Status.WAITING, JUNE + HOUR, 'HTTP 503')
    assert [point for point in small.points() if point[0] >= 2] == [point for point in before if point[0] >= 2]
    small.source.troubles.clear()
    worker.run_pass()
    assert small.tasks()[0].status is reprocessing.Status.WAITING
    small.clock.advance(60)
    worker.run_pass()
    (task,) = small.tasks()
    assert (task.status, task.trouble) == (reprocessing.Status.FINISHED, None)
    assert small.bill('a') == 4 * 7 + 3 * 5


def test_what_the_source_never_gives_stays_and_is_listed(small):
    rated(small)
    small.set_cost('disk', 5)
    small.source.fail('a', 'cpu')
    small.schedule(0, 3, 'a')
    worker = small.make_reprocessor()
    for _ in range(8):
        worker.run_pass()
        small.clock.advance(HOUR)
    (task,) = small.tasks()
    assert task.status is reprocessing.Status.FINISHED
    assert reprocessings.list_kept(small.database, [task.id], 10) == {
        task.id: [reprocessing.Kept('cpu', JUNE, JUNE + 4 * HOUR, 'HTTP 503')]
    }
    assert small.bill('a') == 4 * (2 + 5) + 3 * (2 + 3)
    assert small.statuses('a', 'cpu') == ['rated'] * 7


def test_permanent_refusal_is_not_waited_for(small):
    rated(small).source.fail('a', 'cpu', error='HTTP 400', permanent=True)
    small.schedule(0, 3, 'a')
    small.make_reprocessor().run_pass()
    (task,) = small.tasks()
    assert task.is_finished
    assert [kept.error for kept in reprocessings.list_kept(small.database, [task.id], 10)[task.id]] == ['HTTP 400']


def test_source_that_has_nothing_any_more_takes_nothing_away(small):
    before = rated(small).points()
    small.source.quantities['a',] = None
    small.schedule(0, 3, 'a')
    small.make_reprocessor().run_pass()
    (task,) = small.tasks()
    assert (task.is_finished, small.points()) == (True, before)
    assert [(kept.metric, kept.error) for kept in reprocessings.list_kept(small.database, [task.id], 10)[task.id]] == [
        ('cpu', 'The source has nothing of it any more.'),
        ('disk', 'The source has nothing of it any more.'),
    ]


def test_metric_that_is_gone_while_others_are_there_goes(small):
    rated(small).source.quantities['a', 'cpu'] = None
    small.schedule(0, 3, 'a')
    small.make_reprocessor().run_pass()
    assert small.statuses('a', 'cpu') == ['empty'] * 4 + ['rated'] * 3
    assert small.bill('a') == 4 * 3 + 3 * 5


def test_failed_cells_are_mended_on_the_way(small):
    small.source.fail('a', 'cpu')
    rated(small, 9)
    assert 'failed' in small.statuses('a', 'cpu')
    small.source.troubles.clear()
    last = small.clock_of('a')
    small.schedule(0, last, 'a')
    small.make_reprocessor().run_pass()
    assert small.statuses('a', 'cpu') == ['rated'] * (last + 1)
    assert small.failures(begin=JUNE, end=JUNE + last * HOUR) == []


def test_part_of_a_batch_goes_on(small):
    rated(small).source.part = (1, 2)
    small.set_cost('cpu', 4)
    small.schedule(0, 4)
    small.make_reprocessor().run_pass()
    assert all(task.is_finished for task in small.tasks())
    assert small.bill('a') == small.bill('b') == 5 * 7 + 2 * 5


def test_cancelled_task_drops_what_is_in_hand(cloud):
    before = rated(cloud).points()
    cloud.source.quantities['a',] = 9
    cloud.schedule(0, 3, 'a')
    cloud.source.before = lambda batch: reprocessings.cancel(cloud.database, ['a'])
    cloud.make_reprocessor().run_pass()
    (task,) = cloud.tasks()
    assert (task.status, task.current, cloud.points()) == (reprocessing.Status.CANCELLED, None, before)
    cloud.schedule(0, 3, 'a')


def test_cancelled_task_keeps_what_is_done(small):
    rated(small).set_cost('cpu', 4)
    small.limits = deployment.planner.Limits(scopes=1, cells=2)
    small.schedule(0, 3, 'a')
    steps = iter([lambda: None, lambda: reprocessings.cancel(small.database, ['a'])])
    small.source.before = lambda batch: next(steps)()
    small.make_reprocessor().run_pass()
    (task,) = small.tasks()
    assert (task.status, task.current) == (reprocessing.Status.CANCELLED, JUNE + HOUR)
    assert small.bill('a') == 2 * 7 + 5 * 5


def test_reset_in_between_ends_what_is_rated_anew_anyway(small):
    rated(small)
    small.limits = deployment.planner.Limits(scopes=1, cells=2)
    small.schedule(0, 5, 'a')
    steps = iter([lambda: None, lambda: set_back(small, 'a', 2), lambda: None])
    small.source.before = lambda batch: next(steps)()
    worker = small.make_reprocessor()
    for _ in range(2):
        worker.run_pass()
        small.clock.advance(60)
    (task,) = small.tasks()
    assert task.is_finished
    assert [hour for hour, scope_id, *_ in small.points() if scope_id == 'a'] == [0, 0, 1, 1, 2, 2]
    small.source.before = lambda batch: None
    small.run()
    assert small.bill('a') == 7 * 5


def set_back(found, scope_id, hour):
    reset.reset(found.database, found.storage, [found.state(scope_id).scope], samples.instant(JUNE + hour * HOUR), HOUR)


def test_inactive_scope_waits(small):
    rated(small).schedule(0, 3, 'a')
    small.set_cost('cpu', 4)
    scope_rows.change(small.database, 'a', {}, False)
    small.make_reprocessor().run_pass()
    assert small.tasks()[0].status is reprocessing.Status.SCHEDULED
    scope_rows.change(small.database, 'a', {}, True)
    small.make_reprocessor().run_pass()
    assert small.tasks()[0].is_finished


def test_live_rating_goes_first(small):
    rated(small)
    small.limits = deployment.planner.Limits(scopes=1, cells=1)
    small.clock.advance(2 * HOUR)
    small.schedule(0, 3, 'a')
    worker = small.make_reprocessor()
    worker.run_pass()
    assert small.tasks()[0].current == JUNE
    worker.run_pass()
    assert small.tasks()[0].current == JUNE
    small.run()
    worker.run_pass()
    assert small.tasks()[0].is_finished


def test_what_is_no_whole_period_is_not_touched(cloud):
    rated(cloud)
    with cloud.database.writer() as session:
        session.execute(sqlalchemy.text("UPDATE rated_days SET body = REPLACE(body, '3600', '7200')"))
    before = cloud.points()
    cloud.schedule(1, 2, 'a')
    cloud.make_reprocessor().run_pass()
    (task,) = cloud.tasks()
    assert task.status is reprocessing.Status.CANCELLED
    assert 'not of one period of 3600 s' in task.trouble.error
    assert cloud.points() == before


def test_two_workers_do_each_period_once(cloud):
    rated(cloud).source.quantities['a',] = 2
    cloud.limits = deployment.planner.Limits(scopes=1, cells=1)
    cloud.schedule(0, 5)
    threads = [threading.Thread(target=cloud.make_reprocessor().run_pass) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cloud.make_reprocessor().run_pass()
    assert all(task.is_finished for task in cloud.tasks())
    assert cloud.bill('a') == 6 * 10 + 5
    assert cloud.bill('b') == 7 * 5
    assert sum(row.points for row in history(cloud.database)) == 2 * 2 * 6


@pytest.mark.parametrize(
    'first, last, ids, text',
    [
        (0, 7, ['a'], 'end_reprocess_time: scope a is rated up to'),
        (0.5, 2, ['a'], 'Around them are 2026-06-01T00:00:00+00:00 and 2026-06-01T02:00:00+00:00'),
        (0.5, 0.7, ['a'], 'Around them are 2026-06-01T00:00:00+00:00 and 2026-06-01T01:00:00+00:00'),
        (0, 2, ['a', 'c', 'd'], 'scope_ids: c, d are no active scopes'),
        (0, 2, ['b'], 'scope b is reprocessed from'),
        (3, 5, ['b'], 'scope b is reprocessed from'),
        (0, 2, None, 'scope b is reprocessed from'),
    ],
)
def test_what_cannot_be_scheduled_is_refused_as_a_whole(small, first, last, ids, text):
    rated(small).schedule(2, 3, 'b')
    with pytest.raises(errors.BadRequest, match=re.escape(text)):
        small.schedule(first, last, *(ids or ()))
    assert len(small.tasks()) == 1


def test_periods_of_a_shifted_grid(sqlite):
    zone = period.UTC
    found = deployment.Deployment(sqlite, 'a', zone=zone)
    found.clock.advance(1800)
    rated(found)
    state = found.state('a')
    set_clock(found, state, JUNE + 5 * HOUR + 1800)
    with pytest.raises(errors.BadRequest, match='of scope a, which are 3600 seconds long'):
        found.schedule(1, 2, 'a')
    found.schedule(1.5, 2.5, 'a')


def set_clock(found, state, second):
    with found.database.writer() as session:
        deployment.scopes.set_clocks(session, {state.scope: samples.instant(second)})


def test_overlapping_requests_at_the_same_time_make_one_task(cloud):
    rated(cloud)
    outcomes = []

    def ask():
        try:
            cloud.schedule(0, 3)
            outcomes.append('made')
        except errors.BadRequest:
            outcomes.append('refused')

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ['made'] + ['refused'] * 3
    assert len(cloud.tasks()) == 2


@pytest.mark.parametrize('after', [False, True], ids=['before the commit', 'after the commit'])
@pytest.mark.parametrize('recollect', [True, False], ids=['collected', 'stored'])
def test_kill_at_any_transaction_leaves_old_or_new_figures(sqlite, monkeypatch, after, recollect):
    found = rated(deployment.Deployment(sqlite, 'a', 'b'), 12)
    found.limits = deployment.planner.Limits(scopes=1, cells=2)
    found.set_cost('cpu', 4)
    found.schedule(0, 11, recollect=recollect)
    repeat = type(sqlite).repeat
    countdown = [0]

    def killing_repeat(self, function, attempts=10, once=False):
        countdown[0] -= 1
        if not countdown[0] and not after:
            with self.writer() as session:
                function(session)
                raise Killed
        result = repeat(self, function, attempts, once)
        if not countdown[0]:
            raise Killed
        return result

    monkeypatch.setattr(type(sqlite), 'repeat', killing_repeat)
    deaths = 0
    while not all(task.is_finished for task in found.tasks()):
        countdown[0] = 1 + deaths % 7
        with contextlib.suppress(Killed):
            found.make_reprocessor().run_pass()
        deaths += 1
        assert deaths < 100
        hours = {(hour, scope_id): 0 for hour in range(13) for scope_id in 'ab'}
        for hour, scope_id, name, _, price in found.points():
            assert price in {'cpu': (2, 4), 'disk': (3,)}[name]
            hours[hour, scope_id] += price
        assert set(hours.values()) <= {5, 7}
        assert sum(hours.values()) == found.bill('a') + found.bill('b')
    assert deaths > 4
    assert found.bill('a') == found.bill('b') == 12 * 7 + 5


class Killed(BaseException):
    """What no handler may catch: as if the process had gone."""


def test_altered_periods_are_collected_again_for_re_rating(sqlite):
    found = test_scripts.make(sqlite, 'a', source='for point in data["usage"]["cpu"]:\n    point["vol"]["qty"] *= 2')
    rated(found, 3)
    before = found.points()
    assert before[0][3:] == (2, 2)
    found.schedule(0, 1, 'a', recollect=False)
    found.source.batches.clear()
    found.set_cost('disk', 5)
    found.make_reprocessor().run_pass()
    assert [batch.count for batch in found.source.batches] == [2]
    assert found.tasks()[0].is_finished
    # The script has doubled what the source says, not what was stored.
    assert [point[3] for point in found.points() if point[2] == 'cpu'] == [2] * 4
    assert [point[4] for point in found.points() if point[2] == 'disk'] == [5, 5, 3, 3]
    found.source.quantities['a',] = None
    found.schedule(2, 3, 'a', recollect=False)
    found.make_reprocessor().run_pass()
    (_, task) = found.tasks()
    kept = reprocessings.list_kept(found.database, [task.id], 10)[task.id]
    assert {(item.metric, item.error) for item in kept} == {
        (name, 'The source has nothing of it any more.') for name in ('cpu', 'disk')
    }
    assert [point[4] for point in found.points() if point[2] == 'disk'] == [5, 5, 3, 3]


def test_failing_script_takes_no_price_away(sqlite):
    found = test_scripts.make(sqlite, 'a', source='pass')
    rated(found, 3)
    before = found.points()
    test_scripts.add(sqlite, 'bad', '1 / 0')
    for recollect in (True, False):
        found.schedule(0, 3, 'a', recollect=recollect)
        found.make_reprocessor().run_pass()
        assert found.points() == before
        task = found.tasks()[-1]
        kept = reprocessings.list_kept(found.database, [task.id], 10)[task.id]
        assert task.is_finished
        assert 'ZeroDivisionError' in kept[0].error
        assert found.statuses('a', 'cpu') == ['rated'] * 4


def test_unrated_cells_are_priced(sqlite):
    found = test_scripts.make(sqlite, 'a', source='1 / 0')
    rated(found, 3)
    assert found.statuses('a', 'cpu') == ['unrated'] * 4
    deployment.rating_modules.set_enabled(sqlite, 'pyscripts', False)
    found.schedule(0, 3, 'a', recollect=False)
    found.make_reprocessor().run_pass()
    assert (found.bill('a'), found.statuses('a', 'cpu'), found.failures()) == (4 * 5, ['rated'] * 4, [])


def test_provisional_cells_stay_so_when_they_are_re_rated(small):
    small.source.fail('a', 'cpu', status=Status.PROVISIONAL)
    rated(small, 3)
    small.set_cost('cpu', 4)
    small.schedule(0, 3, 'a', recollect=False)
    small.make_reprocessor().run_pass()
    assert small.bill('a') == 4 * 7
    assert small.statuses('a', 'cpu') == ['provisional'] * 4
    assert len(small.failures()) == 4


def test_skipped_points_are_collected_again(sqlite):
    found = test_scripts.make(sqlite, 'a', expression='datapoint["rating"]["price"] == 2')
    rated(found, 3)
    assert [point[2] for point in found.points()] == ['disk'] * 4
    found.set_cost('cpu', 4)
    found.schedule(0, 3, 'a', recollect=False)
    found.make_reprocessor().run_pass()
    assert found.bill('a') == 4 * 7


@pytest.mark.parametrize('scope_id', ['\U0001f600', 'a\0', '\ud800', 'A', 'a ', 'x' * 300])
def test_odd_ids_are_nobodys(cloud, scope_id):
    rated(cloud, 1).schedule(0, 1, 'a')
    assert cloud.tasks(scope_id) == []
    assert reprocessings.cancel(cloud.database, [scope_id]) == []
    with pytest.raises(errors.BadRequest):
        cloud.schedule(0, 1, scope_id)
    with pytest.raises(errors.ScopeNotFound):
        scope_rows.change(cloud.database, scope_id, {}, False)


def test_table_of_old_is_reprocessed_too(database):
    found = rated(deployment.Deployment(database, 'a', 'b', driver_class=v1.SQLAlchemyStorage), 3)
    found.source.quantities['a', 'cpu'] = 10
    found.schedule(1, 2, 'a')
    found.make_reprocessor().run_pass()
    assert found.tasks()[0].is_finished
    assert found.bill('a') == 4 * 3 + 2 * 2 + 2 * 20
    assert len(found.points()) == 16
    # Rows are rounded: nothing is rated again from them.
    found.set_cost('cpu', 3)
    found.schedule(0, 0, 'a', recollect=False)
    found.source.batches.clear()
    found.make_reprocessor().run_pass()
    assert len(found.source.batches) == 1
    assert found.bill('a') == 4 * 3 + 1 * 2 + 2 * 20 + 1 * 30


def kept_of(found, task):
    return reprocessings.list_kept(found.database, [task.id], 100).get(task.id, [])


def make_legacy(found, first, last):
    """Make the schedule of an older release."""
    with found.database.writer() as session:
        session.add(
            tables.ReprocessingSchedule(
                identifier='a',
                start_reprocess_time=period.to_naive(samples.instant(JUNE + first * HOUR)),
                end_reprocess_time=period.to_naive(samples.instant(JUNE + last * HOUR)),
                reason='old',
            )
        )


def test_task_of_an_older_release_that_a_reset_overtook_is_in_nobodys_way(cloud):
    rated(cloud)
    make_legacy(cloud, 3, 5)
    set_back(cloud, 'a', 1)
    cloud.schedule(0, 3, 'b')
    cloud.make_reprocessor().run_pass()
    (old, other) = cloud.tasks()
    assert (old.status, other.status) == (reprocessing.Status.CANCELLED, reprocessing.Status.FINISHED)
    assert 'set back' in old.trouble.error


def test_cancel_while_a_commit_waits_for_the_task(cloud, monkeypatch):
    if cloud.database.dialect == 'sqlite':
        pytest.skip('Writers queue there.')
    rated(cloud).set_cost('cpu', 4)
    cloud.limits = deployment.planner.Limits(scopes=1, cells=1)
    cloud.schedule(0, 3, 'a', recollect=False)
    before = cloud.bill('a')
    real = reprocessings._lock
    is_held, is_wanted = threading.Event(), threading.Event()

    def lock(session, ids):
        if threading.current_thread().name != 'canceller':
            is_wanted.set()
            return real(session, ids)
        found = real(session, ids)
        is_held.set()
        is_wanted.wait(20)
        time.sleep(0.5)
        return found

    monkeypatch.setattr(reprocessings, '_lock', lock)
    canceller = threading.Thread(name='canceller', target=reprocessings.cancel, args=(cloud.database, ['a']))
    canceller.start()
    is_held.wait(20)
    cloud.make_reprocessor().run_pass()
    canceller.join()
    assert (cloud.bill('a'), cloud.tasks()[0].status) == (before, reprocessing.Status.CANCELLED)
    assert reprocessings.list_unfinished(cloud.database) == []


def store_long(found, first, hours):
    """Have hours of scope a be one long period."""
    length, begin = hours * HOUR, JUNE + first * HOUR
    set_back(found, 'a', 0)
    columns = [
        dataclasses.replace(samples.columns('a', name, (begin,), prices=(100,), id='r'), length=length)
        for name in ('cpu', 'disk')
    ]
    runs = [coverage.Run('a', name, begin, begin + length, Status.RATED, 'x' * 32) for name in ('cpu', 'disk')]
    change = storage_base.Change(found.state('a'), begin, begin + length)
    assert found.storage.commit(storage_base.Commit(length, [change], columns, runs)).committed
    set_clock(found, found.state('a'), begin + length - HOUR)


@pytest.mark.parametrize(
    'first, hours, start, end', [(1, 5, 3, 3), (1, 5, 1, 1), (1, 5, 0, 5), (1, 5, 5, 5), (20, 10, 25, 29)]
)
@pytest.mark.parametrize('driver_class', [v2.SQLAlchemyStorage, v1.SQLAlchemyStorage], ids=['v2', 'v1'])
def test_longer_periods_are_not_cut_and_not_doubled(sqlite, driver_class, first, hours, start, end):
    found = rated(deployment.Deployment(sqlite, 'a', driver_class=driver_class))
    store_long(found, first, hours)
    before = found.points()
    found.schedule(start, end, 'a')
    found.make_reprocessor().run_pass()
    (task,) = found.tasks()
    assert (task.status, found.points()) == (reprocessing.Status.CANCELLED, before)
    assert 'period by period' in task.trouble.error


def test_period_that_was_changed_ends_what_is_left(small):
    rated(small, 12).schedule(10, 12, 'a')
    set_clock(small, small.state('a'), JUNE + HOUR)
    worker = small.make_reprocessor()
    worker._schedule = deployment.planner.Schedule(12 * HOUR, 2)
    worker.run_pass()
    (task,) = small.tasks()
    assert (task.status, task.current) == (reprocessing.Status.CANCELLED, None)
    assert 'periods of 43200 s' in task.trouble.error


DOUBLING = 'for point in data["usage"].get("cpu", []):\n    point["vol"]["qty"] *= 2'


def test_re_rating_of_an_altered_period_loses_no_metric(sqlite):
    found = rated(test_scripts.make(sqlite, 'a', source=DOUBLING), 3)
    before = found.points()
    found.source.quantities['a', 'cpu'] = None
    found.schedule(0, 1, 'a', recollect=False)
    found.make_reprocessor().run_pass()
    (task,) = found.tasks()
    assert (task.is_finished, found.points()) == (True, before)
    assert {kept.error for kept in kept_of(found, task)} == {'The source no longer has metric cpu.'}


ADDING = (
    'import copy\np = copy.deepcopy(data["usage"]["cpu"][0])\np["rating"]["price"] = 50\ndata["usage"]["fee"] = [p]'
)


def test_what_a_script_adds_is_added_again_or_stays(sqlite):
    found = rated(test_scripts.make(sqlite, 'a', source=ADDING), 3)
    found.set_cost('disk', 7)
    found.schedule(0, 1, 'a', recollect=False)
    found.make_reprocessor().run_pass()
    assert found.bill('a') == 2 * (2 + 7 + 50) + 2 * (2 + 3 + 50)
    # Without the script nobody can tell what it was.
    deployment.rating_modules.set_enabled(sqlite, 'pyscripts', False)
    before = found.points()
    found.schedule(2, 3, 'a', recollect=False)
    found.make_reprocessor().run_pass()
    assert {kept.error for kept in kept_of(found, found.tasks()[-1])} == {'The source no longer has metric fee.'}
    assert found.points() == before
    # Collected again, it is what it is without.
    found.clock.advance(60)
    found.schedule(2, 3, 'a')
    found.make_reprocessor().run_pass()
    assert found.bill('a') == 2 * (2 + 7 + 50) + 2 * (2 + 7)


@pytest.mark.parametrize('source', [None, DOUBLING], ids=['rules', 'script'])
def test_what_is_collected_again_is_what_the_metrics_of_today_make_of_it(sqlite, source):
    found = rated(test_scripts.make(sqlite, 'a', source=source), 3)
    found.metrics = fakes.make_metrics('cpu', 'disk2')
    found.schedule(0, 1, 'a')
    found.make_reprocessor().run_pass()
    assert found.statuses('a', 'disk') == ['empty'] * 2 + ['rated'] * 2
    assert found.statuses('a', 'disk2') == ['rated'] * 2
    assert sum(row.points for row in history(sqlite)) == 4


def test_stored_quantities_of_a_metric_of_old_are_priced(small):
    rated(small, 3).set_cost('disk', 7)
    small.metrics = fakes.make_metrics('cpu')
    small.schedule(0, 1, 'a', recollect=False)
    small.make_reprocessor().run_pass()
    assert small.bill('a') == 2 * (2 + 7) + 2 * (2 + 3)


def test_metric_that_a_script_takes_away_is_gone_either_way(sqlite):
    found = rated(test_scripts.make(sqlite, 'a', source='pass'), 3)
    test_scripts.add(sqlite, 'away', 'data["usage"].pop("cpu", None)')
    found.schedule(0, 1, 'a', recollect=False)
    found.schedule(2, 3, 'a', recollect=True)
    worker = found.make_reprocessor()
    worker.run_pass()
    found.clock.advance(60)
    worker.run_pass()
    assert all(task.is_finished for task in found.tasks())
    assert {point[2] for point in found.points()} == {'disk'}
    assert found.statuses('a', 'cpu') == ['empty'] * 4


def test_one_scope_that_cannot_be_done_is_in_nobodys_way(small):
    rated(small)
    owner = small.state('b').guard_id
    with small.database.writer() as session:
        session.execute(
            sqlalchemy.text("UPDATE rated_days SET body = REPLACE(body, '3600', '7200') WHERE scope_id = %d" % owner)
        )
    small.set_cost('cpu', 4)
    small.schedule(0, 3)
    worker = small.make_reprocessor()
    for _ in range(4):
        worker.run_pass()
        small.clock.advance(60)
    assert [task.status.value for task in small.tasks()] == ['finished', 'cancelled']
    assert small.bill('a') == 4 * 7 + 3 * 5


def test_scope_that_always_moves_is_not_collected_over_and_over(small):
    rated(small).schedule(0, 3, 'a')
    worker = small.make_reprocessor()

    def move(batch):
        with small.database.writer() as session:
            deployment.scopes.advance(session, [small.state('a').guard_id])

    small.source.before = move
    small.source.batches.clear()
    for _ in range(3):
        worker.run_pass()
    assert [batch.count for batch in small.source.batches] == [4, 4, 1]


def test_each_period_is_waited_for_by_itself(small):
    rated(small).source.fail('a', 'cpu', JUNE)
    small.schedule(0, 3, 'a')
    worker = small.make_reprocessor()
    worker.run_pass()
    small.clock.advance(5 * HOUR)
    small.run()
    small.source.troubles.clear()
    small.source.fail('a', 'cpu', JUNE + HOUR)
    worker.run_pass()
    small.clock.advance(HOUR + 60)
    small.run()
    worker.run_pass()
    (task,) = small.tasks()
    assert (task.status, kept_of(small, task)) == (reprocessing.Status.WAITING, [])


def test_source_is_waited_for_from_its_own_failure_on(small):
    rated(small).schedule(0, 3, 'a')
    worker = small.make_reprocessor()

    def fail(batch):
        raise RuntimeError('something else')

    small.source.before = fail
    for _ in range(8):
        worker.run_pass()
        small.clock.advance(HOUR)
        small.clock.advance(60)
    assert 'something else' in small.tasks()[0].trouble.error
    small.source.before = lambda batch: None
    small.source.fail('a')
    worker.run_pass()
    assert small.tasks()[0].status is reprocessing.Status.WAITING


def test_task_that_waits_lets_others_of_its_scope_pass(small):
    rated(small).source.fail('a', 'cpu', JUNE)
    small.schedule(0, 1, 'a', reason='one')
    small.schedule(3, 4, 'a', reason='two')
    worker = small.make_reprocessor()
    worker.run_pass()
    worker.run_pass()
    assert [task.status.value for task in small.tasks()] == ['waiting', 'finished']


def test_stored_quantities_are_read_some_at_a_time(small):
    rated(small).schedule(0, 5, 'a', recollect=False)
    small.most_points = 4
    sizes = []
    read = v2.SQLAlchemyStorage.quantities

    class Storage(v2.SQLAlchemyStorage):
        def quantities(self, *arguments, **options):
            found = read(self, *arguments, **options)
            sizes.append(sum(len(item.begins) for item in found))
            return found

    small.driver_class = Storage
    small.make_reprocessor().run_pass()
    assert small.tasks()[0].is_finished
    assert sizes == [4, 4, 4]


@pytest.mark.parametrize('cells', [1, 100])
def test_result_does_not_depend_on_the_shape_of_batches(sqlite, cells):
    found = test_scripts.make(sqlite, 'a', source='pass')
    store.delete_script(sqlite, found.script.id, 'somebody', test_scripts.NOW, period.UTC)
    rated(found, 5)
    late = store.ScriptRequest('late', DOUBLING, samples.instant(JUNE + 3 * HOUR))
    store.create_script(sqlite, late, 'somebody', test_scripts.NOW, period.UTC)
    found.set_cost('disk', 10)
    found.limits = deployment.planner.Limits(scopes=1, cells=cells)
    found.source.fail('a', 'cpu', JUNE, permanent=True)
    found.schedule(0, 5, 'a')
    found.make_reprocessor().run_pass()
    # Disk of the first hour does not depend on the script of the fourth.
    assert found.bill('a') == 6 * 10 + 6 * 2


def test_failed_cells_of_a_forgotten_period_stay_failed(small):
    small.source.fail('a', 'cpu')
    rated(small, 10)
    small.source.troubles.clear()
    small.source.quantities['a',] = None
    small.schedule(0, 1, 'a')
    small.make_reprocessor().run_pass()
    assert small.statuses('a', 'cpu')[:2] == ['failed'] * 2
    assert len(small.failures(begin=JUNE, end=JUNE + 2 * HOUR)) == 2


def test_what_a_task_leaves_is_one_stretch_over_its_steps(small):
    rated(small).source.fail('a', 'cpu', error='HTTP 400', permanent=True)
    small.limits = deployment.planner.Limits(scopes=1, cells=1)
    small.schedule(0, 3, 'a')
    small.make_reprocessor().run_pass()
    assert kept_of(small, small.tasks()[0]) == [reprocessing.Kept('cpu', JUNE, JUNE + 4 * HOUR, 'HTTP 400')]


def test_long_actors_are_kept(cloud):
    rated(cloud)
    reprocessings.schedule(
        cloud.database, cloud.identity, ['a'], samples.instant(JUNE), samples.instant(JUNE), HOUR, 'why', 'x' * 400
    )
    cloud.make_reprocessor().run_pass()
    assert cloud.tasks()[0].actor == 'x' * 400
    assert {row.who for row in history(cloud.database)} == {'x' * 255}


def test_error_of_a_database_shows_no_statement(small):
    rated(small).schedule(0, 3, 'a')

    def fail(batch):
        with small.database.writer() as session:
            session.execute(sqlalchemy.text("INSERT INTO scopes VALUES (1000, 'a', 0, 0, NULL)"))

    small.source.before = fail
    small.make_reprocessor().run_pass()
    assert small.tasks()[0].trouble.error == 'The database says: UNIQUE constraint failed: scopes.identifier'
