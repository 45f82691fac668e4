# SPDX-License-Identifier: Apache-2.0

from cloudkitty import coverage

HOUR = 3600
JUNE = 1780272000  # 2026-06-01T00:00Z
RUN = coverage.Run('p', 'cpu', JUNE, JUNE + HOUR, coverage.Status.RATED, 'd' * 32)


def after(run, **changes):
    return run._replace(begin=run.end, end=run.end + HOUR, **changes)


def test_equal_neighbours_become_one_run():
    assert coverage.join([after(RUN), RUN]) == [RUN._replace(end=JUNE + 2 * HOUR)]


def test_runs_that_differ_stay_apart():
    for changes in (
        {'status': coverage.Status.EMPTY},
        {'rule_set': None},
        {'altered': True},
        {'metric': 'ram'},
        {'scope_id': 'q'},
    ):
        assert len(coverage.join([RUN, after(RUN, **changes)])) == 2


def test_a_gap_is_kept():
    assert len(coverage.join([RUN, after(after(RUN))])) == 2


def test_a_run_is_cut_at_the_month():
    before = RUN._replace(begin=JUNE - HOUR, end=JUNE)
    assert coverage.join([before, RUN]) == [before, RUN]


def test_a_long_run_is_split_at_months():
    long = RUN._replace(begin=JUNE - HOUR, end=JUNE + 31 * 24 * HOUR)
    assert [(run.begin, run.end) for run in coverage.split_months(long)] == [
        (JUNE - HOUR, JUNE),
        (JUNE, JUNE + 30 * 24 * HOUR),
        (JUNE + 30 * 24 * HOUR, JUNE + 31 * 24 * HOUR),
    ]


def test_a_repaired_cell_splits_its_run_and_heals_it_again():
    day = RUN._replace(end=JUNE + 24 * HOUR)
    hole = day._replace(begin=JUNE + 5 * HOUR, end=JUNE + 6 * HOUR, status=coverage.Status.FAILED, rule_set=None)
    torn = coverage.replace([day], [hole])
    assert [(run.begin, run.end) for run in torn] == [
        (JUNE, JUNE + 5 * HOUR),
        (JUNE + 5 * HOUR, JUNE + 6 * HOUR),
        (JUNE + 6 * HOUR, JUNE + 24 * HOUR),
    ]
    mended = hole._replace(status=coverage.Status.RATED, rule_set=RUN.rule_set)
    assert coverage.replace(torn, [mended]) == [day]
