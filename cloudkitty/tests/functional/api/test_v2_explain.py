# SPDX-License-Identifier: Apache-2.0
"""Explanations while others write."""

import datetime

from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import coverage as ledger
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.tests import samples
from cloudkitty.tests.functional.api.deployment import ask

BEGIN = samples.JUNE + 2 * samples.HOUR


def test_point_and_rules_are_of_one_moment(make_api, monkeypatch):
    api = make_api('noauth').seed().rate()
    read = driver.SQLAlchemyStorage.points_at
    calls = []

    def meddle(self, *arguments):
        found = read(self, *arguments)
        calls.append(found)
        if len(calls) == 1:
            (point,) = found
            point = series.Columns(point.series, point.length, point.begins, point.quantities, (3,))
            states = samples.states(api.database, 'p1')
            runs = ledger.list_runs(api.database, ['p1'], BEGIN, BEGIN + 1, 'traffic')
            done = samples.commit(states, [point], BEGIN, runs=runs, replace=True)
            assert api.storage.commit(done).committed == {'p1'}
        return found

    monkeypatch.setattr(driver.SQLAlchemyStorage, 'points_at', meddle)
    begin = datetime.datetime.isoformat(period.to_naive(period.from_epoch(BEGIN)))
    answer = ask(api, '/v2/explain?scope_id=p1&metric=traffic&begin=%s' % begin)
    (result,) = answer.json['results']
    assert (result['point']['price'], result['replayed_price'], result['equals']) == ('3', '2.5', False)
    assert len(calls) == 2
