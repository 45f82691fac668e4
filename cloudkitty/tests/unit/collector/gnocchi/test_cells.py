# SPDX-License-Identifier: Apache-2.0
"""From answers to points."""

import dataclasses
from decimal import Decimal
import fractions
from unittest import mock

from hypothesis import given
from hypothesis import strategies
import pytest

from cloudkitty import metric as metrics
from cloudkitty.collector.gnocchi import arguments
from cloudkitty.collector.gnocchi import cells
from cloudkitty.collector.gnocchi import inventory
from cloudkitty.tests import samples

HOUR = samples.HOUR
JUNE = samples.JUNE
WINDOW = cells.Window(frozenset(['p']), JUNE, JUNE + 2 * HOUR, HOUR)


def make_metric(groupby=('id', 'project_id'), metadata=(), mutate='NONE', factor=1, **extra_args):
    return metrics.Metric(
        'cpu',
        'instance',
        'u',
        groupby=groupby,
        metadata=metadata,
        mutate=metrics.Mutation(mutate),
        factor=fractions.Fraction(factor),
        extra_args=arguments.check({'resource_type': 'instance', **extra_args}),
    )


def make_resource(*revisions, name='a'):
    """A revision is (begin, attributes); each ends where the next begins."""
    revisions = revisions or ((0, {}),)
    ends = [begin for begin, _ in revisions[1:]] + [None]
    return inventory.Resource(
        name,
        {'cpu': 'm'},
        [
            inventory.Revision(begin, end, attributes.get('project_id', 'p'), None, {'id': name, **attributes})
            for (begin, attributes), end in zip(revisions, ends, strict=True)
        ],
    )


def make_group(*granules, **group):
    """A granule is (seconds after the first of June, value) or (…, granularity)."""
    aggregated = [
        [samples.instant(JUNE + second).isoformat(), Decimal(rest[0] if rest else HOUR), value]
        for second, value, *rest in granules
    ]
    return {'group': {'id': 'a', 'project_id': 'p', **group}, 'measures': {'measures': {'aggregated': aggregated}}}


def read(metric, *groups, resource=None):
    resource = resource or make_resource()
    return cells.read_history(metric, 'project_id', groups, {resource.id: resource}, WINDOW)


def points(found):
    return {
        (tuple(sorted(item.series.groupby.items())), begin - JUNE): quantity
        for item in found.columns(HOUR, ())
        for begin, quantity in zip(item.begins, item.quantities, strict=True)
    }


