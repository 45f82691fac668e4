# SPDX-License-Identifier: Apache-2.0

from hypothesis import given
from hypothesis import strategies
import pytest

from cloudkitty import coverage
from cloudkitty import usage
from cloudkitty.processor import pipeline
from cloudkitty.tests import fakes
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
Status = coverage.Status
PATIENCE = pipeline.Patience(hold=6 * HOUR)
NOW = JUNE + 100 * HOUR


def hour(number):
    return JUNE + number * HOUR


def trouble(scope_id='a', metric='cpu', first=0, end=1, status=Status.FAILED, error='HTTP 503', permanent=False):
    return usage.Trouble(scope_id, metric, hour(first), hour(end), status, error, permanent)


def failure(scope_id='a', metric='cpu', number=0, since=NOW, attempts=1, next_attempt=NOW + 60, error='HTTP 503'):
    return coverage.Failure(scope_id, metric, hour(number), since, attempts, next_attempt, error)


def known(*failures):
    return {(item.scope_id, item.metric, item.begin): item for item in failures}


def rated(*columns, troubles=(), scope_ids=('a',), count=3, rule_set=samples.RULES, **options):
    batch = usage.Batch(scope_ids, fakes.make_metrics('cpu', 'disk'), JUNE, HOUR, count)
    return usage.Rated(batch, list(columns), list(troubles), rule_set, **options)


def hold(*troubles, now=NOW, **options):
    return pipeline.until_held(troubles, known(*options.get('before', ())), PATIENCE, HOUR, now)


def test_pauses_grow_up_to_an_hour():
    assert [PATIENCE.next_attempt(attempts, 0) for attempts in (1, 2, 3, 7, 99)] == [60, 120, 240, 3600, 3600]


def test_scope_waits_for_the_first_cell_that_failed():
    found = hold(trouble(first=2, end=5), trouble(metric='disk', first=1, end=2), trouble('b', first=4, end=5))
    assert found == {'a': hour(1), 'b': hour(4)}


@pytest.mark.parametrize(
    'item',
    [
        trouble(permanent=True),
        trouble(status=Status.UNKNOWN),
        trouble(status=Status.UNRATED),
        trouble(status=Status.PROVISIONAL),
    ],
)
def test_only_a_transient_failure_holds(item):
    assert hold(item) == {}


def test_hold_ends_after_its_time_counted_from_the_first_attempt_at_that_cell():
    before = [failure(since=NOW - 6 * HOUR + 1)]
    assert hold(trouble(), before=before) == {'a': hour(0)}
    assert hold(trouble(), before=before, now=NOW + 1) == {}


def test_scope_waits_at_the_first_cell_whose_hold_is_not_over():
    before = [failure(number=number, since=NOW - 6 * HOUR) for number in (0, 1)]
    assert hold(trouble(end=4), before=before) == {'a': hour(2)}


def note(*troubles, before=(), now=NOW):
    items = known(*before)
    holds = pipeline.until_held(troubles, items, PATIENCE, HOUR, now)
    return pipeline.note_held(troubles, holds, items, PATIENCE, HOUR, now)


def test_every_cell_from_the_held_one_on_counts_from_now():
    assert note(trouble(end=3), trouble('b', 'disk', 1, 2)) == [
        failure(number=0),
        failure(number=1),
        failure(number=2),
        failure('b', 'disk', 1),
    ]


def test_cells_known_before_keep_their_first_attempt():
    before = [failure(since=NOW - HOUR, attempts=2)]
    assert note(trouble(end=2), before=before) == [
        failure(since=NOW - HOUR, attempts=3, next_attempt=NOW + 240),
        failure(number=1),
    ]


def test_cells_before_the_hold_and_permanent_ones_are_not_noted():
    before = [failure(since=NOW - 6 * HOUR)]
    found = note(trouble(end=2), trouble(metric='disk', permanent=True, end=2), before=before)
    assert [(item.metric, item.begin) for item in found] == [('cpu', hour(1))]


def test_nobody_waits_for_the_next_attempt_longer_than_for_the_cell():
    before = [failure(since=NOW - 6 * HOUR + 30, attempts=20)]
    assert [item.next_attempt for item in note(trouble(), before=before)] == [NOW + 30]


def test_cut_leaves_what_lies_before_the_end_of_each_scope():
    batch = usage.Batch(('a', 'b', 'c'), (), JUNE, HOUR, 3)
    begins = tuple(hour(number) for number in range(3))
    found = usage.Usage(
        batch,
        [samples.columns(scope_id, begins=begins, quantities=(1, 2, 3), prices=(0, 0, 0)) for scope_id in 'abc'],
        [trouble('a', end=3), trouble('b', first=1, end=2)],
    )
    left = pipeline.cut(found, {'a': hour(2), 'b': hour(0)})
    assert [(item.series.scope_id, item.quantities) for item in left.columns] == [('a', (1, 2)), ('c', (1, 2, 3))]
    assert left.troubles == [trouble('a', end=2)]
    assert len(found.columns[0].begins) == 3


