# SPDX-License-Identifier: Apache-2.0
import collections
import math

import hypothesis
from hypothesis import strategies
import pytest

from cloudkitty import completeness
from cloudkitty import coverage

HOUR = 3600
DAY = 24 * HOUR
JUNE = 1780272000  # 2026-06-01T00:00Z
GRID = completeness.Grid(HOUR)
RUN = completeness.Resolution.RUN
PERIOD = completeness.Resolution.PERIOD
PER_DAY = completeness.Resolution.DAY
NOW = JUNE + 10 * DAY


def hour(number):
    return JUNE + number * HOUR


def run(first, last, status=coverage.Status.RATED, metric='cpu'):
    """Return the run of the hours ``[first, last)`` of June."""
    rule_set = 'd' * 32 if status is coverage.Status.RATED else None
    return coverage.Run('p', metric, hour(first), hour(last), status, rule_set)


def task(first=0, last=24, now=NOW, wait=2):
    return completeness.Task(hour(first), hour(last), now, wait)


def owner(edge=None, until=NOW, grid=GRID):
    """Return a scope that is rated up to the hour *edge*."""
    return completeness.Owner('p', grid, None if edge is None else hour(edge), until)


def survey(asked, whose, *runs, extents=None, metrics=None):
    by_metric = collections.defaultdict(list)
    for item in runs:
        by_metric[item.metric].append(item)
    return completeness.survey(asked, whose, by_metric, extents or {}, metrics)


