# SPDX-License-Identifier: Apache-2.0
from decimal import Decimal
import zoneinfo

import pytest

from cloudkitty import period
from cloudkitty.rating import rounding
from cloudkitty.rating.hashmap import formulas
from cloudkitty.rating.hashmap import rulebook
from cloudkitty.tests.unit.rating.hashmap import rules
from cloudkitty.tests.unit.rating.hashmap.rules import BEGIN
from cloudkitty.tests.unit.rating.hashmap.rules import HOUR
from cloudkitty.tests.unit.rating.hashmap.rules import Rules


def price(given, *quantities, zone=None, **point):
    return rules.price(rules.make_book(given.service(), zone=zone), rules.make_columns(*quantities, **point))


def count_kept(book):
    """Return how many values have their class kept by the table of a field, and how many lines there are."""
    layer = book._compiled['srv'].common.latest
    return sum(len(known) for _, known, _ in layer.fields), len(layer.formulas.lines)


def test_window_is_half_open():
    given = Rules().flat(5, start=BEGIN + HOUR, end=BEGIN + 3 * HOUR)
    assert price(given, 1, 1, 1, 1) == [0, 5, 5, 0]


def test_rule_that_begins_inside_a_period_prices_none_of_it():
    assert price(Rules().flat(5, start=BEGIN + 1), 1, 1) == [0, 5]


def test_rule_that_ends_inside_a_period_prices_all_of_it():
    assert price(Rules().flat(5, end=BEGIN + 1), 1, 1) == [5, 0]


def test_window_without_length_is_never_active():
    assert price(Rules().flat(5, start=BEGIN, end=BEGIN), 1, 1) == [0, 0]


def test_later_rule_of_a_cell_wins_while_both_are_active():
    given = Rules().flat(5).flat(3, start=BEGIN + HOUR, end=BEGIN + 2 * HOUR)
    assert price(given, 1, 1, 1) == [5, 3, 5]


def test_window_of_one_tenant_does_not_touch_others():
    given = Rules().flat(5).flat(3, tenant='t', start=BEGIN + HOUR)
    assert price(given, 1, 1, scope='t') == [5, 3]
    assert price(given, 1, 1) == [5, 5]


def test_unknown_service_is_told_apart_from_one_without_rules():
    book = rules.make_book(Rules().service())
    with rounding.local():
        assert book.price(rules.make_columns(1, metric='other')) is None
        assert book.price(rules.make_columns(1)) == ([Decimal(0)], False)


def test_points_without_a_scope_get_the_rules_of_all():
    assert price(Rules().flat(5).flat(3, tenant='t'), 1, scope='') == [5]


@pytest.mark.parametrize(
    ('value', 'expected'), [(1, 1), ('1', 1), (1.0, 2), ('1.0', 2), (True, 4), ('True', 4), (None, 8), ('None', 8)]
)
def test_value_is_compared_by_its_text(value, expected):
    given = Rules()
    for text, cost in (('1', 1), ('1.0', 2), ('True', 4), ('None', 8)):
        given.flat(cost, field='kind', value=text)
    assert price(given, 1, kind=value) == [expected]


def test_equal_values_of_different_text_are_told_apart_in_one_book():
    book = rules.make_book(Rules().flat(1, field='kind', value='1').flat(2, field='kind', value='True').service())
    assert [rules.price(book, rules.make_columns(1, kind=value)) for value in (1, True, 1.0)] == [[1], [2], [0]]


def test_thresholds_of_a_field_that_charge_the_same_are_told_apart_by_level():
    given = Rules().flat(1).threshold('rate', 1, 2, field='size').threshold('rate', 5, 2, field='size')
    book = rules.make_book(given.threshold('rate', 3, 7, field='other').service())
    # The highest level that is reached holds, whichever field it is of.
    assert rules.price(book, rules.make_columns(1, size='1', other='3')) == [7]
    assert rules.price(book, rules.make_columns(1, size='5', other='3')) == [2]


def test_thresholds_of_a_service_that_charge_the_same_are_told_apart_by_level():
    given = Rules().flat(1).threshold('rate', 1, 2).threshold('rate', 5, 2)
    book = rules.make_book(given.threshold('rate', 3, 7, field='size').service())
    for quantity, expected in ((2, 14), (6, 12), (2, 14)):
        assert rules.price(book, rules.make_columns(quantity, size='3')) == [expected]
    assert rules.price(book, rules.make_columns(2, 6, 2, size='3')) == [14, 12, 14]


def test_formulas_of_many_scopes_with_levels_of_their_own_are_bounded(monkeypatch):
    monkeypatch.setattr(formulas, 'CACHE', 20)
    given = Rules()
    for number in range(10):
        given.threshold('rate', 5, number, tenant='t%d' % number).flat(number, field='kind', value=str(number))
    book = rules.make_book(given.service())
    for scope in range(10):
        for kind in range(10):
            expected = [kind, kind * 6 * scope]
            assert rules.price(book, rules.make_columns(1, 6, scope='t%d' % scope, kind=str(kind))) == expected
    made = book._compiled['srv'].common.at(BEGIN).formulas
    assert len(made.formulas) <= 20 and len(made.lines) <= 20


def test_values_without_a_rule_take_no_room():
    book = rules.make_book(Rules().flat(1, field='id', value='7').service())
    prices = [rules.price(book, rules.make_columns(1, id=str(number))) for number in range(1000)]
    assert sum(prices, []).count(1) == 1
    assert count_kept(book) == (1, 2)


def test_values_between_two_thresholds_share_a_formula():
    given = Rules().threshold('flat', 10, 1, field='size').threshold('flat', 500, 3, field='size')
    book = rules.make_book(given.flat(5, field='size', value='600').service())
    prices = [rules.price(book, rules.make_columns(1, size=str(number))) for number in range(1000)]
    assert [prices.count([cost]) for cost in (0, 1, 3, 8)] == [10, 490, 499, 1]
    assert count_kept(book) == (1000, 4)


