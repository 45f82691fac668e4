# SPDX-License-Identifier: Apache-2.0
"""The model that answers to many clients are compared with finds what it is there for."""

import dataclasses

import pytest

from cloudkitty.tests import clients

SERVICES, MAPPINGS = clients.KINDS['service'][0], clients.KINDS['mapping'][0]
THRESHOLDS = clients.KINDS['threshold'][0]
SERVICE = {'service_id': 's', 'name': 'cpu'}
THRESHOLD = {
    'threshold_id': 't', 'level': '1.00', 'cost': '1.00', 'type': 'flat', 'service_id': 's', 'field_id': None,
    'group_id': None, 'tenant_id': None,
}  # fmt: skip
MAPPING = {
    'mapping_id': 'm', 'value': '', 'cost': '1.00', 'type': 'flat', 'service_id': 's', 'field_id': None,
    'group_id': None, 'tenant_id': None, 'start': '3000-01-01T00:00:00', 'end': None, 'name': 'm', 'deleted': None,
    'updated_by': None,
}  # fmt: skip


def ask(at, name, path, status, answer=None, body=None, length=1):
    """Return an event that was sent at *at* and answered *length* later."""
    return clients.Event(name, 'somebody', path, body, status, answer, at, at + length)


def make_service(at, id_='s', name='cpu', **options):
    found = {'service_id': id_, 'name': name}
    return ask(at, 'POST service', SERVICES, 201, found, {'name': name}, **options)


def make_threshold(at, id_='t', level='1', cost='1', **options):
    body = {'level': level, 'cost': cost, 'tenant_id': None, 'service_id': 's', 'type': 'flat'}
    return ask(at, 'POST threshold', THRESHOLDS, 201, {**THRESHOLD, 'threshold_id': id_}, body, **options)


def change_threshold(at, cost, level='1', status=302, id_='t', **options):
    body = {'level': level, 'cost': cost, 'tenant_id': None, 'type': 'flat'}
    return ask(at, 'PUT threshold', '%s/%s' % (THRESHOLDS, id_), status, None, body, **options)


def delete(at, kind='service', id_='s', status=204, query='', **options):
    return ask(at, 'DELETE ' + kind, '%s/%s%s' % (clients.KINDS[kind][0], id_, query), status, **options)


def make_mapping(at, id_='m', **members):
    body = {'cost': '1', 'service_id': 's', 'start': MAPPING['start']} | members
    return ask(at, 'POST mapping', MAPPINGS, 201, {**MAPPING, 'mapping_id': id_, 'name': id_, **members}, body)


def show_threshold(at, cost, **options):
    return ask(at, 'GET threshold', THRESHOLDS + '/t', 200, {**THRESHOLD, 'cost': cost}, **options)


def check(*events):
    """Return what is wrong, without the requests."""
    return [line.partition(': ')[0] for line in clients.Model(list(events)).check()]


def test_what_happens_one_after_the_other_is_true():
    found = check(
        make_service(0),
        make_threshold(2),
        change_threshold(4, '2'),
        show_threshold(6, '2'),
        make_mapping(8),
        delete(10),
        ask(12, 'GET threshold', THRESHOLDS + '/t', 404),
        make_service(14, 'again'),
        ask(16, 'POST service', SERVICES, 409, None, {'name': 'cpu'}),
    )
    assert found == []


