# SPDX-License-Identifier: Apache-2.0
"""What requests ask of the database, on every server."""

import pytest
import sqlalchemy

from cloudkitty.db import ledger_models
from cloudkitty.db import rating_modules
from cloudkitty.tests.functional.api.deployment import ask

HASHMAP = '/v1/rating/module_config/hashmap'
QUOTE = {'resources': [{'service': 'cpu', 'volume': 2}]}


@pytest.fixture
def api(make_api, ready_url):
    """An API with a priced service, once on every server."""
    api = make_api('noauth', url=ready_url, collect='timezone = UTC').seed()
    rating_modules.set_enabled(api.database, 'hashmap', True)
    return api


def make(api, kind, **body):
    answer = ask(api, '%s/%ss' % (HASHMAP, kind), 'POST', body)
    assert answer.status_code == 201, answer.text
    return answer.json['%s_id' % kind]


def test_changes_do_not_ask_for_the_schema_each_time(api, statements):
    service = make(api, 'service', name='cpu')
    make(api, 'mapping', service_id=service, cost='1')
    statements.clear()
    make(api, 'mapping', service_id=service, cost='1', tenant_id='p1')
    assert not [text for text in statements if 'PRAGMA' in text or 'pg_catalog' in text or 'DESCRIBE' in text]
    assert len(statements) <= 11
    few = len(statements)
    for number in range(20):
        make(api, 'mapping', service_id=service, cost='1', tenant_id='tenant-%d' % number)
    statements.clear()
    make(api, 'mapping', service_id=service, cost='1', tenant_id='p2')
    assert len(statements) == few


def test_quotes_write_nothing_and_ask_once_while_no_rule_changes(api, statements):
    make(api, 'mapping', service_id=make(api, 'service', name='cpu'), cost='3')
    assert ask(api, '/v1/rating/quote', 'POST', QUOTE).json == '6'
    with api.database.reader() as session:
        assert session.scalars(sqlalchemy.select(ledger_models.RuleSet)).all() == []
    statements.clear()
    assert ask(api, '/v1/rating/quote', 'POST', QUOTE).json == '6'
    assert len(statements) == 1


def test_a_rule_is_read_without_a_look_at_modules(api, statements):
    service = make(api, 'service', name='cpu')
    statements.clear()
    assert ask(api, '%s/services/%s' % (HASHMAP, service)).json['name'] == 'cpu'
    assert not [text for text in statements if 'modules_state' in text]
