# SPDX-License-Identifier: Apache-2.0
"""A whole deployment around a database: fake source, real everything else, and a clock that tests move."""

from decimal import Decimal
from types import SimpleNamespace

import sqlalchemy

from cloudkitty import period
from cloudkitty.db import coverage as ledger
from cloudkitty.db import rating_modules
from cloudkitty.db import reprocessings
from cloudkitty.db import rule_revision
from cloudkitty.db import scopes
from cloudkitty.processor import closing
from cloudkitty.processor import mend
from cloudkitty.processor import partition
from cloudkitty.processor import pipeline
from cloudkitty.processor import planner
from cloudkitty.processor import repair
from cloudkitty.processor import reprocess
from cloudkitty.processor import reprocessor
from cloudkitty.processor import settling
from cloudkitty.processor import worker
from cloudkitty.rating import chain
from cloudkitty.rating import hash
from cloudkitty.rating import noop
from cloudkitty.rating.hashmap import models
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.tests import fakes
from cloudkitty.tests import samples
from cloudkitty.tests.functional.rating import test_hashmap
from cloudkitty.tests.unit.rating.hashmap import rules

HOUR = samples.HOUR
DAY = period.DAY
JUNE = samples.JUNE
HOLD = 6 * HOUR
WINDOW = 30 * DAY
CONF = SimpleNamespace(collect=SimpleNamespace(timezone='UTC'), pyscripts=samples.make_pyscripts())
OURS = {'hashmap': hash.HashMap, 'noop': noop.Noop}


