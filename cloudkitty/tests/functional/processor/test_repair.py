# SPDX-License-Identifier: Apache-2.0
"""Holding, moving on and mending, on real databases."""

import contextlib
import dataclasses
import logging

import pytest
import sqlalchemy

from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import rating
from cloudkitty.db import coverage as ledger
from cloudkitty.db import rating_modules
from cloudkitty.db import scope_rows
from cloudkitty.db import scopes
from cloudkitty.processor import partition
from cloudkitty.processor import repair
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.tests import samples
from cloudkitty.tests.functional.processor import deployment

HOUR = samples.HOUR
JUNE = samples.JUNE
DAY = deployment.DAY
Status = coverage.Status


def test_period_that_is_reprocessed_before_its_repair_has_one_rule_set(small, monkeypatch):
    small.source.fail('a', 'disk', JUNE + HOUR, permanent=True)
    small.run(hours=3)
    small.source.troubles.clear()
    small.set_cost('cpu', 7)
    small.clock.advance(DAY)
    other = small.make_reprocessor()
    mender = small.worker._mender
    refresh = mender._refresh

    def reprocess_before(states, ids):
        monkeypatch.undo()
        # The way in which the cell is to be mended is chosen; now what it was chosen by is priced anew.
        small.source.fail('a', 'disk', JUNE + HOUR, permanent=True)
        small.schedule(0, 3, 'a')
        while not all(task.is_finished for task in small.tasks()):
            other.run_pass()
        small.source.troubles.clear()
        return refresh(states, ids)

    monkeypatch.setattr(mender, '_refresh', reprocess_before)
    small.run()
    small.clock.advance(DAY)
    small.run()
    small.run()
    assert small.statuses('a', 'disk')[:4] == ['rated'] * 4
    found = {}
    for item in ledger.list_runs(small.database, ['a'], JUNE, JUNE + 4 * HOUR):
        for begin in range(item.begin, min(item.end, JUNE + 4 * HOUR), HOUR):
            found.setdefault(begin, set()).add(item.rule_set)
    assert [len(used) for used in found.values()] == [1] * 4


def test_cell_of_a_period_that_is_not_over_is_not_mended(small):
    # A host whose clock goes far ahead moved on without it.
    small.source.fail('a', 'cpu', permanent=True)
    small.clock.advance(4 * DAY)
    small.run()
    small.source.troubles.clear()
    small.clock.advance(-3 * DAY)
    ledger.note_failures(small.database, [dataclasses.replace(failure, next_attempt=0) for failure in small.failures()])
    small.run()
    # It is 02:00:01 of the second day.
    assert min(failure.begin for failure in small.failures()) == JUNE + 26 * HOUR
    small.clock.advance(4 * DAY)
    small.run()
    assert small.failures() == []


def test_transient_failure_holds_its_scope_only(small):
    small.source.fail('a')
    small.run(hours=3)
    assert (small.clock_of('a'), small.clock_of('b')) == (-1, 3)
    assert small.statuses('a', 'cpu') == []
    small.source.troubles.clear()
    small.run(hours=1)
    assert (small.clock_of('a'), small.bill('a'), small.failures()) == (4, 25, [])


