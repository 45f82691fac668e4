# SPDX-License-Identifier: Apache-2.0
from decimal import Decimal
import fractions

import pytest

from cloudkitty import amount
from cloudkitty import metric


def make(**values):
    return metric.Metric(name='cpu', type='cpu', unit='instance', **values)


@pytest.mark.parametrize(
    'mutation, value, quantity',
    [
        ('NONE', '2.5', '2.5'),
        ('NUMBOOL', '0', '0'),
        ('NUMBOOL', '-1.2', '1'),
        ('NOTNUMBOOL', '0', '1'),
        ('NOTNUMBOOL', '3', '0'),
        ('FLOOR', '-1.2', '-2'),
        ('CEIL', '-1.2', '-1'),
    ],
)
def test_mutations_of_the_contract(mutation, value, quantity):
    assert metric.convert(make(mutate=metric.Mutation(mutation)), Decimal(value)) == Decimal(quantity)


@pytest.mark.parametrize('value, quantity', [('0', '5'), ('2.5', '9'), ('3', '0'), ('1', '0'), ('0.0', '5')])
def test_map_matches_by_numeric_value(value, quantity):
    mapped = make(mutate=metric.Mutation.MAP, mutate_map={Decimal(0): Decimal(5), Decimal('2.5'): Decimal(9)})
    assert metric.convert(mapped, Decimal(value)) == Decimal(quantity)


def test_a_factor_is_exact_and_comes_before_the_offset_and_the_mutation():
    third = make(factor=fractions.Fraction(1, 3), offset=fractions.Fraction(1), mutate=metric.Mutation.CEIL)
    assert metric.convert(third, Decimal(6)) == 3


def test_a_quantity_is_rounded_once():
    third = make(factor=fractions.Fraction(1, 3))
    assert metric.convert(third, Decimal(1)) == Decimal('0.' + '3' * 28)
    assert metric.convert(third, Decimal(3)) == 1


def test_a_quantity_that_cannot_be_stored_is_refused():
    with pytest.raises(amount.AmountTooLarge):
        metric.convert(make(factor=fractions.Fraction(10**20)), Decimal(10**5))


@pytest.mark.parametrize(
    'text, expected', [('1/3', (1, 3)), ('0.25', (1, 4)), ('1e3', (1000, 1)), (0.1, (1, 10)), (2, (2, 1))]
)
def test_factors_are_exact(text, expected):
    assert metric.parse_factor(text) == fractions.Fraction(*expected)


@pytest.mark.parametrize('value', ['', 'a', '1/0', None, True, [], float('nan'), float('inf')])
def test_what_is_no_factor_is_refused(value):
    with pytest.raises(ValueError):
        metric.parse_factor(value)


def test_the_key_names_the_alt_name():
    assert make().key == 'cpu'
    assert make(alt_name='instance').key == 'cpu@#instance'