def runs_of(*columns, types=('cpu', 'disk'), windows=None, **options):
    found = pipeline.coverage_of(rated(*columns, **options), types, windows or {'a': (JUNE, hour(3))}, HOUR)
    return [(run.scope_id, run.metric, run.status, (run.end - run.begin) // HOUR, run.rule_set) for run in found]


def test_cells_are_rated_empty_or_as_their_trouble_says():
    found = runs_of(samples.columns('a', begins=(hour(0), hour(2))), troubles=[trouble(first=1, end=2)])
    assert found == [
        ('a', 'cpu', Status.RATED, 1, samples.RULES),
        ('a', 'cpu', Status.FAILED, 1, None),
        ('a', 'cpu', Status.RATED, 1, samples.RULES),
        ('a', 'disk', Status.EMPTY, 3, None),
    ]


def test_provisional_cells_name_their_rules_and_unrated_ones_have_none():
    points = samples.columns('a', begins=(hour(0), hour(1)))
    troubles = [trouble(status=Status.PROVISIONAL), trouble(first=1, end=2, status=Status.UNRATED)]
    assert runs_of(points, types=['cpu'], windows={'a': (JUNE, hour(2))}, troubles=troubles) == [
        ('a', 'cpu', Status.PROVISIONAL, 1, samples.RULES),
        ('a', 'cpu', Status.UNRATED, 1, None),
    ]


def test_metric_that_a_module_made_up_is_covered_where_it_is():
    found = runs_of(
        samples.columns('a', 'extra'),
        types=['cpu'],
        windows={'a': (JUNE, hour(1)), 'b': (JUNE, hour(1))},
        scope_ids=('a', 'b'),
    )
    assert [item[:3] for item in found] == [
        ('a', 'cpu', Status.EMPTY),
        ('a', 'extra', Status.RATED),
        ('b', 'cpu', Status.EMPTY),
    ]


HOURS = strategies.sets(strategies.integers(0, 5)).map(lambda hours: tuple(map(hour, sorted(hours))))


@given(
    series=strategies.lists(
        strategies.tuples(strategies.sampled_from('ab'), strategies.sampled_from(['cpu', 'x']), HOURS)
    ),
    troubled=strategies.dictionaries(
        strategies.tuples(strategies.sampled_from('ab'), strategies.just('cpu'), strategies.integers(0, 5)),
        strategies.sampled_from([Status.FAILED, Status.UNKNOWN, Status.PROVISIONAL, Status.UNRATED]),
        max_size=3,
    ),
    skipped=strategies.sets(
        strategies.tuples(strategies.sampled_from('ab'), strategies.just('cpu'), HOURS), max_size=2
    ),
    altered=strategies.sets(
        strategies.tuples(strategies.sampled_from('ab'), strategies.integers(0, 5).map(hour)), max_size=2
    ),
    ends=strategies.tuples(strategies.integers(1, 6), strategies.integers(1, 6)),
    first=strategies.sampled_from([JUNE, JUNE - 3 * HOUR]),
)
def test_runs_are_those_of_every_cell_by_itself(series, troubled, skipped, altered, ends, first):
    """Also where a month begins among them."""

    def move(begin):
        return begin - JUNE + first

    columns = [
        samples.columns(scope_id, metric, begins=tuple(map(move, begins)), id=str(index))
        for index, (scope_id, metric, begins) in enumerate(series)
        if begins
    ]
    left_out = {(scope_id, metric, move(begin)): 1 for scope_id, metric, begins in skipped for begin in begins}
    found = rated(
        *columns,
        troubles=[
            usage.Trouble(scope_id, metric, move(hour(number)), move(hour(number + 1)), status, 'error')
            for (scope_id, metric, number), status in troubled.items()
        ],
        skipped=left_out,
        altered=frozenset((scope_id, move(begin)) for scope_id, begin in altered),
        scope_ids=('a', 'b'),
        count=6,
    )
    filled = pipeline.filled_cells(found)
    expected = []
    windows = {scope_id: (first, first + end * HOUR) for scope_id, end in zip('ab', ends, strict=True)}
    for scope_id, (begin, end) in windows.items():
        for metric in ['cpu', 'disk'] + ['x'] * any(cell[:2] == (scope_id, 'x') for cell in filled):
            for instant in range(begin, end, HOUR):
                cell = (scope_id, metric, instant)
                default = Status.RATED if cell in filled else Status.EMPTY
                status = troubled.get((scope_id, metric, (instant - first) // HOUR), default)
                expected.append(pipeline.to_run(cell, HOUR, status, cell in filled, found))
    assert pipeline.coverage_of(found, ('cpu', 'disk'), windows, HOUR) == coverage.join(expected)


def test_skipped_points_count_as_rated():
    assert runs_of(types=['cpu'], windows={'a': (JUNE, hour(1))}, skipped={('a', 'cpu', JUNE): 2}) == [
        ('a', 'cpu', Status.RATED, 1, samples.RULES)
    ]


def test_altered_periods_are_marked():
    found = pipeline.coverage_of(
        rated(samples.columns('a'), altered=frozenset({('a', JUNE)})), ['cpu'], {'a': (JUNE, hour(2))}, HOUR
    )
    assert [run.altered for run in found] == [True, False]


def test_troubles_stay_open_but_unknown_ones():
    found = pipeline.failures_of(
        [
            trouble(end=2),
            trouble('b', status=Status.UNRATED, error='module'),
            trouble('c', status=Status.PROVISIONAL, error='backlog'),
            trouble('d', status=Status.UNKNOWN),
        ],
        known(failure(since=NOW - 5, attempts=1)),
        PATIENCE,
        HOUR,
        NOW,
    )
    assert found == [
        failure(since=NOW - 5, attempts=2, next_attempt=NOW + 120),
        failure(number=1),
        failure('b', error='module'),
        failure('c', error='backlog'),
    ]


def test_what_a_source_does_not_know_is_said_once_per_cause(caplog):
    causes = pipeline.Causes()
    for _ in range(2):
        causes.warn(
            [
                trouble('a', status=Status.UNKNOWN, error='no such type.'),
                trouble('b', status=Status.UNKNOWN, error='no such type.'),
                trouble('a', permanent=True, error='no such aggregate'),
                trouble('a', 'disk', error='HTTP 503'),
            ]
        )
    assert [record.getMessage() for record in caplog.records] == [
        'Metric cpu: no such type; the other metrics go on.',
        'Metric cpu: no such aggregate; the other metrics go on.',
    ]
