# SPDX-License-Identifier: Apache-2.0
"""What callers hand over stays out of the log, with ``debug = true`` and when the database fails below it."""

import logging

import pytest
import sqlalchemy

from cloudkitty.tests import secrecy
from cloudkitty.tests.functional.api import deployment

ask = deployment.ask
SCRIPT = '# %s' % secrecy.make('script-source')
MARK = secrecy.make('pushed-frame')
POINT = {
    'vol': {'unit': 'GiB', 'qty': 1},
    'rating': {'price': 1},
    'groupby': {'project_id': MARK, 'id': MARK},
    'metadata': {'colour': MARK},
}
FRAMES = {'dataframes': [{'period': {'begin': '2026-02-01', 'end': '2026-02-02'}, 'usage': {'traffic': [POINT]}}]}
QUOTE = {'resources': [{'service': 'traffic', 'volume': '1', 'desc': {'colour': MARK}}]}
#: Method, path and body of what carries something that is nobody's but the caller's.
REQUESTS = (
    ('POST', '/v1/rating/module_config/pyscripts/scripts', {'name': 'own', 'data': SCRIPT}),
    ('GET', '/v1/rating/module_config/pyscripts/scripts', None),
    ('POST', '/v2/dataframes', FRAMES),
    ('POST', '/v1/rating/quote', QUOTE),
    ('GET', '/v2/summary?begin=2026-02-01&end=2026-02-02', None),
)
#: Tokens: one that may do everything, one that may not, one that is none.
TOKENS = ('admin', 'reader', 'garbage')


def spoil(connection, cursor, statement, parameters, context, is_many):
    """Give a statement with a secret a value too many: the library's error quotes all of them."""
    if secrecy.find(repr(parameters)):
        parameters = [(*row, 1) for row in parameters] if is_many else (*parameters, 1)
    return statement, parameters


@pytest.fixture(params=['keystone', 'noauth'])
def api(request, make_api):
    made = make_api(request.param, default='debug = true\nuse_stderr = true')
    yield made.seed()
    logging.getLogger().setLevel(logging.WARNING)


def send_all(api):
    return [
        ask(api, path, method, body, {'X-Auth-Token': token, **headers})
        for token in TOKENS
        for headers in ({}, {'Idempotency-Key': secrecy.make('key-of-push')})
        for method, path, body in REQUESTS
    ]


def test_what_callers_send_is_not_logged(api, capfd):
    statuses = {answer.status_code for answer in send_all(api)}
    assert {200, 201, 204} <= statuses
    assert logging.getLogger().level == logging.DEBUG
    text = ''.join(capfd.readouterr())
    assert secrecy.find(text) == [] and secrecy.WATCH.take() == []


def test_what_callers_send_is_not_logged_when_a_statement_fails(api, capfd):
    api.application  # noqa: B018
    sqlalchemy.event.listen(sqlalchemy.Engine, 'before_cursor_execute', spoil, retval=True)
    try:
        statuses = {answer.status_code for answer in send_all(api)}
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, 'before_cursor_execute', spoil)
    assert 500 in statuses
    text = ''.join(capfd.readouterr())
    assert 'Incorrect number of bindings' in text
    assert secrecy.find(text) == [] and secrecy.WATCH.take() == []
