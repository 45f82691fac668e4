# SPDX-License-Identifier: Apache-2.0
"""The rule book against the rating contract, sections 5.2 to 5.4, followed word by word."""

import contextlib
import copy
import dataclasses
from decimal import Decimal
import fractions
import random
from unittest import mock

import hypothesis
from hypothesis import strategies as st

from cloudkitty import amount
from cloudkitty import period
from cloudkitty import series
from cloudkitty.rating.hashmap import classes
from cloudkitty.rating.hashmap import formulas
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import rulebook
from cloudkitty.rating.hashmap import views
from cloudkitty.tests.unit.rating.hashmap import rules

FIELDS = ('kind', 'size', 'month')
VALUES = ('xl', 'sm', '16', '5', '3', 'None', 'True')
TENANTS = (None, None, 't1', 't2')
GROUPS = (pricing.DEFAULT_GROUP, pricing.DEFAULT_GROUP, 'net', 'lic')
HOURS = [None, *range(rules.BEGIN - rules.HOUR, rules.BEGIN + 6 * rules.HOUR, rules.HOUR)]


def decimals(low, high, places):
    return st.integers(low * 10**places, high * 10**places).map(lambda number: Decimal(number).scaleb(-places))


@st.composite
def services(draw, is_flat=False):
    given = rules.Rules()
    for name in draw(st.permutations(FIELDS)):
        given.field(name)
    cost = decimals(0, 9, 3) if is_flat else decimals(-3, 9, 3)
    kind = st.just('flat') if is_flat else st.sampled_from(['flat', 'flat', 'rate'])
    for _ in range(draw(st.integers(0, 12))):
        field = draw(st.sampled_from((None, *FIELDS)))
        where = {
            'field': field,
            'group': draw(st.sampled_from(GROUPS)),
            'tenant': draw(st.sampled_from(TENANTS)),
        }
        if draw(st.booleans()):
            where['value'] = None if field is None else draw(st.sampled_from(VALUES))
            where['start'] = draw(st.sampled_from(HOURS)) or 0
            where['end'] = draw(st.sampled_from(HOURS))
            given.mapping(draw(kind), draw(cost), **where)
        else:
            given.threshold(draw(kind), draw(decimals(-2, 20, 1)), draw(cost), **where)
    return given.service()


ATTRIBUTES = st.dictionaries(
    st.sampled_from(FIELDS[:2]), st.sampled_from([*VALUES, 16, 16.0, 5, True, None, '7.5', 2.5]), max_size=2
)
QUANTITIES = st.lists(decimals(-3, 25, 2), min_size=1, max_size=8)
SCOPES = st.sampled_from(['t1', 't2', 'else', ''])


@st.composite
def columns(draw):
    return rules.make_columns(*draw(QUANTITIES), scope=draw(SCOPES), metadata=draw(ATTRIBUTES), **draw(ATTRIBUTES))


def follow_contract(service, scope_id, begin, quantity, desc):
    """Return (price, whether a rule took part) as the contract words it, in exact fractions."""
    layers = [None, scope_id] if scope_id else [None]
    groups = {}

    def group(name):
        return groups.setdefault(name, {'flat': 0, 'rate': 1, 'kept': None})

    def cells(found, key):
        merged = {}
        for tenant in layers:
            for rule in sorted(found, key=lambda rule: rule.id):
                if rule.tenant == tenant:
                    merged[key(rule)] = rule
        return merged.values()

    def apply(found):
        active = [rule for rule in found if rule.start <= begin and (rule.end is None or rule.end > begin)]
        for rule in cells(active, lambda rule: (rule.group, rule.value)):
            state = group(rule.group)
            cost = fractions.Fraction(rule.cost)
            if rule.kind is pricing.Kind.RATE:
                state['rate'] *= cost
            else:
                state['flat'] = max(state['flat'], cost)

    def candidates(found, number, is_field):
        for rule in cells(found, lambda rule: (rule.group, rule.level)):
            if number >= rule.level and rule.level > -1:
                state = group(rule.group)
                if state['kept'] is None or rule.level > state['kept'][0].level:
                    state['kept'] = (rule, is_field)

    apply(service.mappings)
    candidates(service.thresholds, quantity, False)
    for field in service.fields:
        if field.name not in desc:
            continue
        value = desc[field.name]
        apply([rule for rule in field.mappings if rule.value == str(value)])
        if field.thresholds:
            try:
                number = Decimal(str(value) if isinstance(value, float) else value)
            except (ArithmeticError, TypeError, ValueError):
                continue
            candidates(field.thresholds, number, True)
    total = fractions.Fraction(0)
    for state in groups.values():
        kept, is_field = state['kept'] or (None, False)
        cost = 0 if kept is None else fractions.Fraction(kept.cost)
        is_rate = kept is not None and kept.kind is pricing.Kind.RATE
        if is_field and is_rate:
            state['rate'] *= cost
        elif is_field:
            state['flat'] += cost
        price = state['rate'] * state['flat'] * fractions.Fraction(quantity)
        if kept is not None and not is_field:
            price = price * cost if is_rate else price + cost
        total += price
    return total, bool(groups)


