# SPDX-License-Identifier: Apache-2.0
"""Where the scopes stand, read from the database when Prometheus asks: that is so even if no worker works."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import datetime
import time
from typing import Any

from oslo_db import exception as db_exc
from oslo_log import log
import sqlalchemy

from cloudkitty import period
from cloudkitty import scope
from cloudkitty.db import adjustments
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.processor import planner
from cloudkitty.storage.sqlalchemy import sums

LOG = log.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Figure:
    """What is told; *labels* are what it is told apart by."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


UP = Figure('cloudkitty_database_up', 'Whether the database answered: 1, or 0 and nothing else is told of it.')
SCOPES = Figure(
    'cloudkitty_scopes',
    'Scopes by what becomes of them: rated, inactive (switched off), gone (not listed any more, and rated to the end).',
    ('state',),
)
LAGGING = Figure('cloudkitty_scopes_lagging', 'Rated scopes of which a period is due for longer than one period.')
LONGEST_LAG = Figure(
    'cloudkitty_lag_max_seconds', 'Seconds since the oldest period that is not rated yet was due, over all scopes.'
)
LAG = Figure(
    'cloudkitty_lag_seconds',
    'Seconds since the oldest period of a scope that is not rated yet was due; 0 if none is.',
    ('scope_id',),
)
CLOCK = Figure('cloudkitty_clock_min_timestamp_seconds', 'End of the last period that all rated scopes are rated to.')
TROUBLES = Figure(
    'cloudkitty_open_cells', 'Cells of coverage that failed, are provisional or have no price, and are tried again.'
)

ADJUSTMENTS = Figure(
    'cloudkitty_adjustments_pending', 'Periods that are closed, or have fewer points now, and wait for a decision.'
)

PRICE = Figure(
    'cloudkitty_month_price',
    'Price of all that is stored of this UTC month, and of the last one, of all scopes; only with storage version 2.',
    ('month',),
)

FIGURES = (UP, SCOPES, LAGGING, LONGEST_LAG, LAG, CLOCK, TROUBLES, ADJUSTMENTS, PRICE)


class Standing:
    """A collector of ``prometheus_client``.

    :param library: its module ``core``.
    :param most_scopes: with more scopes than that, none is told by itself.
    """

    #: Seconds for which what was read is told again: several may ask.
    LIFE = 10
    #: The same for prices: adding them up takes longer.
    PRICES_LIFE = 60

    def __init__(
        self,
        library: Any,
        database: engine.Database,
        identity: scopes.Identity,
        schedule: planner.Schedule,
        clock: Callable[[], datetime.datetime],
        most_scopes: int,
    ) -> None:
        self._family = library.GaugeMetricFamily
        self._database = database
        self._identity = identity
        self._schedule = schedule
        self._clock = clock
        self._most_scopes = most_scopes
        self._read_at = float('-inf')
        self._read: list[Any] = []
        self._prices: dict[int, float] = {}
        self._prices_at = float('-inf')

    def describe(self) -> list[Any]:
        """Return nothing: the library would otherwise collect at registration."""
        return []

    def collect(self) -> Iterator[Any]:
        """Yield the families."""
        if time.monotonic() - self._read_at > self.LIFE:
            self._read = self._ask()
            self._read_at = time.monotonic()
        yield from self._read

    def _ask(self) -> list[Any]:
        try:
            states = scopes.list_states(self._database, self._identity)
            troubles = ledger.count_all(self._database)
            waiting = adjustments.count_pending(self._database)
            prices = self._read_prices()
        except (db_exc.DBError, sqlalchemy.exc.SQLAlchemyError) as error:
            LOG.warning('Prometheus is told that the database is away. %s', engine.describe(error))
            return [self._make(UP, {(): 0})]
        lags, kinds, ends = self._look(states)
        found = [
            self._make(UP, {(): 1}),
            self._make(SCOPES, {(kind,): count for kind, count in kinds.items()}),
            self._make(LAGGING, {(): sum(lag > self._schedule.length for lag in lags.values())}),
            self._make(LONGEST_LAG, {(): max(lags.values(), default=0)}),
            self._make(TROUBLES, {(): troubles}),
            self._make(ADJUSTMENTS, {(): waiting}),
        ]
        if prices:
            texts: dict[tuple[str, ...], float] = {
                ('%04d-%02d' % (month // 12, month % 12 + 1),): price for month, price in prices.items()
            }
            found.append(self._make(PRICE, texts))
        if ends:
            found.append(self._make(CLOCK, {(): min(ends)}))
        if len(lags) <= self._most_scopes:
            found.append(self._make(LAG, {(scope_id,): lag for scope_id, lag in lags.items()}))
        return found

    def _read_prices(self) -> dict[int, float]:
        """Return {month: price} of this month and the last one; {} if there is nothing of either."""
        if time.monotonic() - self._prices_at > self.PRICES_LIFE:
            now = self._clock()
            month = now.year * 12 + now.month - 1
            found = sums.read_prices(self._database, (month - 1, month))
            # The sums are exact; whoever draws them need not be.
            self._prices = {key: float(price) for key, price in found.items()}
            if found:
                # Else what its first period costs would seem to have been there before.
                self._prices.setdefault(month, 0.0)
            self._prices_at = time.monotonic()
        return self._prices

    def _look(self, states: list[scope.State]) -> tuple[dict[str, int], dict[str, int], list[int]]:
        """Return {scope id: lag} of those that are rated, {kind: count} of all, and where the former are rated to."""
        now = period.to_epoch(self._clock())
        lags: dict[str, int] = {}
        kinds = dict.fromkeys(('rated', 'inactive', 'gone'), 0)
        ends = []
        for state in states:
            begin = self._schedule.next_begin(state)
            if not state.active:
                kinds['inactive'] += 1
            elif state.gone_since is not None and begin >= period.to_epoch(state.gone_since):
                kinds['gone'] += 1
            else:
                kinds['rated'] += 1
                lags[state.scope.id] = max(0, now - self._schedule.due_at(begin))
                ends.append(begin)
        return lags, kinds, ends

    def _make(self, figure: Figure, values: Mapping[tuple[str, ...], float]) -> Any:
        family = self._family(figure.name, figure.text, labels=figure.labels)
        for labels, value in values.items():
            family.add_metric(labels, value)
        return family
