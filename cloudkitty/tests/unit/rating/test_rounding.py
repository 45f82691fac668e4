# SPDX-License-Identifier: Apache-2.0
import decimal
from decimal import Decimal

import hypothesis
from hypothesis import strategies as st
import pytest

from cloudkitty import amount
from cloudkitty.rating import rounding

NUMBERS = st.decimals(min_value=-(10**23), max_value=10**23, allow_nan=False, allow_infinity=False, places=None)
TINY = st.integers(-(10**40), 10**40).map(lambda number: Decimal(number).scaleb(-35))


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(st.lists(st.one_of(NUMBERS, TINY), max_size=12))
def test_many_are_rounded_as_each(prices):
    with rounding.local():
        prices = [+price for price in prices]
        rounded = rounding.quantise_all(prices)
    assert list(rounded) == [amount.quantise(price) for price in prices]


@pytest.mark.parametrize(
    'prices',
    [
        ['0.5E-28', '0.5E-28', '1'],
        ['0.5E-28', '-0.5E-28', '0'],
        ['9E23', '9E23', '0.5E-28', '1'],
        ['1.5E-28', '0E-40'],
        [],
    ],
)
def test_sum_that_hides_digits(prices):
    prices = [Decimal(price) for price in prices]
    with rounding.local():
        assert list(rounding.quantise_all(prices)) == [amount.quantise(price) for price in prices]


def test_few_digits_are_not_padded():
    with rounding.local():
        assert [str(price) for price in rounding.quantise_all([Decimal('0.25'), Decimal('2')])] == ['0.25', '2']


def test_too_large_a_price_is_an_error_by_itself():
    with rounding.local(), pytest.raises(decimal.Overflow):
        Decimal('5E23') * 2
    with rounding.local():
        assert Decimal('9E22') * 10 + Decimal('9E22') == Decimal('99E22')


def test_the_callers_arithmetic_is_left_alone():
    before = decimal.getcontext().prec
    with rounding.local():
        assert decimal.getcontext().prec == 60
    assert decimal.getcontext().prec == before
