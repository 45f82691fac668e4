# SPDX-License-Identifier: Apache-2.0
"""How the API is put together: files, options, policy, and what it does on bad days."""

import datetime
import io
import logging
import pathlib
import stat
import subprocess
import sys

from oslo_config import cfg
import pytest
import webob
import wsme
import wsme.types

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.api import app
from cloudkitty.api import hooks
from cloudkitty.api import policy
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.api.v1 import rating
from cloudkitty.api.v1 import root
from cloudkitty.db import rating_modules
from cloudkitty.db import rule_revision
from cloudkitty.rating import base
from cloudkitty.rating import chain
from cloudkitty.tests import samples
from cloudkitty.tests.functional.api import deployment

ask = deployment.ask
ROOT = deployment.ROOT
ADMIN = {'X-Auth-Token': 'admin'}
READER = {'X-Auth-Token': 'reader'}
WINDOW = 'begin=2026-06-01&end=2026-07-01'

#: The paste file of CloudKitty 8.
OLD_PASTE_FILE = """
[pipeline:cloudkitty+noauth]
pipeline = cors http_proxy_to_wsgi request_id ck_api_v1

[pipeline:cloudkitty+keystone]
pipeline = cors http_proxy_to_wsgi request_id authtoken ck_api_v1

[app:ck_api_v1]
paste.app_factory = cloudkitty.api.app:app_factory

[filter:authtoken]
acl_public_routes = /, /v1
paste.filter_factory = cloudkitty.api.middleware:AuthTokenMiddleware.factory

[filter:request_id]
paste.filter_factory = oslo_middleware:RequestId.factory

[filter:cors]
paste.filter_factory = oslo_middleware.cors:filter_factory
oslo_config_project = cloudkitty

[filter:http_proxy_to_wsgi]
paste.filter_factory = oslo_middleware.http_proxy_to_wsgi:HTTPProxyToWSGI.factory
oslo_config_project = cloudkitty
"""


def test_the_paste_file_of_release_8_works(make_api):
    api = make_api(paste_file=OLD_PASTE_FILE)
    assert ask(api, '/').status_code == 200
    assert ask(api, '/v1/rating/modules').status_code == 401
    assert ask(api, '/v1/rating/modules', headers=ADMIN).status_code == 200
    assert ask(api, '/healthcheck', headers=ADMIN).status_code == 404


def test_filters_read_the_options_wherever_they_are(make_api):
    """In each file that is named, and in a directory; the last one counts."""
    api = make_api('noauth')
    more = api.directory / 'more.conf'
    more.write_text('[cors]\nallowed_origin = http://first.example,\n  http://second.example\n')
    last = api.directory / 'more.d' / 'last.conf'
    last.parent.mkdir()
    last.write_text('[cors]\nexpose_headers = X-Last\n')
    files = ('--config-file', str(api.config_file), '--config-file', str(more))
    for argv, exposed in ((files, None), ((*files, '--config-dir', str(last.parent)), 'X-Last')):
        application = app.build_wsgi_app(argv, cfg.ConfigOpts())
        for origin in ('http://first.example', 'http://second.example', 'http://horizon.example'):
            request = webob.Request.blank('/', headers={'X-Forwarded-Proto': 'https', 'Origin': origin})
            answer = request.get_response(application)
            assert answer.json['versions'][0]['links'][0]['href'].startswith('https:')
            known = None if 'horizon' in origin else origin
            assert answer.headers.get('Access-Control-Allow-Origin') == known
            assert exposed is None or known is None or exposed in answer.headers['Access-Control-Expose-Headers']


def watch(global_conf, **local_conf):
    """Return an application, for paste, that tells what it found of the file with the options."""
    path = pathlib.Path(global_conf['oslo_config_file'])
    found = [str(path), stat.filemode(path.stat().st_mode), 'auth_url' in path.read_text()]
    return lambda environ, start: webob.Response(json=found)(environ, start)


