# SPDX-License-Identifier: Apache-2.0
"""What a source gives later than it should: looked for, put in its place, or kept for an operator."""

from decimal import Decimal

import pytest
import sqlalchemy

from cloudkitty import adjustment
from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty import usage
from cloudkitty.db import adjustments
from cloudkitty.db import closings
from cloudkitty.processor import settling
from cloudkitty.storage import adjusting
from cloudkitty.storage import reset
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.tests import effort
from cloudkitty.tests import samples
from cloudkitty.tests.functional.processor import deployment

HOUR = samples.HOUR
JUNE = samples.JUNE
CPU = ('a', 'cpu')
Status = coverage.Status


@pytest.fixture
def start(database):
    def run(*scope_ids, **options):
        options.setdefault('settle', 2)
        return deployment.Deployment(database, *(scope_ids or ('a',)), **options)

    return run


def history(database):
    """Return (cause, who, quantity) of what was replaced."""
    with database.reader() as session:
        rows = session.execute(
            sqlalchemy.select(models.RatedHistory.cause, models.RatedHistory.who, models.RatedHistory.qty)
        )
        return sorted((cause, who, qty) for cause, who, qty in rows)


def pending(database):
    return adjustments.find(database, statuses=[adjustment.Status.PENDING])[1]


def more(name, hour, quantity, scope_id='a', resource='s'):
    """Return a point of another resource."""
    of = series.Series(scope_id, name, 'u', {'id': resource, 'project_id': scope_id}, {})
    return series.Columns(of, HOUR, (JUNE + hour * HOUR,), (Decimal(quantity),))


def run_late(cloud):
    """Rate the first hour, and the second when the source gives more for the first than it gave before."""
    cloud.run()
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(1)


def deep(cloud, is_deep=True):
    return usage.Backlog(period.to_epoch(cloud.clock()) - 86400, is_deep, 'much is waiting')


def test_what_comes_late_takes_the_place_of_what_was_stored(start, database):
    cloud = start()
    cloud.run()
    assert cloud.clock_of('a') == 0
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(1)
    assert cloud.points() == [
        (0, 'a', 'cpu', 5, 10),
        (0, 'a', 'disk', 1, 3),
        (1, 'a', 'cpu', 1, 2),
        (1, 'a', 'disk', 1, 3),
    ]
    assert cloud.statuses(*CPU) == ['rated', 'rated']
    assert cloud.failures() == []
    assert history(database) == [('late data', None, 1)]


def test_every_period_is_looked_at_so_many_times_and_no_more(start):
    cloud = start()
    cloud.run()
    asked = [(batch.begin - JUNE, batch.count) for batch in cloud.source.batches]
    assert asked == [(-2 * HOUR, 3)]
    cloud.run(2)
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(1)
    assert cloud.points()[0] == (0, 'a', 'cpu', 1, 2)
    cloud.source.quantities[(*CPU, JUNE + 2 * HOUR)] = 5
    cloud.run(1)
    assert (2, 'a', 'cpu', 5, 10) in cloud.points()


def test_it_can_be_turned_off(start):
    cloud = start(settle=0)
    cloud.run()
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(2)
    assert [batch.count for batch in cloud.source.batches] == [1, 1, 1]
    assert cloud.points()[0] == (0, 'a', 'cpu', 1, 2)


def test_late_point_of_a_cell_that_had_none(start):
    cloud = start()
    cloud.source.quantities[(*CPU, JUNE)] = None
    cloud.run()
    assert cloud.statuses(*CPU) == ['empty']
    del cloud.source.quantities[(*CPU, JUNE)]
    cloud.run(1)
    assert cloud.statuses(*CPU) == ['rated', 'rated']
    assert cloud.bill('a') == 10


def test_late_data_are_priced_with_the_rules_of_their_period(start):
    cloud = start()
    cloud.run()
    cloud.set_cost('cpu', 7)
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(1)
    assert cloud.points()[0] == (0, 'a', 'cpu', 5, 10)
    assert (1, 'a', 'cpu', 1, 7) in cloud.points()


def test_they_are_even_if_everything_of_the_period_is_late(start):
    cloud = start(types=('cpu',))
    cloud.run()
    cloud.set_cost('cpu', 7)
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(1)
    assert cloud.points()[0] == (0, 'a', 'cpu', 5, 10)


def test_what_the_source_forgets_stays(start, database):
    cloud = start()
    cloud.source.more = [more('cpu', 0, 4)]
    cloud.run()
    before = cloud.points()
    cloud.source.more = []
    cloud.run(1)
    cloud.source.quantities['a', 'disk', JUNE] = None
    cloud.run(1)
    assert [point for point in cloud.points() if point[0] == 0] == before
    assert cloud.statuses(*CPU) == ['rated'] * 3
    assert history(database) == [] and pending(database) == []


