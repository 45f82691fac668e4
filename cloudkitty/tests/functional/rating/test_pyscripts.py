# SPDX-License-Identifier: Apache-2.0
"""Scripts from the table in the chain, on every server.

Source: rating contract, sections 6 and 9.5.
"""

import datetime
from decimal import Decimal
import random

import pytest

from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty import usage
from cloudkitty.db import rating_modules
from cloudkitty.db import rule_sets
from cloudkitty.rating import chain
from cloudkitty.rating import dated
from cloudkitty.rating import hash
from cloudkitty.rating import jail
from cloudkitty.rating import noop
from cloudkitty.rating import pyscripts
from cloudkitty.rating import skips
from cloudkitty.rating.pyscripts import models
from cloudkitty.rating.pyscripts import module
from cloudkitty.rating.pyscripts import store
from cloudkitty.tests.functional.rating import test_chain
from cloudkitty.tests.functional.rating import test_hashmap
from cloudkitty.tests.unit.rating.hashmap import rules
from cloudkitty.tests.unit.rating.hashmap.rules import BEGIN
from cloudkitty.tests.unit.rating.hashmap.rules import HOUR
from cloudkitty.tests.unit.rating.hashmap.rules import Rules

CONF = test_chain.CONF
INSTALLED = {'hashmap': hash.HashMap, 'noop': noop.Noop, 'pyscripts': pyscripts.PyScripts}
#: Aware, before all the periods of these tests.
NOW = datetime.datetime(2026, 6, 1, tzinfo=period.UTC)
#: For every point, whatever its type.
EACH = 'for points in data["usage"].values():\n    for point in points:\n        '


@pytest.fixture(scope='module')
def runner():
    found = jail.Jail(jail.Limits(timeout=5))
    yield found
    found.close()


def add(database, name, source, start=None, end=None):
    request = store.ScriptRequest(name, source, start, end)
    return store.create_script(database, request, 'somebody', NOW, period.UTC, force=True)


def enable(database, **priorities):
    for name, priority in priorities.items():
        rating_modules.set_enabled(database, name, True)
        rating_modules.set_priority(database, name, priority)


def load(database, runner, **more):
    return chain.load(database, CONF, installed=INSTALLED, jail=runner, **more)


def rate(loaded, *columns):
    count = max(len(column.begins) for column in columns)
    batch = usage.Batch(tuple({column.series.scope_id for column in columns}), (), BEGIN, HOUR, count)
    return loaded.price(usage.Usage(batch, list(columns), []))


def prices(rated):
    return [column.prices for column in rated.columns]


@pytest.mark.parametrize(('hashmap', 'scripts', 'expected'), [(5, 1, 28), (1, 5, 15)])
def test_order_is_by_priority(database, runner, hashmap, scripts, expected):
    enable(database, hashmap=hashmap, pyscripts=scripts)
    test_hashmap.store(database, [Rules().flat(2).service()])
    # Behind hashmap it doubles 14; before it, it makes 1 of 0, and 14 is added.
    add(database, 'own', EACH + 'point["rating"]["price"] = point["rating"]["price"] * 2 or 1')
    assert prices(rate(load(database, runner), rules.make_columns(7))) == [(expected,)]


def test_scripts_run_in_the_order_in_which_they_were_made(database, runner):
    enable(database, pyscripts=1)
    add(database, 'z', EACH + 'point["rating"]["price"] = 3')
    add(database, 'a', EACH + 'point["rating"]["price"] *= 2')
    assert prices(rate(load(database, runner), rules.make_columns(1))) == [(6,)]


def test_window_is_half_open_and_local(database, runner):
    enable(database, pyscripts=1)
    zone = load(database, runner).zone
    local = period.from_epoch(BEGIN).astimezone(zone).replace(tzinfo=None)
    add(database, 'own', EACH + 'point["rating"]["price"] = 1', local + datetime.timedelta(hours=1))
    (script,) = store.list_scripts(database, dated.Filter(), zone)
    with database.writer() as session:
        row = session.get(models.Script, 1)
        row.end = local + datetime.timedelta(hours=3)
    assert script.start == local + datetime.timedelta(hours=1)
    test_chain.change(database)
    assert prices(rate(load(database, runner), rules.make_columns(1, 1, 1, 1))) == [(0, 1, 1, 0)]


def test_without_scripts_it_is_as_good_as_noop(database, runner):
    enable(database, hashmap=5, pyscripts=1)
    test_hashmap.store(database, [Rules().flat(2).service()])
    loaded = load(database, runner)
    assert not loaded.sees_whole_frames(BEGIN, BEGIN + HOUR)
    before = runner.exchanges
    assert prices(rate(loaded, rules.make_columns(7))) == [(14,)]
    script = add(database, 'later', 'x = 1', datetime.datetime(2999, 1, 1))
    loaded = load(database, runner)
    assert not loaded.sees_whole_frames(BEGIN, BEGIN + HOUR)
    assert loaded.sees_whole_frames(BEGIN, period.to_epoch(datetime.datetime(2999, 1, 2, tzinfo=period.UTC)))
    store.delete_script(database, script.id, 'somebody', NOW, period.UTC)
    assert not load(database, runner).sees_whole_frames(BEGIN, 10**11)
    assert runner.exchanges == before