def test_held_scope_is_tried_again_with_growing_pauses(small):
    small.source.fail('a')
    asked = []
    small.source.before = lambda batch: 'a' in batch.scope_ids and asked.append(small.clock() - start)
    start = small.clock()
    for _ in range(100):
        small.worker.run_pass()
        small.clock.advance(60)
    assert [delay.seconds // 60 for delay in asked] == [0, 1, 3, 7, 15, 31, 63]


def test_scope_moves_on_when_the_hold_is_over_and_falls_no_further_behind(small):
    small.source.fail('a', 'cpu')
    small.run(hours=6)
    assert small.clock_of('a') == -1
    behind = []
    for _ in range(10):
        small.run(hours=1)
        behind.append(small.clock_of('b') - small.clock_of('a'))
    assert behind == [6] * 10
    assert small.statuses('a', 'cpu') == ['failed'] * 11
    assert small.statuses('a', 'disk') == ['rated'] * 11
    assert small.bill('a') == 11 * 3


def test_catching_up_past_a_metric_that_always_fails_takes_one_hold(small):
    small.clock.advance(20 * DAY)
    small.source.fail('a', 'cpu')
    small.run()
    assert small.clock_of('a') == -1
    small.clock.advance(6 * HOUR)
    small.run()
    assert small.clock_of('a') == 20 * 24


def test_source_that_fails_for_everybody_is_waited_for_until_the_hold_is_over(small):
    small.source.fail()
    small.run(hours=6)
    assert (small.clock_of('a'), small.clock_of('b')) == (-1, -1)
    small.run(hours=1)
    # What was asked for at the first attempt.
    assert (small.clock_of('a'), small.clock_of('b')) == (1, 1)


def test_permanent_failure_never_holds(small, caplog):
    small.source.fail('a', 'cpu', error='no aggregate "rate:max"', permanent=True)
    small.run(hours=2)
    assert small.clock_of('a') == 2
    assert small.statuses('a', 'cpu') == ['failed'] * 3
    assert len([record for record in caplog.records if 'rate:max' in record.getMessage()]) == 1


def test_unknown_metric_is_no_trouble(small, caplog):
    small.source.fail('a', 'cpu', status=Status.UNKNOWN, error='no such resource type')
    small.run(hours=2)
    assert (small.clock_of('a'), small.failures()) == (2, [])
    assert small.statuses('a', 'cpu') == ['unknown'] * 3
    assert small.bill('a') == 9
    assert len([record for record in caplog.records if 'no such resource type' in record.getMessage()]) == 1


def test_empty_cells_are_empty(small):
    small.source.quantities['a', 'cpu'] = None
    small.run()
    assert small.statuses('a', 'cpu') == ['empty']


def fail_and_move_on(cloud, *cell, **options):
    """Have a cell fail until its scope has moved on."""
    cloud.source.fail(*cell, **options)
    cloud.run(hours=8)
    cloud.source.troubles.clear()


def test_failed_cells_are_repaired_with_the_rules_of_their_period(cloud):
    fail_and_move_on(cloud, 'a', 'cpu', JUNE)
    assert cloud.statuses('a', 'cpu')[0] == 'failed'
    cloud.set_cost('cpu', 100)
    cloud.run(hours=1)
    assert cloud.statuses('a', 'cpu') == ['rated'] * 10
    assert (0, 'a', 'cpu', 1, 2) in cloud.points()
    assert cloud.bill('a') == 10 * 3 + 9 * 2 + 100
    assert cloud.failures() == []
    first = ledger.list_runs(cloud.database, ['a'], end=JUNE + HOUR)
    assert len({run.rule_set for run in first}) == 1


def test_failed_cell_alone_in_its_period_is_repaired_with_the_rules_of_today(sqlite):
    cloud = deployment.Deployment(sqlite, 'a', types=('cpu',))
    fail_and_move_on(cloud, 'a', 'cpu', JUNE)
    cloud.set_cost('cpu', 100)
    cloud.run(hours=1)
    assert cloud.points()[0] == (0, 'a', 'cpu', 1, 100)


def test_repair_that_fails_again_waits_longer(small):
    fail_and_move_on(small, 'a', 'cpu', JUNE)
    small.source.fail('a', 'cpu', JUNE)
    before = small.failures()[0]
    small.run(hours=3)
    after = small.failures()[0]
    assert after.since == before.since
    assert after.attempts > before.attempts
    assert after.next_attempt > before.next_attempt
    assert small.statuses('a', 'cpu')[0] == 'failed'


def test_repaired_cell_may_turn_out_empty_or_unknown(small):
    fail_and_move_on(small, 'a', 'cpu', JUNE)
    small.source.quantities['a', 'cpu', JUNE] = None
    small.run(hours=1)
    assert small.statuses('a', 'cpu')[0] == 'empty'
    assert small.failures() == []


def test_repair_does_not_touch_inactive_scopes(small):
    fail_and_move_on(small, 'a', 'cpu', JUNE)
    scope_rows.change(small.database, 'a', {}, False)
    small.run(hours=2)
    assert len(small.failures()) == 1


def test_cells_that_wait_before_the_clock_never_starve_repair(small, monkeypatch):
    monkeypatch.setattr(repair, 'ROUND', 3)
    fail_and_move_on(small, 'b', 'cpu', JUNE)
    # The other scope waits a long time before, with more open troubles than a round mends.
    scopes.ensure(small.database, ['0'], small.identity, samples.instant(JUNE - 50 * HOUR), HOUR)
    small.fetcher.ids.append('0')
    small.source.fail('0')
    small.run(hours=1)
    assert len(small.failures(scope_ids=['0'])) > 50
    assert small.failures(scope_ids=['b']) == []
    assert small.statuses('b', 'cpu')[0] == 'rated'


def test_rounds_of_repair_follow_one_another_until_all_is_mended(small, monkeypatch):
    monkeypatch.setattr(repair, 'ROUND', 2)
    small.source.fail('a', 'disk')
    small.run(hours=12)
    small.source.troubles.clear()
    small.clock.advance(HOUR)
    passes = 1
    while small.worker.run_pass() == small.worker.MENDING_SLEEP:
        passes += 1
    assert passes > 2
    assert small.failures() == []
    assert set(small.statuses('a', 'disk')) == {'rated'}


def test_metric_that_left_the_file_does_not_starve_repair_and_is_lost_in_time(small, monkeypatch, caplog):
    monkeypatch.setattr(repair, 'ROUND', 2)
    small.source.fail('a', 'disk')
    small.source.fail('b', 'cpu')
    small.run(hours=8)
    small.source.troubles.clear()
    small.metrics = small.metrics[:1]
    small.worker = small.make_worker()
    small.run(hours=8)
    assert set(small.statuses('b', 'cpu')) == {'rated'}
    assert small.statuses('a', 'disk')[0] == 'failed'
    small.clock.advance(deployment.WINDOW)
    small.run(hours=4)
    assert set(small.statuses('a', 'disk')) == {'lost'}
    assert small.failures() == []


def test_lost_cells_are_an_error_once(cloud, caplog):
    fail_and_move_on(cloud, 'a', 'cpu', JUNE)
    cloud.source.fail('a', 'cpu', JUNE)
    cloud.clock.advance(deployment.WINDOW)
    cloud.run(hours=3)
    assert cloud.statuses('a', 'cpu')[0] == 'lost'
    found = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in found] == [
        '2026-06-01 00:00:00+00:00 to 2026-06-01 01:00:00+00:00: metrics cpu of 1 scopes are lost: '
        'the source did not give them in time'
    ]
    assert cloud.failures() == []


