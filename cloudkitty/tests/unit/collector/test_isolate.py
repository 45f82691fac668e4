# SPDX-License-Identifier: Apache-2.0
"""Halving what fails."""

import pytest

from cloudkitty.collector import isolate
from cloudkitty.collector.gnocchi import requests

Refusal = requests.Refusal


class Source:
    """Gives every number but the *bad* ones; parts are tuples of numbers."""

    def __init__(self, *bad, refusal=Refusal.TROUBLE, most=1000):
        self.bad = set(bad)
        self.refusal = refusal
        self.most = most
        self.asked = []

    def ask(self, part):
        self.asked.append(part)
        if len(part) > self.most:
            raise requests.RequestFailed(Refusal.TOO_BIG, 'too big')
        if self.bad.intersection(part):
            raise requests.RequestFailed(self.refusal, 'bad')
        return part

    def split(self, part, error):
        middle = len(part) // 2
        return [part[:middle], part[middle:]] if middle and error.refusal is not Refusal.AWAY else []

    def run(self, *parts, budget=100, weigh=len):
        found = isolate.ask_all(
            isolate.Runner(None, budget, requests.RequestFailed), parts, self.ask, self.split, lambda part: 'all', weigh
        )
        good = sorted(number for _, result in found if isinstance(result, tuple) for number in result)
        failed = sorted(number for part, result in found if not isinstance(result, tuple) for number in part)
        return good, failed


def test_what_works_is_asked_once():
    source = Source()
    assert source.run((1, 2), (3,)) == ([1, 2, 3], [])
    assert source.asked == [(1, 2), (3,)]


@pytest.mark.parametrize('bad', [0, 5, 15])
def test_one_bad_part_is_found_in_few_requests(bad):
    source = Source(bad)
    numbers = tuple(range(16))
    assert source.run(numbers) == ([number for number in numbers if number != bad], [bad])
    assert len(source.asked) == 1 + 2 * 4


def test_a_source_that_gives_nothing_is_soon_left_alone():
    source = Source(*range(64))
    assert source.run(tuple(range(64))) == ([], list(range(64)))
    assert len(source.asked) == 1 + 2 + 4


def test_a_source_that_is_away_is_not_asked_for_less():
    source = Source(1, refusal=Refusal.AWAY)
    assert source.run((1, 2)) == ([], [1, 2])
    assert len(source.asked) == 1


def test_what_is_too_big_is_halved_until_it_fits():
    source = Source(most=4)
    assert source.run(tuple(range(8))) == (list(range(8)), [])


def test_requests_that_run_together_stay_within_the_budget():
    runner = isolate.Runner(None, 10, requests.RequestFailed)
    assert list(runner._waves([(0,) * size for size in (4, 6, 1, 20, 3, 3)], len)) == [
        [(0,) * 4, (0,) * 6],
        [(0,)],
        [(0,) * 20],
        [(0,) * 3, (0,) * 3],
    ]


def halve(part):
    middle = len(part) // 2
    return [part[:middle], part[middle:]] if middle else []


def test_one_large_part_is_spread_over_all_places():
    parts = isolate.spread([tuple(range(40))], 4, len, halve, 1)
    assert [len(part) for part in parts] == [10, 10, 10, 10]
    assert sorted(number for part in parts for number in part) == list(range(40))


def test_enough_equal_parts_are_left_as_they_are():
    parts = [tuple(range(10))] * 4
    assert isolate.spread(parts, 4, len, halve, 1) == parts


def test_what_is_small_or_cannot_be_halved_is_left():
    assert isolate.spread([(1, 2, 3)], 4, len, halve, 3) == [(1, 2, 3)]
    assert isolate.spread([(1,)], 4, lambda part: 100, halve, 3) == [(1,)]


def test_parts_made_to_be_asked_at_once_are_still_split_when_all_fail():
    bad = {0, 15, 23, 30}

    def ask(part):
        if bad & set(part):
            raise requests.RequestFailed(requests.Refusal.TROUBLE, 'HTTP 500')
        return part

    parts = [tuple(range(first, min(first + 10, 31))) for first in range(0, 31, 10)]
    for pieces, count in ((None, 0), ({'all': 4}, 27)):
        done = isolate.ask_all(
            isolate.Runner(None, 1000, requests.RequestFailed),
            parts,
            ask,
            lambda part, _: halve(part),
            lambda _: 'all',
            pieces=pieces,
        )
        good = [number for part, result in done if result is part for number in part]
        assert len(good) == count


def test_what_was_too_big_is_halved_and_grows_back():
    sizes = isolate.Sizes()
    sizes.shrink(('scopes', 'instance'), 100)
    sizes.grow()
    assert sizes.most(('scopes', 'instance')) == 50
    sizes.grow()
    assert sizes.most(('scopes', 'instance')) == 100