class Deployment:
    """Every cell has quantity 1; ``cpu`` costs 2 and ``disk`` 3 unless a test says otherwise.

    :param settle: how many periods are asked for again.
    :param closed_until: hours of June that are closed.
    :ivar clock: stands at 03:00:01 of the first of June 2026: the first hour of the month is due.
    """

    def __init__(
        self,
        database,
        *scope_ids,
        types=('cpu', 'disk'),
        zone=period.UTC,
        modules=None,
        driver_class=driver.SQLAlchemyStorage,
        settle=0,
        closed_until=None,
    ):
        self.database = database
        self.driver_class = driver_class
        self.clock = fakes.FakeClock(samples.instant(JUNE + 2 * HOUR + 1))
        self.source = fakes.FakeCollector()
        self.fetcher = fakes.FakeFetcher(*scope_ids)
        self.metrics = fakes.make_metrics(*types)
        self.zone = zone
        self.identity = samples.IDENTITY
        self.limits = planner.Limits(scopes=100, cells=1000)
        self.most_points = 150_000
        self.empty_list_hold = 0
        self.modules = modules
        self.settle = settle
        self.closed_until = None if closed_until is None else JUNE + closed_until * HOUR
        self.skips = None
        self.storage = driver_class(database, HOUR)
        self.write_rules()
        self.worker = self.make_worker()

    def write_rules(self):
        rating_modules.set_enabled(self.database, 'hashmap', True)
        found = [rules.Rules().flat(2).service('cpu'), rules.Rules().flat(3).service('disk')]
        test_hashmap.store(self.database, found)
        self.database.repeat(rule_revision.bump)

    def make_worker(self, share=None):
        """Return one more worker on the same database, with caches of its own."""
        schedule = planner.Schedule(HOUR, 2)
        patience = pipeline.Patience(hold=HOLD)
        chains = chain.Cache(self.database, CONF, installed=self.modules, skips=self.skips)
        storage = self.driver_class(self.database, HOUR)
        causes = pipeline.Causes()
        line = pipeline.Pipeline(
            self.database, self.source, chains, storage, self.metrics, schedule, patience, self.clock, causes=causes,
            settler=settling.Settler(self.database, storage, HOUR, self.settle),
        )  # fmt: skip
        mender = mend.Mender(
            self.database, self.source, storage, self.metrics, HOUR, patience, self.clock, causes=causes,
            closed=closing.Closed(self.database, storage, HOUR, self.clock, self.closed_until),
        )  # fmt: skip
        return worker.Worker(
            self.database,
            self.fetcher,
            line,
            repair.Repair(self.database, mender, storage, chains, HOUR, patience, WINDOW, settle=self.settle),
            share or partition.Everything(),
            self.identity,
            schedule,
            self.limits,
            self.zone,
            self.clock,
            longest_id=storage.longest_scope_id,
            empty_list_hold=self.empty_list_hold,
        )

    def make_reprocessor(self, share=None):
        """Return a worker that reprocesses, with caches of its own."""
        patience = pipeline.Patience(hold=HOLD)
        chains = chain.Cache(self.database, CONF, installed=self.modules, skips=self.skips)
        storage = self.driver_class(self.database, HOUR)
        line = reprocess.Line(
            self.database, self.source, chains, storage, self.metrics, HOUR, patience, self.clock,
            most_points=self.most_points,
        )  # fmt: skip
        return reprocessor.Reprocessor(
            self.database,
            line,
            share or partition.Everything(),
            self.identity,
            planner.Schedule(HOUR, 2),
            self.limits,
            patience,
            self.clock,
        )

    def schedule(self, first, last, *scope_ids, reason='why', **options):
        """Have hours *first* to *last* of June reprocessed, of all scopes unless some are named."""
        reprocessings.schedule(
            self.database,
            self.identity,
            scope_ids or None,
            samples.instant(JUNE + first * HOUR),
            samples.instant(JUNE + last * HOUR),
            HOUR,
            reason,
            'me',
            **options,
        )

    def tasks(self, *scope_ids):
        """Return the tasks of these scopes, or all, oldest first."""
        return reprocessings.list_tasks(self.database, scope_ids or None, newest_first=False)

    def run(self, hours=0):
        """Run a pass; with *hours*: one after each of so many hours."""
        for seconds in [HOUR] * hours or [0]:
            self.clock.advance(seconds)
            self.worker.run_pass()

    def set_cost(self, name, cost):
        """Change the price of a unit of metric *name*."""
        with self.database.writer() as session:
            service = sqlalchemy.select(models.Service.id).where(models.Service.name == name).scalar_subquery()
            session.execute(
                sqlalchemy.update(models.Mapping).where(models.Mapping.service_id == service).values(cost=cost)
            )
            rule_revision.bump(session)

    def state(self, scope_id):
        return scopes.list_states(self.database, self.identity, [scope_id])[0]

    def clock_of(self, scope_id):
        """Return how many periods after the start of June the last rated one of a scope begins."""
        return (period.to_epoch(self.state(scope_id).last_processed) - JUNE) // HOUR

    def statuses(self, scope_id, name):
        """Return the status of each hour of June that has one, as text, in order."""
        result = []
        for run in ledger.list_runs(self.database, [scope_id], metric=name):
            result += [run.status.value] * ((run.end - run.begin) // HOUR)
        return result

    def failures(self, **options):
        return ledger.list_failures(self.database, **options)

    def total(self, *groupby):
        """Return {values of *groupby*: price} of all there is."""
        found = self.storage.total(
            list(groupby), samples.instant(JUNE - 400 * DAY), samples.instant(JUNE + 400 * DAY), paginate=False
        )
        return {tuple(row[word] for word in groupby): row['rate'] for row in found['results']}

    def bill(self, scope_id):
        return self.total('project_id').get((scope_id,), Decimal(0))

    def points(self):
        """Return every stored point as (begin in hours, scope, metric, quantity, price), sorted."""
        window = samples.window(JUNE - 400 * DAY, 800 * 24)
        frames = self.storage.retrieve(*window, paginate=False)['dataframes']
        return sorted(
            ((period.to_epoch(frame.start) - JUNE) // HOUR, point.groupby['project_id'], name, point.qty, point.price)
            for frame in frames
            for name, point in frame.iterpoints()
        )
