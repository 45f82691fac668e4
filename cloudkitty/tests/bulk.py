# SPDX-License-Identifier: Apache-2.0
"""Fills the tables of the series store with many points, fast, for what is to be measured on large databases.

Series, coverage and the encoding of bodies are the storage's own; rows are worked out a day at a time and written in
the order of their keys, without a guard, a clock or a look at what is there. :func:`points` gives the same points as
columns, for a commit to compare with.
"""

import collections
import csv
import dataclasses
import datetime
from decimal import Decimal
import functools
import io
import json
import uuid

import sqlalchemy

from cloudkitty import amount
from cloudkitty import coverage
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import coverage as ledger
from cloudkitty.db import ledger_models
from cloudkitty.db import scopes
from cloudkitty.db import statements
from cloudkitty.storage.sqlalchemy import body
from cloudkitty.storage.sqlalchemy import commit as writing
from cloudkitty.storage.sqlalchemy import known
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.tests import samples

#: What series, days, roll-ups and coverage are in.
TABLES = ('series', 'frame_lengths', 'crossed_midnights', 'rated_days', 'scope_days', 'scope_months', 'coverage')
#: How many rows are written together.
BATCH = 20_000

_COLLECTED = series.Origin.COLLECTED.value
_DAY_COLUMNS = ('day', 'series_id', 'scope_id', 'qty', 'price', 'points', 'body')
_ROLL_UP_COLUMNS = ('day', 'scope_id', 'metric', 'origin', 'qty', 'price', 'points', 'unpriced', 'skipped', 'body')