def test_source_that_fails_for_an_old_period_changes_nothing(start):
    cloud = start()
    cloud.run()
    cloud.source.fail(*CPU, JUNE)
    cloud.run(1)
    assert cloud.clock_of('a') == 1
    assert cloud.statuses(*CPU) == ['rated', 'rated']
    assert cloud.failures() == []


def test_late_data_of_a_scope_that_waits_are_not_lost(start):
    cloud = start()
    cloud.run()
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.source.fail('a', 'disk', JUNE + HOUR)
    cloud.run(1)
    assert cloud.clock_of('a') == 0
    cloud.source.troubles.clear()
    cloud.run(1)
    assert cloud.points()[0] == (0, 'a', 'cpu', 5, 10)


def test_worker_that_knows_nothing_compares_with_what_is_stored(start, database):
    cloud = start('a', 'b')
    cloud.run()
    cloud.worker = cloud.make_worker()
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(1)
    assert cloud.points()[0] == (0, 'a', 'cpu', 5, 10)
    assert history(database) == [('late data', None, 1)]
    cloud.worker = cloud.make_worker()
    cloud.run(1)
    assert history(database) == [('late data', None, 1)]


def test_looking_costs_the_database_nothing_while_nothing_is_late(start, database):
    cloud = start('a', 'b')
    cloud.run(3)
    with effort.note() as looking:
        cloud.run(1)
    cloud.settle = 0
    cloud.worker = cloud.make_worker()
    cloud.run(3)
    with effort.note() as not_looking:
        cloud.run(1)
    assert len(looking) == len(not_looking)


def test_what_was_reset_is_not_late(start, database):
    cloud = start()
    cloud.run(3)
    reset.reset(database, cloud.storage, [cloud.state('a').scope], samples.instant(JUNE), HOUR)
    cloud.source.quantities[CPU] = 2
    cloud.run()
    assert cloud.clock_of('a') == 3
    assert [point[3] for point in cloud.points() if point[2] == 'cpu'] == [2, 2, 2, 2]


def test_pushed_points_stay(start, database):
    cloud = start()
    cloud.run()
    point = dataframe.DataPoint('u', Decimal(3), Decimal(9), {'project_id': 'a'}, {})
    cloud.storage.push([dataframe.DataFrame(*samples.window(JUNE, 1), {'cpu': [point]})])
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(1)
    assert [point[2:] for point in cloud.points() if point[0] == 0 and point[2] == 'cpu'] == [
        ('cpu', 3, 9),
        ('cpu', 5, 10),
    ]


def test_cells_read_under_a_backlog_are_provisional_until_looked_at_for_the_last_time(start):
    cloud = start()
    cloud.source.backlog = deep(cloud, is_deep=False)
    cloud.run()
    assert cloud.statuses(*CPU) == ['provisional']
    cloud.run(1)
    assert cloud.statuses(*CPU) == ['provisional'] * 2
    cloud.run(2)
    assert cloud.statuses(*CPU) == ['rated', 'rated', 'provisional', 'provisional']
    assert cloud.failures() == []
    assert cloud.bill('a') == 20
    cloud.source.backlog = None
    cloud.run(1)
    assert cloud.statuses(*CPU) == ['rated'] * 5


def test_cell_that_the_source_does_not_give_at_the_last_look_is_repaired(start):
    cloud = start()
    cloud.source.backlog = deep(cloud, is_deep=False)
    cloud.run()
    cloud.source.backlog = None
    cloud.source.fail(*CPU, JUNE)
    cloud.run(2)
    assert cloud.statuses(*CPU)[0] == 'provisional'
    cloud.source.troubles.clear()
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(1)
    assert cloud.statuses(*CPU) == ['rated'] * 4
    assert cloud.points()[0] == (0, 'a', 'cpu', 5, 10)
    assert cloud.failures() == []


@pytest.mark.parametrize('is_deep', [False, True])
def test_scope_whose_periods_come_one_by_one_has_no_cell_that_stays_provisional(start, is_deep):
    cloud = start()
    cloud.source.part = (1, 1)
    cloud.source.backlog = deep(cloud, is_deep)
    cloud.run(2)
    assert set(cloud.statuses(*CPU)) == {'provisional' if is_deep else 'rated'}
    cloud.source.backlog = None
    cloud.run(3)
    assert cloud.statuses(*CPU) == ['rated'] * 6
    assert cloud.failures() == []


