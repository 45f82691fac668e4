# SPDX-License-Identifier: Apache-2.0
"""The chain from the tables, on every server."""

import datetime
from types import SimpleNamespace

import pytest
import sqlalchemy

from cloudkitty import errors
from cloudkitty import period
from cloudkitty import usage
from cloudkitty.db import rating_modules
from cloudkitty.db import rule_revision
from cloudkitty.db import rule_sets
from cloudkitty.rating import RatingProcessorBase
from cloudkitty.rating import chain
from cloudkitty.rating.hash import HashMap
from cloudkitty.rating.hashmap import models
from cloudkitty.rating.hashmap import module
from cloudkitty.rating.hashmap import rulebook
from cloudkitty.rating.noop import Noop
from cloudkitty.tests import samples
from cloudkitty.tests.functional.rating import test_hashmap
from cloudkitty.tests.unit.rating.hashmap import rules
from cloudkitty.tests.unit.rating.hashmap.rules import Rules

CONF = SimpleNamespace(collect=SimpleNamespace(timezone='Europe/Paris'), pyscripts=samples.make_pyscripts())
OURS = {'hashmap': HashMap, 'noop': Noop}


class Third(RatingProcessorBase):
    module_name = 'third'
    description = "Somebody else's."
    made = 0

    def __init__(self, tenant_id=None):
        super().__init__(tenant_id)
        type(self).made += 1

    def reload_config(self, start=None):
        pass

    def process(self, data):
        return data


class Casts:
    def __init__(self):
        self.sent = []

    def cast(self, method, **args):
        self.sent.append((method, args))


def change(database):
    database.repeat(rule_revision.bump)


def price(rated_by, *columns):
    batch = usage.Batch((), (), rules.BEGIN, rules.HOUR, 1)
    return [column.prices for column in rated_by.price(usage.Usage(batch, list(columns), [])).columns]


def test_fresh_installation_has_noop_only(database):
    assert [link.name for link in chain.load(database, CONF).links] == ['noop']


def test_enabled_modules_run_by_priority(database):
    for name, priority in (('hashmap', -1), ('third', 5)):
        rating_modules.set_enabled(database, name, True)
        rating_modules.set_priority(database, name, priority)
    found = chain.load(database, CONF, installed={**OURS, 'third': Third})
    assert [(link.name, link.priority, link.is_opaque) for link in found.links] == [
        ('third', 5, True),
        ('noop', 1, False),
        ('hashmap', -1, False),
    ]
    assert found.sees_whole_frames(rules.BEGIN, rules.BEGIN + 1)


def test_disabled_module_is_not_even_made(sqlite):
    Third.made = 0
    chain.load(sqlite, CONF, installed={**OURS, 'third': Third})
    assert Third.made == 0


def test_chain_prices_and_its_rule_set_replays(database):
    rating_modules.set_enabled(database, 'hashmap', True)
    test_hashmap.store(database, [Rules().flat('0.25').service()])
    found = chain.load(database, CONF)
    assert price(found, rules.make_columns(8)) == [(2,)]
    written = rule_sets.load(database, found.rule_set)
    body, parts = written.body, written.parts
    assert body['zone'] == 'Europe/Paris'
    assert [link['name'] for link in body['chain']] == ['hashmap', 'noop']
    assert body['arithmetic'] == {'precision': 60, 'rounding': 'ROUND_HALF_EVEN', 'digits': 28}
    assert [kind for kind, _ in parts] == [rulebook.PART]


def test_rule_set_replays_whatever_became_of_the_rules(database):
    rating_modules.set_enabled(database, 'hashmap', True)
    test_hashmap.store(database, [Rules().flat('0.25').flat(1, field='month', value='3', group='net').service()])
    first = chain.load(database, CONF)
    with database.writer() as session:
        session.execute(sqlalchemy.delete(models.Mapping))
    change(database)
    assert price(chain.load(database, CONF), rules.make_columns(8)) == [(0,)]
    again = chain.replay(database, first.rule_set)
    assert price(again, rules.make_columns(8)) == [(10,)]
    assert (again.rule_set, again.zone) == (first.rule_set, first.zone)
    explained = again.explain(rules.make_columns(8).series, rules.BEGIN, rules.Decimal(8))
    assert explained.price == 10
    assert [(part.group, part.factor, len(part.steps)) for part in explained.parts] == [
        ('_DEFAULT_', rules.Decimal('0.25'), 1),
        ('net', 1, 1),
    ]


