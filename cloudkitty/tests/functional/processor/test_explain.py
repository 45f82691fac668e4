# SPDX-License-Identifier: Apache-2.0
"""Prices explained after a worker has made them, whatever became of the rules since."""

import datetime
from decimal import Decimal

import pytest
import sqlalchemy

from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty.db import coverage as ledger
from cloudkitty.db import rating_modules
from cloudkitty.db import rule_revision
from cloudkitty.db import rule_sets
from cloudkitty.rating import base
from cloudkitty.rating import explanation
from cloudkitty.rating import jail
from cloudkitty.rating import pyscripts
from cloudkitty.rating import records
from cloudkitty.rating import skips
from cloudkitty.rating.hashmap import mappings
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import services
from cloudkitty.rating.hashmap import thresholds
from cloudkitty.rating.pyscripts import store
from cloudkitty.storage.sqlalchemy import models as tables
from cloudkitty.tests import samples
from cloudkitty.tests.functional.processor import deployment

JUNE, HOUR = deployment.JUNE, deployment.HOUR
NOW = datetime.datetime(2026, 5, 1, tzinfo=period.UTC)
LONG_NAME = 'somebody-of-the-pricing-department-of-the-cloud'


def explain(cloud, metric='cpu', scope_id='a', begin=JUNE, runner=None, **attributes):
    """Return [(point, explanation)] as the API makes them."""
    explainer = explanation.Explainer(
        cloud.database,
        runner or jail.Jail(),
        ledger.list_runs(cloud.database, [scope_id], begin, begin + 1),
        lambda: cloud.storage.quantities([scope_id], None, begin, begin + 1, priced=True),
    )
    points = cloud.storage.points_at(scope_id, metric, begin, attributes)
    return [(point, explainer.explain(point)) for point in points]


def explain_one(cloud, *arguments, **attributes):
    ((_, found),) = explain(cloud, *arguments, **attributes)
    return found


def outcomes(found):
    """Return (group, cost, outcome) of each rule that matched."""
    return [
        (match.rule.group, match.rule.cost, match.outcome.value) for reason in found.reasons for match in reason.matches
    ]


class Rules:
    """The rules of a service ``net`` as an operator makes them."""

    def __init__(self, database):
        self.database = database
        self.service = services.create_service(database, 'net')
        self.field, self.project = (
            services.create_field(database, self.service.id, name) for name in ('id', 'project_id')
        )

    def mapping(self, cost, kind=pricing.Kind.FLAT, actor=LONG_NAME, **place):
        place = place or {'service_id': self.service.id}
        start = datetime.datetime(2026, 1, 1)
        request = mappings.MappingRequest(Decimal(cost), kind, start=start, **place)
        return mappings.create_mapping(self.database, request, actor, NOW, period.UTC, force=True)

    def threshold(self, level, cost, kind=pricing.Kind.FLAT, **place):
        request = thresholds.ThresholdRequest(
            Decimal(level), Decimal(cost), kind, **{'service_id': self.service.id} | place
        )
        return thresholds.create_threshold(self.database, request)


def rate_net(database, quantity='12'):
    """Return a deployment that has rated an hour of metric ``net``, and its rules.

    The default group: 0.25 of the service against 1.5 of resource r, a rate of 0.9 for scope a in place of one of 0.5
    for all, and 5 more from a quantity of 10 on: 12 x 1.5 x 0.9 + 5 = 21.2. The licence: 2 from 1 on: 2.
    """
    cloud = deployment.Deployment(database, 'a', types=('net',))
    made = Rules(database)
    made.mappings = [
        made.mapping('0.25'),
        made.mapping('1.5', field_id=made.field.id, value='r'),
        made.mapping('0.5', pricing.Kind.RATE, field_id=made.project.id, value='a'),
        made.mapping('0.9', pricing.Kind.RATE, field_id=made.project.id, value='a', tenant_id='a'),
    ]
    licence = services.create_group(database, 'licence')
    made.thresholds = [
        made.threshold('1', '3'),
        made.threshold('10', '5'),
        made.threshold('1', '2', group_id=licence.id),
    ]
    cloud.source.quantities['a', 'net'] = quantity
    cloud.worker = cloud.make_worker()
    cloud.run()
    return cloud, made


STEPS = [
    ('_DEFAULT_', Decimal('1.5'), 'decided'),
    ('_DEFAULT_', Decimal('0.9'), 'decided'),
    ('_DEFAULT_', 5, 'decided'),
    ('_DEFAULT_', Decimal('0.25'), 'smaller'),
    ('_DEFAULT_', 3, 'lower'),
    ('_DEFAULT_', Decimal('0.5'), 'tenant'),
    ('licence', 2, 'decided'),
]


def check_net(cloud):
    found = explain_one(cloud, 'net')
    assert (found.price, found.equals, found.why) == (Decimal('23.2'), True, None)
    assert outcomes(found) == STEPS
    assert [reason.part.price(Decimal(12)) for reason in found.reasons] == [Decimal('21.2'), 2]
    return found


