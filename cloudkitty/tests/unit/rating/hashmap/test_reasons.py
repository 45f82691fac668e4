# SPDX-License-Identifier: Apache-2.0

import decimal
from decimal import Decimal

import hypothesis

from cloudkitty import amount
from cloudkitty import period
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import reasons
from cloudkitty.rating.hashmap import rulebook
from cloudkitty.tests.unit.rating.hashmap import rules
from cloudkitty.tests.unit.rating.hashmap import test_properties
from cloudkitty.tests.unit.rating.hashmap.rules import BEGIN
from cloudkitty.tests.unit.rating.hashmap.rules import Rules


def find(given, quantity, scope_id='p', begin=BEGIN, **desc):
    return rules.make_book(given.service()).find_reasons('srv', scope_id, begin, Decimal(quantity), desc)


def words(reason):
    """Return (id, outcome, id of the rule it lost to) of each rule of a group that matched."""
    return [(match.rule.id, match.outcome.value, match.lost_to and match.lost_to.id) for match in reason.matches]


def test_largest_flat_price_decides_and_rates_all_do():
    given = Rules().flat('0.25').flat('1.2', field='kind', value='xl')
    given.rate('0.5', field='zone', value='eu').rate('0.9', field='os', value='none')
    (reason,) = find(given, 8, kind='xl', zone='eu', os='none')
    assert words(reason) == [(2, 'decided', None), (3, 'decided', None), (4, 'decided', None), (1, 'smaller', 2)]
    # 1.2 x 0.5 x 0.9 = 0.54 a unit.
    assert (reason.part.factor, reason.part.price(Decimal(8))) == (Decimal('0.54'), Decimal('4.32'))
    assert [(match.field, match.value) for match in reason.matches] == [
        ('kind', 'xl'),
        ('zone', 'eu'),
        ('os', 'none'),
        (None, None),
    ]


def test_first_of_equal_flat_prices_decides():
    (reason,) = find(Rules().flat(2).flat(2, field='kind', value='a'), 1, kind='a')
    assert words(reason) == [(1, 'decided', None), (2, 'smaller', 1)]


def test_flat_price_that_is_not_above_0_decides_nothing():
    (reason,) = find(Rules().flat(-2), 3)
    assert words(reason) == [(1, 'smaller', None)]
    assert reason.part.price(Decimal(3)) == 0


def test_highest_level_reached_decides():
    given = Rules().flat(1).threshold('flat', 0, 5).threshold('flat', 10, 7).threshold('flat', 20, 9)
    (reason,) = find(given, 12)
    assert words(reason) == [(1, 'decided', None), (3, 'decided', None), (2, 'lower', 3)]
    assert [match.value for match in reason.matches] == [None, 12, 12]
    assert reason.part.price(Decimal(12)) == 19


def test_a_level_of_service_and_field_goes_to_the_service():
    given = Rules().threshold('flat', 5, 1, field='size').threshold('flat', 5, 2).threshold('flat', 1, 3, field='size')
    (reason,) = find(given, 6, size='8')
    assert words(reason) == [(2, 'decided', None), (1, 'lower', 2), (3, 'lower', 2)]
    (reason,) = find(given, 4, size='8')
    assert words(reason) == [(1, 'decided', None), (3, 'lower', 1)]
    assert [match.value for match in reason.matches] == ['8', '8']


def test_rule_of_a_tenant_takes_the_place_of_that_of_all():
    given = Rules().flat(3).flat(1, tenant='p').flat(9, tenant='other').threshold('rate', 0, 2)
    given.threshold('rate', 0, 4, tenant='p')
    (reason,) = find(given, 2)
    assert words(reason) == [(2, 'decided', None), (5, 'decided', None), (1, 'tenant', 2), (4, 'tenant', 5)]
    assert reason.part.price(Decimal(2)) == 8
    (reason,) = find(given, 2, scope_id='q')
    assert words(reason) == [(1, 'decided', None), (4, 'decided', None)]


def test_later_rule_has_its_place():
    (reason,) = find(Rules().flat(3, field='kind', value='a').flat(1, field='kind', value='a'), 1, kind='a')
    assert words(reason) == [(2, 'decided', None), (1, 'older', 2)]


def test_rules_out_of_their_time_or_unmet_do_not_appear():
    given = Rules().flat(1).flat(2, end=BEGIN).flat(3, start=BEGIN + 1).flat(4, field='kind', value='b')
    given.threshold('flat', -1, 1).threshold('flat', 5, 1).threshold('flat', 1, 1, field='kind')
    (reason,) = find(given, 4, kind='a')
    assert words(reason) == [(1, 'decided', None)]
    assert find(Rules().flat(1, field='kind', value='b'), 1, kind='a') == []
    assert rules.make_book().find_reasons('srv', 'p', BEGIN, Decimal(1), {}) == []


def test_groups_are_by_themselves_and_add():
    given = Rules().flat('0.25').flat(1, group='lic').flat(2, field='kind', value='a', group='lic')
    first, second = find(given, 4, kind='a')
    assert (first.part.group, words(first)) == ('_DEFAULT_', [(1, 'decided', None)])
    assert (second.part.group, words(second)) == ('lic', [(3, 'decided', None), (2, 'smaller', 3)])
    assert first.part.price(Decimal(4)) + second.part.price(Decimal(4)) == 9


def test_labels_survive_writing_and_rules_without_are_written_as_ever():
    label = pricing.Label('id-1', 'name', 'somebody')
    service = pricing.Service(
        'srv',
        (pricing.Mapping(1, pricing.Kind.FLAT, Decimal(2), label=label),),
        (pricing.Threshold(1, Decimal(5), pricing.Kind.FLAT, Decimal(2), label=pricing.Label('id-2')),),
    )
    written = rules.make_book(service).write()
    again = rulebook.read(written, period.UTC)
    assert again.write() == written
    (reason,) = again.find_reasons('srv', 'p', BEGIN, Decimal(6), {})
    assert [match.rule.label for match in reason.matches] == [label, pricing.Label('id-2')]
    assert 'label' not in rules.make_book(Rules().flat(1).service()).write()[0]['mappings'][0]


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(test_properties.services(), test_properties.columns())
def test_groups_sum_to_the_price_and_every_rule_is_accounted_for(service, given):
    book, of = rules.make_book(service), given.series
    points = zip(given.begins, given.quantities, rules.price(book, given), test_properties.descs(given), strict=True)
    for begin, quantity, price, desc in points:
        found = book.find_reasons('srv', of.scope_id, begin, quantity, desc)
        assert amount.quantise(amount.total(reason.part.price(quantity) for reason in found)) == price
        for reason in found:
            decided = [match for match in reason.matches if match.outcome is reasons.Outcome.DECIDED]
            keys = [(isinstance(match.rule, pricing.Threshold), match.rule.id) for match in reason.matches]
            assert len(set(keys)) == len(keys)
            assert all(match.lost_to is None for match in decided)
            assert _price(decided, quantity) == reason.part.price(quantity)


def _price(decided, quantity):
    """Return the price of a group by the rules that decided alone; the contract, section 5.3."""
    flat, rate, constant = Decimal(0), Decimal(1), Decimal(0)
    with decimal.localcontext(decimal.Context(prec=500)):
        for match in decided:
            rule = match.rule
            if rule.kind is pricing.Kind.RATE:
                rate *= rule.cost
            elif isinstance(rule, pricing.Mapping):
                assert flat == 0
                flat = rule.cost
            elif match.field is None:
                constant = rule.cost
            else:
                flat += rule.cost
        return quantity * rate * flat + constant