def test_filters_that_operators_add_find_their_sections_too(make_api):
    """Healthcheck has a section of its own, and the filter of keystonemiddleware reads that of tokens by itself."""
    text = deployment.PASTE_FILE.read_text() + '[app:watch]\npaste.app_factory = %s:watch\n' % __name__
    text = text.replace('/healthcheck = healthcheck', '/healthcheck = healthcheck\n/watch = watch')
    text = text.replace('backends = disable_by_file\n', 'oslo_config_project = cloudkitty\n')
    text = text.replace(
        'acl_public_routes = /, /v1, /v2\npaste.filter_factory = cloudkitty.api.middleware:AuthTokenMiddleware.factory',
        'oslo_config_project = cloudkitty\npaste.filter_factory = keystonemiddleware.auth_token:filter_factory',
    )
    api = make_api(paste_file=text)
    more = api.directory / 'more.conf'
    more.write_text('[healthcheck]\ndetailed = true')
    last = api.directory / 'last.conf'
    last.write_text('[oslo_middleware]\n')
    files = [str(path) for path in (api.config_file, more, last)]
    application = app.build_wsgi_app(conf=cfg.ConfigOpts(), config_files=files)
    request = webob.Request.blank('/healthcheck', headers={'Accept': 'application/json'})
    assert 'gc' in request.get_response(application).json
    answer = webob.Request.blank('/v1/rating/modules').get_response(application)
    assert answer.headers['WWW-Authenticate'] == 'Keystone uri="http://keystone.example:5000"'
    path, mode, has_secrets = webob.Request.blank('/watch').get_response(application).json
    assert has_secrets and mode == '-rw-------'
    assert not pathlib.Path(path).exists()


def test_a_paste_file_that_is_not_there_stops_the_start(make_api):
    api = make_api(default='api_paste_config = nowhere.ini')
    with pytest.raises(errors.ConfigurationError, match='nowhere.ini.*api_paste_config'):
        api.application  # noqa: B018
    api = make_api(default='api_paste_config = /nowhere/api_paste.ini')
    with pytest.raises(errors.ConfigurationError, match='/nowhere/api_paste.ini'):
        api.application  # noqa: B018


def test_a_broken_paste_file_stops_the_start(make_api):
    for text in ('[app:ck_api]\npaste.app_factory = cloudkitty.nowhere:app', 'nothing', OLD_PASTE_FILE[:300]):
        api = make_api(paste_file=text)
        with pytest.raises(errors.ConfigurationError, match='api_paste.ini') as caught:
            api.application  # noqa: B018
        assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('section', 'option'),
    [
        ('cors', 'allow_credentials'),
        ('oslo_middleware', 'enable_proxy_headers_parsing'),
        ('keystone_authtoken', 'http_connect_timeout'),
    ],
)
def test_a_wrong_option_of_a_filter_stops_the_start(make_api, section, option):
    api = make_api()
    with open(api.config_file, 'a') as stream:
        stream.write('[%s]\n%s = nonsense\n' % (section, option))
    with pytest.raises(errors.ConfigurationError, match=option):
        api.application  # noqa: B018


def test_an_installed_paste_file_is_found_last(make_api, monkeypatch, tmp_path):
    api = make_api()
    installed = tmp_path / 'etc' / 'cloudkitty' / 'other.ini'
    installed.parent.mkdir(parents=True)
    installed.write_text(deployment.PASTE_FILE.read_text())
    monkeypatch.setattr(sys, 'prefix', str(tmp_path))
    assert ask(api, '/').status_code == 200
    assert app.find_paste_file(api.conf) == str(api.directory / 'api_paste.ini')
    api.conf.set_override('api_paste_config', 'other.ini')
    assert app.find_paste_file(api.conf) == str(installed)


def test_an_unknown_storage_stops_the_start(make_api):
    api = make_api(collect='[storage]\nbackend = nowhere')
    with pytest.raises(errors.ConfigurationError, match='nowhere'):
        api.application  # noqa: B018


def test_an_unknown_strategy_stops_the_start(make_api):
    api = make_api('nothing')
    with pytest.raises(errors.ConfigurationError, match='auth_strategy'):
        api.application  # noqa: B018


def test_a_node_can_be_taken_out_of_a_load_balancer(noauth):
    assert ask(noauth, '/healthcheck').status_code == 200
    (noauth.directory / 'healthcheck_disable').touch()
    assert ask(noauth, '/healthcheck').status_code == 503


