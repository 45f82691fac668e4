# SPDX-License-Identifier: Apache-2.0
"""Whatever happens in whatever order, clocks and cells are those of a model that is a dict or two.

The real planner, pipeline, worker, mender, reprocessor and storage work on SQLite, with a source, a list of scopes and
a time that do as they like. After each step what they did is compared: the model says what may be, not how it comes.
"""

import os
import pathlib
import shutil
import tempfile

import hypothesis
from hypothesis import stateful
from hypothesis import strategies

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty.db import coverage as ledger
from cloudkitty.db import scope_rows
from cloudkitty.db import scopes
from cloudkitty.storage import reset
from cloudkitty.tests import databases
from cloudkitty.tests.functional.processor import deployment

HOUR = deployment.HOUR
DAY = deployment.DAY
JUNE = deployment.JUNE
HOLD = deployment.HOLD
SCOPES = ('a', 'b', 'c')
METRICS = {'cpu': 2, 'disk': 3}
#: A period is due a second after it has waited for so many: spec/processor.md 2.1.
WAIT = 2
#: How many passes, an hour after each other, everything is caught up in once nothing fails any more.
ROUNDS = 4

#: Seconds between two passes.
PAUSES = (0, 61, 301, HOUR, HOUR, 5 * HOUR, 30 * HOUR)

SCOPE = strategies.sampled_from(SCOPES)
HOURS = strategies.integers(0, 12)
CELL = strategies.one_of(
    strategies.sampled_from([(), ('a',), ('b',), ('a', 'cpu'), ('b', 'disk'), ('c', 'cpu')]),
    strategies.builds(lambda hour: ('a', 'cpu', JUNE + hour * HOUR), HOURS),
)


def _to_hour(instant):
    return (period.to_epoch(instant) - JUNE) // HOUR


class Death(BaseException):
    """Ends a worker in the middle of a batch."""


class Model:
    """What is known of a scope.

    :ivar clock: hour of June that was rated last; None: there never was such a scope.
    :ivar cells: hour to the quantity that was there when it was rated, of all that is rated.
    :ivar gone: second in which it was first missed.
    """

    def __init__(self):
        self.clock = None
        self.cells = {}
        self.gone = None
        self.is_active = True
        self.quantity = 1


