# SPDX-License-Identifier: Apache-2.0
"""An API with data, for tests: the shipped paste file, the real filters, and in place of Keystone a table of tokens."""

import json
import pathlib
import shutil
import tempfile
from types import SimpleNamespace

from keystoneauth1 import exceptions
from keystonemiddleware.auth_token import _exceptions as token_exceptions
from oslo_config import cfg
import webob

from cloudkitty import coverage
from cloudkitty import usage
from cloudkitty.api import app
from cloudkitty.api import middleware
from cloudkitty.db import rating_modules
from cloudkitty.rating import chain
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.tests import databases
from cloudkitty.tests import samples
from cloudkitty.tests import secrecy
from cloudkitty.tests.functional.rating import test_hashmap
from cloudkitty.tests.unit.rating.hashmap import rules

ROOT = pathlib.Path(__file__).parents[4]
PASTE_FILE = ROOT / 'etc' / 'cloudkitty' / 'api_paste.ini'
HOUR = samples.HOUR
JUNE = samples.JUNE

_CONFIG = """
[DEFAULT]
auth_strategy = {strategy}
transport_url = fake://
{default}
[database]
connection = {connection}
[collect]
metrics_conf = {directory}/metrics.yml
{collect}
[keystone_authtoken]
www_authenticate_uri = http://keystone.example:5000
auth_url = http://127.0.0.1:1
auth_type = password
[cors]
allowed_origin = http://horizon.example
[oslo_middleware]
enable_proxy_headers_parsing = true
"""
_METRICS = """
metrics:
  cpu:
    unit: instance
    alt_name: instance
    groupby: [id, project_id]
    metadata: [flavor_name, flavor_id]
    mutate: NUMBOOL
    extra_args: {aggregation_method: mean, resource_type: instance}
  image.size:
    unit: MiB
    factor: 1/1048576
    groupby: [id, project_id]
    metadata: [disk_format]
    extra_args: {aggregation_method: max, resource_type: image}
"""


#: Options of the rating chain.
_RATING = SimpleNamespace(collect=SimpleNamespace(timezone='UTC'), pyscripts=samples.make_pyscripts())


def _token(*roles, **scope):
    """Return what Keystone says of a token: *scope* is project, domain or system."""
    domain = {'id': 'default', 'name': 'Default'}
    made = {
        'methods': ['password'],
        'issued_at': '2026-06-01T00:00:00.000000Z',
        'expires_at': '2999-01-01T00:00:00.000000Z',
        'user': {'id': 'user-of-%s' % '-'.join(roles), 'name': 'user', 'domain': domain},
        'roles': [{'id': role, 'name': role} for role in roles],
    }
    if 'project' in scope:
        made['project'] = {'id': scope['project'], 'name': scope['project'], 'domain': domain}
    if 'domain' in scope:
        made['domain'] = {'id': scope['domain'], 'name': scope['domain']}
    if 'system' in scope:
        made['system'] = {'all': True}
    return {'token': made}


#: Who comes with which token.
TOKENS = {
    'admin': _token('admin', 'member', 'reader', project='p0'),
    'reader': _token('reader', project='p1'),
    'stranger': _token('reader', project='p3'),
    'member': _token('member', project='p1'),
    'other': _token('other', project='p1'),
    'nobody': _token(),
    'nobody-reader': _token('reader'),
    'domain-admin': _token('admin', domain='d1'),
    'system-admin': _token('admin', system=True),
}


#: Before each of them on its way: no log may have it.
_PREFIX = secrecy.make('token-of-caller') + '-'


class TableAuthToken(middleware.AuthTokenMiddleware):
    """The filter as it is, with a table where it would ask Keystone."""

    def fetch_token(self, token, **kwargs):
        token = token.removeprefix(_PREFIX)
        if token == 'endpoint':
            raise exceptions.EndpointNotFound('There is no internal endpoint.')
        try:
            return TOKENS[token]
        except KeyError:
            raise token_exceptions.InvalidToken from None