def test_rule_set_with_a_module_of_others_cannot_be_replayed(sqlite):
    rating_modules.set_enabled(sqlite, 'third', True)
    found = chain.load(sqlite, CONF, installed={**OURS, 'third': Third})
    with pytest.raises(errors.Conflict, match='third'):
        chain.replay(sqlite, found.rule_set)
    with pytest.raises(errors.NotFound):
        chain.replay(sqlite, '0' * 32)


def test_rule_set_changes_with_a_rule_and_only_then(database):
    rating_modules.set_enabled(database, 'hashmap', True)
    test_hashmap.store(database, [Rules().flat('0.25').service(), Rules().flat(1).service('other')])
    first = chain.load(database, CONF)
    change(database)
    second = chain.load(database, CONF)
    assert (second.rule_set, second.revision) == (first.rule_set, first.revision + 1)
    with database.writer() as session:
        session.execute(sqlalchemy.update(models.Mapping).where(models.Mapping.id == 1).values(cost=3))
    third = chain.load(database, CONF)
    assert third.rule_set != first.rule_set
    parts = [rule_sets.load(database, found.rule_set).body['parts'] for found in (first, third)]
    assert len(set(parts[0]) & set(parts[1])) == 1


@pytest.mark.parametrize('count', [1, 40])
def test_number_of_statements_of_a_load_is_constant(database, count):
    rating_modules.set_enabled(database, 'hashmap', True)
    test_hashmap.store(database, [Rules().flat(1).service('s%d' % number) for number in range(count)])
    chain.load(database, CONF)
    statements = []
    sqlalchemy.event.listen(database.engine, 'before_cursor_execute', lambda *args: statements.append(args[2]))
    chain.load(database, CONF)
    selects = [statement for statement in statements if statement.startswith('SELECT')]
    # The revision, modules, five of hashmap between two looks at the revision, one look for the rule set.
    assert len(selects) == 10


def test_cache_loads_once_until_the_revision_moves(database):
    cache = chain.Cache(database, CONF)
    first = cache.get()
    assert cache.get() is first and cache.loads == 1
    rating_modules.set_enabled(database, 'hashmap', True)
    assert [link.name for link in cache.get().links] == ['hashmap', 'noop']
    assert cache.loads == 2
    cache.invalidate()
    cache.get()
    assert cache.loads == 3


def test_cache_keeps_the_last_good_chain(sqlite, caplog):
    class Broken(Third):
        works = True

        def __init__(self, tenant_id=None):
            if not self.works:
                raise RuntimeError('no licence')
            super().__init__(tenant_id)

    rating_modules.set_enabled(sqlite, 'third', True)
    cache = chain.Cache(sqlite, CONF, installed={**OURS, 'third': Broken})
    first = cache.get()
    Broken.works = False
    change(sqlite)
    assert cache.get() is first and cache.get() is first
    assert [record.levelname for record in caplog.records] == ['ERROR']
    Broken.works = True
    assert cache.get() is not first


def test_cache_reads_again_what_changed_while_it_read(sqlite):
    class Slow(Third):
        def __init__(self, tenant_id=None):
            cache.invalidate()
            super().__init__(tenant_id)

    rating_modules.set_enabled(sqlite, 'third', True)
    cache = chain.Cache(sqlite, CONF, installed={**OURS, 'third': Slow})
    cache.get()
    cache.get()
    assert cache.loads == 2


