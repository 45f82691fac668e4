# SPDX-License-Identifier: Apache-2.0

import hypothesis
from hypothesis import strategies

from cloudkitty import coverage
from cloudkitty import metric
from cloudkitty import usage
from cloudkitty.processor import settling
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
Status = coverage.Status
METRICS = (metric.Metric(name='cpu', type='cpu', unit='u'),)


class Storage:
    tells_origins = True


def make(count=2, storage=None):
    return settling.Settler(None, storage or Storage(), HOUR, count)


def batch(first=0, count=4):
    return usage.Batch(('p',), METRICS, JUNE + first * HOUR, HOUR, count)


def hours(*numbers):
    return tuple(JUNE + number * HOUR for number in numbers)


def run(first, end, status=Status.RATED, metric='cpu'):
    rule_set = samples.RULES if status in (Status.RATED, Status.PROVISIONAL) else None
    return coverage.Run('p', metric, JUNE + first * HOUR, JUNE + end * HOUR, status, rule_set)


def test_batch_is_widened_into_the_past():
    wide = make(2).widen(batch(first=5, count=3))
    assert (wide.begin, wide.count) == (JUNE + 3 * HOUR, 5)
    assert wide.end == batch(first=5, count=3).end
    assert make(0).widen(batch()) == batch()


@hypothesis.given(
    strategies.lists(strategies.lists(strategies.integers(0, 5), max_size=6).map(sorted), max_size=3),
    strategies.lists(strategies.tuples(strategies.integers(0, 5), strategies.integers(1, 3)), max_size=3),
    strategies.integers(0, 6),
)
def test_split_loses_nothing_and_doubles_nothing(begins, troubles, place):
    found = usage.Usage(
        batch(count=6),
        [
            samples.columns('p', begins=hours(*own), quantities=range(len(own)), id=str(number))
            for number, own in enumerate(begins)
            if own
        ],
        [
            usage.Trouble('p', 'cpu', *hours(first, min(6, first + length)), Status.FAILED, 'no')
            for first, length in troubles
        ],
    )
    early, late = settling.split(found, JUNE + place * HOUR)
    assert (early.batch.count, late.batch.count) == (place, 6 - place)
    assert list(early.batch.begins) + list(late.batch.begins) == list(found.batch.begins)
    assert all(begin in early.batch.begins for item in early.columns for begin in item.begins)
    assert all(begin in late.batch.begins for item in late.columns for begin in item.begins)
    assert points(early) + points(late) == points(found)
    assert sorted(cells(early) + cells(late)) == sorted(cells(found))


def points(found):
    return sorted(
        (begin, item.series.groupby['id'], quantity)
        for item in found.columns
        for begin, quantity in zip(item.begins, item.quantities, strict=True)
    )


def cells(found):
    return [begin for trouble in found.troubles for begin in range(trouble.begin, trouble.end, HOUR)]


def test_digest_tells_what_was_given_whatever_its_order():
    def digest(*columns, troubles=()):
        return settling.digest(usage.Usage(batch(), list(columns), list(troubles)), JUNE)

    one = samples.columns('p', begins=hours(0, 1), quantities=(1, 2))
    other = samples.columns('p', begins=hours(1), quantities=(3,), id='b')
    assert digest(one, other) == digest(other, one)
    assert digest(one, other)['p', JUNE] == digest(one)['p', JUNE]
    assert digest(one, other)['p', JUNE + HOUR] != digest(one)['p', JUNE + HOUR]
    assert digest(one) != digest(samples.columns('p', begins=hours(0, 1), quantities=(1, 4)))
    trouble = usage.Trouble('p', 'cpu', *hours(0, 1), Status.FAILED, 'no')
    assert digest(one)['p', JUNE] != digest(one, troubles=[trouble])['p', JUNE]
    assert settling.digest(usage.Usage(batch(), [one], []), JUNE + HOUR).keys() == {('p', JUNE + HOUR)}


def doubt(runs, count=2, storage=None, since=JUNE, is_deep=False):
    backlog = usage.Backlog(since, is_deep, 'waiting')
    return make(count, storage).doubt(runs, {'p': JUNE + (4 - count) * HOUR}, backlog, 7)


def test_newest_cells_are_provisional_under_a_backlog():
    runs, failures = doubt([run(0, 4), run(0, 4, Status.EMPTY, 'disk'), run(0, 4, Status.FAILED, 'ip')])
    assert runs == [
        run(0, 2),
        run(2, 4, Status.PROVISIONAL),
        run(0, 2, Status.EMPTY, 'disk'),
        run(2, 4, Status.PROVISIONAL, 'disk')._replace(rule_set=None),
        run(0, 4, Status.FAILED, 'ip'),
    ]
    assert failures == []


def test_others_are_only_if_it_is_deep_and_have_a_trouble_then():
    runs, failures = doubt([run(0, 4)], since=JUNE + HOUR, is_deep=True)
    assert runs == [run(0, 1), run(1, 4, Status.PROVISIONAL)]
    assert [(failure.begin, failure.since, failure.error) for failure in failures] == [(JUNE + HOUR, 7, 'waiting')]


def test_without_looking_again_only_a_deep_backlog_counts():
    assert doubt([run(0, 4)], count=0) == ([run(0, 4)], [])
    runs, failures = doubt([run(0, 4)], count=0, is_deep=True)
    assert runs == [run(0, 4, Status.PROVISIONAL)]
    assert len(failures) == 4


def test_no_backlog_changes_nothing():
    assert make().doubt([run(0, 4)], {'p': JUNE}, None, 7) == ([run(0, 4)], [])


def test_storage_that_would_lose_pushed_points_knows_no_backlog():
    class Old:
        tells_origins = False

    assert doubt([run(0, 4)], storage=Old(), is_deep=True) == ([run(0, 4)], [])


def test_memory_is_of_one_epoch_and_bounded():
    memory = settling.Memory()
    seen = {JUNE: settling.Seen(1, False)}
    memory.learn('p', 4, seen)
    assert memory.get('p', 4) == seen
    assert memory.get('p', 5) == {} and memory.get('q', 4) == {}
    memory.MOST = 1
    memory.learn('q', 1, seen)
    assert memory.get('p', 4) == {} and memory.get('q', 1) == seen
