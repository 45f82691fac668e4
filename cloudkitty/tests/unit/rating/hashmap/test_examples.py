# SPDX-License-Identifier: Apache-2.0
"""The worked examples E1 to E31 of the rating contract, section 5.5."""

from decimal import Decimal

import pytest

from cloudkitty import period
from cloudkitty import usage
from cloudkitty.rating import base
from cloudkitty.rating import chain
from cloudkitty.tests.unit.rating.hashmap import rules
from cloudkitty.tests.unit.rating.hashmap.rules import Rules

E4 = Rules().flat('0.25').flat('1.2', field='kind', value='xl')
E5 = Rules().flat('0.25').flat('1.2', field='kind', value='xl', group='lic')
E6 = Rules().flat('0.25').rate(2, field='kind', value='xl').rate('1.5', field='cores', value='16')
E8 = Rules().threshold('flat', 0, '0.1').threshold('flat', 50, 2)
E10 = Rules().flat('0.25').threshold('rate', 50, '0.9')
E11 = Rules().flat('0.25').threshold('flat', 100, '0.5', field='size').threshold('flat', 500, '0.3', field='size')
E13 = Rules().flat('0.25').threshold('flat', 3, 10).threshold('flat', 100, '0.5', field='size')
E14 = Rules().flat('0.25').threshold('flat', 200, 10).threshold('flat', 100, '0.5', field='size')
E19 = Rules().flat(2).flat('1.5', tenant='t9')
E23 = (
    Rules()
    .flat('0.25')
    .flat(1, field='kind', value='xl', group='net')
    .rate('0.5', field='kind', value='xl', group='lic')
    .flat(2, field='cores', value='16', group='lic')
)
E24 = Rules().flat(1, field='kind', value='a').flat(9, field='kind', value='b')
E31 = (
    Rules()
    .flat(100)
    .flat(50, tenant='t')
    .threshold('flat', 1, 10)
    .threshold('flat', 1, 4, tenant='t')
    .threshold('flat', 2, 6, tenant='t')
)

EXAMPLES = {
    'E1': (Rules(), 7, {}, '0'),
    'E2': (Rules().flat('0.25'), 8, {}, '2'),
    'E3': (Rules().rate(3), 8, {}, '0'),
    'E4 xl': (E4, 8, {'kind': 'xl'}, '9.6'),
    'E4 sm': (E4, 8, {'kind': 'sm'}, '2'),
    'E4 no kind': (E4, 8, {}, '2'),
    'E5 xl': (E5, 8, {'kind': 'xl'}, '11.6'),
    'E5 sm': (E5, 8, {'kind': 'sm'}, '2'),
    'E6 text': (E6, 8, {'kind': 'xl', 'cores': '16'}, '6'),
    'E6 int': (E6, 8, {'kind': 'xl', 'cores': 16}, '6'),
    'E6 float': (E6, 8, {'kind': 'xl', 'cores': 16.0}, '4'),
    'E7': (Rules().flat('0.25').rate(2, field='kind', value='xl', group='lic'), 8, {'kind': 'xl'}, '2'),
    'E8 0': (E8, 0, {}, '0.1'),
    'E8 49': (E8, 49, {}, '0.1'),
    'E8 50': (E8, 50, {}, '2'),
    'E9': (Rules().flat('0.25').threshold('flat', 50, 2), 50, {}, '14.5'),
    'E10 50': (E10, 50, {}, '11.25'),
    'E10 60': (E10, 60, {}, '13.5'),
    'E11 99': (E11, 4, {'size': '99'}, '1'),
    'E11 100': (E11, 4, {'size': 100}, '3'),
    'E11 700': (E11, 4, {'size': 700}, '2.2'),
    'E12': (Rules().flat('0.25').threshold('rate', 100, '0.5', field='size'), 4, {'size': 150}, '0.5'),
    'E13': (E13, 4, {'size': 150}, '3'),
    'E14': (E14, 250, {'size': 150}, '72.5'),
    'E15': (Rules().flat(-1), 6, {}, '0'),
    'E16': (Rules().flat(2).threshold('flat', 5, -3), 6, {}, '9'),
    'E17': (Rules().flat(2).rate('-0.5', field='kind', value='promo'), 6, {'kind': 'promo'}, '-6'),
    'E18': (Rules().flat(2).rate(0, field='kind', value='free'), 6, {'kind': 'free'}, '0'),
    'E19 t9': (E19, 6, {'scope': 't9'}, '9'),
    'E19 other': (E19, 6, {}, '12'),
    'E20': (Rules().flat(2).rate('1.5', tenant='t9'), 6, {'scope': 't9'}, '0'),
    'E21': (Rules().flat(2).flat('1.5', group='net', tenant='t9'), 6, {'scope': 't9'}, '21'),
    'E23': (E23, 8, {'kind': 'xl', 'cores': 16}, '18'),
    'E24': (E24, 1, {'kind': 'a', 'metadata': {'kind': 'b'}}, '1'),
    'E26': (Rules().flat(3).threshold('flat', 0, 1), -2, {}, '-6'),
    'E27': (Rules().threshold('flat', '-0.5', 1), '-0.25', {}, '1'),
    'E28': (Rules().threshold('flat', -5, 7), 3, {}, '0'),
    'E29': (Rules().flat(2).threshold('flat', 5, 10).threshold('flat', 5, 20, field='size'), 6, {'size': 6}, '22'),
    'E30': (Rules().threshold('flat', 1, 1, field='size'), 1, {'size': 'n/a'}, '0'),
    'E31 tenant 1': (E31, 1, {'scope': 't'}, '54'),
    'E31 tenant 2': (E31, 2, {'scope': 't'}, '106'),
    'E31 other': (E31, 2, {}, '210'),
}


@pytest.mark.parametrize('name', EXAMPLES)
def test_worked_example(name):
    given, quantity, point, expected = EXAMPLES[name]
    book = rules.make_book(given.service())
    columns = rules.make_columns(quantity, **point)
    assert rules.price(book, columns) == [Decimal(expected)]
    # Point by point, and with its reasons, it is the same.
    of = columns.series
    arguments = ('srv', of.scope_id, columns.begins[0], columns.quantities[0], {**of.metadata, **of.groupby})
    assert book.price_point(*arguments)[0] == Decimal(expected)
    parts = book.explain(*arguments)
    assert sum(part.factor * columns.quantities[0] + part.constant for part in parts) == Decimal(expected)


def test_worked_example_22_chain_adds():
    links = [chain.Link('one', 2, make_module(Rules().flat(2))), chain.Link('ten', 5, make_module(E1_TEN))]
    columns = rules.make_columns(6)
    assert price_by(links, columns).prices == (Decimal(22),)


def test_worked_example_25_equal_points_are_two():
    columns = rules.make_columns(3, 3)
    columns.begins = (rules.BEGIN, rules.BEGIN)
    assert rules.price(rules.make_book(Rules().flat(2).service()), columns) == [Decimal(6), Decimal(6)]


E1_TEN = Rules().threshold('flat', 0, 10)


class Priced(base.BuiltIn):
    module_name = 'priced'

    def process(self, data):
        return data

    def reload_config(self, start=None):
        pass


def make_module(given):
    module = Priced()
    module.pricer = rules.make_book(given.service())
    return module


def price_by(links, columns):

    batch = usage.Batch((columns.series.scope_id,), (), columns.begins[0], 3600, len(columns.begins))
    return chain.Chain(links, period.UTC).price(usage.Usage(batch, [columns], [])).columns[0]
