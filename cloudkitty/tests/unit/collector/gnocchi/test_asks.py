# SPDX-License-Identifier: Apache-2.0
"""What is asked for, and how it is halved."""

import pytest

from cloudkitty.collector.gnocchi import asks
from cloudkitty.collector.gnocchi import inventory
from cloudkitty.tests import samples
from cloudkitty.tests.unit.collector.gnocchi import test_cells

HOUR = samples.HOUR
JUNE = samples.JUNE
Mode = asks.Mode


def make_inventory(*resources):
    return inventory.Inventory({resource.id: resource for resource in resources})


def make_subject(**extra_args):
    def resource(name, *revisions):
        return test_cells.make_resource(*revisions, name=name)

    return asks.Subject(
        test_cells.make_metric(**extra_args),
        'project_id',
        HOUR,
        make_inventory(
            resource('plain', (0, {'project_id': 'p'})),
            resource('other', (0, {'project_id': 'q'})),
            resource('moved', (0, {'project_id': 'p'}), (JUNE + HOUR, {'project_id': 'q'})),
            resource('young', (JUNE + 3 * HOUR, {'project_id': 'p'})),
            resource('late', (JUNE + 9 * HOUR, {'project_id': 'q'})),
        ),
    )


def shown(found):
    return sorted((ask.mode.name, ask.ids or ask.scope_ids, ask.begin, ask.end) for ask in found)


def test_a_window_is_asked_for_by_scope_but_for_the_moved_and_the_late():
    begin, end = JUNE, JUNE + 4 * HOUR
    assert shown(make_subject().plan(('p', 'q'), begin, end)) == [
        ('BY_ID', ('moved',), begin, end),
        ('BY_SCOPE', ('p', 'q'), begin, end),
        ('PLAIN', ('late',), begin, end),
    ]
    assert shown(make_subject().plan(('p',), begin, end)) == [
        ('BY_ID', ('moved',), begin, end),
        ('BY_SCOPE', ('p',), begin, end),
    ]


def test_a_request_by_scope_leaves_out_what_is_asked_for_by_id():
    subject = make_subject()
    subject.refusing['other'] = 'x'
    _, body = subject.request(asks.Ask(Mode.BY_SCOPE, ('p', 'q'), JUNE, JUNE + HOUR))
    assert {'not': {'in': {'id': ['moved', 'other']}}} in body['search']['and']
    assert subject.request(asks.Ask(Mode.BY_ID, ('q',), JUNE, JUNE + HOUR, ('other',))) is None


def test_without_a_granularity_everything_is_asked_for_plainly():
    (ask,) = make_subject(force_granularity=0).plan(('p', 'q'), JUNE, JUNE + HOUR)
    assert ask.mode is Mode.PLAIN and len(ask.ids) == 5
    query, _ = make_subject(force_granularity=0).request(ask)
    assert 'granularity' not in dict(query) and 'use_history' not in dict(query)


def test_a_request_names_what_the_definition_says():
    metric = test_cells.make_metric(('flavor', 'project_id'), aggregation_method='mean', force_granularity=300)
    subject = asks.Subject(metric, 'project_id', HOUR, make_inventory(test_cells.make_resource()))
    query, body = subject.request(asks.Ask(Mode.BY_SCOPE, ('p',), JUNE, JUNE + 2 * HOUR))
    assert query == [
        ('start', '2026-06-01T00:00:00+00:00'),
        ('stop', '2026-06-01T02:00:00+00:00'),
        ('details', 'false'),
        ('granularity', '300'),
        ('groupby', 'flavor'),
        ('groupby', 'project_id'),
        ('groupby', 'id'),
        ('use_history', 'true'),
    ]
    assert body['operations'] == ['aggregate', 'max', ['metric', 'cpu', 'mean']]
    assert body['resource_type'] == 'instance'
    assert {'in': {'project_id': ['p']}} in body['search']['and']


def test_differences_need_a_granule_before_the_window_and_a_request_a_period():
    subject = make_subject(re_aggregation_method='rate:mean', force_granularity=300)
    (first, second) = (ask for ask in subject.plan(('p',), JUNE, JUNE + 2 * HOUR) if ask.mode is Mode.BY_SCOPE)
    assert (first.end, second.begin) == (JUNE + HOUR, JUNE + HOUR)
    query, _ = subject.request(second)
    assert dict(query)['start'] == '2026-06-01T00:55:00+00:00'


def test_a_custom_query_is_filled_in():
    metric = test_cells.make_metric(
        custom_query='(* 2 (aggregate RE_AGGREGATION_METHOD (metric METRIC_NAME AGGREGATION_METHOD)))',
        aggregation_method='rate:mean',
        re_aggregation_method='sum',
    )
    assert asks.operations(metric) == '(* 2 (aggregate sum (metric cpu rate:mean)))'


def test_scopes_are_halved_before_time():
    subject = make_subject()
    whole = asks.Ask(Mode.BY_SCOPE, ('p', 'q'), JUNE, JUNE + 4 * HOUR)
    assert shown(subject.halve(whole)) == [
        ('BY_SCOPE', ('p',), JUNE, JUNE + 4 * HOUR),
        ('BY_SCOPE', ('q',), JUNE, JUNE + 4 * HOUR),
    ]
    single = asks.Ask(Mode.BY_SCOPE, ('p',), JUNE, JUNE + 4 * HOUR)
    # What begins in the second half is unknown to a request for the first.
    assert shown(subject.halve(single)) == [
        ('BY_SCOPE', ('p',), JUNE, JUNE + 2 * HOUR),
        ('BY_SCOPE', ('p',), JUNE + 2 * HOUR, JUNE + 4 * HOUR),
        ('PLAIN', ('young',), JUNE, JUNE + 2 * HOUR),
    ]
    assert subject.halve(asks.Ask(Mode.BY_SCOPE, ('p',), JUNE, JUNE + HOUR)) == []


@pytest.mark.parametrize(
    ('scopes', 'periods', 'budget'), [(1, 2, 10**6), (100, 1, 10**6), (100, 100, 3), (100, 100, 1)]
)
def test_asks_that_fit_are_together_the_whole(scopes, periods, budget):
    subject = make_subject()
    whole = asks.Ask(Mode.BY_SCOPE, ('p', 'q'), JUNE, JUNE + 4 * HOUR)
    parts = subject.fit(whole, scopes, periods, budget)
    for part in parts:
        assert subject.weigh(part) <= budget
        if part.mode is Mode.BY_SCOPE:
            assert len(part.scope_ids) <= scopes and part.end - part.begin <= periods * HOUR
    asked = set()
    for part in parts:
        names = part.ids or [
            name for name in ('plain', 'other', 'young') if subject.resources[name].scopes <= set(part.scope_ids)
        ]
        for name in names:
            if part.mode is Mode.PLAIN or subject.resources[name].first < part.end:
                asked |= {(name, begin) for begin in range(part.begin, part.end, HOUR)}
    expected = {'plain', 'other', 'young'}
    assert asked == {(name, begin) for name in expected for begin in range(JUNE, JUNE + 4 * HOUR, HOUR)}


def test_many_resources_are_named_in_several_requests(monkeypatch):
    monkeypatch.setattr(inventory, 'MOST_NAMES', 2)
    found = make_subject(force_granularity=0).plan(('p', 'q'), JUNE, JUNE + HOUR)
    assert [len(ask.ids) for ask in found] == [2, 2, 1]