def test_scope_with_rules_of_its_own_shares_all_others():
    given = (
        Rules().flat(1, field='kind', value='a').flat(2, field='kind', value='b').threshold('flat', 10, 4, field='size')
    )
    given.flat(8, field='kind', value='b', tenant='t').flat(2, field='kind', value='b', tenant='u')
    book = rules.make_book(given.service())
    prices = {
        (scope, kind): rules.price(book, rules.make_columns(1, scope=scope, kind=kind, size='12'))
        for scope in ('t', 'u', 'other')
        for kind in 'abc'
    }
    expected = {('t', 'b'): [12]}
    assert prices == {key: expected.get(key, {'a': [5], 'b': [6], 'c': [4]}[key[1]]) for key in prices}
    # a, b, c, and b at the price of t.
    assert count_kept(book)[1] == 4


def test_columns_that_cross_levels_one_after_the_other():
    given = Rules().flat(2)
    for level in range(10, 60, 10):
        given.threshold('rate', level, level)
    book = rules.make_book(given.service())
    for quantities in ((12, 25), (31, 39), (5, 15), (3, 55), (60, 10)):
        expected = [
            2 * quantity * min(quantity // 10 * 10, 50) if quantity >= 10 else 2 * quantity for quantity in quantities
        ]
        assert rules.price(book, rules.make_columns(*quantities)) == expected


def test_match_is_case_sensitive_and_exact():
    given = Rules().flat(1, field='kind', value='xl')
    assert price(given, 1, kind='XL') == [0]
    assert price(given, 1, kind='xl ') == [0]


@pytest.mark.parametrize(
    ('value', 'expected'),
    [('0.3', 1), (0.3, 1), (0.29, 0), ('1e1', 1), (' 7 ', 1), (True, 1), (2, 1)]
    + [(None, 0), ('', 0), ('n/a', 0), ('NaN', 0), ([1], 0)],
)
def test_threshold_on_a_field_wants_a_number(value, expected):
    assert price(Rules().threshold('flat', '0.3', 1, field='size'), 1, size=value) == [expected]


def test_value_that_is_no_number_warns_once_a_field(caplog):
    book = rules.make_book(Rules().threshold('flat', 1, 1, field='size').service())
    for value in ('n/a', None, 'x'):
        rules.price(book, rules.make_columns(1, size=value))
    assert [record.levelname for record in caplog.records] == ['WARNING']
    assert 'srv' in caplog.text and 'size' in caplog.text and 'n/a' not in caplog.text


def test_calendar_attributes_follow_the_zone():
    given = Rules()
    # 31 March 2030, 22:00 and 23:00 UTC: the second hour is April in Paris, in summer time.
    begin = 1901224800
    given.flat(3, field='month', value='3').flat(4, field='month', value='4')
    assert price(given, 1, 1, 1, begin=begin) == [3, 3, 4]
    assert price(given, 1, 1, 1, begin=begin, zone=zoneinfo.ZoneInfo('Europe/Paris')) == [4, 4, 4]
    assert price(given, 1, 1, begin=begin - HOUR, zone=zoneinfo.ZoneInfo('Europe/Paris')) == [3, 4]


def test_cost_of_28_decimals_is_exact():
    given = Rules().flat('0.1234567890123456789012345678')
    # Once to 28 decimals, half-even, and not by way of 28 significant digits.
    assert price(given, '3.333333') == [Decimal('0.4115225888888892588888889256')]
    assert price(given, '1000000.5') == [Decimal('123456.8507407401850740740184172839')]


def test_price_is_rounded_half_even_once():
    given = Rules().flat('0.0000000000000000000000000001')
    assert price(given, '0.5', '1.5', '2.5') == [Decimal(0), Decimal('2E-28'), Decimal('2E-28')]


def test_zero_has_no_sign():
    for given in (Rules().flat(1).rate(-1, field='kind', value='a'), Rules().rate(3)):
        assert [str(value) for value in price(given, 0, -0, kind='a')] == ['0', '0']


def test_explanation_names_the_rules_that_took_part():
    given = Rules().flat('0.25').flat('1.2', field='kind', value='xl', group='lic').threshold('flat', 5, 2)
    book = rules.make_book(given.service())
    parts = book.explain('srv', 'p', BEGIN, Decimal(8), {'kind': 'xl'})
    assert [(part.group, part.factor, part.constant) for part in parts] == [
        ('_DEFAULT_', Decimal('0.25'), Decimal(2)),
        ('lic', Decimal('1.2'), Decimal(0)),
    ]
    assert [(step.rule_id, step.field, step.value, step.level) for part in parts for step in part.steps] == [
        (1, None, None, None),
        (3, None, None, Decimal(5)),
        (2, 'kind', 'xl', None),
    ]
    assert book.explain('none', 'p', BEGIN, Decimal(8), {}) == []


def test_numbers_of_old_are_texts_in_the_written_form():
    written = rules.make_book(Rules().flat('0.10').threshold('rate', '50.0', '2').service()).write()
    assert written == [
        {
            'name': 'srv',
            'mappings': [
                {
                    'id': 1,
                    'type': 'flat',
                    'cost': '0.1',
                    'value': None,
                    'group': '_DEFAULT_',
                    'tenant': None,
                    'start': 0,
                    'end': None,
                }
            ],
            'thresholds': [{'id': 2, 'level': '50', 'type': 'rate', 'cost': '2', 'group': '_DEFAULT_', 'tenant': None}],
            'fields': [],
        }
    ]
    assert rulebook.read(written, period.UTC).write() == written
