# SPDX-License-Identifier: Apache-2.0
"""Says whether the database holds what it has to hold: every hour of everything that the source served, once.

Nothing of the service takes part in the reckoning but the form of the body of a day, which it decodes.
"""

import collections
import dataclasses
import datetime
import decimal
from decimal import Decimal
import json

from cloudkitty.storage.sqlalchemy import body
from cloudkitty.tests.faults import world as worlds

HOUR = worlds.HOUR
DAY = 86400
#: Statuses of cells that are as good as done.
DONE = {'rated', 'empty'}


@dataclasses.dataclass(frozen=True, order=True)
class Difference:
    """What is not as it should be.

    :ivar kind: lost, doubled, amount, roll-up, coverage, clock, stuck or pushed.
    :ivar begin: of the cell, epoch second; 0 where it concerns more.
    """

    scope_id: str
    metric: str
    begin: int
    kind: str
    text: str


@dataclasses.dataclass
class Pushed:
    """Points that a client pushed: *least* and *most* times, as an answer that was lost says nothing."""

    scope_id: str
    begin: int
    qty: Decimal
    price: Decimal
    least: int
    most: int


def read(database):
    """Return {table: rows} of all that is compared."""
    quote = database.engine.dialect.identifier_preparer.quote
    begin, end = quote('begin'), quote('end')
    queries = {
        'clocks': 'SELECT identifier, last_processed_timestamp FROM cloudkitty_storage_states',
        'days': 'SELECT s.identifier, r.metric, r.origin, r.groupby, r.metadata, d.day, d.qty, d.price, d.points, '
        'd.body FROM rated_days d JOIN series r ON r.id = d.series_id JOIN scopes s ON s.id = d.scope_id',
        'scope_days': 'SELECT s.identifier, metric, origin, day, qty, price, points, unpriced, body '
        'FROM scope_days JOIN scopes s ON s.id = scope_id',
        'scope_months': 'SELECT s.identifier, metric, origin, month, qty, price, points, unpriced '
        'FROM scope_months JOIN scopes s ON s.id = scope_id',
        'coverage': 'SELECT s.identifier, metric, %s, %s, status, rule_set FROM coverage '
        'JOIN scopes s ON s.id = scope_id' % (begin, end),
        'failures': 'SELECT s.identifier, metric, %s, since, attempts, error FROM coverage_failures '
        'JOIN scopes s ON s.id = scope_id' % begin,
        'history': 'SELECT s.identifier, r.metric, h.day, h.body, h.cause, h.who, h.at FROM rated_history h '
        'JOIN series r ON r.id = h.series_id JOIN scopes s ON s.id = h.scope_id ORDER BY h.id',
        'rule_sets': 'SELECT digest, body FROM rule_sets',
        'rule_parts': 'SELECT digest, kind, body FROM rule_parts',
    }
    with database.engine.connect() as connection:
        return {name: connection.exec_driver_sql(query).all() for name, query in queries.items()}


class Costs:
    """What the rule sets say of a quantity, by a small reckoning of its own for flat rules."""

    def __init__(self, found):
        parts = {digest: json.loads(text) for digest, kind, text in found['rule_parts'] if kind == 'hashmap service'}
        self._services = {}
        for digest, text in found['rule_sets']:
            used = [parts[part] for part in json.loads(text)['parts'] if part in parts]
            self._services[digest] = {part['name']: part for part in used}

    def of(self, rule_set, metric, value):
        """Return the cost of one unit; *value* is that of the resource's attribute."""
        service = self._services[rule_set].get(metric)
        if service is None:
            return Decimal(0)
        found = [Decimal(rule['cost']) for rule in service['mappings']]
        for field in service['fields']:
            found += [Decimal(rule['cost']) for rule in field['mappings'] if rule['value'] == value]
        return max(found, default=Decimal(0))

    def all_of(self, rule_set):
        """Return all costs in a rule set."""
        return {
            Decimal(rule['cost'])
            for service in self._services[rule_set].values()
            for rules in (service['mappings'], *(field['mappings'] for field in service['fields']))
            for rule in rules
        }


def compare(world, found, end, pushed=(), costs_sent=None, mixed=()):
    """Return the differences between *found* and what the world has up to *end*, sorted.

    :param pushed: :class:`Pushed`.
    :param costs_sent: every cost that a client ever sent; None: not looked at.
    :param mixed: (scope id, begin) of periods that may have been priced by several rule sets.
    """
    with decimal.localcontext(prec=60):
        return sorted(set(_Comparison(world, found, end, pushed, costs_sent, mixed).run()))


