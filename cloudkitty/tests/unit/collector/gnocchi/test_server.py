# SPDX-License-Identifier: Apache-2.0
import pytest

from cloudkitty.collector.gnocchi import server


def test_an_answer_is_as_large_as_the_time_for_it_allows():
    pace = server.Pace()
    first = pace.most('instance', 15)
    assert first == 1500
    for _ in range(30):
        pace.note('instance', 1000, 2)
    assert pace.most('instance', 15) == pytest.approx(7500, rel=0.01)
    assert pace.most('volume', 15) == first
    for _ in range(30):
        pace.note('instance', 1000, 500)
    assert pace.most('instance', 15) == server.Pace.LEAST


def test_small_answers_tell_nothing():
    pace = server.Pace()
    pace.note('instance', server.Pace.LEAST - 1, 1000)
    assert pace.most('instance', 15) == 1500
