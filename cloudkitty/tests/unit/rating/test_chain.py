# SPDX-License-Identifier: Apache-2.0
import datetime
from decimal import Decimal

import pytest

from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty import series
from cloudkitty import usage
from cloudkitty.rating import base
from cloudkitty.rating import chain
from cloudkitty.rating import classic
from cloudkitty.rating import noop
from cloudkitty.tests.unit.rating.hashmap import rules
from cloudkitty.tests.unit.rating.hashmap.rules import BEGIN
from cloudkitty.tests.unit.rating.hashmap.rules import HOUR
from cloudkitty.tests.unit.rating.hashmap.rules import Rules

PAGE = datetime.datetime(2030, 3, 17, 17, tzinfo=period.UTC)


class Module(base.BuiltIn):
    """A module of ours without a database."""

    module_name = 'ours'

    def process(self, data):
        result = dataframe.DataFrame(data.start, data.end)
        for metric, point in data.iterpoints():
            added, _ = self.pricer.price_point(
                metric, self._tenant_id, period.to_epoch(data.start), point.qty, point.desc
            )
            result.add_point(point.set_price(point.price + added), metric)
        return result

    def reload_config(self, start=None):
        raise AssertionError('The chain has read it.')


def ours(*given, priority=5, name='ours'):
    module = Module()
    module.pricer = rules.make_book(*(entry.service() for entry in given))
    return chain.Link(name, priority, module)


def theirs(plugin, priority=1, name='theirs'):
    return chain.Link(name, priority, classic.Adapter(name, plugin, lambda module: None))


def rate(links, *columns, troubles=(), pause=None):
    count = max(len(column.begins) for column in columns)
    batch = usage.Batch(tuple({column.series.scope_id for column in columns}), (), BEGIN, HOUR, count)
    rated = chain.Chain(links, period.UTC, 'digest').price(usage.Usage(batch, list(columns), list(troubles)), pause)
    assert rated.batch is batch and rated.rule_set == 'digest'
    return rated


class Doubling:
    """A module of today: it returns a new frame."""

    def __init__(self, tenant_id=None):
        self.tenant_id = tenant_id
        self.starts = []

    def reload_config(self, start=None):
        self.starts.append(start)

    def process(self, data):
        result = dataframe.DataFrame(data.start, data.end)
        for metric, point in data.iterpoints():
            result.add_point(point.set_price(point.price * 2), metric)
        return result


class Surcharge:
    """A module of old: period dictionaries, changed in place."""

    def __init__(self, tenant_id):
        self.tenant_id = tenant_id

    def reload_config(self):
        pass

    def process(self, data):
        for frame in data:
            assert isinstance(frame['period']['begin'], int)
            for items in frame['usage'].values():
                for item in items:
                    price = item['rating']['price'] if 'rating' in item else Decimal(0)
                    item['rating'] = {'price': price + len(item['desc']['id'])}


def test_builtin_chain_prices_columns():
    rated = rate([ours(Rules().flat('0.25'))], rules.make_columns(8, 4), rules.make_columns(1, metric='other'))
    assert [column.prices for column in rated.columns] == [(2, 1), (0,)]
    assert [column.unpriced for column in rated.columns] == [None, (True,)]
    assert rated.troubles == [] and rated.altered == frozenset()


def test_input_is_not_touched():
    columns = rules.make_columns(8)
    rate([ours(Rules().flat(1))], columns)
    assert columns.prices is None


def test_price_of_nothing_that_a_rule_made_is_not_unpriced():
    given = (
        Rules().flat(2, field='kind', value='a').rate(0, field='kind', value='free').flat(0, field='kind', value='b')
    )
    columns = [rules.make_columns(1, kind=kind) for kind in ('a', 'free', 'b', 'else')]
    rated = rate([ours(given)], *columns)
    assert [column.unpriced for column in rated.columns] == [None, None, None, (True,)]


def test_points_below_the_first_level_are_unpriced():
    rated = rate([ours(Rules().threshold('flat', 5, 1).threshold('flat', 9, 2))], rules.make_columns(1, 5, 10, 2))
    assert rated.columns[0].prices == (0, 1, 2, 0)
    assert rated.columns[0].unpriced == (True, False, False, True)


