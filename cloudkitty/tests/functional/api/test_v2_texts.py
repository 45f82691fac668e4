# SPDX-License-Identifier: Apache-2.0
"""Texts that some server has no room for: an answer of their own, never a server error."""

import urllib.parse

import pytest

from cloudkitty.tests.functional.api.deployment import ask

#: Beyond what MySQL's ``utf8`` knows, in which the tables of old are.
CAT = '\U0001f431'


@pytest.fixture
def api(make_api, ready_url):
    return make_api('noauth', url=ready_url).seed().rate()


def test_scopes_and_points_of_any_characters(api):
    assert ask(api, '/v2/scope', 'PATCH', {'scope_id': CAT}).status_code == 404
    for answer in (
        ask(api, '/v2/scope', 'PATCH', {'scope_id': 'p1', 'fetcher': CAT}),
        ask(api, '/v2/scope', 'POST', {'scope_id': 'p9', 'collector': CAT, 'last_processed_timestamp': '2026-06-01'}),
    ):
        if api.database.dialect == 'mysql':
            assert answer.status_code == 400 and 'cannot be stored' in answer.json['message']
        else:
            assert answer.status_code == 200
    cat = urllib.parse.quote(CAT)
    point = '/v2/explain?begin=2026-06-01T02:00:00&'
    for query in ('scope_id=%s&metric=traffic', 'scope_id=p1&metric=%s', 'scope_id=p1&metric=traffic&%s=1'):
        assert ask(api, point + query % cat).status_code == 404
    answer = ask(api, point + 'scope_id=p1&metric=traffic&kind=xl')
    assert (answer.status_code, answer.json['results'][0]['equals']) == (200, True)