def values(found):
    return {hour // HOUR: quantity for (_, hour), quantity in points(found).items()}


FINE = [(0, Decimal('5.0'), 1200), (1200, Decimal('7.0'), 1200), (2400, Decimal('3.0'), 1200)]


@pytest.mark.parametrize(('method', 'expected'), [('first', 5), ('sum', 15), ('mean', 5), ('max', 7)])
def test_the_granules_of_a_period_become_one_value(method, expected):
    found = read(make_metric(force_granularity=1200, period_method=method), make_group(*FINE, (3600, 2, 1200)))
    assert values(found) == {0: expected, 1: 2}


def test_a_mean_is_exact():
    metric = make_metric(force_granularity=1800, period_method='mean', factor=3)
    found = read(metric, make_group((0, Decimal('0.1'), 1800), (1800, Decimal('0.2'), 1800)))
    assert values(found) == {0: Decimal('0.45')}


def test_granules_outside_the_window_and_empty_ones_are_left_out():
    found = read(make_metric(), make_group((-HOUR, 1), (0, None), (HOUR, 2), (2 * HOUR, 3)))
    assert values(found) == {1: 2}


def test_of_several_granularities_the_coarsest_that_fits_counts():
    found = read(make_metric(), make_group((0, 9, 86400), (0, 4), (0, 1, 300), (300, 2, 300), (HOUR, 3, 300)))
    assert values(found) == {0: 4, 1: 3}


def test_values_are_converted_and_mutated():
    metric = make_metric(mutate='CEIL', factor='1/3')
    assert values(read(metric, make_group((0, Decimal('4.0')), (HOUR, 3)))) == {0: 2, 1: 1}


def test_each_revision_is_billed_its_share():
    resource = make_resource((0, {'flavor': 'small'}), (JUNE + 900, {'flavor': 'big'}))
    metric = make_metric(('id', 'project_id', 'flavor'))
    groups = [
        make_group((0, Decimal('1.0')), flavor='small'),
        make_group((0, Decimal('3.0')), (HOUR, Decimal('4.0')), flavor='big'),
    ]
    key = ('id', 'a'), ('project_id', 'p')
    assert points(read(metric, *groups, resource=resource)) == {
        ((('flavor', 'small'), *key), 0): 1,
        ((('flavor', 'big'), *key), 0): 3,
        ((('flavor', 'big'), *key), HOUR): 4,
    }
    metric = make_metric(('id', 'project_id', 'flavor'), use_all_resource_revisions=False)
    assert points(read(metric, *groups, resource=resource)) == {
        ((('flavor', 'big'), *key), 0): 4,
        ((('flavor', 'big'), *key), HOUR): 4,
    }


def test_shares_are_added_before_they_are_mutated():
    resource = make_resource((0, {'flavor': 'small'}), (JUNE + 900, {'flavor': 'big'}))
    metric = make_metric(('id', 'project_id', 'flavor'), mutate='NUMBOOL', use_all_resource_revisions=False)
    groups = [make_group((0, Decimal('0.25')), flavor='small'), make_group((0, Decimal('0.75')), flavor='big')]
    assert list(points(read(metric, *groups, resource=resource)).values()) == [1]


def test_metadata_are_of_the_revision_that_shows_the_attributes():
    resource = make_resource(
        (0, {'flavor': 'small', 'zone': 'one'}),
        (JUNE + 600, {'flavor': 'small', 'zone': 'two'}),
        (JUNE + 900, {'flavor': 'big', 'zone': 'three'}),
    )
    metric = make_metric(('id', 'project_id', 'flavor'), ('zone', 'nothing'))
    groups = [make_group((0, 1), flavor='small'), make_group((0, 3), flavor='big')]
    found = read(metric, *groups, resource=resource)
    assert {key.groupby['flavor']: dict(key.metadata) for key in found.points} == {
        'small': {'zone': 'two', 'nothing': ''},
        'big': {'zone': 'three', 'nothing': ''},
    }


def test_a_group_that_changes_its_metadata_becomes_two_series():
    resource = make_resource((0, {'zone': 'one'}), (JUNE + HOUR, {'zone': 'two'}))
    found = read(make_metric(metadata=('zone',)), make_group((0, 1), (HOUR, 1)), resource=resource)
    assert {key.metadata['zone']: begins for key, (begins, _) in found.points.items()} == {
        'one': [JUNE],
        'two': [JUNE + HOUR],
    }


def test_id_is_not_among_the_attributes_unless_it_is_asked_for():
    resources = {name: make_resource((0, {'host': 'h'}), name=name) for name in 'ab'}
    metric = make_metric(('project_id', 'host'), resource_key='host')
    groups = [make_group((0, 1), id=name, host='h') for name in 'ab']
    found = cells.read_history(metric, 'project_id', groups, resources, WINDOW)
    (column,) = found.columns(HOUR, ())
    assert dict(column.series.groupby) == {'project_id': 'p', 'host': 'h'}
    assert (column.begins, column.quantities) == ((JUNE, JUNE), (1, 1))


@pytest.mark.parametrize('group', [{'id': 'stranger'}, {'project_id': 'q'}, {'project_id': None}])
def test_strangers_are_counted_and_left_out(group):
    found = read(make_metric(), make_group((0, 1), **group))
    assert not found.points and found.strays == 1


def test_what_was_somebody_elses_for_a_while_is_no_stranger():
    resource = make_resource((0, {'project_id': 'q'}), (JUNE + HOUR, {}))
    found = read(make_metric(), make_group((0, 1), project_id='q'), make_group((HOUR, 2)), resource=resource)
    assert values(found) == {1: 2} and not found.strays


@pytest.mark.parametrize('value', [Decimal('NaN'), Decimal('Infinity'), Decimal('1e24'), 10**30, Decimal('1e999999')])
@pytest.mark.parametrize('method', ['first', 'max', 'sum', 'mean'])
def test_what_is_no_amount_fails_its_cell(value, method):
    metric = make_metric(force_granularity=1800, period_method=method)
    found = read(metric, make_group((0, value, 1800), (1800, value, 1800), (HOUR, 1, 1800)))
    assert list(found.failed) == [('p', JUNE)] and values(found) == {1: 1}


def test_a_failed_cell_loses_its_points():
    found = read(make_metric(), make_group((0, 1), (HOUR, 2)))
    (column,) = found.columns(HOUR, {('p', JUNE)})
    assert column.begins == (JUNE + HOUR,)


@pytest.mark.parametrize(
    'answer',
    [
        [{}],
        [{'group': {'id': 'a'}}],
        [make_group((0, 'text'))],
        [make_group((0, True))],
        [{'group': {'id': 'a', 'project_id': 'p'}, 'measures': {'measures': {'aggregated': [['yesterday', 1, 1]]}}}],
        [{'group': {'id': 'a', 'project_id': 'p'}, 'measures': {'measures': {'aggregated': [[1]]}}}],
        [{'group': {'id': 'a', 'project_id': 'p', 'x': {}}, 'measures': {'measures': {'aggregated': []}}}],
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(answer):
    with pytest.raises((KeyError, TypeError, ValueError)):
        read(make_metric(), *answer)


def test_a_plain_answer_shows_the_attributes_of_the_revision_at_the_end_of_the_period():
    resource = make_resource(
        (0, {'project_id': 'p', 'flavor': 'small'}),
        (JUNE + HOUR, {'project_id': 'p', 'flavor': 'big'}),
        (JUNE + HOUR + 60, {'project_id': 'q', 'flavor': 'big'}),
    )
    metric = make_metric(('id', 'project_id', 'flavor'))
    found = cells.read_plain(metric, 'project_id', [make_group((0, 1), (HOUR, 1))], {'a': resource}, WINDOW)
    # The second hour is q's at its end.
    assert [key.groupby['flavor'] for key in found.points] == ['small'] and values(found) == {0: 1}


def test_a_plain_answer_does_not_bill_what_has_gone_to_somebody_unknown():
    resource = make_resource((0, {'project_id': 'p'}), (JUNE + 60, {}))
    del resource.revisions[1]
    found = cells.read_plain(make_metric(), 'project_id', [make_group((0, 1), (HOUR, 1))], {'a': resource}, WINDOW)
    assert not found.points


VALUES = strategies.sampled_from(
    [Decimal(text) for text in ('0', '1.0', '-2.5', '1E+400', '1E+24', '-1E+24', 'NaN', 'Infinity', '1E-30', '0E-30')]
) | strategies.sampled_from([None, 3, 10**24, Decimal('0.12345678901234567890123456789'), Decimal('1E+3')])
MEASURES = strategies.lists(
    strategies.tuples(
        strategies.sampled_from([-HOUR, 0, 0, HOUR, HOUR, 600, 2 * HOUR]),
        VALUES,
        strategies.sampled_from([HOUR, HOUR, 300]),
    ),
    max_size=4,
)


@given(
    groups=strategies.lists(
        strategies.tuples(MEASURES, strategies.sampled_from(['small', 'big'])), min_size=1, max_size=4
    ),
    mutate=strategies.sampled_from(['NONE', 'CEIL']),
    ended=strategies.sampled_from([None, JUNE - 86400 - HOUR, JUNE - 86400 + 10]),
    changed=strategies.sampled_from([None, JUNE - 5, JUNE + 900, JUNE + HOUR]),
)
def test_rows_are_what_granules_one_by_one_are(groups, mutate, ended, changed):
    metric = make_metric(('id', 'project_id', 'flavor'), mutate=mutate)
    revisions = [(0, {'flavor': 'small'})] + ([(changed, {'flavor': 'big'})] if changed else [])
    resource = make_resource(*revisions)
    resource.revisions[-1] = dataclasses.replace(resource.revisions[-1], ended=ended)
    # What comes twice says the same; else it fails, at once or granule by granule.
    said = {}
    answer = [make_group(*said.setdefault(flavor, measures), flavor=flavor) for measures, flavor in groups]
    found = []
    for read_row in (cells._Reader.read_row, lambda self, measures: None):
        with mock.patch.object(cells._Reader, 'read_row', read_row):
            result = read(metric, *answer, resource=resource)
        found.append((points(result), result.failed.keys(), result.strays))
    assert found[0] == found[1]
