# SPDX-License-Identifier: Apache-2.0
"""``Idempotency-Key`` of ``POST /v2/dataframes``."""

import concurrent.futures
import datetime

import pytest
import sqlalchemy

from cloudkitty import period
from cloudkitty.db import ledger_models
from cloudkitty.tests.functional.api.deployment import ask


def make_body(price=1, points=1):
    point = {'vol': {'unit': 'u', 'qty': 1}, 'rating': {'price': price}, 'groupby': {'project_id': 'p'}, 'metadata': {}}
    when = {'begin': '2026-02-01', 'end': '2026-02-02'}
    return {'dataframes': [{'period': when, 'usage': {'fee': [point] * points}}]}


def push(api, key, body=None, **headers):
    body = make_body() if body is None else body
    return ask(api, '/v2/dataframes', 'POST', body, {'Idempotency-Key': key, **headers})


def rate(api):
    (row,) = ask(api, '/v2/summary?begin=2026-02-01&end=2026-02-02').json['results']
    return row[3]


@pytest.mark.parametrize('key', ['', 'k' * 256, 'caf\xe9', 'tab\there', '\x7f'])
def test_a_key_that_is_none(noauth, key):
    answer = push(noauth, key)
    assert answer.status_code == 400
    assert answer.json['message'].startswith('Idempotency-Key: expected 1 to 255 characters of printable ASCII')
    assert ask(noauth, '/v2/dataframes?begin=2026-02-01&end=2026-02-02').status_code == 404


def test_the_longest_key(noauth):
    assert [push(noauth, 'k' * 255).status_code for _ in range(2)] == [204, 204]
    assert push(noauth, 'k' * 255, make_body(2)).status_code == 409
    assert rate(noauth) == 1


def test_a_key_is_that_of_a_user_in_a_project(noauth):
    for user, project in (('u', 'p'), ('u', 'q'), ('v', 'p')) * 2:
        assert push(noauth, 'key', **{'X-User-Id': user, 'X-Project-Id': project}).status_code == 204
    assert rate(noauth) == 3


def test_clients_that_push_at_once(make_api, ready_url):
    api = make_api('noauth', url=ready_url)
    assert ask(api, '/').status_code == 200
    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        answers = list(executor.map(lambda number: push(api, 'key %d' % (number % 2)).status_code, range(16)))
    assert answers == [204] * 16 and rate(api) == 2


def test_keys_are_known_for_a_time(make_api):
    api = make_api('noauth', collect='[api]\nidempotency_days = 3')
    now = datetime.datetime.now(period.UTC).replace(microsecond=0)
    for key in ('old', 'young'):
        assert push(api, key).status_code == 204
    with api.database.writer() as session:
        for row in session.scalars(sqlalchemy.select(ledger_models.Push)):
            row.at = now - datetime.timedelta(days=3 if row.text == 'old' else 2, minutes=1)
    for key in ('young', 'other'):
        assert push(api, key).status_code == 204
    with api.database.reader() as session:
        assert set(session.scalars(sqlalchemy.select(ledger_models.Push.text))) == {'young', 'other'}
    assert rate(api) == 3