def test_the_api_starts_without_a_metrics_file(make_api):
    api = make_api('noauth')
    path = api.directory / 'metrics.yml'
    text = path.read_text()
    path.unlink()
    for url in ('/v1/info/config', '/v1/info/metrics', '/v1/info/metrics/instance'):
        answer = ask(api, url)
        assert (answer.status_code, answer.headers['Retry-After']) == (503, '10')
        assert str(path) in answer.json['faultstring']
    assert ask(api, '/v1/report/total').status_code == 200
    path.write_text('metrics: {cpu: {alt_name: instance}}')
    answer = ask(api, '/v1/info/metrics')
    assert answer.status_code == 405 and 'unit' in answer.json['faultstring']
    assert ask(api, '/v1/info/config').json == {'metrics': {'cpu': {'alt_name': 'instance'}}}
    path.write_text('')
    assert ask(api, '/v1/info/metrics').status_code == 405
    assert ask(api, '/v1/info/config').json == {}
    path.write_text(text)
    assert ask(api, '/v1/info/metrics').json['metrics'][0]['metric_id'] == 'instance'


def test_objects_may_be_called_like_actions(make_api):
    api = make_api('noauth')
    (api.directory / 'metrics.yml').write_text('metrics: {config: {unit: u}, get_all: {unit: u}}')
    for name in ('config', 'get_all'):
        assert ask(api, '/v1/info/metrics/' + name).json['metric_id'] == name
    assert ask(api, '/v1/rating/modules/reload_modules', 'PUT', {'module_id': 'x'}).status_code == 404


def test_values_of_yaml_that_json_does_not_have(make_api):
    api = make_api('noauth')
    (api.directory / 'metrics.yml').write_text('metrics: {cpu: {unit: 2026-06-01, mutate_map: {0.5: 1, yes: 2}}}')
    assert ask(api, '/v1/info/config').json == {
        'metrics': {'cpu': {'unit': '2026-06-01', 'mutate_map': {'0.5': 1, 'True': 2}}}
    }


def test_a_database_that_is_away(make_api):
    api = make_api('noauth')
    assert ask(api, '/v1/rating/modules').status_code == 200
    api.database.dispose()
    for file in api.directory.glob('cloudkitty.sqlite*'):
        file.unlink()
    # The file that SQLite makes anew has no tables.
    answer = ask(api, '/v1/rating/modules')
    assert (answer.status_code, answer.headers['Retry-After']) == (503, '10')
    assert answer.json['faultcode'] == 'Server' and 'select' not in answer.text.lower()


@pytest.mark.parametrize(
    'url', ['mysql://nobody@127.0.0.1:1/nothing', 'postgresql://nobody@127.0.0.1:1/nothing', 'sqlite:////nowhere/x']
)
def test_a_database_that_does_not_answer(make_api, url):
    api = make_api('noauth', collect='[database]\nconnection = %s\nmax_retries = 0' % url)
    for path in ('/v1/rating/modules', '/v1/report/total', '/v1/storage/dataframes', '/v1/report/tenants'):
        answer = ask(api, path)
        assert (answer.status_code, answer.headers['Retry-After']) == (503, '10'), answer.text
        assert 'nobody' not in answer.text
    assert ask(api, '/').status_code == 200
    assert ask(api, '/v1/info/config').status_code == 200


class _Storage:
    def __init__(self, error):
        self._error = error

    def get_tenants(self, *args, **kwargs):
        raise self._error


def _with_error(api, error):
    """Return *api*'s application, with a storage that raises *error*."""
    made = app.make_deployment(api.conf)
    return app.make_app(_replace(made, storage=_Storage(error)))


def _replace(made, **changes):
    return type(made)(**{**made.__dict__, **changes})


