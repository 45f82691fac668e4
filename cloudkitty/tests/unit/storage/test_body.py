# SPDX-License-Identifier: Apache-2.0
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies

from cloudkitty.storage.sqlalchemy import body

amounts = strategies.decimals(-(10**20), 10**20, places=28).map(lambda value: value.normalize() + 0)
points = strategies.lists(
    strategies.builds(
        body.Point,
        strategies.integers(0, 23).map(lambda hour: hour * 3600),
        strategies.sampled_from([3600, 1800, 86400]),
        amounts,
        strategies.none() | amounts,
    ),
    max_size=30,
).map(lambda found: sorted(found, key=lambda point: point.offset))


@given(points)
def test_points_come_back_as_they_were(found):
    assert body.decode_points(body.encode_points(found)) == found


def test_a_day_of_equal_hours_is_one_stretch():
    day = [body.Point(hour * 3600, 3600, Decimal(1), Decimal('0.50')) for hour in range(24)]
    assert body.encode_points(day) == '0x24 3600 1 0.5'


def test_two_equal_points_of_one_period_stay_two():
    twice = [body.Point(0, 3600, Decimal(1), Decimal(2))] * 2
    assert body.encode_points(twice) == '0 3600 1 2;0 3600 1 2'
    assert body.decode_points('0 3600 1 2;0 3600 1 2') == twice


def test_a_point_without_a_price_is_marked():
    assert body.encode_points([body.Point(0, 3600, Decimal(3), None)]) == '0 3600 3 -'


def test_cells_come_back():
    cells = [body.Cell(hour * 3600, 3600, 2, Decimal('1.5'), Decimal(0), 2, hour % 2) for hour in range(4)]
    assert body.decode_cells(body.encode_cells(cells)) == cells


def test_nothing_is_an_empty_text():
    assert body.encode_points([]) == '' and body.decode_points('') == [] and body.decode_cells('') == []


@given(points)
def test_a_body_tells_where_its_last_point_ends(found):
    assert body.end_of(body.encode_points(found)) == max((point.offset + point.length for point in found), default=0)


def test_the_end_of_cells_is_that_of_the_longest_one():
    assert body.end_of('0 259200 1 1 1 0 0;3600x4 3600 2 1.5 0 2 0') == 259200
    assert body.end_of('0 3600 1 1 1 0 0;3600x4 3600 2 1.5 0 2 0') == 5 * 3600
