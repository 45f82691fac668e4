# SPDX-License-Identifier: Apache-2.0

from cloudkitty import coverage
from cloudkitty.processor import known_cells
from cloudkitty.processor import mend
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
Status = coverage.Status


def run(metric, rule_set=None, scope_id='a', status=Status.RATED, first=0, end=1, altered=False):
    return coverage.Run(scope_id, metric, JUNE + first * HOUR, JUNE + end * HOUR, status, rule_set, altered)


def test_status_is_that_of_the_run_that_holds_the_cell():
    past = known_cells.Past([run('cpu', end=2), run('cpu', first=2, end=3, status=Status.FAILED)])
    assert past.status(('a', 'cpu', JUNE + HOUR)) is Status.RATED
    assert past.status(('a', 'cpu', JUNE + 2 * HOUR)) is Status.FAILED
    assert past.status(('a', 'cpu', JUNE + 3 * HOUR)) is None
    assert past.status(('b', 'cpu', JUNE)) is None


def test_rules_of_a_period_are_those_of_most_of_its_other_cells():
    past = known_cells.Past([run('cpu', 'old'), run('disk', 'new'), run('ram', 'old'), run('ip', 'new'), run('net')])
    assert past.rule_set(('a', 'cpu', JUNE)) == 'new'
    assert past.rule_set(('a', 'ip', JUNE)) == 'old'
    assert known_cells.Past([run('cpu', 'old')]).rule_set(('a', 'cpu', JUNE)) == 'old'
    assert known_cells.Past([run('cpu')]).rule_set(('a', 'cpu', JUNE)) is None


def test_period_is_altered_if_one_of_its_cells_is():
    past = known_cells.Past([run('cpu', end=2), run('disk', altered=True)])
    assert past.is_altered('a', JUNE)
    assert not past.is_altered('a', JUNE + HOUR)


def test_only_points_of_wanted_cells_are_kept():
    begins = (JUNE, JUNE, JUNE + HOUR)
    columns = [
        samples.columns('a', begins=begins, quantities=(1, 2, 3), prices=(4, 5, 6)),
        samples.columns('b', begins=begins),
        samples.columns('c', begins=begins, unit='x'),
    ]
    kept = mend.keep(columns, lambda cell: cell[0] == 'c' or cell == ('a', 'cpu', JUNE))
    assert [(item.series.scope_id, item.begins, item.prices) for item in kept] == [
        ('a', (JUNE, JUNE), (4, 5)),
        ('c', begins, columns[2].prices),
    ]