def test_what_nobody_foresaw_is_not_told_to_the_caller(noauth, caplog):
    assert ask(noauth, '/').status_code == 200
    logging.getLogger(hooks.__name__).addHandler(caplog.handler)  # setting up the log took it out
    application = _with_error(noauth, RuntimeError('SELECT secret FROM rules'))
    answer = webob.Request.blank('/v1/report/tenants').get_response(application)
    assert answer.status_code == 500
    assert answer.json['faultcode'] == 'Server' and answer.json['debuginfo'] is None
    assert 'secret' not in answer.text
    logging.getLogger(hooks.__name__).removeHandler(caplog.handler)
    (record,) = [record for record in caplog.records if record.name == 'cloudkitty.api.hooks']
    assert record.levelname == 'ERROR' and 'SELECT secret' in str(record.exc_info[1])


def test_controllers_of_modules_are_imported_before_there_are_threads(make_api, monkeypatch):
    loaded = []
    monkeypatch.setattr(rating, 'load_controller', loaded.append)
    assert make_api('noauth').application
    assert {'cloudkitty.api.v1.hashmap', 'cloudkitty.api.v1.pyscripts'} <= {str(name).split(':')[0] for name in loaded}


def test_bodies_that_are_too_large_are_refused(make_api):
    api = make_api('noauth', collect='[api]\nmax_body_size = 2000')
    answer = ask(api, '/v2/dataframes', 'POST', {'dataframes': ['x' * 2000]})
    assert (answer.status_code, answer.json) == (
        413,
        {'message': 'The body has more than 2000 bytes, [api] max_body_size.'},
    )
    answer = ask(api, '/v1/rating/quote', 'POST', {'resources': ['x' * 2000]})
    assert (answer.status_code, answer.json['faultcode']) == (413, 'Client')
    assert ask(api, '/v1/rating/quote', 'POST', {'resources': []}).status_code == 200
    for length, status in ((3000, 413), (10, 400)):
        request = webob.Request.blank('/v2/dataframes', method='POST', content_type='application/json')
        request.body_file = io.BytesIO(b'x' * length)
        request.content_length = None
        request.environ['wsgi.input_terminated'] = True
        request.headers['Transfer-Encoding'] = 'chunked'
        assert request.get_response(api.application).status_code == status


def test_tracebacks_are_shown_to_developers(make_api):
    api = make_api('noauth', collect='[api]\npecan_debug = true')
    assert ask(api, '/').status_code == 200
    answer = webob.Request.blank('/v1/report/tenants').get_response(_with_error(api, RuntimeError('why')))
    assert 'RuntimeError: why' in answer.json['debuginfo']


@pytest.mark.parametrize(
    ('error', 'status'),
    [
        (errors.BadRequest('x'), 400),
        (errors.Conflict('x'), 409),
        (errors.Unavailable('x'), 503),
        (errors.ConfigurationError('x'), 503),
        (errors.CloudKittyError('x'), 500),
        (ValueError('x'), 500),
    ],
)
def test_errors_have_a_status_by_kind(error, status):
    assert hooks.describe(error)[0] == status


#: Bodies, paths and queries that no client of good will sends.
BAD_BODIES = [
    b'\xff',
    b'{',
    b'"text"',
    b'[' * 100000,
    b'{"module_id": "hashmap", "priority": NaN}',
    b'{"module_id": "hashmap", "priority": Infinity}',
    b'{"module_id": "hashmap", "priority": 1e999999999999999999999}',
    b'{"module_id": "hashmap", "priority": ' + b'9' * 5000 + b'}',
    b'{"module_id": "hashmap", "priority": 1.5}',
    b'{"module_id": "hashmap", "priority": []}',
    b'{"module_id": "hashmap", "priority": {}}',
    b'{"module_id": "hashmap", "enabled": 1.5}',
    b'{"module_id": "hashmap", "enabled": []}',
    b'{"module_id": "\\ud800"}',
    b'{"module_id": "\\u0000"}',
    b'{"\\ud800": 1}',
]


@pytest.mark.parametrize('body', BAD_BODIES, ids=lambda body: body[:40].decode('ascii', 'replace'))
def test_a_bad_body_is_400(noauth, body):
    answer = ask(noauth, '/v1/rating/modules/hashmap', 'PUT', body)
    assert (answer.status_code, answer.json['faultcode']) == (400, 'Client')


