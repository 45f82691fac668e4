# SPDX-License-Identifier: Apache-2.0
import decimal
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies

from cloudkitty import amount
from cloudkitty import period
from cloudkitty import series
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import slices
from cloudkitty.tests import samples

OF = series.Series('p', 'cpu', 'u', {}, {})
#: Few different ones, so that neighbours are equal; long and tiny ones, and those that Python writes with an exponent.
amounts = strategies.sampled_from(
    [
        Decimal(text)
        for text in ('0', '0.00', '1', '1.0', '120', '1E+3', '0.0000000000000000000000000001', '-0.5', '7.25')
    ]
) | strategies.decimals(-(10**20), 10**20, places=28)


@strategies.composite
def columns(draw, unpriceable=True):
    hours = sorted(draw(strategies.lists(strategies.integers(0, 60), min_size=1, max_size=40)))
    count = len(hours)
    prices = draw(
        strategies.lists(amounts | strategies.none() if unpriceable else amounts, min_size=count, max_size=count)
    )
    return series.Columns(
        OF,
        draw(strategies.sampled_from([3600, 3600, 1800, 86400])),
        tuple(samples.JUNE + hour * 3600 for hour in hours),
        tuple(draw(strategies.lists(amounts, min_size=count, max_size=count))),
        tuple(prices),
        draw(strategies.none() | strategies.lists(strategies.booleans(), min_size=count, max_size=count).map(tuple)),
    )


def cut(*items):
    cutter = slices.Cutter()
    return [(day, part) for item in items for day, part in cutter.cut(item)]


def points_of(item, day):
    return [
        body.Point(begin - day * period.DAY, item.length, qty, price)
        for begin, qty, price in zip(item.begins, item.quantities, item.prices, strict=True)
        if begin // period.DAY == day
    ]


@given(columns())
def test_slices_are_the_points_of_their_days(item):
    with decimal.localcontext(amount.CONTEXT):
        found = cut(item)
        assert [day for day, _ in found] == sorted({begin // period.DAY for begin in item.begins})
        for day, part in found:
            expected = points_of(item, day)
            assert part.points() == expected
            assert part.encode() == body.encode_points(expected)
            priced = [point for point in expected if point.price is not None]
            assert part.totals() == (
                len(priced),
                amount.total(point.qty for point in priced),
                amount.total(point.price for point in priced),
            )


@given(strategies.lists(columns() | columns(unpriceable=False), min_size=1, max_size=4))
def test_cells_are_the_sums_of_the_points(items):
    with decimal.localcontext(amount.CONTEXT):
        by_day = {}
        for day, part in cut(*items):
            by_day.setdefault(day, slices.Cells()).add(part)
        for day, cells in by_day.items():
            expected = {}
            for item in items:
                flags = item.unpriced or (False,) * len(item.begins)
                for begin, qty, price, flag in zip(item.begins, item.quantities, item.prices, flags, strict=True):
                    if price is not None and begin // period.DAY == day:
                        values = [1, qty, price, int(flag), 0]
                        place = (begin - day * period.DAY, item.length)
                        expected[place] = slices.add_up(expected[place], values) if place in expected else values
            assert cells.by_place() == expected
            assert bool(cells) == bool(expected)
            if expected:
                offset, text, totals = cells.fold()
                assert offset == min(expected)[0]
                assert text == body.encode_cells(body.Cell(*place, *expected[place]) for place in sorted(expected))
                assert totals == slices.add_up_all(expected.values())


def test_what_was_left_out_is_counted():
    cells = slices.Cells()
    cells.skip(3600, 3600, 2)
    cells.skip(3600, 3600, 1)
    assert cells.fold() == (3600, '3600 3600 0 0 0 0 3', [0, 0, 0, 0, 3])