def test_clock_that_somebody_moved_past_a_held_cell_does_not_have_it_billed(small):
    small.source.fail('a')
    small.run()
    assert small.failures()
    with small.database.writer() as session:
        guards = scopes.guard_ids(session, ['a'])
        scopes.lock(session, guards.values())
        scopes.set_clocks(session, {small.state('a').scope: samples.instant(JUNE + 5 * HOUR)})
        scopes.advance(session, guards.values())
    small.source.troubles.clear()
    small.run(hours=1)
    assert small.failures() == []
    assert small.bill('a') == 0


def test_provisional_points_are_billed_and_replaced(cloud):
    cloud.source.fail('a', 'cpu', JUNE, status=Status.PROVISIONAL, error='backlog')
    cloud.run()
    assert (cloud.statuses('a', 'cpu'), cloud.bill('a')) == (['provisional'], 5)
    cloud.source.quantities['a', 'cpu', JUNE] = 7
    cloud.run(hours=1)
    assert cloud.statuses('a', 'cpu') == ['provisional', 'rated']
    assert cloud.bill('a') == 7 * 2 + 3 + 5
    cloud.source.troubles.clear()
    cloud.source.quantities['a', 'cpu', JUNE] = 8
    cloud.run(hours=1)
    assert cloud.statuses('a', 'cpu') == ['rated'] * 3
    assert cloud.bill('a') == 8 * 2 + 3 + 2 * 5
    assert cloud.failures() == []


