# SPDX-License-Identifier: Apache-2.0
"""Small stand-ins for what the service talks to."""

import datetime
from decimal import Decimal
import os
import time

from cloudkitty import coverage
from cloudkitty import metric
from cloudkitty import period
from cloudkitty import series
from cloudkitty import usage


class FakeClock:
    """A clock that stands still until somebody moves it."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += datetime.timedelta(seconds=seconds)


class FakeFetcher:
    """Lists *ids*, or raises *error*."""

    def __init__(self, *ids):
        self.ids = list(ids)
        self.error = None
        self.calls = 0

    def get_tenants(self):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return list(self.ids)


class FakeCollector:
    """A source in memory: every scope has one resource, ``r``, with a point of quantity 1 in every cell.

    :ivar quantities: {(scope id, metric type, begin): quantity, or None for no point}; keys may end early.
    :ivar troubles: {(scope id, metric type, begin): (status, error, permanent)}; keys may end early.
    :ivar part: (scopes, periods) that it answers at most.
    :ivar backlog: what it admits to lack.
    :ivar more: columns, each of one period, that it has beside.
    :ivar batches: what it was asked.
    """

    def __init__(self):
        self.quantities = {}
        self.troubles = {}
        self.part = None
        self.backlog = None
        self.more = []
        self.batches = []
        self.before = lambda batch: None

    def fail(self, *cell, error='HTTP 503', permanent=False, status=coverage.Status.FAILED):
        """Have every cell that begins with *cell* fail."""
        self.troubles[cell] = (status, error, permanent)

    def find_trouble(self, scope_id, name, begin):
        """Return (status, error, permanent) of a cell; None if nothing is wrong with it."""
        return _look_up(self.troubles, (scope_id, name, begin))

    def collect(self, batch):
        if self.part is not None:
            scopes, periods = self.part
            batch = usage.Batch(
                batch.scope_ids[:scopes], batch.metrics, batch.begin, batch.length, min(batch.count, periods)
            )
        self.batches.append(batch)
        self.before(batch)
        columns, troubles = [], []
        for scope_id in batch.scope_ids:
            for name in dict.fromkeys(item.type for item in batch.metrics):
                points = []
                for begin in batch.begins:
                    trouble = self.find_trouble(scope_id, name, begin)
                    if trouble is not None:
                        status, error, permanent = trouble
                        troubles.append(
                            usage.Trouble(scope_id, name, begin, begin + batch.length, status, error, permanent)
                        )
                        if status is not coverage.Status.PROVISIONAL:
                            continue
                    quantity = _look_up(self.quantities, (scope_id, name, begin), 1)
                    if quantity is not None:
                        points.append((begin, Decimal(quantity)))
                if points:
                    of = series.Series(scope_id, name, 'u', {'id': 'r', 'project_id': scope_id}, {})
                    begins, quantities = zip(*points, strict=True)
                    columns.append(series.Columns(of, batch.length, begins, quantities))
        columns += [item for item in self.more if item.begins[0] in batch.begins]
        return usage.Usage(batch, columns, troubles, backlog=self.backlog)


def _look_up(values, cell, default=None):
    """Return the value of the longest beginning of *cell* that is a key."""
    for length in range(len(cell), -1, -1):
        if cell[:length] in values:
            return values[cell[:length]]
    return default


class PluginCollector(FakeCollector):
    """The same behind an entry point; it takes ``FAKE_DELAY`` seconds a batch."""

    @classmethod
    def from_options(cls, conf, metrics, executor):
        return cls()

    def collect(self, batch):
        print('collecting', batch.begin, batch.count, flush=True)
        time.sleep(float(os.environ.get('FAKE_DELAY', 0)))
        return super().collect(batch)


def make_metrics(*types):
    """Return metric definitions of these types."""
    return tuple(metric.Metric(name=name, type=name, unit='u', groupby=('id', 'project_id')) for name in types)


def instant(text):
    """Return the instant that ISO *text* names."""
    return period.parse(text)
