# SPDX-License-Identifier: Apache-2.0
"""Values for tests: each states only what matters to it."""

import datetime
from decimal import Decimal
from types import SimpleNamespace

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty import series
from cloudkitty.conf import pyscripts
from cloudkitty.db import scopes
from cloudkitty.storage import base

HOUR = 3600
#: 2026-06-01T00:00Z, a Monday.
JUNE = 1780272000
IDENTITY = scopes.Identity('project_id', 'source', 'gnocchi')
RULES = 'd' * 32


def instant(seconds):
    return period.from_epoch(seconds)


def columns(scope_id='p', metric='cpu', begins=(JUNE,), quantities=None, prices=None, id='a', **changes):
    """Return columns of one resource; every quantity is 1 and every price 0.5 unless given."""
    count = len(begins)
    quantities = (1,) * count if quantities is None else quantities
    prices = ('0.5',) * count if prices is None else prices
    identity = {
        'unit': 'u',
        'groupby': {'id': id, 'project_id': scope_id},
        'metadata': {'flavor': 'small'},
    } | changes
    return series.Columns(
        series.Series(scope_id, metric, **identity),
        HOUR,
        tuple(begins),
        tuple(Decimal(str(quantity)) for quantity in quantities),
        tuple(None if price is None else Decimal(str(price)) for price in prices),
    )


def ready_states(database, *scope_ids, first=JUNE):
    """Make scopes whose first period begins at *first*; return their states."""
    scopes.ensure(database, scope_ids, IDENTITY, instant(first), HOUR)
    return states(database, *scope_ids)


def states(database, *scope_ids):
    return scopes.list_states(database, IDENTITY, scope_ids)


def commit(found, points, begin=JUNE, periods=1, runs=None, **changes):
    """Return the commit of *points* for states *found*, with every metric among them rated."""
    end = begin + periods * HOUR
    if runs is None:
        metrics = sorted({item.series.metric for item in points}) or ['cpu']
        runs = [
            coverage.Run(state.scope.id, metric, begin, end, coverage.Status.RATED, RULES)
            for state in found
            for metric in metrics
        ]
    return base.Commit(HOUR, [base.Change(state, begin, end) for state in found], points, runs, **changes)


def window(begin=JUNE, hours=24):
    """Return (begin, end) as instants."""
    return instant(begin), instant(begin) + datetime.timedelta(hours=hours)


def make_pyscripts(**given):
    """Return options [pyscripts] with their defaults."""
    defaults = {option.dest: option.default for option in pyscripts.OPTS}
    return SimpleNamespace(**defaults | given)