@dataclasses.dataclass(frozen=True)
class Cloud:
    """Scopes with as many resources of each metric, each with a point every *length* seconds.

    :ivar shape: what quantities are like. ``mixed``: those of the last of three metrics differ from point to point and
        have 6 digits after the point, the others stay; ``steady``: all stay; ``varying``: all differ; ``long``: all
        differ, and they and their prices have 28 digits after the point.
    """

    scopes: int
    resources: int
    metrics: int = 3
    length: int = 3600
    shape: str = 'mixed'

    @property
    def scope_ids(self):
        return ['%032x' % (0xC10D0000 + number) for number in range(self.scopes)]

    @property
    def metric_names(self):
        return [
            ('instance', 'volume.size', 'network.outgoing.bytes')[number % 3] + ('.%d' % number if number > 2 else '')
            for number in range(self.metrics)
        ]

    @property
    def points_per_day(self):
        return self.scopes * self.resources * self.metrics * (period.DAY // self.length)

    def varies(self, metric):
        return self.shape in ('varying', 'long') or (self.shape == 'mixed' and metric.startswith('network'))


@functools.cache
def make_series(cloud):
    """Return [(series, metric's number, resource's number)] of *cloud*, by scope, metric and resource."""
    found = []
    for scope_id in cloud.scope_ids:
        for kind, metric in enumerate(cloud.metric_names):
            for number in range(cloud.resources):
                key = uuid.uuid5(uuid.NAMESPACE_OID, '%s %s %d' % (scope_id, metric, number))
                item = series.Series(
                    scope_id,
                    metric,
                    ('instance', 'GiB', 'MB')[kind % 3],
                    {'id': str(key), 'project_id': scope_id, 'user_id': uuid.uuid5(key, 'user').hex},
                    {
                        'flavor_name': 'm%d.small' % (number % 4),
                        'flavor_id': str(number % 4),
                        'vcpus': '2',
                        'image_ref': 'http://glance.example.org/images/%s' % uuid.uuid5(key, 'image'),
                    },
                )
                found.append((item, kind, number))
    return found


def values(cloud, item, kind, number, begins):
    """Return (quantities, prices) of points of a series that begin at *begins*."""
    quantise = amount.quantise
    if not cloud.varies(item.metric):
        qty = Decimal(1 if kind % 3 == 0 else 10 + number)
        price = quantise(qty * Decimal('0.0125') * (number % 4 + 1))
        return (qty,) * len(begins), (price,) * len(begins)
    seed = int.from_bytes(item.fingerprint[:4], 'big')
    counts = [(seed + begin // cloud.length * 2_654_435_761) * 40_503 % 9_999_999_967 for begin in begins]
    if cloud.shape == 'long':
        quantities = tuple(quantise(amount.CONTEXT.divide(Decimal(count), Decimal(3 << 20))) for count in counts)
        prices = tuple(quantise(amount.CONTEXT.divide(qty, Decimal(7000))) for qty in quantities)
        return quantities, prices
    quantities = tuple(Decimal(count).scaleb(-6) for count in counts)
    cost = Decimal('0.00002')
    return quantities, tuple(qty * cost for qty in quantities)


def points(cloud, begin, count):
    """Return the columns of *count* periods from epoch second *begin* on."""
    begins = tuple(range(begin, begin + count * cloud.length, cloud.length))
    return [
        series.Columns(item, cloud.length, begins, *values(cloud, item, kind, number, begins))
        for item, kind, number in make_series(cloud)
    ]


def runs(cloud, begin, end):
    """Return the coverage of ``[begin, end)``: all rated."""
    return [
        coverage.Run(scope_id, metric, begin, end, coverage.Status.RATED, samples.RULES)
        for scope_id in cloud.scope_ids
        for metric in cloud.metric_names
    ]


def load(database, cloud, first_day, last_day, roll_ups_only=False):
    """Write the days ``[first_day, last_day)`` of *cloud* into *database*; return the count of points.

    Days count from 1970-01-01. The database holds nothing of the months that they belong to.

    :param roll_ups_only: leave out the days of series.
    """
    begin, end = first_day * period.DAY, last_day * period.DAY
    scopes.ensure(database, cloud.scope_ids, samples.IDENTITY, period.from_epoch(begin), cloud.length)
    with database.writer() as session:
        guards = scopes.guard_ids(session, cloud.scope_ids)
        columns = [series.Columns(item, cloud.length, (), (), ()) for item, _, _ in make_series(cloud)]
        ids, _ = writing.series_ids(session, known.make_ids(), columns, guards, dict.fromkeys(guards.values(), 0))
        ledger.write_runs(session, guards, runs(cloud, begin, end))
        session.merge(models.FrameLength(length=cloud.length))
    days = _Writer(database, 'rated_days', _DAY_COLUMNS)
    roll_ups = _Writer(database, 'scope_days', _ROLL_UP_COLUMNS)
    months = collections.defaultdict(lambda: [0, amount.ZERO, amount.ZERO, 0, 0])
    maker = _Maker(cloud, ids, guards)
    for day in range(first_day, last_day):
        day_rows, sums = maker.make(day)
        if not roll_ups_only:
            days.add(sorted(day_rows))
        instant = period.from_epoch(day * period.DAY)
        month = instant.year * 12 + instant.month - 1
        rows = []
        for (scope_id, metric), (totals, text) in sorted(sums.items()):
            count, qty, price = totals
            rows.append(
                (day, scope_id, metric, _COLLECTED, amount.to_text(qty), amount.to_text(price), count, 0, 0, text)
            )
            found = months[month, scope_id, metric, _COLLECTED]
            found[0] += count
            found[1], found[2] = amount.CONTEXT.add(found[1], qty), amount.CONTEXT.add(found[2], price)
        roll_ups.add(rows)
    days.flush()
    roll_ups.flush()
    names = ('month', 'scope_id', 'metric', 'origin', 'points', 'qty', 'price', 'unpriced', 'skipped')
    with database.writer() as session:
        statements.upsert(
            session,
            models.ScopeMonth,
            [dict(zip(names, [*key, *months[key]], strict=True)) for key in sorted(months)],
        )
    return (last_day - first_day) * cloud.points_per_day


class _Maker:
    """Works out the rows of a day; those of series that do not vary only once."""

    def __init__(self, cloud, ids, guards):
        self._cloud = cloud
        self._series = [
            (item, kind, number, ids[item.fingerprint], guards[item.scope_id])
            for item, kind, number in make_series(cloud)
        ]
        self._days = {}
        self._roll_ups = {}

    def make(self, day):
        """Return (rows of rated_days, {(guard id, metric): ([points, quantity, price], body)})."""
        cloud, add = self._cloud, amount.CONTEXT.add
        begins = range(day * period.DAY, (day + 1) * period.DAY, cloud.length)
        offsets = [begin - begins.start for begin in begins]
        rows = []
        cells = {}
        for item, kind, number, series_id, guard_id in self._series:
            rest = self._days.get(series_id)
            if rest is None:
                quantities, prices = values(cloud, item, kind, number, begins)
                found = cells.setdefault((guard_id, item.metric), [[0, amount.ZERO, amount.ZERO] for _ in offsets])
                for cell, qty, price in zip(found, quantities, prices, strict=True):
                    cell[0] += 1
                    cell[1], cell[2] = add(cell[1], qty), add(cell[2], price)
                text = body.encode_points(map(body.Point, offsets, [cloud.length] * len(offsets), quantities, prices))
                totals = [amount.to_text(amount.total(column)) for column in (quantities, prices)]
                rest = (guard_id, *totals, len(offsets), text)
                if not cloud.varies(item.metric):
                    self._days[series_id] = rest
            rows.append((day, series_id, *rest))
        sums = dict(self._roll_ups)
        for key, found in cells.items():
            totals = [sum(cell[0] for cell in found)]
            totals += [amount.total(cell[column] for cell in found) for column in (1, 2)]
            made = [body.Cell(offset, cloud.length, *cell, 0, 0) for offset, cell in zip(offsets, found, strict=True)]
            sums[key] = totals, body.encode_cells(made)
            if not cloud.varies(key[1]):
                self._roll_ups[key] = sums[key]
        return rows, sums


class _Writer:
    """Writes rows into a table of *database*, many at a time, by what is fastest."""

    def __init__(self, database, table, columns):
        self._database = database
        self._table = '%s (%s)' % (table, ', '.join(columns))
        self._places = len(columns)
        self._rows = []

    def add(self, rows):
        self._rows += rows
        if len(self._rows) >= BATCH:
            self.flush()

    def flush(self):
        connection = self._database.engine.raw_connection()
        try:
            cursor = connection.cursor()
            if self._database.dialect == 'postgresql':
                text = io.StringIO()
                csv.writer(text, delimiter='\t', lineterminator='\n').writerows(self._rows)
                text.seek(0)
                cursor.copy_expert('COPY %s FROM STDIN' % self._table, text)
            else:
                place = '?' if self._database.dialect == 'sqlite' else '%s'
                cursor.executemany(
                    'INSERT INTO %s VALUES (%s)' % (self._table, ', '.join([place] * self._places)), self._rows
                )
            connection.commit()
        finally:
            connection.close()
        self._rows = []


def commit(database, storage, cloud, begin, count, step):
    """Commit the same *count* periods, *step* at a time, as a processor does."""
    scopes.ensure(database, cloud.scope_ids, samples.IDENTITY, period.from_epoch(begin), cloud.length)
    for first in range(begin, begin + count * cloud.length, step * cloud.length):
        found = scopes.list_states(database, samples.IDENTITY, cloud.scope_ids)
        end = first + step * cloud.length
        made = samples.commit(found, points(cloud, first, step), first, runs=runs(cloud, first, end))
        made = dataclasses.replace(
            made, length=cloud.length, changes=[dataclasses.replace(change, end=end) for change in made.changes]
        )
        assert not storage.commit(made).dropped


def dump(database):
    """Return {table: its rows, sorted}, with fingerprints and scope ids in the place of ids."""
    with database.reader() as session:
        owners = dict(session.execute(sqlalchemy.select(models.SeriesRow.id, models.SeriesRow.fingerprint)).all())
        names = dict(session.execute(sqlalchemy.select(ledger_models.Guard.id, ledger_models.Guard.identifier)).all())
        result = {}
        for model in (
            models.SeriesRow, models.FrameLength, models.CrossedMidnight, models.RatedDay, models.ScopeDay,
            models.ScopeMonth, ledger_models.CoverageRun,
        ):  # fmt: skip
            table = model.__table__
            rows = []
            for row in session.execute(sqlalchemy.select(table)).mappings():
                row = dict(row)
                if table.name == 'series':
                    del row['id']
                if 'series_id' in row:
                    row['series_id'] = owners[row['series_id']]
                if 'scope_id' in row:
                    row['scope_id'] = names[row['scope_id']]
                rows.append(repr(sorted(row.items())))
            result[table.name] = sorted(rows)
        return result


def old_rows(cloud, begin, count):
    """Yield *count* rows (column to value) of ``rated_data_frames`` with the points of *cloud*, period by period."""
    items = [
        (item, kind, number, json.dumps({**item.groupby, **item.metadata})) for item, kind, number in make_series(cloud)
    ]
    while True:
        start = period.from_epoch(begin).replace(tzinfo=None)
        for item, kind, number, desc in items:
            if not count:
                return
            count -= 1
            (qty,), (price,) = values(cloud, item, kind, number, (begin,))
            yield {
                'begin': start,
                'end': start + datetime.timedelta(seconds=cloud.length),
                'unit': item.unit,
                'qty': qty,
                'res_type': item.metric,
                'rate': float(price),
                'desc': desc,
                'tenant_id': item.scope_id,
            }
        begin += cloud.length