def shape(pieces):
    return [(p.metric, (p.begin - JUNE) // HOUR, (p.end - JUNE) // HOUR, p.status) for p in pieces]


def tally(pieces, limit=100):
    result = completeness.Tally(limit)
    result.add(pieces)
    return result


def page(pieces, resolution, offset=0, limit=1000):
    result = completeness.Page(offset, limit)
    result.add(pieces, resolution)
    return result


def test_periods_begin_where_the_phase_says():
    grid = completeness.Grid(7 * HOUR, 2 * HOUR)
    assert [grid.next(second) for second in (0, 2 * HOUR, 2 * HOUR + 1)] == [2 * HOUR, 2 * HOUR, 9 * HOUR]
    assert grid.count(2 * HOUR, 9 * HOUR) == 1
    assert grid.count(2 * HOUR + 1, 9 * HOUR) == 0
    assert grid.count(9 * HOUR, 2 * HOUR) == 0


def test_a_window_in_which_all_is_rated_empty_or_unknown_is_complete():
    runs = (run(0, 8), run(8, 12, coverage.Status.EMPTY), run(12, 24, coverage.Status.UNKNOWN))
    found = tally(survey(task(), owner(edge=24), *runs))
    assert (found.value, found.total, found.missing, found.runs) == (1.0, 24, 0, [])


@pytest.mark.parametrize('status', ['failed', 'provisional', 'unrated', 'lost'])
def test_cells_of_other_statuses_are_missing(status):
    runs = (run(0, 8), run(8, 14, coverage.Status(status)), run(14, 24))
    found = tally(survey(task(), owner(edge=24), *runs))
    assert (found.value, found.total, found.missing, found.run_count) == (0.75, 24, 6, 1)
    assert shape(found.runs) == [('cpu', 8, 14, status)]


def test_a_gap_between_runs_is_pending():
    assert shape(survey(task(), owner(edge=24), run(0, 8), run(10, 24))) == [
        ('cpu', 0, 8, 'rated'),
        ('cpu', 8, 10, 'pending'),
        ('cpu', 10, 24, 'rated'),
    ]


def test_what_has_begun_since_the_clock_is_pending_and_what_is_not_due_waits():
    # At half past 20 the hour of 18 has waited for two.
    now = hour(20) + HOUR // 2
    assert shape(survey(task(now=now), owner(edge=16, until=now), run(0, 16))) == [
        ('cpu', 0, 16, 'rated'),
        ('cpu', 16, 19, 'pending'),
        ('cpu', 19, 21, 'waiting'),
    ]


def test_a_period_is_due_a_second_after_its_wait():
    assert shape(survey(task(now=hour(20)), owner(edge=17, until=hour(20)), run(0, 17))) == [
        ('cpu', 0, 17, 'rated'),
        ('cpu', 17, 18, 'pending'),
        ('cpu', 18, 20, 'waiting'),
    ]


def test_a_scope_that_nobody_rates_waits_for_nothing():
    assert shape(survey(task(), owner(), run(0, 16))) == [('cpu', 0, 16, 'rated')]


def test_a_scope_that_is_gone_is_rated_up_to_the_period_in_which_it_was_last_seen():
    gone = owner(edge=16, until=hour(18) + 1)
    assert shape(survey(task(), gone, run(0, 16)))[1:] == [('cpu', 16, 19, 'pending')]


def test_nothing_is_expected_before_the_first_run_and_behind_the_last_of_a_metric_of_old():
    runs = (run(4, 24), run(0, 10, metric='ram'))
    extents = {'cpu': (hour(4), hour(48)), 'ram': (hour(-99), hour(10))}
    assert completeness.needs_extents(task(), owner(edge=48), {'cpu': runs[:1], 'ram': runs[1:]})
    assert shape(survey(task(), owner(edge=48), *runs, extents=extents)) == [
        ('cpu', 4, 24, 'rated'),
        ('ram', 0, 10, 'rated'),
    ]


def test_a_gap_may_reach_beyond_the_window():
    extents = {'cpu': (hour(-99), hour(48))}
    assert completeness.needs_extents(task(), owner(edge=48), {'cpu': [run(4, 20)]})
    assert shape(survey(task(), owner(edge=48), run(4, 20), extents=extents)) == [
        ('cpu', 0, 4, 'pending'),
        ('cpu', 4, 20, 'rated'),
        ('cpu', 20, 24, 'pending'),
    ]


def test_of_a_window_that_is_told_by_its_runs_nothing_else_is_asked():
    assert not completeness.needs_extents(task(), owner(edge=24), {'cpu': [run(0, 24)]})
    assert not completeness.needs_extents(task(), owner(edge=16), {'cpu': [run(0, 16)]})
    assert not completeness.needs_extents(task(now=hour(20)), owner(), {'cpu': [run(0, 16)]})
    assert not completeness.needs_extents(task(), owner(), {})


def test_behind_the_clock_the_metrics_are_those_of_the_last_rated_period():
    extents = {'cpu': (hour(-99), hour(-5)), 'ram': (hour(-99), hour(-9))}
    assert completeness.needs_extents(task(), owner(edge=-5), {})
    assert shape(survey(task(), owner(edge=-5), extents=extents)) == [('cpu', 0, 24, 'pending')]


def test_what_a_scope_has_that_was_never_rated_is_unknown():
    assert shape(survey(task(), owner(edge=4))) == [(None, 4, 24, 'pending')]
    assert shape(survey(task(), owner(edge=4), metrics=['cpu'])) == [(None, 4, 24, 'pending')]


def test_nothing_that_has_not_begun_is_expected():
    assert survey(task(now=hour(-1)), owner(edge=0, until=hour(-1)), extents={'cpu': (hour(-9), hour(0))}) == []


def test_nothing_at_all_is_neither_complete_nor_not():
    assert tally([]).value is None


def test_it_is_never_rounded_up_to_one():
    found = completeness.Tally(cells=collections.Counter(rated=10**18, failed=1))
    assert found.value == math.nextafter(1, 0)


def test_only_the_first_missing_runs_are_kept():
    runs = [run(n, n + 1, coverage.Status.FAILED) for n in range(0, 24, 2)]
    found = tally(survey(task(), owner(), *runs), limit=3)
    assert (len(found.runs), found.run_count) == (3, 23)


def test_metrics_that_nobody_asked_for_are_left_out():
    runs = (run(0, 24), run(0, 24, metric='ram'))
    assert shape(survey(task(), owner(edge=24), *runs, metrics=['ram'])) == [('ram', 0, 24, 'rated')]


def test_runs_are_cut_to_the_window():
    assert shape(survey(task(3, 5), owner(edge=24), run(0, 24))) == [('cpu', 3, 5, 'rated')]


def test_a_row_per_cell():
    pieces = survey(task(), owner(edge=24), run(0, 8), run(8, 24, coverage.Status.FAILED))
    found = page(pieces, PERIOD, offset=7, limit=2)
    assert found.total == 24
    assert [(row.begin, row.end, row.piece.status) for row in found.rows] == [
        (hour(7), hour(8), 'rated'),
        (hour(8), hour(9), 'failed'),
    ]


def test_a_row_per_day():
    runs = (run(0, 30), run(30, 31, coverage.Status.FAILED), run(31, 60))
    found = page(survey(task(12, 72), owner(), *runs), PER_DAY)
    assert [((row.begin - JUNE) // HOUR, (row.end - JUNE) // HOUR, row.cells) for row in found.rows] == [
        (12, 24, {'rated': 12}),
        (24, 48, {'rated': 23, 'failed': 1}),
        (48, 60, {'rated': 12}),
    ]


def test_spans_are_found_by_what_they_hold():
    spans = completeness.Spans([('p', 'cpu', 10, 20), ('p', 'cpu', 0, 10), ('p', None, 0, 5), ('q', 'cpu', 0, 9)])
    assert [number for _, _, number in spans.overlapping('p', 'cpu', 10, 11)] == [0]
    assert [number for _, _, number in spans.overlapping('p', 'cpu', 9, 11)] == [1, 0]
    assert [number for _, _, number in spans.overlapping('p', None, 4, 99)] == [2]
    assert list(spans.overlapping('p', 'cpu', 20, 99)) == []


@strategies.composite
def surveys(draw):
    """Draw a window, a scope and what the ledger holds of it, all over some 60 periods; the phase may be anything."""
    length = draw(strategies.sampled_from([HOUR, 1800, 7 * HOUR, 36 * HOUR]))
    grid = completeness.Grid(length, draw(strategies.integers(0, length - 1)))
    origin = grid.next(JUNE)

    def begin(number):
        return origin + number * length

    runs = []
    for metric in draw(strategies.lists(strategies.sampled_from(['cpu', 'ram', 'disk']), unique=True)):
        number = draw(strategies.integers(-20, 20))
        for _ in range(draw(strategies.integers(1, 6))):
            number += draw(strategies.sampled_from([0, 0, 0, 1, 7]))
            count = draw(strategies.integers(1, 12))
            status = draw(strategies.sampled_from(list(coverage.Status)))
            runs.append(coverage.Run('p', metric, begin(number), begin(number + count), status))
            number += count
    runs = coverage.join([part for item in runs for part in coverage.split_months(item)])
    edge = draw(strategies.none() | strategies.integers(-25, 60).map(begin))
    now = begin(draw(strategies.integers(-5, 70))) + draw(strategies.integers(0, length - 1))
    until = draw(strategies.just(now) | strategies.integers(0, length * 40).map(lambda second: now - second))
    cut = draw(strategies.sampled_from([0, 0, 1, length // 2]))
    first = draw(strategies.integers(-25, 60))
    asked = completeness.Task(
        begin(first) + cut, begin(first + draw(strategies.integers(1, 40))) + cut, now, draw(strategies.integers(0, 3))
    )
    return asked, completeness.Owner('p', grid, edge, until), runs


def count_cells(asked, whose, runs):
    """Return {(metric, begin): status}, cell by cell, as the admin guide says it."""
    length = whose.grid.length
    seen = {item.metric for item in runs if item.begin < asked.end and item.end > asked.begin}
    all_of = {m: [item for item in runs if item.metric == m] for m in {item.metric for item in runs}}
    last = {m: max(item.end for item in found) for m, found in all_of.items()}
    first = {m: min(item.begin for item in found) for m, found in all_of.items()}
    current = {m for m in all_of if whose.edge is not None and last[m] >= whose.edge}
    metrics = seen or current
    cells = {}
    for second in range(whose.grid.next(asked.begin), asked.end, length):
        wait = 'pending' if second + asked.wait * length < asked.now else 'waiting'
        for metric in metrics:
            held = [item.status.value for item in all_of[metric] if item.begin <= second < item.end]
            is_expected = first[metric] <= second < last[metric] or (
                metric in current and last[metric] <= second < whose.until
            )
            if held:
                cells[metric, second] = held[0]
            elif is_expected and second < asked.now:
                cells[metric, second] = wait
        if whose.edge is not None and not metrics & current and whose.edge <= second < min(whose.until, asked.now):
            cells[None, second] = wait
    return cells


@hypothesis.settings(max_examples=500, deadline=None)
@hypothesis.given(surveys(), strategies.integers(0, 60), strategies.integers(1, 30))
def test_what_is_counted_on_runs_is_what_is_counted_on_cells(drawn, offset, limit):
    asked, whose, runs = drawn
    # The ledger never holds what is still to come.
    hypothesis.assume(all(item.begin < asked.now for item in runs))
    inside = collections.defaultdict(list)
    for item in runs:
        if item.begin < asked.end and item.end > asked.begin:
            inside[item.metric].append(item)
    extents = {}
    if completeness.needs_extents(asked, whose, inside):
        for item in runs:
            begin, end = extents.get(item.metric, (item.begin, item.end))
            extents[item.metric] = (min(begin, item.begin), max(end, item.end))
    pieces = completeness.survey(asked, whose, inside, extents)
    cells = count_cells(asked, whose, runs)

    found = tally(pieces)
    assert found.cells == collections.Counter(cells.values())
    missing = sum(status not in ('rated', 'empty', 'unknown') for status in cells.values())
    assert found.missing == missing == sum(item.cells for item in found.runs)
    assert (found.value == 1) == (bool(cells) and not missing)
    if cells:
        assert found.value == (len(cells) - missing) / len(cells)

    whole = page(pieces, PERIOD, limit=10**6)
    assert {(row.metric, row.begin): row.piece.status for row in whole.rows} == cells
    days = page(pieces, PER_DAY, limit=10**6)
    by_day = collections.defaultdict(collections.Counter)
    for (metric, second), status in cells.items():
        by_day[metric, second // DAY][status] += 1
    starts = {(row.metric, whose.grid.next(row.begin) // DAY): row.cells for row in days.rows}
    assert starts == by_day
    for resolution, everything in ((PERIOD, whole), (PER_DAY, days), (RUN, page(pieces, RUN, limit=10**6))):
        some = page(pieces, resolution, offset, limit)
        assert some.total == everything.total == len(everything.rows)
        assert some.rows == everything.rows[offset : offset + limit]
        for before, after in zip(everything.rows, everything.rows[1:], strict=False):
            assert before.metric != after.metric or before.end <= after.begin


def test_a_piece_that_an_edge_of_the_window_cuts_counts_where_its_periods_begin():
    asked = completeness.Task(JUNE + HOUR // 2, JUNE + 2 * HOUR + HOUR // 2, NOW, 2)
    pieces = survey(asked, owner(edge=24), run(0, 24))
    assert [(piece.begin, piece.end, piece.cells) for piece in pieces] == [(asked.begin, asked.end, 2)]
    assert tally(pieces).cells == {'rated': 2}