@pytest.mark.parametrize('answer', ['failed', 'nothing'])
def test_provisional_points_stay_when_the_source_has_them_no_more(small, answer):
    small.source.fail('a', 'cpu', JUNE, status=Status.PROVISIONAL, error='backlog')
    small.run()
    small.source.troubles.clear()
    if answer == 'failed':
        small.source.fail('a', 'cpu', JUNE)
    else:
        small.source.quantities['a', 'cpu', JUNE] = None
    small.run(hours=1)
    assert (0, 'a', 'cpu', 1, 2) in small.points()
    assert small.statuses('a', 'cpu') == ['provisional', 'rated']
    assert small.failures()[0].attempts == 2


def test_price_too_large_is_unrated_until_the_rules_change(cloud):
    cloud.set_cost('cpu', 10**11)
    cloud.source.quantities['a', 'cpu', JUNE] = 10**20
    cloud.run()
    assert cloud.statuses('a', 'cpu') == ['unrated']
    assert cloud.bill('a') == 3
    assert [item.error for item in cloud.failures()] == ['A price is too large to be stored.']
    cloud.run(hours=1)
    assert cloud.statuses('a', 'cpu') == ['unrated', 'rated']
    cloud.set_cost('cpu', 1)
    # No time passes: the change itself makes it due.
    cloud.run()
    assert cloud.statuses('a', 'cpu') == ['rated', 'rated']
    assert (0, 'a', 'cpu', 10**20, 10**20) in cloud.points()
    assert cloud.failures() == []


def test_unrated_cell_that_cannot_be_priced_yet_is_not_written_again(small):
    small.set_cost('cpu', 10**11)
    small.source.quantities['a', 'cpu', JUNE] = 10**20
    small.run()
    epoch, attempts = small.state('a').epoch, small.failures()[0].attempts
    small.clock.advance(120)
    small.run()
    assert small.state('a').epoch == epoch
    assert small.failures()[0].attempts == attempts + 1


def test_unrated_cells_of_a_metric_that_left_the_file_are_priced(small):
    small.set_cost('cpu', 10**11)
    small.source.quantities['a', 'cpu', JUNE] = 10**20
    small.run()
    small.metrics = small.metrics[1:]
    small.set_cost('cpu', 1)
    small.worker = small.make_worker()
    small.run()
    assert small.statuses('a', 'cpu') == ['rated']


def test_repair_ends_when_something_is_due(small):
    small.source.fail('a', 'cpu', JUNE)
    small.source.fail('b', 'cpu', JUNE + 2 * HOUR)
    small.run(hours=10)
    small.source.troubles.clear()
    small.source.batches.clear()
    small.clock.advance(HOUR)
    small.worker._mend_share()
    assert len(small.source.batches) == 1


class OnlyB(partition.Everything):
    """Somebody else has all but *b*, and makes nothing of it."""

    @contextlib.contextmanager
    def claim(self, scope_ids):
        yield frozenset(scope_ids) & {'b'}


def test_scopes_that_somebody_else_does_not_get_on_with_end_no_repair(small):
    small.worker = small.make_worker(share=OnlyB())
    small.source.fail('b', 'cpu', JUNE)
    small.source.fail('b', 'disk', JUNE + 2 * HOUR)
    small.run(hours=10)
    small.source.troubles.clear()
    small.run(hours=1)
    assert small.clock_of('a') == -1
    assert small.failures() == []


def test_scope_that_moves_while_it_is_mended_is_mended_next_time(small):
    fail_and_move_on(small, 'a', 'cpu', JUNE)

    def disturb(batch):
        small.source.before = lambda batch: None
        with small.database.writer() as session:
            scopes.advance(session, scopes.guard_ids(session, ['a']).values())

    small.source.before = disturb
    small.clock.advance(HOUR)
    small.worker._mend_share()
    assert small.statuses('a', 'cpu')[0] == 'failed'
    small.clock.advance(2 * HOUR)
    small.run()
    assert small.statuses('a', 'cpu')[0] == 'rated'
    assert small.bill('a') == 5 * (small.clock_of('a') + 1)