class Machine(stateful.RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='cloudkitty-test-'))
        self.database = databases.ready('sqlite:///%s' % (self.directory / 'cloudkitty.sqlite'))
        self.cloud = deployment.Deployment(self.database, 'a', 'b', types=tuple(METRICS))
        self.cloud.source.before = self._look
        self.model = {name: Model() for name in SCOPES}
        self.latest = self.now
        # {(scope, metric, hour): second} of the first attempt that failed in a way that waiting may mend.
        self.first = {}
        # All that ever failed, in whatever way.
        self.failed = set()
        # Called once, in the middle of a batch.
        self.meanwhile = None
        self.batches = []
        self.calls = 0

    @property
    def now(self):
        return period.to_epoch(self.cloud.clock.now)

    def teardown(self):
        try:
            self._check_end()
        finally:
            self.database.dispose()
            shutil.rmtree(self.directory)

    # What happens.

    @stateful.precondition(lambda self: self.now < JUNE + 3 * DAY)
    @stateful.rule(seconds=strategies.sampled_from(PAUSES), is_another=strategies.booleans())
    def worker_works(self, seconds, is_another):
        """One that has worked before, or one that knows nothing yet."""
        self.cloud.clock.advance(seconds)
        if is_another:
            self.cloud.worker = self.cloud.make_worker()
        self._work(self.cloud.worker)
        left = self._list_due()
        assert not left or self.cloud.source.troubles, 'it is due, and nobody rated it: %s' % left

    @stateful.rule(seconds=strategies.sampled_from([1, HOUR, 9 * HOUR]))
    def clock_is_set_back(self, seconds):
        self.cloud.clock.advance(-min(seconds, self.now - JUNE - WAIT * HOUR))

    @stateful.rule(name=SCOPE)
    def scope_comes_or_goes(self, name):
        self.cloud.fetcher.ids = sorted({*self.cloud.fetcher.ids} ^ {name})

    @stateful.rule(name=SCOPE)
    def scope_is_switched(self, name):
        self._switch(name)

    @stateful.rule(name=SCOPE, hour=HOURS)
    def scope_is_reset(self, name, hour):
        self._reset(name, hour - 1)

    @stateful.rule(cell=CELL, permanent=strategies.booleans())
    def source_fails(self, cell, permanent):
        self.cloud.source.fail(*cell, permanent=permanent)

    @stateful.rule()
    def source_heals(self):
        self.cloud.source.troubles.clear()

    @stateful.rule(
        event=strategies.sampled_from(['death', 'another worker', 'reset', 'switch', 'correction']),
        seconds=strategies.sampled_from(PAUSES),
        name=SCOPE,
        hour=HOURS,
    )
    def worker_works_and_meanwhile(self, event, seconds, name, hour):
        """Something happens while the worker asks its source for the first batch."""
        self.cloud.clock.advance(min(seconds, HOUR))
        self.meanwhile = {
            'death': self._die,
            'another worker': lambda: self._work(self.cloud.make_worker()),
            'reset': lambda: self._reset(name, hour - 1),
            'switch': lambda: self._switch(name),
            'correction': lambda: self._correct(name, hour),
        }[event]
        try:
            self._work(self.cloud.worker)
        except Death:
            # What it did before holds.
            self._note_progress()
        self.meanwhile = None

    @stateful.precondition(lambda self: not self.cloud.source.troubles)
    @stateful.rule(name=SCOPE, quantity=strategies.integers(1, 9), count=strategies.integers(1, 5))
    def scope_is_reprocessed(self, name, quantity, count):
        model = self.model[name]
        hours = sorted(hour for hour in model.cells if hour > model.clock - count)
        if not hours or not model.is_active or len(hours) != hours[-1] - hours[0] + 1:
            return
        self._set_quantity(name, quantity)
        self.cloud.schedule(hours[0], hours[-1], name)
        for _ in range(3):
            self.cloud.make_reprocessor().run_pass()
        assert all(task.is_finished for task in self.cloud.tasks(name))
        model.cells.update(dict.fromkeys(hours, quantity))

    # How.

    def _set_quantity(self, name, quantity):
        self.model[name].quantity = quantity
        self.cloud.source.quantities[name,] = quantity

    def _correct(self, name, quantity):
        """Have the source say something else; the clock stays, but what was asked before does not hold any more."""
        self._set_quantity(name, quantity)
        if self.model[name].clock is not None:
            self._reset(name, self.model[name].clock)

    def _switch(self, name):
        model = self.model[name]
        if model.clock is not None:
            model.is_active = not model.is_active
            scope_rows.change(self.database, name, {}, model.is_active)

    def _reset(self, name, hour):
        """Have *hour* be the last rated one; later ones were never rated, and those between never will be."""
        model = self.model[name]
        if model.clock is None or not model.is_active:
            return
        owner = self.cloud.state(name).scope
        reset.reset(self.database, self.cloud.storage, [owner], period.from_epoch(JUNE + hour * HOUR), HOUR, 'me')
        assert self.cloud.clock_of(name) == hour
        model.clock = hour
        for gone in [later for later in model.cells if later > hour]:
            del model.cells[gone]
        for cell in [cell for cell in self.first if cell[0] == name and cell[2] > hour]:
            del self.first[cell]

    def _die(self):
        self.cloud.worker = self.cloud.make_worker()
        raise Death

    def _work(self, worker):
        self.batches = []
        self.is_interrupted = False
        self.latest = max(self.latest, self.now)
        due = self._list_due()
        worker.run_pass()
        self._note_progress()
        if due and not self.is_interrupted:
            assert self.batches[0] >= max(due), 'live periods do not go first'

    def _list_due(self):
        """Return the hours that scopes are sure to be rated next."""
        open_cells = {(item.scope_id, (item.begin - JUNE) // HOUR) for item in self.cloud.failures()}
        return [
            model.clock + 1
            for name, model in self.model.items()
            if model.clock is not None
            and model.is_active
            and (model.gone is None or JUNE + (model.clock + 1) * HOUR < model.gone)
            and self._is_due(model.clock + 1)
            and (name, model.clock + 1) not in open_cells
        ]

    def _is_due(self, hour):
        return JUNE + (hour + WAIT) * HOUR < self.now

    def _look(self, batch):
        """See what is asked of the source, before it answers."""
        self._note_listed()
        self.batches.append((batch.begin - JUNE) // HOUR)
        for scope_id in batch.scope_ids:
            for name in METRICS:
                for begin in batch.begins:
                    found = self.cloud.source.find_trouble(scope_id, name, begin)
                    cell = (scope_id, name, (begin - JUNE) // HOUR)
                    if found is not None:
                        self.failed.add(cell)
                    if found is not None and not found[2]:
                        self.first[cell] = min(self.now, self.first.get(cell, self.now))
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            # What is committed so far, and what is changed by others.
            self._note_progress()
            self.is_interrupted = True
            meanwhile()
            self.is_interrupted = True

    def _note_listed(self):
        """Take note of what the worker must have read from the list of scopes."""
        if self.cloud.fetcher.calls == self.calls:
            return
        self.calls = self.cloud.fetcher.calls
        for name, model in self.model.items():
            if name in self.cloud.fetcher.ids:
                model.gone = None
                if model.clock is None:
                    model.clock = -1
            elif model.clock is not None and model.gone is None:
                model.gone = self.now

    def _note_progress(self):
        """See how far clocks moved, and whether they might."""
        self._note_listed()
        for state in scopes.list_states(self.database, self.cloud.identity):
            name, clock = state.scope.id, _to_hour(state.last_processed)
            model = self.model[name]
            assert clock >= model.clock
            for hour in range(model.clock + 1, clock + 1):
                assert self._is_due(hour), 'rated before it is due'
                assert model.is_active, 'rated while switched off'
                assert model.gone is None or JUNE + hour * HOUR < model.gone, 'rated after it was gone'
                assert hour not in model.cells
                model.cells[hour] = model.quantity
                for metric in METRICS:
                    if (name, metric, hour) in self.first:
                        self._check_hold(name, metric, hour)
            model.clock = clock

    def _check_hold(self, name, metric, hour):
        begin = JUNE + hour * HOUR
        for failure in self.cloud.failures(scope_ids=[name], begin=begin, end=begin + HOUR):
            trouble = self.cloud.source.find_trouble(name, metric, begin)
            if failure.metric == metric and trouble is not None and not trouble[2]:
                assert self.now >= self.first[name, metric, hour] + HOLD, 'it did not wait for its source'

    # What must be.

    @stateful.invariant()
    def cells_are_those_of_the_model(self):
        points = {}
        for hour, scope_id, metric, qty, price in self.cloud.points():
            points.setdefault((scope_id, metric, hour), []).append(qty)
            assert price == qty * METRICS[metric]
        runs = {}
        for run in ledger.list_runs(self.database):
            for begin in range(run.begin, run.end, HOUR):
                cell = (run.scope_id, run.metric, (begin - JUNE) // HOUR)
                assert cell not in runs, 'two statuses'
                runs[cell] = run.status
        wanted = {
            (name, metric, hour): quantity
            for name, model in self.model.items()
            for metric in METRICS
            for hour, quantity in model.cells.items()
        }
        assert set(runs) == set(wanted), 'a clock passed cells without a status, or did not pass cells that have one'
        for cell, status in runs.items():
            if status is coverage.Status.RATED:
                found = points.pop(cell)
                assert len(found) == 1, 'doubled'
                # What was mended was collected later.
                assert found == [wanted[cell]] or cell in self.failed, 'not what was used'
            else:
                assert status is coverage.Status.FAILED and cell not in points
        assert not points, 'points without a status'

    @stateful.invariant()
    def clocks_are_those_of_the_model(self):
        for state in scopes.list_states(self.database, self.cloud.identity):
            model = self.model[state.scope.id]
            assert _to_hour(state.last_processed) == model.clock and state.active == model.is_active
            assert state.gone_since == (None if model.gone is None else period.from_epoch(model.gone))

    def _check_end(self):
        self.source_heals()
        # What was tried when the clock was ahead is tried again then.
        self.cloud.clock.advance(self.latest - self.now + HOLD)
        for _ in range(ROUNDS):
            self.cloud.clock.advance(HOUR)
            for _ in range(2):
                self._work(self.cloud.worker)
        self.cells_are_those_of_the_model()
        self.clocks_are_those_of_the_model()
        assert not self._list_due(), 'it is not caught up'
        for name in self.cloud.fetcher.ids:
            model = self.model[name]
            if model.is_active:
                assert self._is_due(model.clock) and not self._is_due(model.clock + 1), 'it is not caught up'
                assert not self.cloud.failures(scope_ids=[name]), 'it is not mended'


TestMachine = Machine.TestCase
TestMachine.settings = hypothesis.settings(
    max_examples=int(os.environ.get('CLOUDKITTY_EXAMPLES', 15)),
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
    phases=[hypothesis.Phase.generate],
)
