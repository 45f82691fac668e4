# SPDX-License-Identifier: Apache-2.0
"""Scalars of the v1 API: what is taken, and how it is printed."""

import datetime
from decimal import Decimal

import hypothesis
from hypothesis import strategies
import pytest

from cloudkitty.api import types

UTC = datetime.timezone.utc


def refuses(datatype, *values):
    for value in values:
        with pytest.raises(ValueError, match='expected'):
            datatype.frombasetype(value)


def test_text():
    assert types.Text(3, 1).frombasetype('äöü') == 'äöü'
    refuses(types.Text(3, 1), 'abcd', '', 5, True, [], {}, 1.5, Decimal(1))
    refuses(types.text, 'a\0', '\ud800')


def test_choice():
    assert types.Choice('flat', 'rate').frombasetype('rate') == 'rate'
    refuses(types.Choice('flat', 'rate'), 'Flat', '', 1, [])
    assert not types.Choice('flat').takes_null


@pytest.mark.parametrize('word', ['true', 'T', 'Yes', 'y', 'ON', '1', ' true ', True, 1, 5])
def test_words_for_true(word):
    assert types.boolean.frombasetype(word) is True


@pytest.mark.parametrize('word', ['false', 'F', 'No', 'n', 'off', '0', False, 0])
def test_words_for_false(word):
    assert types.boolean.frombasetype(word) is False


def test_other_words_are_neither():
    refuses(types.boolean, 'maybe', '', 'yess', [], {}, Decimal('1.5'), 'ja')


@pytest.mark.parametrize('value', [5, '5', ' 5 ', '5.0', Decimal('5'), '+5', '5e0'])
def test_whole_numbers(value):
    assert types.integer.frombasetype(value) == 5


def test_other_numbers_are_refused():
    refuses(types.integer, '', 'x', 1.5, Decimal('1.5'), True, [], {}, 'NaN', 'inf', '1e400', 2**31, -(2**31) - 1)
    assert types.integer.frombasetype(2**31 - 1) == 2**31 - 1


@pytest.mark.parametrize(
    ('value', 'text'),
    [
        ('0.25', '0.2500000000'),
        (0.1, '0.1000000000'),
        (3, '3.0000000000'),
        (' -1e-3 ', '-0.0010000000'),
        ('0E-28', '0.0000000000'),
        ('-0', '0.0000000000'),
        ('-1e-30', '0.0000000000'),
        ('0.00000000005', '0.0000000000'),
        ('0.00000000015', '0.0000000002'),
        (Decimal('99.99'), '99.9900000000'),
    ],
)
def test_amounts_of_a_scale(value, text):
    datatype = types.Amount(10, Decimal(1000))
    assert datatype.tobasetype(datatype.frombasetype(value)) == text


def test_amounts_that_are_none():
    datatype = types.Amount(10, Decimal(1000))
    refuses(datatype, '', 'x', 'NaN', 'sNaN', 'Infinity', '-inf', True, [], {}, '1e999999', float('inf'), float('nan'))
    refuses(datatype, '1000', -1000, '999.99999999999')


def test_exact_amounts_are_not_rounded():
    datatype = types.Amount(2, Decimal(1000), is_exact=True)
    assert [datatype.frombasetype(value) for value in ('1.25', '1.250', '0e-9', 999.99)] == [
        Decimal(value) for value in ('1.25', '1.25', '0', '999.99')
    ]
    refuses(datatype, '1.251', '1e-400', '999.999')


@hypothesis.given(strategies.decimals(-(10**11), 10**11, places=28))
def test_an_amount_survives_the_way_out_and_in(value):
    datatype = types.Amount(28, Decimal(10) ** 12)
    text = datatype.tobasetype(value)
    assert datatype.frombasetype(text) == value and 'E' not in text


@hypothesis.given(strategies.text())
def test_no_text_breaks_an_amount(value):
    for datatype in (types.decimal_number, types.integer, types.instant, types.identifier, types.LocalDate(True)):
        try:
            datatype.frombasetype(value)
        except ValueError as error:
            assert 'expected' in str(error)


@pytest.mark.parametrize(
    ('value', 'instant'),
    [
        ('2026-05-01', datetime.datetime(2026, 5, 1)),
        ('2026-05-01T02:03', datetime.datetime(2026, 5, 1, 2, 3)),
        ('2026-05-01 02:03:04', datetime.datetime(2026, 5, 1, 2, 3, 4)),
        (' 20260501T020304Z ', datetime.datetime(2026, 5, 1, 2, 3, 4)),
        ('2026-05-01T02:03:04.5+02:00', datetime.datetime(2026, 5, 1, 0, 3, 4, 500000)),
    ],
)
def test_instants(value, instant):
    assert types.instant.frombasetype(value) == instant.replace(tzinfo=UTC)
    assert types.instant.tobasetype(instant.replace(tzinfo=UTC)) == instant.isoformat()


def test_instants_that_are_none():
    refuses(types.instant, '', 'now', '10', '2026-13-01', '2026-02-30', 5, None, [], '0001-01-01T00:00:00+12:00')


def test_dates_of_rules_stay_local():
    start, end = types.LocalDate(), types.LocalDate(is_end=True)
    assert start.frombasetype('2026-05-01') == datetime.datetime(2026, 5, 1)
    assert end.frombasetype('2026-05-01') == datetime.datetime(2026, 5, 1, 23, 59, 59)
    assert end.frombasetype('2026-05-01T00:00:00') == datetime.datetime(2026, 5, 1)
    assert end.frombasetype('2026-05-01T00:00:00Z') == datetime.datetime(2026, 5, 1, tzinfo=UTC)
    assert end.tobasetype(datetime.datetime(2026, 5, 1, 23, 59, 59)) == '2026-05-01T23:59:59'


def test_uuids_become_canonical():
    canonical = '8c0c8d5a-7e1c-4f43-9a57-3f2f6a0f1c11'
    for value in (canonical, canonical.upper(), canonical.replace('-', '')):
        assert types.identifier.frombasetype(value) == canonical
    refuses(types.identifier, '', 'x', canonical[:-1], '{%s}' % canonical, 5, [])


def test_free_values_become_json():
    value = {1: [datetime.date(2026, 5, 1), Decimal('1.5'), None, True], 'b': {'c': (1, 2.5)}}
    assert types.free.tobasetype(value) == {'1': ['2026-05-01', '1.5', None, True], 'b': {'c': [1, 2.5]}}


def test_numbers_of_json_are_exact():
    assert types.parse_decimal('0.1') == Decimal('0.1')
    with pytest.raises(ValueError, match='too large'):
        types.parse_decimal('1e99999999999999999999')