class _Comparison:
    def __init__(self, world, found, end, pushed, costs_sent, mixed):
        self._world = world
        self._found = found
        self._end = end
        self._pushed = pushed
        self._sent = costs_sent
        self._mixed = set(mixed)
        self._result = []
        self._costs = Costs(found)
        # (scope id, metric, origin, begin) to [((resource id, value), qty, price)].
        self._points = collections.defaultdict(list)

    def _say(self, scope_id, metric, begin, kind, text):
        self._result.append(Difference(scope_id, metric, begin, kind, text))

    def run(self):
        self._unpack()
        cells = self._check_coverage()
        self._check_clocks()
        self._check_points(cells)
        self._check_rule_sets(cells)
        self._check_pushed()
        self._check_roll_ups()
        return self._result

    def _unpack(self):
        for scope_id, metric, origin, groupby, metadata, day, qty, price, count, text in self._found['days']:
            points = body.decode_points(text)
            priced = [point for point in points if point.price is not None]
            sums = sum(point.qty for point in priced), sum(point.price for point in priced), len(priced)
            if sums != (Decimal(qty), Decimal(price), count):
                self._say(scope_id, metric, day * DAY, 'roll-up', 'a day row says %s %s %s' % (qty, price, count))
            attributes = {**json.loads(metadata), **json.loads(groupby)}
            kind = worlds.METRICS.get(metric, ('pushed',))[0]
            (name,) = worlds.ATTRIBUTES.get(kind, ('id',))
            key = attributes.get('id'), attributes.get(name)
            for point in points:
                self._points[scope_id, metric, origin, day * DAY + point.offset].append((key, point.qty, point.price))

    def _check_coverage(self):
        """Return {cell: (status, rule set)}."""
        cells = {}
        for scope_id, metric, begin, end, status, rule_set in self._found['coverage']:
            for at in range(begin, end, HOUR):
                if (scope_id, metric, at) in cells:
                    self._say(scope_id, metric, at, 'coverage', 'two runs cover it')
                cells[scope_id, metric, at] = status, rule_set
        for scope_id, metric, begin, _, attempts, error in self._found['failures']:
            self._say(scope_id, metric, begin, 'stuck', 'open after %d attempts: %s' % (attempts, error[:200]))
        return cells

    def _check_clocks(self):
        found = dict(tuple(row) for row in self._found['clocks'])
        for scope_id in self._world.scope_ids:
            if scope_id not in found:
                self._say(scope_id, '', 0, 'clock', 'it has no clock')
                continue
            clock = _to_epoch(found[scope_id])
            if clock + HOUR < self._end:
                self._say(
                    scope_id, '', clock, 'stuck', 'its clock stands there, %d before the end' % (self._end - clock)
                )
            if clock + HOUR != self._end_of(scope_id):
                self._say(scope_id, '', clock, 'clock', 'coverage ends at %s' % self._end_of(scope_id))

    def _end_of(self, scope_id):
        return max([row[3] for row in self._found['coverage'] if row[0] == scope_id], default=worlds.BEGIN)

    def _check_points(self, cells):
        for scope_id in self._world.scope_ids:
            for metric in worlds.METRICS:
                for begin in range(worlds.BEGIN, self._end_of(scope_id), HOUR):
                    self._check_cell(cells, scope_id, metric, begin)
        for scope_id, metric, origin, begin in self._points:
            if origin == 'collected' and (scope_id, metric, begin) not in cells:
                self._say(scope_id, metric, begin, 'doubled', 'there are points outside of what is covered')

    def _check_cell(self, cells, scope_id, metric, begin):
        expected = self._world.points(scope_id, metric, begin)
        there = self._points.get((scope_id, metric, 'collected', begin), ())
        status, rule_set = cells.get((scope_id, metric, begin), (None, None))
        wanted = 'rated' if expected else 'empty'
        if status != wanted:
            self._say(scope_id, metric, begin, 'coverage', 'it is %s, should be %s' % (status, wanted))
        counts = collections.Counter(key for key, _, _ in there)
        for key in sorted({*expected, *counts}, key=str):
            if key not in expected:
                self._say(scope_id, metric, begin, 'doubled', '%s was not there' % (key,))
            elif not counts[key]:
                self._say(scope_id, metric, begin, 'lost', '%s is missing' % (key,))
            elif counts[key] > 1:
                self._say(scope_id, metric, begin, 'doubled', '%s is there %d times' % (key, counts[key]))
        for key, qty, price in there:
            if key in expected and qty != expected[key]:
                self._say(scope_id, metric, begin, 'amount', '%s: %s, served %s' % (key, qty, expected[key]))
            if rule_set is not None:
                cost = self._costs.of(rule_set, metric, key[1])
                if price is None or price != qty * cost:
                    self._say(
                        scope_id, metric, begin, 'amount', '%s: price %s, by its rules %s' % (key, price, qty * cost)
                    )
            elif status == 'rated':
                self._say(scope_id, metric, begin, 'coverage', 'no rule set is known')

    def _check_rule_sets(self, cells):
        by_period = collections.defaultdict(set)
        for (scope_id, _, begin), (_, rule_set) in cells.items():
            if rule_set is not None:
                by_period[scope_id, begin].add(rule_set)
        for (scope_id, begin), used in by_period.items():
            if len(used) > 1 and (scope_id, begin) not in self._mixed:
                self._say(scope_id, '', begin, 'rules', 'it was priced by %d rule sets' % len(used))
        if self._sent is not None:
            for rule_set in {rule_set for _, rule_set in cells.values() if rule_set is not None}:
                for cost in self._costs.all_of(rule_set) - self._sent:
                    self._say('', '', 0, 'rules', 'nobody ever made a rule that costs %s' % cost)

    def _check_pushed(self):
        found = collections.Counter()
        for (scope_id, _, origin, begin), points in self._points.items():
            if origin == 'pushed':
                for _, qty, price in points:
                    found[scope_id, begin, qty, price] += 1
        for item in self._pushed:
            count = found.pop((item.scope_id, item.begin, item.qty, item.price), 0)
            if not item.least <= count <= item.most:
                kind = 'lost' if count < item.least else 'doubled'
                self._say(item.scope_id, 'pushed', item.begin, kind, '%s is there %d times' % (item.qty, count))
        for scope_id, begin, qty, _ in found:
            self._say(scope_id, 'pushed', begin, 'doubled', '%s was never pushed' % qty)

    def _check_roll_ups(self):
        days = collections.defaultdict(lambda: [Decimal(0), Decimal(0), 0])
        months = collections.defaultdict(lambda: [Decimal(0), Decimal(0), 0])
        cells = collections.defaultdict(lambda: [Decimal(0), Decimal(0), 0])
        for (scope_id, metric, origin, begin), points in self._points.items():
            for _, qty, price in points:
                if price is None:
                    continue
                key = scope_id, metric, origin
                for sums, at in ((days, begin // DAY), (months, _month(begin)), (cells, begin)):
                    total = sums[(*key, at)]
                    total[0] += qty
                    total[1] += price
                    total[2] += 1
        for name, sums in (('scope_days', days), ('scope_months', months)):
            there = {row[:4]: [Decimal(row[4]), Decimal(row[5]), row[6]] for row in self._found[name]}
            self._check_sums(name, sums, {tuple(key): value for key, value in there.items()})
        there = {}
        for scope_id, metric, origin, day, *_, text in self._found['scope_days']:
            for cell in body.decode_cells(text):
                total = there.setdefault(
                    (scope_id, metric, origin, day * DAY + cell.offset), [Decimal(0), Decimal(0), 0]
                )
                total[0] += cell.qty
                total[1] += cell.price
                total[2] += cell.points
        self._check_sums('a body of scope_days', cells, {key: value for key, value in there.items() if value[2]})

    def _check_sums(self, name, expected, there):
        for key in sorted({*expected, *there}):
            sums, says = expected.get(key, [0, 0, 0]), there.get(key, [0, 0, 0])
            if sums != says:
                begin = key[3] if name.startswith('a ') else key[3] * DAY if name == 'scope_days' else 0
                text = '%s (%s) says %s, its points come to %s' % (name, key[3], says, sums)
                self._say(key[0], key[1], begin, 'roll-up', text.replace('Decimal', ''))


def _to_epoch(instant):
    if isinstance(instant, str):
        instant = datetime.datetime.fromisoformat(instant)
    return int(instant.replace(tzinfo=datetime.timezone.utc).timestamp())


def _month(begin):
    found = datetime.datetime.fromtimestamp(begin, datetime.timezone.utc)
    return found.year * 12 + found.month - 1