def test_chain_of_noop_alone_prices_nothing():
    rated = rate([chain.Link('noop', 1, noop.Noop())], rules.make_columns(8))
    assert rated.columns[0].prices == (0,)
    assert rated.columns[0].unpriced == (True,)


def test_modules_add_up():
    rated = rate([ours(Rules().flat(1)), ours(Rules().threshold('flat', 5, 1), name='b')], rules.make_columns(4, 5))
    assert rated.columns[0].prices == (4, 6)


def test_troubles_are_handed_on():
    trouble = usage.Trouble('other', 'x', BEGIN, BEGIN + HOUR, coverage.Status.FAILED, 'why')
    assert rate([ours(Rules())], rules.make_columns(1), troubles=[trouble]).troubles == [trouble]


def test_price_too_large_leaves_its_cell_unrated():
    given = Rules().flat('9e11')
    big, small = rules.make_columns(1, '2e12', 1, id='a'), rules.make_columns(1, 1, 1, id='b')
    rated = rate([ours(given)], big, small, rules.make_columns(3, scope='fine'))
    assert [column.prices for column in rated.columns] == [
        (Decimal('9e11'), None, Decimal('9e11')),
        (Decimal('9e11'), None, Decimal('9e11')),
        (Decimal('27e11'),),
    ]
    assert rated.columns[0].quantities == big.quantities
    (trouble,) = rated.troubles
    assert (trouble.scope_id, trouble.metric, trouble.begin, trouble.end) == (
        'other',
        'srv',
        BEGIN + HOUR,
        BEGIN + 2 * HOUR,
    )
    assert trouble.status is coverage.Status.UNRATED


def test_others_get_a_turn():
    turns = []
    columns = [rules.make_columns(*range(30000)) for _ in range(4)]
    rate([ours(Rules().flat(1))], *columns, pause=lambda: turns.append(1))
    assert len(turns) == 2


def test_order_is_by_priority_then_name():
    links = [ours(name='b', priority=1), ours(name='c', priority=7), ours(name='a', priority=1)]
    assert [link.name for link in chain.Chain(links, period.UTC).links] == ['c', 'a', 'b']


@pytest.mark.parametrize(('plugin', 'expected'), [(Doubling, 32), (Surcharge, 18)])
def test_third_party_module_sees_the_price_before(plugin, expected):
    rated = rate([ours(Rules().flat(2)), theirs(plugin)], rules.make_columns(8, id='ab'))
    assert rated.columns[0].prices == (expected,)
    assert rated.altered == frozenset()
    assert rated.columns[0].series == rules.make_columns(8, id='ab').series


@pytest.mark.parametrize(('plugin', 'expected'), [(Doubling, 16), (Surcharge, 18)])
def test_third_party_module_runs_first_where_its_priority_is_higher(plugin, expected):
    rated = rate([ours(Rules().flat(2)), theirs(plugin, priority=9)], rules.make_columns(8, id='ab'))
    assert rated.columns[0].prices == (expected,)


def test_two_eras_in_one_chain():
    links = [ours(Rules().flat(2)), theirs(Surcharge, 3, 'a'), theirs(Doubling, 2, 'b')]
    assert rate(links, rules.make_columns(8, id='ab')).columns[0].prices == (36,)


def test_frames_price_as_columns_do():
    given = Rules().flat(2, end=BEGIN + HOUR).flat(3, field='month', value='3').flat(5, tenant='t', group='x')
    columns = [rules.make_columns(1, '2.5', 3), rules.make_columns(1, 2, scope='t'), rules.make_columns(4, scope='')]
    plain = rate([ours(given)], *columns)
    framed = rate([ours(given), theirs(Quiet)], *columns)
    assert {column.series: (column.begins, column.prices, column.unpriced) for column in plain.columns} == {
        column.series: (column.begins, column.prices, column.unpriced) for column in framed.columns
    }


class Quiet:
    """Takes nothing, returns nothing, and has no reload_config."""

    def __init__(self):
        pass

    def process(self, data):
        pass