def test_worker_that_knows_nothing_settles_them_too(start):
    cloud = start()
    cloud.source.quantities['a', 'disk'] = None
    cloud.source.backlog = deep(cloud, is_deep=False)
    cloud.run(3)
    cloud.worker = cloud.make_worker()
    cloud.source.backlog = None
    cloud.run(1)
    assert cloud.statuses(*CPU) == ['rated'] * 5
    assert cloud.statuses('a', 'disk') == ['empty'] * 5


def test_deep_backlog_is_waited_for_by_the_repair(start):
    cloud = start()
    cloud.source.quantities['a', 'disk'] = None
    cloud.source.backlog = deep(cloud)
    cloud.run(6)
    assert set(cloud.statuses(*CPU)) == {'provisional'}
    assert {failure.error for failure in cloud.failures()} == {'much is waiting'}
    cloud.source.quantities['a', 'disk', JUNE] = 5
    cloud.source.backlog = None
    cloud.run(8)
    assert set(cloud.statuses(*CPU)) == {'rated'}
    assert cloud.statuses('a', 'disk') == ['rated'] + ['empty'] * 14
    assert cloud.failures() == []
    assert cloud.points()[1] == (0, 'a', 'disk', 5, 15)


def test_old_periods_are_none_of_a_backlogs(start):
    cloud = start()
    cloud.clock.advance(3 * 24 * HOUR)
    cloud.source.backlog = deep(cloud)
    cloud.run()
    found = cloud.statuses(*CPU)
    assert len(found) == 73
    assert found.index('provisional') in (48, 49, 50)


def test_closed_periods_do_not_change_by_themselves(start, database):
    cloud = start(closed_until=1)
    cloud.run()
    before = cloud.points()
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(1)
    assert cloud.points()[:2] == before
    (found,) = pending(database)
    assert (found.scope_id, found.begin, list(found.cells)) == ('a', JUNE, ['cpu'])
    cell = found.cells['cpu']
    assert (cell.before, cell.after) == ((1, 1, 2), (1, 5, 10))
    assert cell.cause == 'the period is closed'
    # It waits, is noted once, and never lost.
    cloud.run(40 * 24)
    assert cloud.points()[:2] == before
    assert len(pending(database)) == 1
    assert cloud.statuses(*CPU)[0] == 'provisional'


def test_failed_and_unrated_cells_of_closed_periods_wait_too(start, database):
    cloud = start(closed_until=1)
    cloud.source.fail(*CPU, JUNE, permanent=True)
    cloud.run()
    assert cloud.statuses(*CPU) == ['failed']
    cloud.source.troubles.clear()
    cloud.run(2)
    (found,) = pending(database)
    assert found.cells['cpu'].before == (0, 0, 0) and found.cells['cpu'].after == (1, 1, 2)
    assert adjusting.apply(database, cloud.storage, [found.id], 'me', 1) == {found.id}
    assert cloud.statuses(*CPU) == ['rated'] * 3
    assert cloud.bill('a') == 15
    assert cloud.failures() == []


def test_cell_of_a_closed_period_that_turns_out_to_be_empty_is_settled(start, database):
    cloud = start(closed_until=1)
    cloud.source.fail(*CPU, JUNE, permanent=True)
    cloud.source.quantities[(*CPU, JUNE)] = None
    cloud.run()
    cloud.source.troubles.clear()
    cloud.run(2)
    assert cloud.statuses(*CPU) == ['empty', 'rated', 'rated']
    assert pending(database) == []


def test_adjustment_is_applied_once(start, database):
    cloud = start(closed_until=1)
    run_late(cloud)
    (found,) = pending(database)
    assert adjusting.apply(database, cloud.storage, [found.id], 'me', 7) == {found.id}
    assert adjusting.apply(database, cloud.storage, [found.id], 'me', 8) == set()
    assert cloud.points()[0] == (0, 'a', 'cpu', 5, 10)
    assert cloud.statuses(*CPU) == ['rated', 'rated']
    assert cloud.failures() == []
    assert history(database) == [('adjustment %d: the period is closed' % found.id, 'me', 1)]
    _, (decided,) = adjustments.find(database)
    assert (decided.status, decided.decided_by, decided.decided_at) == (adjustment.Status.APPLIED, 'me', 7)
    cloud.run(2)
    assert pending(database) == []


def test_dropped_adjustment_is_not_noted_again(start, database):
    cloud = start(closed_until=1)
    run_late(cloud)
    (found,) = pending(database)
    assert adjustments.drop(database, [found.id], 'me', 7) == {found.id}
    assert cloud.statuses(*CPU) == ['rated', 'rated']
    assert cloud.failures() == []
    cloud.run(3)
    assert pending(database) == []
    assert cloud.points()[0] == (0, 'a', 'cpu', 1, 2)
    assert adjusting.apply(database, cloud.storage, [found.id], 'me', 8) == set()
    # Nobody goes on asking for it, either.
    assert cloud.statuses(*CPU) == ['rated'] * 5
    assert cloud.failures() == []