@pytest.mark.parametrize(
    ('content_type', 'body'),
    [
        ('application/json; charset=nowhere', b'{}'),
        ('application/json; charset=utf-16', b'{}'),
        ('multipart/form-data', b'--x'),
        ('text/plain', b'{}'),
    ],
)
def test_other_bodies_are_415(noauth, content_type, body):
    answer = ask(noauth, '/v1/rating/modules/hashmap', 'PUT', body, {'Content-Type': content_type})
    assert (answer.status_code, answer.json['faultcode']) == (415, 'Client')


@pytest.mark.parametrize('content_type', ['multipart/form-data', 'application/x-www-form-urlencoded; charset=utf-7'])
def test_the_type_of_an_empty_body_says_nothing(noauth, content_type):
    answer = deployment.ask(noauth, '/v1/info/config', 'DELETE', headers={'Content-Type': content_type})
    assert answer.status_int == 405


def test_a_body_that_ends_too_early_is_400(noauth):
    headers = {'Content-Type': 'application/json', 'Content-Length': '1000'}
    request = webob.Request.blank('/v1/rating/modules/hashmap', method='PUT', headers=headers)
    assert request.get_response(noauth.application).status_int == 400


def test_a_form_is_like_a_query(noauth):
    headers = {'Content-Type': 'application/x-www-form-urlencoded'}
    answer = ask(noauth, '/v1/rating/modules/hashmap', 'PUT', b'module_id=hashmap', headers)
    assert answer.status_code == 400 and 'JSON object' in answer.json['faultstring']


@pytest.mark.parametrize(
    ('path', 'status'),
    [
        ('//v1///info//config//', 200),
        ('/v1/info/metrics/%ff', 404),
        ('/%ff', 404),
        ('/v1/report/total?begin=%ff', 400),
        ('/v1/report/total?%ff=1', 400),
        ('/v1/rating/modules/%00', 400),
        ('/v1/rating/modules/a?_method=PUT', 405),
        ('/v1/rating/modules?_method=POST', 405),
        ('/v1/report/_route', 405),
        ('/v1/info/metrics/x/get_all', 404),
        ('/v1/info/metrics/x/__class__/y', 404),
        ('/v1/rating/module_config/__class__', 405),
        ('/list_versions', 404),
        ('/v1/info/get_config', 405),
        ('/v1/report/total?begin=9999-12-31T23:59:59-12:00', 400),
        ('/v1/report/summary?begin=0001-01-01&end=9999-12-31&groupby=tenant_id', 200),
        ('/v1/storage/dataframes?begin=0001-01-01&end=9999-12-31', 200),
    ],
)
def test_odd_urls(noauth, path, status):
    assert ask(noauth, path).status_code == status


@pytest.mark.parametrize(('token', 'status'), [('admin', 404), (None, 401)])
def test_a_path_that_is_not_utf_8_meets_the_token_filter(keystone, token, status):
    headers = {'X-Auth-Token': token} if token else None
    assert deployment.ask(keystone, '/v1/info/metrics/%ff', headers=headers).status_int == status


@pytest.mark.parametrize(('method', 'status'), [('GET', 404), ('OPTIONS', 200)])
def test_a_path_without_a_slash(noauth, method, status):
    request = webob.Request.blank('/', method=method)
    request.environ['PATH_INFO'] = '*'
    assert request.get_response(noauth.application).status_int == status


@pytest.mark.parametrize('path', ['/', '/v1', '/v1/info/config', '/v1/rating/modules', '/v1/report/total'])
@pytest.mark.parametrize('method', ['PATCH', 'TRACE', 'DELETE', 'WHATEVER'])
def test_odd_methods(noauth, method, path):
    assert ask(noauth, path, method).status_code == 405