def test_rules_of_two_groups(database):
    cloud, made = rate_net(database)
    found = check_net(cloud)
    (run,) = ledger.list_runs(database, ['a'])
    assert (found.status, found.rule_set.digest) == (run.status, run.rule_set)
    rules = [match.rule for reason in found.reasons for match in reason.matches]
    known = records.Records(database, rules)
    assert known.of(rules[0]) == records.Record(made.mappings[1].id, made.mappings[1].name, LONG_NAME, is_deleted=False)
    assert known.of(rules[2]) == records.Record(made.thresholds[1].id, is_deleted=False)


def test_rules_that_were_changed_and_deleted(database):
    cloud, made = rate_net(database)
    mapping_id = made.mappings[1].id
    mappings.delete_mapping(database, mapping_id, 'editor', NOW, period.UTC)
    thresholds.update_threshold(
        database, made.thresholds[1].id, thresholds.ThresholdRequest(Decimal(10), Decimal(50), pricing.Kind.FLAT)
    )
    found = check_net(cloud)
    rule = found.reasons[0].matches[0].rule
    assert records.Records(database, [rule]).of(rule) == records.Record(
        mapping_id, made.mappings[1].name, LONG_NAME, None, 'editor', True
    )
    # With its service everything goes for good; another mapping may get the row's number.
    services.delete_service(database, made.service.id)
    again = Rules(database)
    for number in range(4):
        again.mapping('7', actor='other', field_id=again.field.id, value='r%d' % number)
    found = check_net(cloud)
    rules = [match.rule for reason in found.reasons for match in reason.matches]
    known = records.Records(database, rules)
    assert known.of(rules[0]) == records.Record(mapping_id, made.mappings[1].name, LONG_NAME)
    assert known.of(rules[2]) == records.Record(made.thresholds[1].id)


def test_a_rule_set_written_without_authors(database):
    cloud, made = rate_net(database)
    with database.writer() as session:
        for row in session.scalars(sqlalchemy.select(rule_sets.ledger_models.RulePart)):
            body = rule_sets.json.loads(row.body)
            for part in (body, *body.get('fields', ())):
                for rule in (*part['mappings'], *part['thresholds']):
                    rule.pop('label', None)
            row.body = rule_sets.series.canonical(body)
    found = check_net(cloud)
    rule = found.reasons[0].matches[0].rule
    assert rule.value == 'r' and rule.label is None
    assert records.Records(database, [rule]).of(rule).created_by == LONG_NAME
    services.delete_service(database, made.service.id)
    assert records.Records(database, [rule]).of(rule) == records.Record()


def test_a_price_that_somebody_changed_by_hand(database):
    cloud, _ = rate_net(database)
    with database.writer() as session:
        row = session.scalars(sqlalchemy.select(tables.RatedDay)).one()
        row.body = row.body.replace(' 23.2', ' 23.3')
    ((point, found),) = explain(cloud, 'net')
    assert point.prices == (Decimal('23.3'),)
    assert (found.price, found.equals) == (Decimal('23.2'), False)
    assert found.why == 'The replayed price is not the stored one.'


def test_a_point_without_a_rule(database):
    cloud = deployment.Deployment(database, 'a', types=('gpu',))
    cloud.run()
    found = explain_one(cloud, 'gpu')
    assert (found.reasons, found.price, found.equals) == ((), 0, True)


def test_only_points_of_the_instant_with_the_attributes(database):
    cloud = deployment.Deployment(database, 'a', 'b')
    cloud.run(hours=2)
    assert len(explain(cloud)) == 1
    for wrong in ({'begin': JUNE + 1}, {'begin': JUNE - HOUR}, {'metric': 'none'}, {'scope_id': 'c'}, {'id': 'x'}):
        assert explain(cloud, **wrong) == []
    assert len(explain(cloud, id='r', month='6', project_id='a')) == 1
    assert explain(cloud, month='7') == []


def test_pushed_points_have_no_rules(database):
    cloud = deployment.Deployment(database, 'a')
    cloud.run()
    point = dataframe.DataPoint('u', 1, '7', {'project_id': 'a', 'id': 'x'}, {})
    cloud.storage.push([dataframe.DataFrame(*samples.window(JUNE, 1), {'cpu': [point]})])
    assert [found.equals for _, found in explain(cloud)] == [True, None]
    ((point, found),) = explain(cloud, id='x')
    assert (point.prices, found.status, found.rule_set, found.price) == ((7,), None, None, None)
    assert 'pushed' in found.why


def test_imported_and_lost_rule_sets(database):
    cloud = deployment.Deployment(database, 'a')
    cloud.run()
    with database.writer() as session:
        session.execute(sqlalchemy.delete(rule_sets.ledger_models.RuleSet))
    assert 'is not there any more' in explain_one(cloud).why
    with database.writer() as session:
        session.execute(sqlalchemy.update(ledger.CoverageRun).values(rule_set=None, altered=True))
    found = explain_one(cloud)
    assert (found.status.value, found.rule_set, found.equals) == ('rated', None, None)
    assert 'imported' in found.why
    with database.writer() as session:
        session.execute(sqlalchemy.delete(ledger.CoverageRun))
    found = explain_one(cloud)
    assert (found.status, found.why) == (None, 'Nothing is known about how the point was priced.')