@pytest.mark.parametrize(
    'events, text',
    [
        ([ask(0, 'GET total', '/', 503)], 'nobody expects such an answer'),
        ([make_service(0), make_service(2, 'other')], "its place ('service', 'cpu') was that of s"),
        ([make_service(0), delete(2), delete(4)], 'it was deleted twice'),
        ([make_service(0), delete(2, status=404)], 'it is there'),
        ([ask(0, 'POST service', SERVICES, 409, None, {'name': 'cpu'})], 'nobody was in its place'),
        ([make_service(0), delete(2), ask(4, 'POST service', SERVICES, 409, None, {'name': 'cpu'})],
         'nobody was in its place'),
        ([make_service(0), make_threshold(2), delete(4), change_threshold(6, '2')], 'it was changed when it was gone'),
        ([make_service(0), make_threshold(2), change_threshold(4, '2', status=409)], 'nobody was in its place'),
        ([make_service(0), make_threshold(2), change_threshold(4, '2', status=400)],
         'there is nothing wrong with it'),
        ([make_service(0), make_threshold(2), change_threshold(4, '2'), show_threshold(6, '1')],
         "it shows what was written over by {'level': '1', 'cost': '2', 'tenant_id': None, 'type': 'flat'}"),
        ([make_service(0), make_threshold(2), show_threshold(4, '2'), change_threshold(6, '2')],
         'it shows what was written later'),
        ([make_service(0), make_threshold(2), change_threshold(4, '2', status=503), show_threshold(6, '2')],
         'nobody expects such an answer'),
        ([make_service(0), make_threshold(2), show_threshold(6, '2')], 'it shows what nobody was told is written'),
        ([make_service(0), make_threshold(2), change_threshold(4, '2', level='3'), show_threshold(6, '2')],
         'level is of another write than cost'),
        ([make_service(0), make_threshold(2), delete(4, 'threshold', 't'), show_threshold(6, '1')],
         'it shows t, which was deleted'),
        ([make_service(0), ask(2, 'GET services', SERVICES, 200, {'services': []})], 's is missing'),
        ([make_service(0), make_threshold(2), make_threshold(4, 'u', level='1')],
         "its place ('threshold', 's', 1, None, None) was that of t"),
        ([make_service(0), make_mapping(2), make_mapping(4, 'n')],
         "its place ('mapping', 's', '', None, None) was that of m"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told(events, text):
    assert check(*events)[0] == text.partition(': ')[0]


def test_what_overlaps_may_have_happened_in_any_order():
    found = check(
        make_service(0),
        make_threshold(2),
        change_threshold(4, '2', length=4),
        change_threshold(5, '3', length=4),
        show_threshold(10, '2'),
        show_threshold(12, '3'),
        delete(14, length=4),
        make_service(15, 'again'),
        show_threshold(15, '2'),
    )
    assert found == []


LISTED = {'service': [SERVICE], 'field': [], 'group': [], 'mapping': [], 'threshold': [THRESHOLD], 'script': []}


@pytest.mark.parametrize(
    'listed, text',
    [
        ({}, None),
        ({'threshold': []}, 'is lost'),
        ({'threshold': [THRESHOLD, THRESHOLD]}, 'there twice'),
        ({'threshold': [{**THRESHOLD, 'threshold_id': 'u'}, THRESHOLD]}, 'there still'),
        ({'threshold': [{**THRESHOLD, 'cost': '5'}]}, 'nobody was told'),
        ({'threshold': [{**THRESHOLD, 'group_id': 'g'}]}, 'group is another'),
        ({'service': [{**SERVICE, 'name': 'ram'}]}, 'it was made as'),
        ({'service': [{'service_id': 'second', 'name': 'disk'}, SERVICE]}, 'stands behind'),
    ],
)
def test_the_end_is_compared_with_what_was_told(listed, text):
    events = [make_service(0), make_threshold(2)]
    if len(listed.get('service', ())) > 1:
        events.append(make_service(4, 'second', 'disk'))
    found = clients.Model(events).check_end({**LISTED, **listed})
    assert (found == []) if text is None else any(text in line for line in found)


def test_rules_of_a_deleted_group_stay_or_go_as_was_asked():
    group = ask(0, 'POST group', clients.KINDS['group'][0], 201, {'group_id': 'g', 'name': 'g'}, {'name': 'g'})
    made = make_threshold(4)
    made = dataclasses.replace(made, answer={**made.answer, 'group_id': 'g'}, body={**made.body, 'group_id': 'g'})
    for query, left in (('', [THRESHOLD]), ('?recursive=true', [])):
        events = [group, make_service(2), made, delete(6, 'group', 'g', query=query)]
        assert clients.Model(events).check_end({**LISTED, 'threshold': left}) == []
        assert clients.Model(events).check_end({**LISTED, 'threshold': [] if left else [THRESHOLD]}) != []