def test_without_a_last_good_chain_nothing_is_priced(sqlite):
    class Broken(Third):
        def __init__(self, tenant_id=None):
            raise RuntimeError('no licence')

    rating_modules.set_enabled(sqlite, 'third', True)
    with pytest.raises(RuntimeError):
        chain.Cache(sqlite, CONF, installed={**OURS, 'third': Broken}).get()


def test_module_says_what_it_is(database):
    modules = chain.list_modules(database)
    assert modules['noop'].module_info == {
        'name': 'noop',
        'description': 'Dummy test module.',
        'hot_config': False,
        'enabled': True,
        'priority': 1,
    }
    assert modules['hashmap'].module_info == {
        'name': 'hashmap',
        'description': 'HashMap rating module.',
        'hot_config': True,
        'enabled': False,
        'priority': 1,
    }


def test_state_is_stored_and_told(database):
    casts = Casts()
    shown = chain.list_modules(database, notifier=casts)['hashmap']
    before = rule_revision.current(database)
    assert shown.set_state(True) is True and shown.enabled
    assert shown.set_priority(0) == 1 and shown.priority == 1
    assert shown.set_priority(-3) == -3
    assert rule_revision.current(database) == before + 3
    assert [method for method, _ in casts.sent] == ['enable_module', 'reload_module', 'reload_module']
    assert casts.sent[0][1] == {'namespace': 'rating', 'fanout': True, 'name': 'hashmap'}


def test_state_of_noop_is_stored_and_ignored(database):
    shown = chain.list_modules(database)['noop']
    assert shown.set_state(False) is False
    assert shown.enabled and [link.name for link in chain.load(database, CONF).links] == ['noop']


def test_module_without_base_class_has_its_state_in_the_table(sqlite):
    class Foreign:
        def process(self, data):
            return None

    assert [link.name for link in chain.load(sqlite, CONF, installed={'foreign': Foreign}).links] == []
    rating_modules.set_enabled(sqlite, 'foreign', True)
    assert [link.name for link in chain.load(sqlite, CONF, installed={'foreign': Foreign}).links] == ['foreign']


def test_subclass_of_hashmap_may_price_by_itself(database):
    class Dearer(HashMap):
        def process(self, data):
            result = super().process(data)
            return type(result)(
                result.start,
                result.end,
                {metric: [point.set_price(point.price + 1)] for metric, point in result.iterpoints()},
            )

    rating_modules.set_enabled(database, 'hashmap', True)
    test_hashmap.store(database, [Rules().flat('0.25').flat(3, tenant='t').service()])
    found = chain.load(database, CONF, installed={'hashmap': Dearer})
    assert found.sees_whole_frames(rules.BEGIN, rules.BEGIN + 1)
    assert price(found, rules.make_columns(8), rules.make_columns(8, scope='t')) == [(3,), (25,)]


def test_reload_reads_rules_that_changed(sqlite):
    rating = HashMap()
    rating.bind(sqlite)
    book = rating.pricer
    rating.reload_config(datetime.datetime(2030, 1, 1, tzinfo=period.UTC))
    assert rating.pricer is book
    change(sqlite)
    rating.reload_config()
    assert rating.pricer is not book


def test_rules_that_change_while_they_are_read_are_read_again(sqlite, monkeypatch):
    test_hashmap.store(sqlite, [Rules().flat(1).service()])
    read, reads = module.load_services, []

    def read_slowly(database, zone):
        services = read(database, zone)
        reads.append(1)
        if len(reads) < 3:
            test_hashmap.store(database, [Rules().flat(1).service('s%d' % len(reads))])
            change(database)
        return services

    monkeypatch.setattr(module, 'load_services', read_slowly)
    rating = HashMap()
    rating.bind(sqlite)
    assert [part['name'] for part in rating.pricer.write()] == ['s1', 's2', 'srv']


def test_unbound_module_says_so():
    with pytest.raises(RuntimeError, match='hashmap'):
        _ = HashMap().enabled


def test_unknown_zone_is_a_configuration_error(sqlite):
    with pytest.raises(errors.ConfigurationError):
        chain.load(sqlite, SimpleNamespace(collect=SimpleNamespace(timezone='Mars/Base')))