class Api:
    """An API of its own on a database with every table.

    :ivar application: the WSGI application.
    :ivar database: its database.
    """

    def __init__(self, strategy='keystone', url=None, default='', collect='', paste_file=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='cloudkitty-api-'))
        self.url = url or 'sqlite:///%s/cloudkitty.sqlite' % self.directory
        self.database = databases.ready(self.url)
        self.storage = driver.SQLAlchemyStorage(self.database)
        if paste_file is None:
            paste_file = PASTE_FILE.read_text()
        own = '%s:TableAuthToken.factory' % __name__
        paste_file = paste_file.replace('cloudkitty.api.middleware:AuthTokenMiddleware.factory', own)
        paste_file = paste_file.replace('/etc/cloudkitty/', '%s/' % self.directory)
        (self.directory / 'api_paste.ini').write_text(paste_file)
        (self.directory / 'metrics.yml').write_text(_METRICS)
        self.config_file = self.directory / 'cloudkitty.conf'
        self.config_file.write_text(
            _CONFIG.format(
                strategy=strategy, connection=self.url, directory=self.directory, default=default, collect=collect
            )
        )
        self.conf = cfg.ConfigOpts()
        self._application = None

    @property
    def application(self):
        """Made at the first use, so that a test may change the files before."""
        if self._application is None:
            self._application = _mark_tokens(app.build_wsgi_app(conf=self.conf, config_files=[str(self.config_file)]))
        return self._application

    def seed(self):
        """Rate two hours of two projects.

        ======== =========== ===== ======
        project  metric      hour  price
        ======== =========== ===== ======
        p1       instance    0, 1  0.5
        p1       image.size  0     0.125
        p2       instance    0     1
        ======== =========== ===== ======
        """
        points = [
            samples.columns('p1', 'instance', (JUNE, JUNE + HOUR), id='a', metadata={'flavor_name': 'small'}),
            samples.columns('p1', 'image.size', (JUNE,), ('2.5',), ('0.125',), groupby={'id': 'i', 'project_id': 'p1'}),
            samples.columns('p2', 'instance', (JUNE,), prices=('1',), id='b'),
        ]
        found = samples.ready_states(self.database, 'p1', 'p2')
        self.storage.commit(samples.commit(found, points, periods=2))
        return self

    def rate(self):
        """Rate a third hour of p1 by rules: 8 of metric ``traffic`` at 0.25, and 0.5 from 5 on, cost 2.5."""
        given = rules.Rules().flat('0.1').flat('0.25', field='kind', value='xl').threshold('flat', 5, '0.5')
        test_hashmap.store(self.database, [given.service('traffic')])
        rating_modules.set_enabled(self.database, 'hashmap', True)
        found = samples.states(self.database, 'p1')
        begin = JUNE + 2 * HOUR
        points = samples.columns('p1', 'traffic', (begin,), (8,), unit='GiB', metadata={'kind': 'xl'})
        rated = chain.load(self.database, _RATING).price(
            usage.Usage(usage.Batch(('p1',), (), begin, HOUR, 1), [points], [])
        )
        run = coverage.Run('p1', 'traffic', begin, begin + HOUR, coverage.Status.RATED, rated.rule_set)
        self.storage.commit(samples.commit(found, rated.columns, begin, runs=[run]))
        return self

    def close(self):
        self.database.dispose()
        shutil.rmtree(self.directory)


#: Characters that no token of a real Keystone is shorter than.
SHORT = 100


def _mark_tokens(application):
    """Return *application*, which is given tokens that can be told from other words; those of a real Keystone can."""

    def call(environ, start_response):
        token = environ.get('HTTP_X_AUTH_TOKEN')
        if token is not None and len(token) < SHORT:
            environ = {**environ, 'HTTP_X_AUTH_TOKEN': _PREFIX + token}
        return application(environ, start_response)

    return call


def ask(api, path, method='GET', body=None, headers=None):
    """Return the answer of *api* to a request; a *body* that is not bytes is sent as JSON."""
    request = webob.Request.blank(path, method=method, headers=headers or {})
    if body is not None:
        request.content_type = request.content_type or 'application/json'
        request.body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request.get_response(api.application)
