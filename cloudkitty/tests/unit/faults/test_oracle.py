# SPDX-License-Identifier: Apache-2.0
"""The oracle of the fault laboratory: it has nothing to say of what is right, and something of all that is not."""

import datetime
from decimal import Decimal
import json

import pytest

from cloudkitty.storage.sqlalchemy import body
from cloudkitty.tests.faults import oracle
from cloudkitty.tests.faults import world as worlds

HOUR = worlds.HOUR
END = worlds.BEGIN + 3 * HOUR
DAY = worlds.BEGIN // oracle.DAY
WORLD = worlds.World(7, 2)
COST = Decimal('1.5')


def make():
    """Return the tables of a database in which three hours are rated as they were served; every unit costs 1.5."""
    services = {
        metric: {'name': metric, 'mappings': [{'cost': str(COST), 'value': None}], 'fields': [], 'thresholds': []}
        for metric in worlds.METRICS
    }
    found = {name: [] for name in ('clocks', 'days', 'scope_days', 'scope_months', 'coverage', 'failures')}
    found['rule_sets'] = [('rules', json.dumps({'parts': sorted(services)}))]
    found['rule_parts'] = [(name, 'hashmap service', json.dumps(part)) for name, part in services.items()]
    for scope_id in WORLD.scope_ids:
        found['clocks'].append((scope_id, datetime.datetime.fromtimestamp(END - HOUR, datetime.timezone.utc)))
        for metric in worlds.METRICS:
            add_metric(found, scope_id, metric)
    return found


def add_metric(found, scope_id, metric):
    (attribute,) = worlds.ATTRIBUTES[worlds.METRICS[metric][0]]
    series, cells = {}, []
    for offset in range(0, END - worlds.BEGIN, HOUR):
        begin = worlds.BEGIN + offset
        points = WORLD.points(scope_id, metric, begin)
        status = ('rated', 'rules') if points else ('empty', None)
        found['coverage'].append((scope_id, metric, begin, begin + HOUR, *status))
        for key, qty in points.items():
            series.setdefault(key, []).append(body.Point(offset, HOUR, qty, qty * COST))
        if points:
            qty = sum(points.values())
            cells.append(body.Cell(offset, HOUR, len(points), qty, qty * COST, 0, 0))
    for (name, value), points in series.items():
        qty = sum(point.qty for point in points)
        groupby, metadata = json.dumps({'id': name}), json.dumps({attribute: value})
        sums = qty, qty * COST, len(points), body.encode_points(points)
        found['days'].append((scope_id, metric, 'collected', groupby, metadata, DAY, *sums))
    qty, count = sum(cell.qty for cell in cells), sum(cell.points for cell in cells)
    sums = qty, qty * COST, count, 0
    found['scope_days'].append((scope_id, metric, 'collected', DAY, *sums, body.encode_cells(cells)))
    found['scope_months'].append((scope_id, metric, 'collected', 2026 * 12 + 5, *sums))


def kinds(found, **options):
    return {item.kind for item in oracle.compare(WORLD, found, END, **options)}


def change(table, place, **values):
    """Return tables in which columns of a row, by number, are other ones."""
    found = make()
    row = list(found[table][place])
    for name, value in values.items():
        row[int(name.removeprefix('c'))] = value
    found[table][place] = tuple(row)
    return found


def test_what_is_right_makes_no_difference():
    assert kinds(make(), costs_sent={COST}) == set()


def test_series_that_is_missing_is_lost():
    found = make()
    del found['days'][0]
    assert {'lost', 'roll-up'} == kinds(found)


def test_series_that_is_there_twice_is_doubled():
    found = make()
    found['days'].append(found['days'][0])
    assert {'doubled', 'roll-up'} == kinds(found)


@pytest.mark.parametrize('place', [6, 7])
def test_day_that_says_another_sum_is_told(place):
    assert kinds(change('days', 0, **{'c%d' % place: Decimal(1)})) == {'roll-up'}


def test_price_that_is_not_by_the_rules_is_told():
    found = make()
    points = body.decode_points(found['days'][0][9])
    text = body.encode_points([points[0]._replace(price=Decimal(1)), *points[1:]])
    assert 'amount' in kinds(change('days', 0, c9=text))


def test_quantity_that_was_not_served_is_told():
    found = make()
    points = body.decode_points(found['days'][0][9])
    text = body.encode_points([points[0]._replace(qty=Decimal(1), price=COST), *points[1:]])
    assert 'amount' in kinds(change('days', 0, c9=text))


@pytest.mark.parametrize('table', ['scope_days', 'scope_months'])
def test_roll_up_that_misses_something_is_told(table):
    assert kinds(change(table, 0, c4=Decimal(1))) == {'roll-up'}


def test_cell_that_failed_and_is_open_is_stuck():
    found = change('coverage', 0, c4='failed', c5=None)
    found['failures'].append((*found['coverage'][0][:3], 0, 3, 'It is away.'))
    assert {'coverage', 'stuck'} <= kinds(found)


def test_clock_that_stands_still_is_stuck():
    before = datetime.datetime.fromtimestamp(END - 2 * HOUR, datetime.timezone.utc)
    assert kinds(change('clocks', 0, c1=before)) == {'stuck', 'clock'}


def test_period_of_two_rule_sets_is_told_unless_it_may_have_them():
    found = change('coverage', 0, c5='others')
    found['rule_sets'].append(('others', found['rule_sets'][0][1]))
    assert kinds(found) == {'rules'}
    assert kinds(found, mixed={(found['coverage'][0][0], found['coverage'][0][2])}) == set()


def test_cost_that_nobody_sent_is_told():
    assert kinds(make(), costs_sent=set()) == {'rules'}


@pytest.mark.parametrize(('least', 'most', 'result'), [(1, 1, {'lost'}), (0, 1, set())])
def test_push_that_is_missing_is_lost_where_it_was_acknowledged(least, most, result):
    item = oracle.Pushed(WORLD.scope_ids[0], worlds.BEGIN, Decimal(3), Decimal(2), least, most)
    assert kinds(make(), pushed=[item]) == result
