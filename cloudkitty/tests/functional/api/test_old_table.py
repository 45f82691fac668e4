# SPDX-License-Identifier: Apache-2.0
"""The API over the table of old: [storage] version = 1."""

import json

import pytest
import sqlalchemy

from cloudkitty import storage
from cloudkitty.storage.v1 import driver
from cloudkitty.storage.v1 import models
from cloudkitty.tests import samples
from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.storage import test_import

ask = deployment.ask
HOUR = samples.HOUR
JUNE = samples.JUNE
OPTIONS = '[storage]\nversion = 1'
WINDOW = 'begin=2026-06-01&end=2026-07-01'


@pytest.fixture
def make_old(make_api):
    """Return what makes an API with version 1."""

    def make(strategy='noauth', url=None):
        api = make_api(strategy, url, collect=OPTIONS)
        api.storage = driver.SQLAlchemyStorage(api.database)
        return api

    return make


@pytest.mark.parametrize(
    'path',
    [
        '/v1/report/tenants?' + WINDOW,
        '/v1/report/tenants?begin=2026-06-01T01:00:00&end=2026-06-01T02:00:00',
        '/v1/report/total?' + WINDOW,
        '/v1/report/total?all_tenants=true&begin=2026-06-01&end=2026-06-01T01:30:00',
        '/v1/report/total?tenant_id=p1&service=image.size&' + WINDOW,
        '/v1/report/summary?' + WINDOW,
        '/v1/report/summary?all_tenants=true&groupby=tenant_id,res_type&' + WINDOW,
        '/v1/report/summary?tenant_id=p1&groupby=res_type&' + WINDOW,
        '/v1/report/summary?begin=2020-01-01&end=2020-02-01',
        '/v1/storage/dataframes?' + WINDOW,
        '/v1/storage/dataframes?tenant_id=p2&' + WINDOW,
        '/v1/storage/dataframes?resource_type=instance&begin=2026-06-01&end=2026-06-01T01:59:59',
    ],
)
@pytest.mark.parametrize('token', ['admin', 'reader', 'other'])
def test_answers_are_those_of_version_2(make_api, make_old, path, token):
    answers = [
        ask(api.seed(), path, headers={'X-Auth-Token': token}) for api in (make_api('keystone'), make_old('keystone'))
    ]
    assert answers[0].status_code == answers[1].status_code
    assert answers[0].json == answers[1].json


def test_there_is_no_v2(make_old):
    api = make_old('keystone')
    assert [version['id'] for version in ask(api, '/').json['versions']] == ['v1']
    assert ask(api, '/v2/scope', headers={'X-Auth-Token': 'admin'}).status_code == 404


def test_rows_of_an_old_release_are_reported(make_old, ready_url):
    api = make_old(url=ready_url)
    flavors = [{'flavor': 'small', 'id': 'a', 'project_id': 'p'}, {'flavor': 'big', 'id': 'b'}]
    test_import.insert(
        api.database,
        test_import.row(rate=0.1, qty='1', desc=json.dumps(flavors[0]), res_type='instance'),
        test_import.row(rate=0.2, qty='1', desc=json.dumps(flavors[1]), res_type='instance'),
        test_import.row(rate=16.7772, qty='0.12346', desc='no JSON', res_type='image.size', scope_id='q'),
        test_import.row(JUNE + HOUR, 'r', '_NO_DATA_', '0', 0, '""', unit='None'),
        test_import.row(JUNE + 31 * 24 * HOUR - 1800, rate=5.0),
    )
    assert ask(api, '/v1/report/tenants?' + WINDOW).json == ['p', 'q']
    assert ask(api, '/v1/report/total?all_tenants=true&' + WINDOW).json == '17.0772'
    found = ask(api, '/v1/report/summary?all_tenants=true&groupby=tenant_id,res_type&' + WINDOW).json['summary']
    assert [(item['tenant_id'], item['res_type'], item['rate']) for item in found] == [
        ('p', 'instance', '0.3'),
        ('q', 'image.size', '16.7772'),
    ]
    frames = ask(api, '/v1/storage/dataframes?' + WINDOW).json['dataframes']
    assert [(frame['tenant_id'], frame['begin'], len(frame['resources'])) for frame in frames] == [
        ('q', '2026-06-01T00:00:00', 1),
        ('p', '2026-06-01T00:00:00', 2),
    ]
    (image,) = frames[0]['resources']
    assert (image['rating'], image['volume'], image['service']) == ('16.7772', '0.12346', 'image.size')
    assert image['desc']['desc'] == 'no JSON'
    assert [item['desc']['flavor'] for item in frames[1]['resources']] == ['small', 'big']
    assert [item['desc']['project_id'] for item in frames[1]['resources']] == ['p', 'p']
    with api.database.reader() as session:
        assert session.scalar(sqlalchemy.select(sqlalchemy.func.count()).select_from(models.RatedDataFrame)) == 5


def test_what_the_table_cannot_keep_is_said_at_the_start(make_old, make_api, monkeypatch):
    told = []
    monkeypatch.setattr(storage.LOG, 'warning', lambda text, *values: told.append(text))
    assert ask(make_api('noauth'), '/').status_code == 200
    assert told == []
    assert ask(make_old(), '/').json['versions'][0]['id'] == 'v1'
    (text,) = told
    assert text.startswith('[storage] version = 1: rated_data_frames keeps 5 digits')
