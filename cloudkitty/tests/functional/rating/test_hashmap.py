# SPDX-License-Identifier: Apache-2.0
"""Rules from the tables, on every server."""

import datetime
from decimal import Decimal
import uuid
import zoneinfo

import pytest
import sqlalchemy

from cloudkitty import period
from cloudkitty.rating.hashmap import models
from cloudkitty.rating.hashmap import module
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import rulebook
from cloudkitty.tests.unit.rating.hashmap import rules
from cloudkitty.tests.unit.rating.hashmap import test_examples
from cloudkitty.tests.unit.rating.hashmap.rules import Rules

LONG_AGO = datetime.datetime(2020, 1, 1)


def store(database, services, **mapping):
    """Write *services* to the tables, with their ids; the rules' windows as *mapping* says."""
    with database.writer() as session:
        groups = {}
        rows = []
        for service in services:
            parent = models.Service(service_id=identifier(), name=service.name)
            session.add(parent)
            session.flush()
            rows += make_rows(service, groups, session, service_id=parent.id)
            for field in service.fields:
                child = models.Field(field_id=identifier(), name=field.name, service_id=parent.id)
                session.add(child)
                session.flush()
                rows += make_rows(field, groups, session, field_id=child.id)
        for row in sorted(rows, key=lambda row: row.pop('order')):
            if 'level' in row:
                session.add(models.Threshold(threshold_id=identifier(), **row))
            else:
                session.add(models.Mapping(**(MAPPING | {'mapping_id': identifier()} | row | mapping)))
            session.flush()


MAPPING = {'name': 'rule', 'start': LONG_AGO, 'created_by': 'test'}
_numbers = iter(range(10**9))


def identifier():
    return str(uuid.UUID(int=next(_numbers)))


def make_rows(part, groups, session, **parent):
    for rule in (*part.mappings, *part.thresholds):
        if rule.group != pricing.DEFAULT_GROUP and rule.group not in groups:
            group = models.Group(group_id=identifier(), name=rule.group)
            session.add(group)
            session.flush()
            groups[rule.group] = group.id
        row = {
            'order': rule.id,
            'cost': rule.cost,
            'map_type': rule.kind.value,
            'group_id': groups.get(rule.group),
            'tenant_id': rule.tenant,
            **parent,
        }
        yield row | ({'value': rule.value} if isinstance(rule, pricing.Mapping) else {'level': rule.level})


def load(database, zone=period.UTC):
    return rulebook.RuleBook(module.load_services(database, zone), zone)


def test_worked_examples_from_the_tables(database):
    store(database, [given.service(name) for name, (given, *_) in test_examples.EXAMPLES.items()])
    book = load(database)
    for name, (_, quantity, point, expected) in test_examples.EXAMPLES.items():
        assert rules.price(book, rules.make_columns(quantity, metric=name, **point)) == [Decimal(expected)], name


def test_rules_are_read_exactly(database):
    cost = '123456789012.1234567890123456789012345678'
    store(database, [Rules().flat(cost).threshold('rate', '123456789012.12345678', '-0.1').service()])
    (service,) = module.load_services(database, period.UTC)
    assert str(service.mappings[0].cost) == cost
    assert str(service.thresholds[0].level) == '123456789012.12345678'
    assert str(service.thresholds[0].cost) == '-0.1'


def test_written_rules_are_the_same_on_every_server(database):
    store(database, [Rules().flat('0.25').rate('2', field='kind', value='xl', group='lic').service()])
    (part,) = load(database).write()
    assert [rule['cost'] for rule in part['mappings']] == ['0.25']
    assert part['fields'][0]['mappings'][0]['cost'] == '2'
    assert part['mappings'][0]['start'] == period.to_epoch(LONG_AGO.replace(tzinfo=period.UTC))


def test_deleted_rules_price_nothing_even_in_their_window(database):
    store(database, [Rules().flat(5).service()], deleted=datetime.datetime(2031, 1, 1))
    assert rules.price(load(database), rules.make_columns(1)) == [0]


@pytest.mark.parametrize(('zone', 'hours'), [('UTC', 0), ('Europe/Paris', 1), ('America/New_York', -4)])
def test_naive_dates_are_local_to_the_zone(sqlite, zone, hours):
    naive = period.from_epoch(rules.BEGIN + 5 * rules.HOUR).replace(tzinfo=None)
    store(sqlite, [Rules().flat(5).service()], start=naive, end=naive + datetime.timedelta(hours=1))
    columns = rules.make_columns(*[1] * 12)
    prices = rules.price(load(sqlite, zoneinfo.ZoneInfo(zone)), columns)
    # A clock ahead of UTC shows the hour earlier.
    assert prices.index(Decimal(5)) == 5 - hours
    assert sum(prices) == 5


@pytest.mark.parametrize('count', [1, 60])
def test_number_of_statements_does_not_depend_on_the_rules(database, count):
    services = [
        Rules().flat(1, field='kind', value='a').threshold('flat', 1, 1).service('s%d' % i) for i in range(count)
    ]
    store(database, services)
    statements = []
    sqlalchemy.event.listen(database.engine, 'before_cursor_execute', lambda *args: statements.append(args[2]))
    assert len(module.load_services(database, period.UTC)) == count
    assert len([statement for statement in statements if statement.startswith('SELECT')]) == 5


def test_rules_of_a_deleted_group_move_to_the_default(database):
    store(database, [Rules().flat(1, group='net').flat(3).service()])
    with database.writer() as session:
        session.execute(sqlalchemy.delete(models.Group))
    assert rules.price(load(database), rules.make_columns(1)) == [3]