def test_nothing_is_noted_of_a_scope_that_was_reset_meanwhile(start, database):
    cloud = start(closed_until=1)
    cloud.source.fail(*CPU, JUNE, permanent=True)
    cloud.run()
    cloud.source.troubles.clear()

    def set_back(batch):
        if batch.begin == JUNE:
            cloud.source.before = lambda batch: None
            reset.reset(database, cloud.storage, [cloud.state('a').scope], samples.instant(JUNE - HOUR), HOUR)

    cloud.source.before = set_back
    cloud.run(1)
    assert pending(database) == []
    assert cloud.failures() == []
    cloud.run()
    assert cloud.clock_of('a') == 1
    assert cloud.bill('a') == 10


def test_what_was_brought_up_to_date_meanwhile_is_not_decided(start, database):
    cloud = start(closed_until=1)
    run_late(cloud)
    (before,) = pending(database)
    cloud.source.quantities[(*CPU, JUNE)] = 6
    cloud.run(7)
    (after,) = pending(database)
    assert before.id == after.id

    with database.writer() as session:
        assert adjustments.lock_pending(session, [before]) == set()
        assert adjustments.lock_pending(session, [after]) == {after.id}


def test_what_the_source_takes_back_waits_no_more(start, database):
    cloud = start(closed_until=1)
    cloud.run()
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.source.quantities['a', 'disk', JUNE] = 5
    cloud.run(1)
    assert sorted(pending(database)[0].cells) == ['cpu', 'disk']
    del cloud.source.quantities[(*CPU, JUNE)]
    cloud.run(7)
    (found,) = pending(database)
    assert list(found.cells) == ['disk']
    del cloud.source.quantities['a', 'disk', JUNE]
    cloud.run(7)
    assert pending(database) == []
    assert set(cloud.statuses(*CPU)) == set(cloud.statuses('a', 'disk')) == {'rated'}
    assert cloud.bill('a') == 16 * 5


def test_what_changes_after_all_when_a_scope_is_opened_waits_no_more(start, database):
    cloud = start()
    cloud.run()
    closings.close(database, 'a', JUNE + HOUR)
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.run(1)
    assert len(pending(database)) == 1
    closings.close(database, 'a', None)
    cloud.run(7)
    assert cloud.points()[0] == (0, 'a', 'cpu', 5, 10)
    assert pending(database) == []


def test_part_of_a_dropped_adjustment_is_not_noted_again(start, database):
    cloud = start(closed_until=1)
    cloud.run()
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.source.quantities['a', 'disk', JUNE] = 5
    cloud.run(1)
    (found,) = pending(database)
    assert sorted(found.cells) == ['cpu', 'disk']
    adjustments.drop(database, [found.id], 'me', 7)
    cloud.source.quantities['a', 'disk', JUNE] = 1
    cloud.run(1)
    assert pending(database) == []


def test_adjustment_of_what_changed_meanwhile_is_refused(start, database):
    cloud = start(closed_until=1)
    run_late(cloud)
    (found,) = pending(database)
    reset.reset(database, cloud.storage, [cloud.state('a').scope], samples.instant(JUNE - HOUR), HOUR)
    with pytest.raises(errors.Conflict):
        adjusting.apply(database, cloud.storage, [found.id], 'me', 7)


def test_adjustment_of_what_is_yet_to_be_rated_anew_is_refused(start, database):
    cloud = start(closed_until=1)
    cloud.source.fail(*CPU, JUNE, permanent=True)
    cloud.run()
    cloud.source.troubles.clear()
    cloud.run(1)
    (found,) = pending(database)
    reset.reset(database, cloud.storage, [cloud.state('a').scope], samples.instant(JUNE - HOUR), HOUR)
    with pytest.raises(errors.Conflict):
        adjusting.apply(database, cloud.storage, [found.id], 'me', 7)
    cloud.run()
    assert cloud.clock_of('a') == 1
    assert cloud.bill('a') == 10


