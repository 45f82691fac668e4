# SPDX-License-Identifier: Apache-2.0

import hypothesis
from hypothesis import strategies

from cloudkitty.processor import repair

CELLS = strategies.sets(
    strategies.tuples(
        strategies.sampled_from(['a', 'b', 'c']),
        strategies.sampled_from(['cpu', 'disk']),
        strategies.integers(0, 8).map(lambda number: number * 10),
    )
)


def cells_of(job, length=10):
    return {
        (scope_id, name, begin)
        for scope_id in job.scope_ids
        for name in job.metrics
        for begin in range(job.begin, job.end, length)
    }


@hypothesis.given(CELLS, strategies.integers(1, 3))
def test_jobs_cover_exactly_the_cells_and_each_once(cells, most):
    jobs = repair.group(cells, 10, most)
    covered = [cell for job in jobs for cell in cells_of(job)]
    assert sorted(covered) == sorted(cells)
    assert all(len(job.scope_ids) <= most for job in jobs)
    assert [job.begin for job in jobs] == sorted(job.begin for job in jobs)


def test_scopes_and_metrics_that_fail_together_are_asked_together():
    cells = [(scope_id, name, begin) for scope_id in 'ab' for name in ('cpu', 'disk') for begin in (0, 10, 20)]
    assert repair.group(cells, 10) == [repair.Job(('a', 'b'), ('cpu', 'disk'), 0, 30)]


def test_gap_parts_jobs():
    assert repair.group([('a', 'cpu', 0), ('a', 'cpu', 20), ('a', 'cpu', 30)], 10) == [
        repair.Job(('a',), ('cpu',), 0, 10),
        repair.Job(('a',), ('cpu',), 20, 40),
    ]


def test_nothing_is_no_job():
    assert repair.group([], 10) == []