def to_amount(value):
    return amount.quantise(amount.CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator)))


def descs(given):
    of = given.series
    for begin in given.begins:
        yield {**of.metadata, **of.groupby, **series.calendar(period.from_epoch(begin), period.UTC)}


@hypothesis.settings(max_examples=400, deadline=None)
@hypothesis.given(services(), columns())
def test_book_follows_the_contract(service, given):
    book = rules.make_book(service)
    expected = [
        follow_contract(service, given.series.scope_id, begin, quantity, desc)
        for begin, quantity, desc in zip(given.begins, given.quantities, descs(given), strict=True)
    ]
    assert rules.price(book, given) == [to_amount(price) for price, _ in expected]
    with rules.rounding.local():
        matched = book.price(given)[1]
    assert ([matched] * len(expected) if isinstance(matched, bool) else matched) == [found for _, found in expected]


#: Few, so that rules of everybody and of a scope often meet in a cell, and points meet both.
CLOSE_VALUES = ('xl', '5', '16')


@st.composite
def close_services(draw):
    given = rules.Rules()
    for name in draw(st.permutations(FIELDS)):
        given.field(name)
    for _ in range(draw(st.integers(4, 20))):
        field = draw(st.sampled_from((None, 'kind', 'kind', 'size', 'size', 'month')))
        where = {
            'field': field,
            'group': draw(st.sampled_from(GROUPS[1:3])),
            'tenant': draw(st.sampled_from((None, 't1', 't1', 't2'))),
        }
        cost = draw(decimals(-1, 9, 1))
        kind = draw(st.sampled_from(['flat', 'flat', 'rate']))
        if draw(st.integers(0, 2)):
            where['value'] = None if field is None else '3' if field == 'month' else draw(st.sampled_from(CLOSE_VALUES))
            if draw(st.booleans()):
                where['start'] = draw(st.sampled_from(HOURS)) or 0
                where['end'] = draw(st.sampled_from(HOURS))
            given.mapping(kind, cost, **where)
        else:
            given.threshold(kind, draw(st.sampled_from([-1, 0, 3, 5, 10])), cost, **where)
    return given.service()


@st.composite
def batches(draw):
    """Columns of several scopes, of one point or more, not in the order of time: some is rated once more."""
    result = []
    for _ in range(draw(st.integers(2, 8))):
        begin = draw(st.sampled_from(HOURS[1:]))
        quantities = draw(st.lists(decimals(-1, 12, 1), min_size=1, max_size=4))
        desc = draw(
            st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS[:2], st.sampled_from([*CLOSE_VALUES, 5, 7.5])))
        )
        scope = draw(st.sampled_from(['t1', 't1', 't2', 'else', '']))
        result.append(rules.make_columns(*quantities, scope=scope, begin=begin, **desc))
    return result


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(close_services(), batches(), st.sampled_from([1, 2, 3, 20000]))
def test_scopes_share_a_book_and_nothing_else(service, batch, room):
    book = rules.make_book(service)
    with contextlib.ExitStack() as stack:
        for module in (classes, formulas, views):
            stack.enter_context(mock.patch.object(module, 'CACHE', room))
        for given in batch:
            of = given.series
            expected = []
            for begin, quantity, desc in zip(given.begins, given.quantities, descs(given), strict=True):
                total, is_matched = follow_contract(service, of.scope_id, begin, quantity, desc)
                expected.append((to_amount(total), is_matched))
                price, found = book.price_point('srv', of.scope_id, begin, quantity, desc)
                assert (amount.quantise(price), found) == expected[-1]
                # The explanation is worked out from the rules as they are.
                plain = explain_plainly(service, of.scope_id, begin, quantity, desc)
                assert book.explain('srv', of.scope_id, begin, quantity, desc) == plain
                assert [one.part for one in book.find_reasons('srv', of.scope_id, begin, quantity, desc)] == plain
            with rules.rounding.local():
                prices, matched = book.price(given)
                prices = rules.rounding.quantise_all(prices)
            matched = [matched] * len(prices) if isinstance(matched, bool) else matched
            assert list(zip(prices, matched, strict=True)) == expected
            # To the last zero the same as those of one who has the book alone.
            assert list(map(str, prices)) == list(map(str, rules.price(rules.make_book(service), given)))