def test_applied_points_without_a_price_get_one_when_the_rules_change(start, database):
    cloud = start(closed_until=1)
    cloud.set_cost('cpu', 10**5)
    cloud.source.quantities[(*CPU, JUNE)] = 10**20
    cloud.source.fail(*CPU, JUNE, permanent=True)
    cloud.run()
    cloud.source.troubles.clear()
    cloud.run(1)
    (found,) = pending(database)
    adjusting.apply(database, cloud.storage, [found.id], 'me', 7)
    assert cloud.statuses(*CPU)[0] == 'unrated'
    assert [failure.begin for failure in cloud.failures()] == [JUNE]
    cloud.set_cost('cpu', 2)
    cloud.run(1)
    (found,) = pending(database)
    adjusting.apply(database, cloud.storage, [found.id], 'me', 7)
    assert cloud.statuses(*CPU)[0] == 'rated'
    assert cloud.failures() == []
    assert cloud.points()[0] == (0, 'a', 'cpu', 10**20, 2 * 10**20)


def test_scope_is_closed_further_by_itself(start, database):
    cloud = start('a', 'b')
    cloud.run()
    closings.close(database, 'a', JUNE + HOUR)
    cloud.source.quantities[(*CPU, JUNE)] = 5
    cloud.source.quantities['b', 'cpu', JUNE] = 5
    cloud.run(1)
    assert [point[1:] for point in cloud.points() if point[0] == 0 and point[2] == 'cpu'] == [
        ('a', 'cpu', 1, 2),
        ('b', 'cpu', 5, 10),
    ]
    assert [item.scope_id for item in pending(database)] == ['a']
    closings.close(database, 'a', None)
    assert closings.read(database, ['a', 'b']) == {}


def test_period_that_would_have_fewer_points_waits_for_an_operator(start, database):
    cloud = start()
    cloud.source.more = [more('cpu', 0, 4)]
    cloud.run()
    cloud.source.more = []
    cloud.source.quantities[(*CPU, JUNE)] = 9
    cloud.run(1)
    assert [point[3] for point in cloud.points() if point[:3] == (0, 'a', 'cpu')] == [1, 4]
    (found,) = pending(database)
    assert found.cells['cpu'].before.points == 2 and found.cells['cpu'].after == (1, 9, 18)
    adjusting.apply(database, cloud.storage, [found.id], 'me', 7)
    assert [point[3] for point in cloud.points() if point[:3] == (0, 'a', 'cpu')] == [9]


def test_gone_scope_is_settled_with_its_last_period(start):
    cloud = start('a', 'b')
    cloud.source.backlog = deep(cloud, is_deep=False)
    cloud.run()
    cloud.fetcher.ids = ['b']
    cloud.run(4)
    assert cloud.state('a').gone_since is not None
    assert set(cloud.statuses(*CPU)) == {'rated'}
    assert cloud.statuses('b', 'cpu')[-2:] == ['provisional'] * 2


def test_fewer_periods_to_look_at_leave_no_cell_provisional(start):
    cloud = start(settle=4)
    cloud.source.backlog = deep(cloud, is_deep=False)
    cloud.run(4)
    assert cloud.statuses(*CPU) == ['rated'] + ['provisional'] * 4
    cloud.settle = 1
    cloud.worker = cloud.make_worker()
    cloud.run(1)
    assert cloud.statuses(*CPU) == ['rated'] * 5 + ['provisional']
    assert cloud.failures() == []


def test_points_of_longer_periods_are_not_taken_for_missing(start, database):
    """Half hours are rated now: the second half of the last hour has no point of its own."""
    cloud = start()
    cloud.run()
    half = HOUR // 2
    settler = settling.Settler(database, cloud.storage, half, 1)
    asked = usage.Batch(('a',), cloud.metrics, JUNE + HOUR, half, 1)
    wide = settler.widen(asked)
    assert wide.begin == JUNE + half
    early, _ = settling.split(cloud.source.collect(wide), asked.begin)
    assert early.columns
    look = settler.look(early, {'a': cloud.state('a')}, {'a': JUNE + HOUR + half}, 0)
    assert (look.runs, look.failures) == ([], [])


def test_cell_that_waits_for_a_decision_is_never_lost_though_nobody_asks_for_months(start, database):
    cloud = start(closed_until=1)
    run_late(cloud)
    cloud.clock.advance(90 * 24 * HOUR)
    cloud.source.fail(*CPU)
    cloud.run()
    assert cloud.statuses(*CPU)[0] == 'provisional'
    assert len(pending(database)) == 1


def test_periods_that_a_reset_skips_do_not_stay_provisional(start, database):
    cloud = start()
    cloud.source.backlog = deep(cloud, is_deep=False)
    cloud.run(4)
    reset.reset(database, cloud.storage, [cloud.state('a').scope], samples.instant(JUNE + 40 * HOUR), HOUR)
    cloud.source.backlog = None
    cloud.run(42)
    cloud.run(1)
    assert 'provisional' not in cloud.statuses(*CPU)
