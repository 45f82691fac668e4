# SPDX-License-Identifier: Apache-2.0

from decimal import Decimal

import hypothesis
from hypothesis import strategies

from cloudkitty import adjustment
from cloudkitty import coverage
from cloudkitty import series
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
AMOUNTS = strategies.decimals(
    min_value=0, max_value=10**20, allow_nan=False, allow_infinity=False, places=28
) | strategies.integers(0, 10**9).map(Decimal)
VALUES = strategies.none() | strategies.booleans() | strategies.integers(-(2**40), 2**40) | strategies.text(max_size=5)


@strategies.composite
def columns(draw):
    count = draw(strategies.integers(1, 3))
    of = series.Series(
        'p',
        'cpu',
        draw(strategies.text(max_size=5)),
        draw(strategies.dictionaries(strategies.text(max_size=5), VALUES, max_size=3)),
        draw(strategies.dictionaries(strategies.text(max_size=5), VALUES, max_size=3)),
        draw(strategies.none() | strategies.text(max_size=5)),
    )

    def entries(of_what):
        return tuple(draw(strategies.lists(of_what, min_size=count, max_size=count)))

    unpriced = entries(strategies.booleans())
    return series.Columns(
        of,
        HOUR,
        (JUNE,) * count,
        entries(AMOUNTS),
        entries(AMOUNTS | strategies.none()),
        unpriced if any(unpriced) else None,
    )


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.too_slow])
@hypothesis.given(
    strategies.lists(columns(), max_size=3, unique_by=lambda item: item.series.fingerprint),
    strategies.sampled_from(coverage.Status),
    strategies.booleans(),
    strategies.integers(0, 3),
)
def test_cells_are_read_as_they_were_written(found, status, altered, skipped):
    run = coverage.Run('p', 'cpu', JUNE, JUNE + HOUR, status, samples.RULES, altered)
    cell = adjustment.Cell('why', adjustment.Sum(1, Decimal('0.5'), Decimal(2)), 'd' * 32, run, found, skipped)
    text = adjustment.encode({'cpu': cell})
    read = adjustment.decode(text, 'p', JUNE, JUNE + HOUR)['cpu']
    assert (read.cause, read.before, read.digest, read.run, read.skipped) == (
        cell.cause, cell.before, cell.digest, run, skipped
    )  # fmt: skip
    assert sorted(map(describe, read.columns)) == sorted(map(describe, found))
    assert read.after == cell.after
    assert adjustment.encode({'cpu': read}) == text


def describe(item):
    prices = tuple((price is None, price or 0) for price in item.prices)
    return item.series.fingerprint, item.length, item.begins, item.quantities, prices, item.unpriced or ()


def test_points_without_a_price_count_nothing_towards_it():
    found = samples.columns('p', begins=(JUNE, JUNE), quantities=(1, 2), prices=(4, None))
    assert adjustment.add_up([found]) == (2, 3, 4)