def test_frames_hold_all_metrics_of_a_scope_and_period_with_calendar_attributes():
    seen = []

    class Looking(Quiet):
        def process(self, data):
            seen.append(
                (
                    data.start,
                    data.end,
                    [(metric, point.qty, dict(point.groupby)) for metric, point in data.iterpoints()],
                )
            )
            return data

    rate([theirs(Looking)], rules.make_columns(1, 2, id='a'), rules.make_columns(3, metric='aaa'))
    words = series.calendar(period.from_epoch(BEGIN), period.UTC)
    hour = datetime.timedelta(hours=1)
    start = period.from_epoch(BEGIN)
    assert seen == [
        (start, start + hour, [('aaa', 3, words), ('srv', 1, {'id': 'a', **words})]),
        (start + hour, start + 2 * hour, [('srv', 2, {'id': 'a', **words})]),
    ]


def test_module_is_made_once_a_scope_and_reloaded_every_period():
    made = []

    class Counting(Doubling):
        def __init__(self, tenant_id=None):
            super().__init__(tenant_id)
            made.append(self)

    rate([theirs(Counting)], rules.make_columns(1, 2, scope='a'), rules.make_columns(1, scope='b'))
    start = period.from_epoch(BEGIN)
    assert [(module.tenant_id, len(module.starts), module.starts[0]) for module in made] == [
        ('a', 2, start),
        ('b', 1, start),
    ]


class Failing(Doubling):
    def process(self, data):
        if self.tenant_id == 'bad':
            raise KeyError('flavor')
        return super().process(data)


def test_failing_module_leaves_all_cells_of_scope_and_period_unrated(caplog):
    columns = [
        rules.make_columns(1, 2, scope='bad'),
        rules.make_columns(3, scope='bad', metric='zzz'),
        rules.make_columns(4, scope='good'),
    ]
    rated = rate([ours(Rules().flat(2)), theirs(Failing)], *columns)
    found = {(column.series.scope_id, column.series.metric): column for column in rated.columns}
    assert found['bad', 'srv'].prices == (None, None)
    assert found['bad', 'srv'].quantities == (1, 2)
    assert found['bad', 'srv'].unpriced is None
    assert found['bad', 'zzz'].prices == (None,)
    assert found['good', 'srv'].prices == (16,)
    assert [(trouble.metric, trouble.begin, trouble.end) for trouble in rated.troubles] == [
        ('srv', BEGIN, BEGIN + 2 * HOUR),
        ('zzz', BEGIN, BEGIN + HOUR),
    ]
    assert all(trouble.status is coverage.Status.UNRATED for trouble in rated.troubles)
    assert 'theirs' in rated.troubles[0].error and 'flavor' in rated.troubles[0].error
    # Two periods failed alike: one message.
    assert [record.levelname for record in caplog.records] == ['ERROR']


@pytest.mark.parametrize('answer', [lambda data: 'text', lambda data: 1 / 0, lambda data: exit(3)])
def test_bad_answers_are_failures(answer):
    class Bad(Quiet):
        def process(self, data):
            return answer(data)

    rated = rate([theirs(Bad)], rules.make_columns(1))
    assert rated.columns[0].prices == (None,)
    assert len(rated.troubles) == 1


@pytest.mark.parametrize('price', ['NaN', 'Infinity', '1e24'])
def test_price_that_cannot_be_stored_is_a_failure(price):
    class Bad(Quiet):
        def process(self, data):
            for item in data[0]['usage']['srv']:
                item['rating'] = {'price': price}

    rated = rate([theirs(Bad)], rules.make_columns(1))
    assert rated.columns[0].prices == (None,)
    assert len(rated.troubles) == 1


def test_module_that_cannot_be_made_is_a_failure():
    class Bad(Doubling):
        def __init__(self, tenant_id=None):
            raise RuntimeError('no licence')

    rated = rate([theirs(Bad)], rules.make_columns(1))
    assert 'no licence' in rated.troubles[0].error