def test_batch_is_one_exchange(database, runner):
    enable(database, pyscripts=1)
    add(database, 'own', EACH + 'point["rating"]["price"] = point["vol"]["qty"]')
    before = runner.exchanges
    columns = [rules.make_columns(*range(24), scope='p%d' % number) for number in range(20)]
    rated = rate(load(database, runner), *columns)
    assert prices(rated) == [tuple(range(24))] * 20
    assert runner.exchanges == before + 1


def test_rule_set_has_the_sources_and_replays(database, runner):
    enable(database, hashmap=5, pyscripts=1)
    test_hashmap.store(database, [Rules().flat(2).service()])
    script = add(database, 'own', EACH + 'point["rating"]["price"] *= 2')
    loaded = load(database, runner, skips=skips.Skips('datapoint["vol"]["qty"] == 1'))
    written = rule_sets.load(database, loaded.rule_set)
    body, parts = written.body, written.parts
    assert [link['name'] for link in body['chain']] == ['hashmap', 'noop', 'pyscripts']
    assert [content['source'] for kind, content in parts if kind == module.PART] == [script.data]
    store.delete_script(database, script.id, 'somebody', NOW, period.UTC)
    again = chain.replay(database, loaded.rule_set, runner)
    assert (again.rule_set, again.skips) == (loaded.rule_set, loaded.skips)
    assert prices(rate(again, rules.make_columns(7, 1))) == [(28,)]
    assert load(database, runner).rule_set != loaded.rule_set


def test_scripts_are_read_again_when_they_change_and_only_then(sqlite, runner):
    enable(sqlite, pyscripts=1)
    rating = pyscripts.PyScripts()
    rating.bind(sqlite)
    add(sqlite, 'own', 'x = 1')
    scripts = rating.scripts
    rating.reload_config()
    assert rating.scripts is scripts
    add(sqlite, 'other', 'x = 2')
    rating.reload_config()
    assert [script.name for script in rating.scripts] == ['own', 'other']


def test_failing_script_leaves_its_frames_alone_unrated(database, runner):
    enable(database, hashmap=5, pyscripts=1)
    test_hashmap.store(database, [Rules().flat(2).service()])
    add(database, 'picky', 'x = 1\nif data["usage"]["srv"][0]["metadata"]["who"] == "bad":\n    raise KeyError(x)')
    bad = rules.make_columns(1, 1, scope='bad', metadata={'who': 'bad'})
    good = rules.make_columns(1, scope='good', metadata={'who': 'good'})
    rated = rate(load(database, runner), bad, good)
    assert {column.series.scope_id: column.prices for column in rated.columns} == {'bad': (None, None), 'good': (2,)}
    (trouble,) = rated.troubles
    assert (trouble.scope_id, trouble.begin, trouble.end) == ('bad', BEGIN, BEGIN + 2 * HOUR)
    assert trouble.status is coverage.Status.UNRATED
    assert trouble.error == 'Module pyscripts: script "picky", line 3: KeyError: 1'


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ('points[0]["rating"] = {}', [('srv', 'unit', 1, 0)]),
        ('del points[0]["rating"]', [('srv', 'unit', 1, 0)]),
        ('points[0]["rating"]["price"] = "1.5"', [('srv', 'unit', 1, Decimal('1.5'))]),
        ('points[0]["vol"]["qty"] = 2.5', [('srv', 'unit', Decimal('2.5'), 2)]),
        ('points[0]["vol"]["unit"] = "GiB"', [('srv', 'GiB', 1, 2)]),
        ('points.append(dict(points[0]))', [('srv', 'unit', 1, 2), ('srv', 'unit', 1, 2)]),
        ('points.append(points[0])', [('srv', 'unit', 1, 2), ('srv', 'unit', 1, 2)]),
        ('points.clear()', []),
        ('del data["usage"]["srv"]', []),
        ('data["usage"]["new"] = [dict(points[0])]', [('new', 'unit', 1, 2), ('srv', 'unit', 1, 2)]),
        ('data = {"period": data["period"], "usage": {}}', []),
        ('data["period"]["begin"] = "2020-01-01T00:00:00"', [('srv', 'unit', 1, 2)]),
    ],
)
def test_what_a_script_may_change(sqlite, runner, change, expected):
    enable(sqlite, hashmap=5, pyscripts=1)
    test_hashmap.store(sqlite, [Rules().flat(2).service()])
    add(sqlite, 'own', 'points = data["usage"]["srv"]\n' + change)
    rated = rate(load(sqlite, runner), rules.make_columns(1))
    found = sorted(
        (column.series.metric, column.series.unit, quantity, price)
        for column in rated.columns
        for quantity, price in zip(column.quantities, column.prices, strict=True)
    )
    assert found == expected
    assert all(column.begins == (BEGIN,) * len(column.begins) for column in rated.columns)
    only_price = found and found[0][:3] == ('srv', 'unit', 1) and len(found) == 1
    assert rated.altered == (frozenset() if only_price else {(rated.batch.scope_ids[0], BEGIN)})
    assert rated.troubles == []


