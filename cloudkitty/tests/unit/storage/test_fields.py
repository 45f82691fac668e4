# SPDX-License-Identifier: Apache-2.0
from decimal import Decimal

import pytest

from cloudkitty import errors
from cloudkitty.storage import fields

POINTS = [
    fields.PointValue(begin, Decimal(qty), Decimal(price)) for begin, qty, price in [(2, 4, 1), (1, 2, 7), (3, 9, 0)]
]


def value(text, points=POINTS):
    (field,) = fields.parse(text)
    assert field.needs_points
    return field.of_points(points)


@pytest.mark.parametrize(
    'text, expected',
    [
        ('MIN(qty)', 2),
        ('max(qty)', 9),
        ('FIRST(price)', 7),
        ('last(price)', 0),
        ('median(qty)', 4),
        ('SPREAD(qty)', 7),
    ],
)
def test_aggregates_of_points(text, expected):
    assert value(text) == expected


def test_a_median_of_an_even_count_is_between_the_two_in_the_middle():
    assert value('median(price)', POINTS[:2]) == 4


def test_a_deviation_is_that_of_a_sample():
    assert round(value('stddev(qty)'), 6) == Decimal('3.605551')
    assert value('stddev(qty)', POINTS[:1]) == 0


def test_aggregates_of_sums():
    columns = fields.parse('SUM(qty) AS a, count(*), MEAN(price) AS "b", count(price) as c')
    assert [column.alias for column in columns] == ['a', 'count_points', 'b', 'c']
    assert [column.of_sums(4, Decimal(10), Decimal(6)) for column in columns] == [10, 4, Decimal('1.5'), 4]


def test_nothing_said_is_what_reports_always_show():
    assert [(column.aggregate, column.name, column.alias) for column in fields.parse(None)] == [
        ('sum', 'qty', 'qty'),
        ('sum', 'price', 'rate'),
    ]


@pytest.mark.parametrize(
    'text',
    [
        '',
        'qty',
        'SUM(qty) AS',
        'SUM(qty) AS a b',
        'SUM(qty) AS "a',
        'SUM(qty)) AS a',
        'SUM(*)',
        'SUM(vcpus)',
        'TOP(qty)',
        'SUM(qty) AS a, SUM(price) AS a',
        'SUM(qty) AS begin',
        'SUM(qty); DROP TABLE series',
        'SUM(qty) FROM series',
        'SUM(qty),',
    ],
)
def test_everything_else_is_refused(text):
    with pytest.raises(errors.BadRequest, match='^custom_fields'):
        fields.parse(text)