def test_the_default_window_is_the_current_month(noauth):
    now = datetime.datetime.now(period.UTC)
    month = period.to_epoch(period.month_start(now, period.UTC))
    before = samples.ready_states(noauth.database, 'p9', first=month - deployment.HOUR)
    points = samples.columns('p9', 'instance', (month - deployment.HOUR, month), prices=('5', '7'))
    noauth.storage.commit(samples.commit(before, [points], begin=month - deployment.HOUR, periods=2))
    assert ask(noauth, '/v1/report/total').json == '7'
    assert ask(noauth, '/v1/report/tenants').json == ['p9']
    (item,) = ask(noauth, '/v1/report/summary').json['summary']
    assert item['begin'] == period.to_naive(period.from_epoch(month)).isoformat()
    assert item['end'] == period.to_naive(period.next_month_start(now, period.UTC)).isoformat()
    assert len(ask(noauth, '/v1/storage/dataframes').json['dataframes']) == 1


def test_amounts_are_exact_and_plain(noauth):
    found = samples.ready_states(noauth.database, 'p9')
    points = samples.columns('p9', 'instance', (samples.JUNE,), ('1e-20',), ('123456789.0000000000000000000000000001',))
    noauth.storage.commit(samples.commit(found, [points]))
    assert ask(noauth, '/v1/report/total?tenant_id=p9&' + WINDOW).json == '123456789.0000000000000000000000000001'
    (frame,) = ask(noauth, '/v1/storage/dataframes?tenant_id=p9&' + WINDOW).json['dataframes']
    assert frame['resources'][0]['rating'] == '123456789.0000000000000000000000000001'
    assert frame['resources'][0]['volume'] == '0.00000000000000000001'
    assert ask(noauth, '/v1/report/summary?tenant_id=p9&' + WINDOW).json['summary'][0]['rate'] == '123456789.0'


@pytest.mark.parametrize(
    ('price', 'rate'), [('0', '0'), ('0.000001', '0.0'), ('81.6480000001', '81.648'), ('0.000015', '2e-05')]
)
def test_rates_are_short_floats(noauth, price, rate):
    found = samples.ready_states(noauth.database, 'p9')
    noauth.storage.commit(samples.commit(found, [samples.columns('p9', 'instance', prices=(price,))]))
    assert ask(noauth, '/v1/report/summary?tenant_id=p9&' + WINDOW).json['summary'][0]['rate'] == rate


def test_points_without_a_project(noauth):
    points = samples.columns('', 'instance', (samples.JUNE,), groupby={'id': 'x'}, id='x')
    found = samples.ready_states(noauth.database, '')
    noauth.storage.commit(samples.commit(found, [points]))
    frames = ask(noauth, '/v1/storage/dataframes?resource_type=instance&' + WINDOW).json['dataframes']
    assert [frame['tenant_id'] for frame in frames] == ['__UNDEF__', 'p1', 'p2', 'p1']


def test_another_scope_key(make_api):
    api = make_api('noauth', collect='scope_key = domain_id').seed()
    assert ask(api, '/v1/report/tenants?' + WINDOW).json == ['p1', 'p2']
    assert ask(api, '/v1/report/total?tenant_id=p1&' + WINDOW).json == '1.125'


def test_more_groups_than_a_page(noauth):
    ids = ['p%04d' % number for number in range(1200)]
    found = samples.ready_states(noauth.database, *ids)
    noauth.storage.commit(samples.commit(found, [samples.columns(id_, 'many', prices=('1',)) for id_ in ids]))
    assert ask(noauth, '/v1/report/total?service=many&' + WINDOW).json == '1200'
    summary = ask(noauth, '/v1/report/summary?service=many&groupby=tenant_id&' + WINDOW).json['summary']
    assert len(summary) == 1200
    assert len(ask(noauth, '/v1/storage/dataframes?resource_type=many&' + WINDOW).json['dataframes']) == 1200


@pytest.mark.parametrize('server', ['mariadb_url', 'postgresql_url'])
def test_reports_on_servers(make_api, request, server):
    api = make_api('noauth', url=request.getfixturevalue(server)).seed()
    assert ask(api, '/v1/report/total?' + WINDOW).json == '2.125'
    assert len(ask(api, '/v1/storage/dataframes?' + WINDOW).json['dataframes']) == 4
    assert ask(api, '/v1/report/tenants?' + WINDOW).json == ['p1', 'p2']
    body = {'module_id': 'hashmap', 'enabled': True, 'priority': 2147483647}
    assert ask(api, '/v1/rating/modules/hashmap', 'PUT', body).status_code == 302
    assert rating_modules.get_state(api.database, 'hashmap') == rating_modules.ModuleState(True, 2147483647)


