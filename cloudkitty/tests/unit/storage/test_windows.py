# SPDX-License-Identifier: Apache-2.0
"""Windows of reports."""

import itertools

import pytest

from cloudkitty import period
from cloudkitty.storage.sqlalchemy import windows

DAY = period.DAY


@pytest.mark.parametrize(('whole', 'longest'), [(False, 0), (True, windows.LONGEST_FRAME), (True, 3600), (True, DAY)])
def test_whole_days_are_those_of_which_every_point_is_in_the_window(whole, longest):
    edges = [day * DAY + second for day in (-40, -1, 0, 1, 2, 31, 32, 33, 70) for second in (0, 1, DAY - 1)]
    for begin, end in itertools.product(edges, edges):
        window = windows.Window(begin, end, whole, longest)
        expected = [day for day in range(*window.days) if begin <= day * DAY and (day + 1) * DAY + longest <= end]
        first, last = window.whole_days
        assert list(range(first, last)) == expected
        assert [*range(window.days[0], first), *expected, *range(last, window.days[1])] == [*range(*window.days)]
