# SPDX-License-Identifier: Apache-2.0
"""Plugins of the classic contract: one metric, one scope, one period."""

from decimal import Decimal

import pytest

from cloudkitty import collector
from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import metric as metrics
from cloudkitty import usage
from cloudkitty.collector import base
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
DOCUMENT = {'metrics': {'cpu': {'unit': 'u', 'alt_name': 'instance', 'groupby': ['id']}, 'disk': {'unit': 'GiB'}}}
METRICS = (
    metrics.Metric('cpu', 'instance', 'u', 'instance', groupby=('id', 'project_id')),
    metrics.Metric('disk', 'disk', 'GiB', groupby=('project_id',)),
)


class NoDataCollected(Exception):
    """A class of that name that a plugin brings with it."""


class Plugin:
    """Derives from nothing of ours; constructor of today."""

    collector_name = 'plugin'

    def __init__(self, period, conf):
        self.period = period
        self.conf = conf
        self.asked = []
        self.error = None

    def retrieve(self, metric_name, start, end, project_id=None, q_filter=None):
        self.asked.append((metric_name, start, end, project_id))
        if metric_name == 'disk':
            raise NoDataCollected
        if self.error is not None and start == samples.instant(JUNE + HOUR) and project_id == 'p':
            raise self.error
        groupby = {'id': 'x', 'project_id': project_id, 'month': '6', 'year': '2026'}
        return metric_name, [dataframe.DataPoint('u', Decimal('1.5'), 0, groupby, {'flavor': 'small'})]


class Elder(Plugin):
    """Constructor of the era of transformers, keywords in its order."""

    def __init__(self, transformers, **kwargs):
        super().__init__(**kwargs)
        self.transformers = transformers


class Derived(collector.BaseCollector):
    """Derives from our base class and overrides one method."""

    collector_name = 'derived'

    def fetch_all(self, metric_name, start, end, project_id=None, q_filter=None):
        if metric_name == 'disk':
            return []
        definition = self.conf[metric_name]
        return [self._create_data_point(definition, 2, 0, {'id': 'x', 'project_id': project_id}, {}, start)]


def batch(scope_ids=('p', 'q'), count=3):
    return usage.Batch(tuple(scope_ids), METRICS, JUNE, HOUR, count)


def rated(found):
    return {(item.series.scope_id, item.series.metric, begin) for item in found.columns for begin in item.begins}


ALL = {(scope_id, 'instance', JUNE + hour * HOUR) for scope_id in 'pq' for hour in range(3)}


@pytest.mark.parametrize('kind', [Plugin, Elder])
def test_a_plugin_of_either_era_is_made_and_asked_cell_by_cell(kind):
    made = base.make_classic(kind, 'name', HOUR, DOCUMENT)
    assert made.collector_name == 'plugin'
    found = made.collect(batch())
    assert rated(found) == ALL and not found.troubles and not found.source_down
    plugin = made._plugin
    assert (plugin.period, plugin.conf) == (HOUR, DOCUMENT)
    assert len(plugin.asked) == 2 * 2 * 3
    assert plugin.asked[0] == ('cpu@#instance', samples.instant(JUNE), samples.instant(JUNE + HOUR), 'p')
    column = found.columns[0]
    assert column.quantities == (Decimal('1.5'),) * 3
    # What the calendar says is not part of a series.
    assert dict(column.series.groupby) == {'id': 'x', 'project_id': 'p'}
    assert dict(column.series.metadata) == {'flavor': 'small'}


def test_a_plugin_of_our_base_class_gets_its_definitions():
    made = base.make_classic(Derived, 'name', HOUR, DOCUMENT)
    found = made.collect(batch())
    assert rated(found) == ALL and not found.troubles
    start = samples.instant(JUNE)
    _, (point,) = made._plugin.retrieve('cpu@#instance', start, samples.instant(JUNE + HOUR), 'p')
    assert (point.unit, point.groupby['month'], point.groupby['day_of_the_year']) == ('u', '6', '152')


@pytest.mark.parametrize(
    ('error', 'permanent'),
    [
        (ValueError('out of\norder'), False),
        (errors.TransientSourceError('busy'), False),
        (errors.PermanentSourceError('refused'), True),
    ],
)
def test_a_plugin_that_raises_costs_one_cell(error, permanent):
    made = base.make_classic(Plugin, 'name', HOUR, DOCUMENT)
    made._plugin.error = error
    found = made.collect(batch())
    assert rated(found) == ALL - {('p', 'instance', JUNE + HOUR)}
    (trouble,) = found.troubles
    assert (trouble.scope_id, trouble.metric, trouble.begin, trouble.end) == (
        'p',
        'instance',
        JUNE + HOUR,
        JUNE + 2 * HOUR,
    )
    assert (trouble.status, trouble.permanent) == (coverage.Status.FAILED, permanent)
    assert trouble.error == ' '.join(str(error).split())
    assert not found.source_down


def test_a_plugin_that_always_raises_is_a_source_that_is_down():
    class Broken(Plugin):
        def retrieve(self, *args, **kwargs):
            raise OSError

    found = base.make_classic(Broken, 'name', HOUR, DOCUMENT).collect(batch())
    assert found.source_down and len(found.troubles) == 12
    assert {trouble.error for trouble in found.troubles} == {'OSError'}


def test_a_quantity_that_cannot_be_stored_is_refused_for_good():
    class Large(Plugin):
        def retrieve(self, metric_name, *args, **kwargs):
            return metric_name, [dataframe.DataPoint('u', Decimal(10) ** 24, 0, {}, {})]

    found = base.make_classic(Large, 'name', HOUR, DOCUMENT).collect(batch(['p'], 1))
    assert not found.columns and all(trouble.permanent for trouble in found.troubles)