def test_job_that_raises_keeps_no_other_from_being_mended(small, caplog):
    small.source.fail('a', 'cpu', JUNE)
    small.source.fail('b', 'disk', JUNE)
    small.run(hours=8)
    small.source.troubles.clear()

    def fail(batch):
        if batch.scope_ids == ('a',) and batch.begin == JUNE:
            raise ZeroDivisionError('a bug')

    small.source.before = fail
    small.run(hours=1)
    assert small.statuses('b', 'disk')[0] == 'rated'
    assert [item.error for item in small.failures()] == ['ZeroDivisionError: a bug']
    assert 'could not be repaired' in caplog.text


def test_metric_that_comes_back_is_repaired_at_once(small):
    fail_and_move_on(small, 'a', 'disk', JUNE)
    metrics = small.metrics
    small.metrics = metrics[:1]
    small.worker = small.make_worker()
    small.run(hours=1)
    assert small.failures()[0].next_attempt > small.failures()[0].since + deployment.WINDOW
    small.metrics = metrics
    small.worker = small.make_worker()
    small.run()
    assert small.statuses('a', 'disk')[0] == 'rated'


def test_replaced_points_go_to_the_history(small):
    small.source.fail('a', 'cpu', JUNE, status=Status.PROVISIONAL, error='backlog')
    small.run()
    small.source.troubles.clear()
    small.source.quantities['a', 'cpu', JUNE] = 9
    small.run(hours=1)
    with small.database.reader() as session:
        found = session.execute(sqlalchemy.select(models.RatedHistory.cause, models.RatedHistory.qty)).all()
    # What was mended, and not the hour beside it.
    assert [tuple(row) for row in found] == [('late data', 1)]


class Discount(rating.RatingProcessorBase):
    """A module of others: what *disk* costs is halved for whoever has *cpu* as well."""

    module_name = 'discount'
    fails = False

    def reload_config(self, start=None):
        pass

    def process(self, data):
        if type(self).fails:
            raise ValueError('no discount today')
        result = dataframe.DataFrame(data.start, data.end)
        names = set(data.itertypes())
        for name, point in data.iterpoints():
            half = name == 'disk' and 'cpu' in names
            result.add_point(point.set_price(point.price / 2 if half else point.price), name)
        return result


class Extra(rating.RatingProcessorBase):
    """A module of others that adds a fee of 1 to every period, as a metric of its own."""

    module_name = 'extra'

    def reload_config(self, start=None):
        pass

    def process(self, data):
        scope_id = next(point.groupby['project_id'] for _, point in data.iterpoints())
        data.add_point(dataframe.DataPoint('fee', 1, 1, {'project_id': scope_id}, {}), 'fee')
        return data


def with_module(database, name, module, types=('cpu', 'disk')):
    Discount.fails = False
    cloud = deployment.Deployment(database, 'a', types=types, modules={**deployment.OURS, name: module})
    rating_modules.set_enabled(database, name, True)
    rating_modules.set_priority(database, name, -1)
    cloud.worker = cloud.make_worker()
    return cloud


def test_period_is_repaired_as_a_whole_if_a_module_sees_whole_frames(database):
    cloud = with_module(database, 'discount', Discount)
    fail_and_move_on(cloud, 'a', 'cpu', JUNE)
    hour = [point[2:] for point in cloud.points() if point[0] == 0]
    assert hour == [('disk', 1, 3)]
    cloud.run(hours=1)
    hour = [point[2:] for point in cloud.points() if point[0] == 0]
    assert hour == [('cpu', 1, 2), ('disk', 1, 1.5)]
    assert cloud.statuses('a', 'disk') == ['rated'] * 10
    assert cloud.bill('a') == 10 * 3.5
    assert cloud.failures() == []