def make(database, *scripts, expression=None, priority=-1):
    """Return a deployment with scripts behind hashmap, and a skip expression."""
    cloud = deployment.Deployment(database, 'a', modules={**deployment.OURS, 'pyscripts': pyscripts.PyScripts})
    if expression:
        cloud.skips = skips.Skips(expression)
    rating_modules.set_enabled(database, 'pyscripts', True)
    rating_modules.set_priority(database, 'pyscripts', priority)
    cloud.scripts = [
        store.create_script(database, store.ScriptRequest(name, source), LONG_NAME, NOW, period.UTC)
        for name, source in scripts
    ]
    cloud.worker = cloud.make_worker()
    return cloud


EACH = 'for points in data["usage"].values():\n  for point in points: '
DOUBLE = ('double', EACH + 'point["rating"]["price"] *= 2')
# A script that looks at the whole frame: one more for each metric.
FEE = ('fee', 'count = len(data["usage"])\n' + EACH + 'point["rating"]["price"] += count')


def test_scripts_say_the_price_before_and_after(database):
    cloud = make(database, DOUBLE, FEE)
    cloud.run()
    # 2 doubled, and 2 for the two metrics.
    found = explain_one(cloud)
    assert (found.price, found.equals, found.why) == (6, True, None)
    assert outcomes(found) == [('_DEFAULT_', 2, 'decided')]
    assert [(price.script.name, price.before, price.after) for price in found.scripts] == [
        ('double', 2, 4),
        ('fee', 4, 6),
    ]
    assert [price.script.checksum for price in found.scripts] == [script.checksum for script in cloud.scripts]
    assert explain_one(cloud, 'disk').price == 8
    store.delete_script(database, cloud.scripts[0].id, 'editor', NOW, period.UTC)
    found = explain_one(cloud)
    assert found.equals is True
    known = records.Records(database, [price.script for price in found.scripts])
    assert [known.of(price.script) for price in found.scripts] == [
        records.Record(cloud.scripts[0].id, 'double', LONG_NAME, None, 'editor', True),
        records.Record(cloud.scripts[1].id, 'fee', LONG_NAME, is_deleted=False),
    ]


def test_scripts_before_hashmap(sqlite):
    cloud = make(sqlite, ('fee', EACH + 'point["rating"]["price"] += 1'), priority=9)
    cloud.run()
    found = explain_one(cloud)
    assert (found.price, found.equals) == (3, True)
    assert [(price.before, price.after) for price in found.scripts] == [(0, 1)]


def test_scripts_that_changed_more_than_prices_are_not_run_again(database):
    cloud = make(database, ('twice', EACH + 'point["vol"]["qty"] *= 2'))
    cloud.run()
    runner = jail.Jail()
    found = explain_one(cloud, runner=runner)
    assert (found.price, found.equals, found.reasons) == (None, None, ())
    assert [(price.script.name, price.before, price.after) for price in found.scripts] == [('twice', None, None)]
    assert 'changed more than prices' in found.why
    assert runner.exchanges == 0


def test_scripts_that_are_not_the_same_twice(sqlite):
    cloud = make(sqlite, ('random', EACH + 'import random; point["rating"]["price"] = str(random.random())'))
    cloud.run()
    found = explain_one(cloud)
    assert found.equals is False and 'order of points' in found.why


def test_unrated_points(database):
    cloud = make(database, ('bad', '1 / 0'))
    cloud.run()
    ((point, found),) = explain(cloud)
    assert (point.prices, found.status.value, found.equals) == ((None,), 'unrated', None)
    assert found.why == 'The point has no price yet: a module, script or expression failed on it.'


def test_points_beside_skipped_ones(database):
    cloud = make(database, expression='datapoint["rating"]["price"] == 3')
    cloud.run()
    assert explain_one(cloud).equals is True
    assert explain(cloud, 'disk') == []


class Third(base.RatingProcessorBase):
    module_name = 'third'

    def process(self, data):
        return data

    def reload_config(self, start=None):
        pass


def test_modules_of_others_are_not_replayed(database):
    cloud = deployment.Deployment(database, 'a', modules={**deployment.OURS, 'third': Third})
    rating_modules.set_enabled(database, 'third', True)
    database.repeat(rule_revision.bump)
    cloud.worker = cloud.make_worker()
    cloud.run()
    found = explain_one(cloud)
    assert (found.status.value, found.equals, found.rule_set is None) == ('rated', None, False)
    assert found.why == 'Module third took part, and what modules of others do cannot be replayed.'


@pytest.mark.parametrize('quantity', ['0', '0.1', '9.9999999', '10', '123456.789'])
def test_explanations_of_any_quantity_equal_the_price(sqlite, quantity):
    cloud, _ = rate_net(sqlite, quantity)
    ((point, found),) = explain(cloud, 'net')
    assert found.equals is True
    assert sum(reason.part.price(Decimal(quantity)) for reason in found.reasons) == point.prices[0]