def test_changes_of_modules_move_the_rule_revision(noauth):
    before = rule_revision.current(noauth.database)
    body = {'module_id': 'hashmap', 'enabled': True}
    ask(noauth, '/v1/rating/modules/hashmap', 'PUT', body)
    after = rule_revision.current(noauth.database)
    assert after > before
    ask(noauth, '/v1/rating/modules/hashmap', 'PUT', body)
    assert rule_revision.current(noauth.database) == after
    assert ask(noauth, '/v1/rating/reload_modules').status_code == 204
    assert rule_revision.current(noauth.database) > after


class _Thing(wsme.types.Base):
    thing_id = types.text
    name = wsme.wsattr(types.text, mandatory=True)


class _Things(rest.Controller):
    _custom_actions = {'parts': ['GET']}

    @rest.expose([types.text], types.text)
    def parts(self, thing_id):
        return [thing_id]

    @rest.expose(_Thing, body=_Thing, status=201)
    def post(self, thing):
        rest.point_to('new')
        return _Thing(thing_id='new', name=thing.name)

    @rest.expose(None, types.text, status=204)
    def delete(self, thing_id):
        if thing_id != 'new':
            raise errors.NotFound('No thing with id %s.' % thing_id)


class _Controller(root.V1Controller):
    things = _Things()


class _Configurable(base.RatingProcessorBase):
    module_name = 'other'
    config_controller = _Controller

    def process(self, data):
        return data

    def reload_config(self, start=None):
        pass


def test_modules_bring_controllers(keystone, monkeypatch):
    monkeypatch.setattr(
        'cloudkitty.plugins.load_all',
        lambda namespace: {'other': _Configurable} if namespace == chain.NAMESPACE else {},
    )
    assert ask(keystone, '/v1/rating/module_config/other/info/config', headers=ADMIN).status_code == 200
    assert ask(keystone, '/v1/rating/module_config/other/info/nope', headers=ADMIN).status_code == 405
    assert ask(keystone, '/v1/rating/module_config/other', headers=ADMIN).status_code == 405
    assert ask(keystone, '/v1/rating/module_config/other/info/config', headers=READER).status_code == 403
    assert ask(keystone, '/v1/rating/module_config/other/info/config').status_code == 401


def test_actions_hang_off_objects_and_collections(noauth, monkeypatch):
    monkeypatch.setattr(
        'cloudkitty.plugins.load_all',
        lambda namespace: {'other': _Configurable} if namespace == chain.NAMESPACE else {},
    )
    things = '/v1/rating/module_config/other/things'
    assert ask(noauth, things + '/x/parts').json == ['x']
    assert ask(noauth, things + '/parts?thing_id=x').json == ['x']
    assert ask(noauth, things + '/parts').status_code == 400
    for method in ('POST', 'PUT', 'DELETE'):
        answer = ask(noauth, things + '/x/parts', method, {'name': 'n'})
        assert (answer.status_code, answer.headers['Allow']) == (405, 'GET')
    made = ask(noauth, things + '/?', 'POST', {'name': 'n'})
    assert (made.status_code, made.json) == (201, {'thing_id': 'new', 'name': 'n'})
    assert made.headers['Location'] == 'http://localhost%s/new' % things
    assert ask(noauth, things, 'POST', {'name': None}).status_code == 400
    gone = ask(noauth, things + '/', 'DELETE', {'thing_id': 'new'})
    assert (gone.status_code, gone.body) == (204, b'')
    assert ask(noauth, things + '/old', 'DELETE').status_code == 404
    assert ask(noauth, '/v1/rating/module_config/other/nope').status_code == 405


def test_controllers_are_named_in_either_way():
    for name in ('cloudkitty.api.v1.root:V1Controller', 'cloudkitty.api.v1.root.V1Controller', root.V1Controller):
        assert rating.load_controller(name) is root.V1Controller