def test_description_outlives_scripts(sqlite, runner):
    enable(sqlite, pyscripts=1)
    add(sqlite, 'own', EACH + 'point["rating"]["price"] = 1; point["metadata"]["new"] = 1')
    given = rules.make_columns(1)
    of = given.series
    given.series = series.Series(of.scope_id, of.metric, of.unit, of.groupby, of.metadata, 'Described')
    (column,) = rate(load(sqlite, runner), given).columns
    assert (column.series.description, column.series.metadata['new']) == ('Described', 1)
    # Calendar attributes are not stored, though the script saw them.
    assert not set(column.series.groupby) & set(series.CALENDAR)


def test_quote_runs_scripts_and_tells_which_failed(sqlite, runner):
    enable(sqlite, pyscripts=1)
    add(sqlite, 'own', EACH + 'point["rating"]["price"] = 3')
    frame = dataframe.DataFrame(period.from_epoch(BEGIN), period.from_epoch(BEGIN + HOUR))
    frame.add_point(dataframe.DataPoint('undef', 1, 0, {}, {}), 'srv')
    assert load(sqlite, runner).quote(frame) == 3
    add(sqlite, 'broken', 'x = 1\n1 / 0')
    with pytest.raises(chain.ModuleFailed, match='script "broken", line 2: ZeroDivisionError'):
        load(sqlite, runner).quote(frame)


EXPRESSION = 'datapoint["rating"]["price"] == 0'


@pytest.mark.parametrize('with_script', [False, True])
def test_skipped_points_are_counted_and_gone(sqlite, runner, with_script):
    enable(sqlite, hashmap=5, pyscripts=1)
    test_hashmap.store(sqlite, [Rules().flat(2, field='kind', value='xl').service()])
    if with_script:
        add(sqlite, 'own', 'x = 1')
    loaded = load(sqlite, runner, skips=skips.Skips(EXPRESSION))
    priced = rules.make_columns(1, 1, metadata={'kind': 'xl'})
    free = rules.make_columns(1, 1, metadata={'kind': 's'})
    rated = rate(loaded, priced, free)
    assert prices(rated) == [(2, 2)]
    scope_id = priced.series.scope_id
    assert rated.skipped == {(scope_id, 'srv', BEGIN): 1, (scope_id, 'srv', BEGIN + HOUR): 1}


def test_expression_that_fails_leaves_the_cell_unrated(sqlite, runner):
    enable(sqlite, hashmap=5)
    test_hashmap.store(sqlite, [Rules().flat(2).service(), Rules().flat(3).service('other')])
    found = skips.Skips('False', {'srv': 'datapoint["metadata"]["missing"] > 1'})
    rated = rate(load(sqlite, runner, skips=found), rules.make_columns(1, 1), rules.make_columns(1, metric='other'))
    assert {column.series.metric: column.prices for column in rated.columns} == {'srv': (None, None), 'other': (3,)}
    (trouble,) = rated.troubles
    assert trouble.error == "Metric srv: skip_datapoints_expression: KeyError: 'missing'"
    assert (trouble.begin, trouble.end) == (BEGIN, BEGIN + 2 * HOUR)


def test_endless_expression_is_ended(sqlite):
    own = jail.Jail(jail.Limits(timeout=0.5))
    found = skips.Skips('[0 for _ in iter(int, 1)]')
    rated = rate(load(sqlite, own, skips=found), rules.make_columns(1))
    assert prices(rated) == [(None,)]
    assert 'it took longer than 0.5 seconds' in rated.troubles[0].error
    own.close()


def test_subclass_of_others_may_process_by_itself(sqlite, runner):
    class Own(pyscripts.PyScripts):
        def process(self, data):
            result = super().process(data)
            for metric, point in result.iterpoints():
                assert (metric, point.price) == ('srv', 3)
            return result

    enable(sqlite, pyscripts=1)
    add(sqlite, 'own', EACH + 'point["rating"]["price"] = 3')
    loaded = chain.load(sqlite, CONF, installed={'pyscripts': Own}, jail=runner)
    assert [link.is_opaque for link in loaded.links] == [True]
    assert prices(rate(loaded, rules.make_columns(1))) == [(3,)]


def test_source_too_large_is_refused(sqlite):
    source = ''.join(random.Random(1).choices('abcdefghijklmnopqrstuvwxyz0123456789', k=200000))
    with pytest.raises(errors.BadRequest, match='^data: the script takes'):
        add(sqlite, 'large', '# ' + source)


def test_row_that_is_no_script_is_an_error_that_names_it(sqlite, runner):
    enable(sqlite, pyscripts=1)
    add(sqlite, 'own', 'x = 1')
    with sqlite.writer() as session:
        session.get(models.Script, 1).data = b'nonsense'
    test_chain.change(sqlite)
    with pytest.raises(ValueError, match='Script "own" cannot be read'):
        load(sqlite, runner)
