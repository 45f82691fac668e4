# SPDX-License-Identifier: Apache-2.0
"""Scripts and skip expressions in a worker's hands: what becomes of the cells, and of the clock."""

import datetime
import json

import pytest
import sqlalchemy

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty.db import coverage as ledger
from cloudkitty.db import rating_modules
from cloudkitty.rating import jail
from cloudkitty.rating import pyscripts
from cloudkitty.rating import skips
from cloudkitty.rating.pyscripts import store
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.tests import samples
from cloudkitty.tests.functional.processor import deployment

JUNE, HOUR = deployment.JUNE, deployment.HOUR
NOW = datetime.datetime(2026, 5, 1, tzinfo=period.UTC)


def make(database, *scope_ids, source=None, expression=None):
    """Return a deployment with a script behind hashmap, and a skip expression."""
    cloud = deployment.Deployment(database, *scope_ids, modules={**deployment.OURS, 'pyscripts': pyscripts.PyScripts})
    if expression:
        cloud.skips = skips.Skips(expression)
    if source:
        rating_modules.set_enabled(database, 'pyscripts', True)
        rating_modules.set_priority(database, 'pyscripts', -1)
        cloud.script = add(database, 'own', source)
    cloud.worker = cloud.make_worker()
    return cloud


def add(database, name, source):
    return store.create_script(database, store.ScriptRequest(name, source), 'somebody', NOW, period.UTC)


#: What is done to scope b alone.
B = 'if data["usage"]["cpu"][0]["groupby"]["project_id"] == "b":\n    '


@pytest.mark.parametrize(
    ('source', 'error'),
    [
        (B + '1 / 0', 'Module pyscripts: script "own", line 2: ZeroDivisionError: division by zero'),
        (B + 'exit(1)', 'Module pyscripts: script "own", line 2: it ended its process: 1'),
        (B + 'x = "x" * 10**11', 'Module pyscripts: script "own", line 2: MemoryError'),
        (B + 'data = None', 'Module pyscripts: script "own": it left no frame behind: data must be a dictionary'),
    ],
)
def test_cells_of_a_failing_script_are_unrated_until_it_is_mended(database, source, error):
    cloud = make(database, 'a', 'b', source=source)
    cloud.run(hours=2)
    assert cloud.clock_of('a') == cloud.clock_of('b') == 2
    assert cloud.statuses('a', 'cpu') == ['rated'] * 3
    assert cloud.statuses('b', 'cpu') == cloud.statuses('b', 'disk') == ['unrated'] * 3
    assert (cloud.bill('a'), cloud.bill('b')) == (15, 0)
    assert {failure.error[: len(error)] for failure in cloud.failures()} == {error}
    store.delete_script(database, cloud.script.id, 'somebody', NOW, period.UTC)
    add(database, 'better', 'for p in data["usage"]["cpu"]: p["rating"]["price"] *= 2')
    cloud.run(hours=1)
    cloud.run(hours=1)
    assert cloud.statuses('b', 'cpu') == cloud.statuses('b', 'disk') == ['rated'] * 5
    assert cloud.failures() == []
    # Three hours at 5, two at 7 for a; all five by the better script for b.
    assert (cloud.bill('a'), cloud.bill('b')) == (29, 35)


def test_scope_waits_while_no_script_can_be_run(sqlite, monkeypatch):
    cloud = make(sqlite, 'a', source='data["usage"]["cpu"][0]["rating"]["price"] = 7')
    with monkeypatch.context() as patch:
        patch.setattr(jail, '_python', lambda: '/nonexistent/python')
        cloud.run()
    assert cloud.statuses('a', 'cpu') == [] and cloud.clock_of('a') == -1
    cloud.run(hours=1)
    assert cloud.statuses('a', 'cpu') == ['rated'] * 2
    assert cloud.bill('a') == 20


def test_new_types_and_points_are_stored_and_said_to_be_altered(database):
    source = """
point = dict(data["usage"]["cpu"][0])
data["usage"]["fee"] = [{**point, "vol": {"unit": "fee", "qty": "0.5"}, "rating": {"price": "1.25"}}]
"""
    cloud = make(database, 'a', source=source)
    cloud.run()
    assert cloud.points() == [(0, 'a', 'cpu', 1, 2), (0, 'a', 'disk', 1, 3), (0, 'a', 'fee', 0.5, 1.25)]
    runs = ledger.list_runs(database, ['a'])
    assert {(run.metric, run.status, run.altered) for run in runs} == {
        (name, coverage.Status.RATED, True) for name in ('cpu', 'disk', 'fee')
    }


@pytest.mark.parametrize('source', [None, 'x = 1'], ids=['columns', 'frames'])
def test_skipped_points_are_counted_and_said_to_be_altered(database, source):
    cloud = make(database, 'a', source=source, expression='datapoint["rating"]["price"] == 3')
    cloud.run()
    assert cloud.points() == [(0, 'a', 'cpu', 1, 2)]
    assert cloud.statuses('a', 'disk') == ['rated']
    with database.reader() as session:
        rows = session.execute(
            sqlalchemy.select(models.ScopeDay.metric, models.ScopeDay.points, models.ScopeDay.skipped)
        )
        assert sorted(map(tuple, rows)) == [('cpu', 1, 0), ('disk', 0, 1)]
    runs = {run.metric: run.altered for run in ledger.list_runs(database, ['a'])}
    assert runs == {'cpu': False, 'disk': True}


def test_script_sees_what_the_source_gave_and_the_calendar(sqlite):
    source = 'data["usage"]["cpu"][0]["metadata"]["seen"] = sorted(data["usage"]["cpu"][0]["groupby"])'
    cloud = make(sqlite, 'a', source=source)
    cloud.run()
    with sqlite.reader() as session:
        query = sqlalchemy.select(models.SeriesRow.metadata_).where(models.SeriesRow.metric == 'cpu')
        (text,) = session.scalars(query)
    seen = json.loads(text)['seen']
    assert {'week_of_the_year', 'day_of_the_year', 'month', 'year', 'project_id'} <= set(seen)
    assert samples.JUNE == JUNE