@pytest.mark.parametrize(
    'text',
    [
        'report:get_total: "rule:admin_or_owner"',
        'report:get_total: "is_admin:True or tenant:%(tenant_id)s"',
        'report:get_total: "project_id:%(project_id)s"',
    ],
)
def test_rules_of_old_still_know_owners(make_api, text):
    api = make_api(default='[oslo_policy]\npolicy_file = policy.yaml\n').seed()
    (api.directory / 'policy.yaml').write_text(text)
    other = {'X-Auth-Token': 'other'}
    assert ask(api, '/v1/report/total?' + WINDOW, headers=other).json == '1.125'
    assert ask(api, '/v1/report/total?tenant_id=p2', headers=other).status_code == 403
    assert ask(api, '/v1/report/total?all_tenants=1', headers=other).status_code == 403
    assert ask(api, '/v1/report/total', headers={'X-Auth-Token': 'nobody'}).status_code == 403


def test_a_policy_that_lets_everybody_in_does_not_widen_what_is_shown(make_api):
    api = make_api(default='[oslo_policy]\npolicy_file = policy.yaml\n').seed()
    (api.directory / 'policy.yaml').write_text('report:get_total: ""\nstorage:list_data_frames: ""')
    nobody = {'X-Auth-Token': 'nobody'}
    assert ask(api, '/v1/report/total?' + WINDOW, headers=nobody).status_code == 403
    assert ask(api, '/v1/storage/dataframes?' + WINDOW, headers=nobody).json == {'dataframes': []}
    other = {'X-Auth-Token': 'other'}
    assert len(ask(api, '/v1/storage/dataframes?' + WINDOW, headers=other).json['dataframes']) == 3
    assert ask(api, '/v1/storage/dataframes?tenant_id=p2', headers=other).status_code == 403


def test_a_changed_policy_file_is_read(make_api):
    api = make_api(default='[oslo_policy]\npolicy_file = policy.yaml\n')
    (api.directory / 'policy.yaml').write_text('rating:list_modules: "!"')
    assert ask(api, '/v1/rating/modules', headers=ADMIN).status_code == 403


@pytest.mark.parametrize(
    'text',
    ['{', '- a list', '"a": ["b', '"rating:list_modules": "rule:nowhere"', '"x": "rule:y"\n"y": "rule:x"'],
)
def test_a_broken_policy_file_stops_the_start(make_api, text):
    api = make_api(default='[oslo_policy]\npolicy_file = policy.yaml\n')
    (api.directory / 'policy.yaml').write_text(text)
    with pytest.raises(errors.ConfigurationError, match='policy_file') as caught:
        api.application  # noqa: B018
    assert '\n' not in str(caught.value)


def test_the_tools_of_oslo_policy_keep_their_command_line(monkeypatch, make_api):
    api = make_api()
    (api.directory / 'policy.yaml').write_text('rating:list_modules: "!"')
    monkeypatch.setattr(
        sys, 'argv', ['tool', '--namespace', 'cloudkitty', '--config-file', str(api.config_file), '--output-file', 'x']
    )
    enforcer = policy.get_enforcer()
    enforcer.load_rules()
    assert str(enforcer.rules['rating:list_modules']) == '!'
    monkeypatch.setattr(sys, 'argv', ['tool', '--config-file=%s' % api.config_file, '--other'])
    assert policy.get_enforcer().conf.config_file == [str(api.config_file)]


def test_sample_files_are_generated(tmp_path):
    for tool, name in (('oslopolicy-sample-generator', 'policy'), ('oslo-config-generator', 'config')):
        path = ROOT / 'etc' / ('oslo-%s-generator' % name) / 'cloudkitty.conf'
        output = tmp_path / name
        subprocess.run(
            [pathlib.Path(sys.executable).parent / tool, '--config-file', path, '--output-file', output],
            check=True,
            capture_output=True,
            cwd=ROOT,
        )
        assert {'policy': 'report:get_total', 'config': 'pecan_debug'}[name] in output.read_text()


def test_options_are_read_into_the_object_given(noauth):
    assert ask(noauth, '/').status_code == 200
    assert noauth.conf.auth_strategy == 'noauth' and noauth.conf is not cfg.CONF