def explain_plainly(service, scope_id, begin, quantity, desc):
    layer = pricing.make_layer(service, scope_id, begin)
    attributes = []
    for field in layer.fields:
        if field.name in desc:
            value = desc[field.name]
            attributes.append(pricing.Attribute(str(value), classes.parse_number(value) if field.thresholds else None))
        else:
            attributes.append(None)
    return pricing.explain(layer, attributes, quantity)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(services(), columns())
def test_batch_is_point_by_point(service, given):
    book, other = rules.make_book(service), rules.make_book(service)
    of = given.series
    single = [
        amount.quantise(other.price_point('srv', of.scope_id, begin, quantity, desc)[0])
        for begin, quantity, desc in zip(given.begins, given.quantities, descs(given), strict=True)
    ]
    assert rules.price(book, given) == single
    reasons = [
        other.explain('srv', of.scope_id, begin, quantity, desc)
        for begin, quantity, desc in zip(given.begins, given.quantities, descs(given), strict=True)
    ]
    assert single == [
        amount.quantise(amount.total(part.factor * quantity + part.constant for part in parts))
        for parts, quantity in zip(reasons, given.quantities, strict=True)
    ]


def shuffled(service, seed):
    """Return *service* with its rules in another order of reading (their ids say which is later)."""
    mix = random.Random(seed)

    def shuffle(rules):
        return tuple(mix.sample(rules, len(rules)))

    fields = [
        dataclasses.replace(field, mappings=shuffle(field.mappings), thresholds=shuffle(field.thresholds))
        for field in service.fields
    ]
    return dataclasses.replace(
        service, mappings=shuffle(service.mappings), thresholds=shuffle(service.thresholds), fields=tuple(fields)
    )


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(services(), columns(), st.integers(0, 1000))
def test_order_of_reading_changes_nothing(service, given, seed):
    other = rules.make_book(shuffled(service, seed))
    assert rules.price(other, given) == rules.price(rules.make_book(service), given)
    assert other.write() == rules.make_book(service).write()


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(services(), columns())
def test_order_of_fields_decides_ties_only(service, given):
    levels = [rule.level for part in (service, *service.fields) for rule in part.thresholds]
    hypothesis.assume(len(levels) == len(set(levels)))
    turned = dataclasses.replace(service, fields=service.fields[::-1])
    assert rules.price(rules.make_book(turned), given) == rules.price(rules.make_book(service), given)


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(services(), columns())
def test_groups_add_up(service, given):
    def only(group):
        def keep(found):
            return tuple(rule for rule in found if rule.group == group)

        return dataclasses.replace(
            service,
            mappings=keep(service.mappings),
            thresholds=keep(service.thresholds),
            fields=tuple(
                dataclasses.replace(field, mappings=keep(field.mappings), thresholds=keep(field.thresholds))
                for field in service.fields
            ),
        )

    parts = [rules.price(rules.make_book(only(group)), given) for group in set(GROUPS)]
    assert rules.price(rules.make_book(service), given) == [sum(part) for part in zip(*parts, strict=True)]


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(services(is_flat=True), columns(), st.integers(1, 9))
def test_price_scales_with_flat_costs(service, given, factor):
    def scale(found):
        return tuple(dataclasses.replace(rule, cost=rule.cost * factor) for rule in found)

    scaled = dataclasses.replace(
        service,
        mappings=scale(service.mappings),
        thresholds=scale(service.thresholds),
        fields=tuple(
            dataclasses.replace(field, mappings=scale(field.mappings), thresholds=scale(field.thresholds))
            for field in service.fields
        ),
    )
    assert rules.price(rules.make_book(scaled), given) == [
        price * factor for price in rules.price(rules.make_book(service), given)
    ]


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(services(), columns())
def test_written_rules_price_the_same(service, given):
    book = rules.make_book(service)
    again = rulebook.read(copy.deepcopy(book.write()), period.UTC)
    assert rules.price(again, given) == rules.price(book, given)
    assert again.write() == book.write()