def test_prices_stay_when_the_module_fails_during_repair_and_the_new_quantities_are_kept(sqlite):
    cloud = with_module(sqlite, 'discount', Discount)
    fail_and_move_on(cloud, 'a', 'cpu', JUNE)
    Discount.fails = True
    cloud.clock.advance(HOUR)
    cloud.worker._mend_share()
    assert cloud.statuses('a', 'cpu')[0] == 'unrated'
    assert (0, 'a', 'disk', 1, 3) in cloud.points()
    Discount.fails = False
    cloud.run(hours=1)
    cloud.run(hours=1)
    hour = [point[2:] for point in cloud.points() if point[0] == 0]
    assert hour == [('cpu', 1, 2), ('disk', 1, 1.5)]
    assert cloud.bill('a') == 3.5 * (cloud.clock_of('a') + 1)


def test_period_that_a_module_failed_at_is_priced_whole_when_the_rules_change(sqlite):
    cloud = with_module(sqlite, 'discount', Discount)
    Discount.fails = True
    cloud.run(hours=2)
    assert cloud.statuses('a', 'cpu') == cloud.statuses('a', 'disk') == ['unrated'] * 3
    assert cloud.bill('a') == 0
    Discount.fails = False
    cloud.set_cost('cpu', 4)
    cloud.run()
    assert cloud.statuses('a', 'cpu') == cloud.statuses('a', 'disk') == ['rated'] * 3
    assert cloud.bill('a') == 3 * 5.5
    assert cloud.failures() == []


def test_altered_period_is_collected_as_a_whole(database):
    cloud = with_module(database, 'extra', Extra)
    fail_and_move_on(cloud, 'a', 'cpu', JUNE)
    assert [point[2:] for point in cloud.points() if point[0] == 0] == [('disk', 1, 3), ('fee', 1, 1)]
    cloud.source.batches.clear()
    cloud.source.quantities['a', 'disk', JUNE] = 5
    cloud.clock.advance(HOUR)
    cloud.worker._mend_share()
    assert [[item.type for item in batch.metrics] for batch in cloud.source.batches] == [['cpu', 'disk']]
    hour = [point[2:] for point in cloud.points() if point[0] == 0]
    assert hour == [('cpu', 1, 2), ('disk', 5, 15), ('fee', 1, 1)]
    assert cloud.statuses('a', 'fee') == ['rated'] * (cloud.clock_of('a') + 1)


def test_altered_period_stays_as_it_is_when_the_source_lost_a_part(sqlite):
    cloud = with_module(sqlite, 'extra', Extra)
    fail_and_move_on(cloud, 'a', 'cpu', JUNE)
    cloud.source.quantities['a', 'disk', JUNE] = None
    before = cloud.points()
    cloud.clock.advance(HOUR)
    cloud.worker._mend_share()
    assert cloud.points() == before
    assert cloud.statuses('a', 'cpu')[0] == 'failed'
    assert [item.error for item in cloud.failures()] == [
        'The period has to be collected as a whole, but the source no longer has metric disk.'
    ]


def test_other_failed_cells_of_a_period_stay_failed_when_one_is_repaired(sqlite):
    cloud = with_module(sqlite, 'discount', Discount, types=('cpu', 'disk', 'ram'))
    cloud.source.fail('a', 'cpu', JUNE)
    cloud.source.fail('a', 'ram', JUNE)
    cloud.run(hours=8)
    cloud.source.troubles.pop(('a', 'cpu', JUNE))
    cloud.run(hours=1)
    assert (cloud.statuses('a', 'cpu')[0], cloud.statuses('a', 'ram')[0]) == ('rated', 'failed')
    assert [(item.metric, item.begin) for item in cloud.failures()] == [('ram', JUNE)]


def test_rules_that_cannot_be_had_again_are_those_of_today(sqlite, caplog):
    caplog.set_level(logging.INFO)
    cloud = with_module(sqlite, 'discount', Discount)
    fail_and_move_on(cloud, 'a', 'cpu', JUNE)
    rating_modules.set_enabled(sqlite, 'discount', False)
    cloud.set_cost('cpu', 7)
    cloud.run(hours=1)
    assert [point[2:] for point in cloud.points() if point[0] == 0] == [('cpu', 1, 7), ('disk', 1, 3)]
    assert 'repaired with the rules of today' in caplog.text
