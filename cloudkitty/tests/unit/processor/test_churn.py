# SPDX-License-Identifier: Apache-2.0

import pytest

from cloudkitty.processor import churn
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE


@pytest.fixture
def found():
    return churn.Churn()


def points(hour, resource='r', scope_id='a', metric='cpu', hours=1, **metadata):
    begins = tuple(JUNE + number * HOUR for number in range(hour, hour + hours))
    return samples.columns(scope_id, metric, begins, id=resource, metadata=metadata)


def test_attribute_that_keeps_changing_is_named_once(found, caplog):
    for hour in range(20):
        found.look([points(hour, 'r%d' % number, uptime=hour, flavor='small') for number in range(3)])
    assert [record.getMessage() for record in caplog.records] == [
        'Metric cpu: a series of it lives for 1.0 periods only, as attribute uptime keeps changing. Every change makes '
        'a row; leave the attribute out of groupby and metadata unless it is billed by.'
    ]


def test_attribute_that_keeps_changing_is_found_within_one_batch(found, caplog):
    found.look([points(hour, 'r%d' % number, host=hour) for hour in range(24) for number in range(2)])
    assert 'attribute host keeps changing' in caplog.text


def test_lasting_series_are_fine(found, caplog):
    for hour in range(20):
        found.look([points(hour, 'r%d' % number, flavor='small') for number in range(30)])
    found.look([points(0, 'r%d' % number, hours=24) for number in range(30)])
    assert caplog.records == []


def test_a_few_short_series_are_no_matter(found, caplog):
    for hour in range(6):
        found.look([points(hour, uptime=hour)])
    assert caplog.records == []


def test_every_metric_is_looked_at_by_itself_and_one_scope_is_enough(found, caplog):
    for hour in range(6):
        found.look(
            [
                points(hour, 'r%d' % number, scope_id, metric, **({'uptime': hour} if metric == 'disk' else {}))
                for number in range(3)
                for scope_id in ('a', 'b')
                for metric in ('cpu', 'disk')
            ]
        )
    assert ['Metric disk' in record.getMessage() for record in caplog.records] == [True]
