# SPDX-License-Identifier: Apache-2.0
import decimal
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies
import pytest

from cloudkitty import amount


@pytest.mark.parametrize(
    'value, expected',
    [(1, '1'), (0.1, '0.1'), ('2.50', '2.50'), (Decimal('3.1'), '3.1'), (1e22, '1E+22')],
)
def test_a_number_of_any_kind_becomes_a_decimal_by_its_text(value, expected):
    assert str(amount.from_number(value)) == expected


@pytest.mark.parametrize('value', [None, True, b'1', [1]])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError):
        amount.from_number(value)


def test_text_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="'1,5'"):
        amount.from_number('1,5')


def test_quantise_rounds_half_even_at_28_digits():
    assert amount.quantise(Decimal('1e-29') * 5) == 0
    assert amount.quantise(Decimal('1e-28') + Decimal('5e-29')) == Decimal('2e-28')


def test_quantise_adds_no_zeros():
    assert str(amount.quantise(Decimal('0.25'))) == '0.25'


@pytest.mark.parametrize('text', ['1e24', '-1e24', 'NaN', 'Infinity', '-Infinity'])
def test_what_the_tables_cannot_hold_is_refused(text):
    with pytest.raises(amount.AmountTooLarge):
        amount.quantise(Decimal(text))


@given(strategies.lists(strategies.decimals(-(10**20), 10**20, places=28), max_size=50))
def test_a_total_is_exact(values):
    exact = decimal.Context(prec=200)
    expected = Decimal(0)
    for value in values:
        expected = exact.add(expected, value)
    assert amount.total(values) == expected


@pytest.mark.parametrize(
    'text, expected',
    [('120', '120'), ('1.2300', '1.23'), ('-0', '0'), ('0E-28', '0'), ('1E+3', '1000'), ('1E-5', '0.00001')],
)
def test_text_is_plain(text, expected):
    assert amount.to_text(Decimal(text)) == expected