def test_change_of_anything_but_prices_is_said():
    class Halving(Quiet):
        def process(self, data):
            result = dataframe.DataFrame(data.start, data.start)
            for metric, point in data.iterpoints():
                half = point.qty / 2 if metric == 'srv' else point.qty
                result.add_point(
                    dataframe.DataPoint(point.unit, half, 7, point.groupby, point.metadata, point.description), metric
                )
            if data.start == period.from_epoch(BEGIN):
                result.add_point(dataframe.DataPoint('u', 1, 2, {'id': None}, {}), 'new')
            return result

    rated = rate([theirs(Halving)], rules.make_columns(8, 4, id='a'), rules.make_columns(3, scope='t', metric='b'))
    found = {(column.series.scope_id, column.series.metric): column for column in rated.columns}
    assert found['other', 'srv'].quantities == (4, 2)
    assert found['other', 'srv'].begins == (BEGIN, BEGIN + HOUR)
    assert found['other', 'srv'].series == rules.make_columns(1, id='a').series
    assert found['other', 'new'].series.groupby == {'id': None}
    assert found['t', 'b'].prices == (7,)
    # t got a new point in its first period as well.
    assert rated.altered == {('other', BEGIN), ('other', BEGIN + HOUR), ('t', BEGIN)}


def test_another_order_of_points_is_no_change():
    class Turning(Quiet):
        def process(self, data):
            result = dataframe.DataFrame(data.start, data.end)
            for metric, point in reversed(list(data.iterpoints())):
                result.add_point(point.set_price(point.qty), metric)
            return result

    rated = rate([theirs(Turning)], *(rules.make_columns(number, id=number) for number in (1, 2, 3)))
    assert rated.altered == frozenset()
    assert [column.prices for column in rated.columns] == [(1,), (2,), (3,)]


def test_description_outlives_a_module_of_old():
    columns = rules.make_columns(1, id='a')
    columns.series = series.Series('p', 'srv', 'u', {'id': 'a'}, {}, 'the text')
    rated = rate([theirs(Surcharge)], columns)
    assert rated.columns[0].series.description == 'the text'
    assert rated.altered == frozenset()


def test_quote_is_the_sum_and_knows_no_tenant():
    frame = dataframe.DataFrame(PAGE, PAGE + datetime.timedelta(hours=1))
    for kind in ('xl', 'sm'):
        frame.add_point(dataframe.DataPoint('undef', 3, 0, {}, {'kind': kind}), 'srv')
    given = Rules().flat(2).flat(1, field='kind', value='xl', group='net').flat(100, tenant='t')
    links = [ours(given), theirs(Doubling)]
    assert chain.Chain(links, period.UTC).quote(frame) == 30
    assert chain.Chain(links[:1], period.UTC).quote(frame) == 15
    assert chain.Chain(links[:1], period.UTC).quote(frame, 't') == 603


def test_subclass_that_prices_by_itself_is_a_third_partys():
    class Shown(noop.Noop):
        description = 'shown'

    class Own(noop.Noop):
        def process(self, data):
            return data

    assert [chain.is_built_in(plugin) for plugin in (noop.Noop, Shown, Own, Doubling)] == [True, True, False, False]


def test_price_that_a_module_took_back_does_not_have_to_fit():
    class Free(Quiet):
        def process(self, data):
            result = dataframe.DataFrame(data.start, data.end)
            for metric, point in data.iterpoints():
                result.add_point(point.set_price(0), metric)
            return result

    rated = rate([ours(Rules().flat('9e11')), theirs(Free)], rules.make_columns('2e12'))
    assert [(column.prices, column.unpriced) for column in rated.columns] == [((0,), None)]


def test_attributes_that_are_none_are_a_failure():
    class Odd(Quiet):
        def process(self, data):
            result = dataframe.DataFrame(data.start, data.end)
            result.add_point(dataframe.DataPoint('u', 1, 1, {1: 'a', 'b': 'c'}, {}), 'srv')
            return result

    rated = rate([theirs(Odd)], rules.make_columns(1))
    assert [column.prices for column in rated.columns] == [(None,)]
    assert [trouble.status for trouble in rated.troubles] == [coverage.Status.UNRATED]
