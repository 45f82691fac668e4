# SPDX-License-Identifier: Apache-2.0
"""WSGI filters of ours for the paste file, and what cleans a path up before pecan sees it."""

from collections.abc import Callable
import ipaddress
import time
from typing import Any

from keystoneauth1 import exceptions
from keystonemiddleware import auth_token
from oslo_log import log
import webob

from cloudkitty import errors
from cloudkitty import telemetry

LOG = log.getLogger(__name__)

#: Under this key of paste's global configuration the application hands the options to its filters.
CONF = 'cloudkitty.conf'
#: Requests by others are counted as one kind.
METHODS = ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS')
#: Under this key of the WSGI environment is the path as it came.
PATH = 'cloudkitty.path'


class AuthTokenMiddleware(auth_token.AuthProtocol):
    """Validates tokens, but for a few routes that everybody may ask.

    :param conf: options of keystonemiddleware.
    :param public_routes: paths without a trailing slash; only these themselves, nothing below.
    """

    def __init__(self, app: Any, conf: dict[str, Any], public_routes: tuple[str, ...] = ()) -> None:
        self._public_routes = public_routes
        super().__init__(app, conf)

    def process_request(self, request: Any) -> Any:
        """Return an answer to refuse *request*, or None to let it in."""
        # As it came: it need not be UTF-8.
        if request.environ.get('PATH_INFO', '').rstrip('/') in self._public_routes:
            # Nobody has checked what the caller says about himself.
            request.remove_auth_headers()
            return None
        try:
            return super().process_request(request)
        except exceptions.ClientException as error:
            # Keystone is set up in a way that the library did not foresee, such as without the endpoint it wants.
            LOG.error('Tokens cannot be validated: %s', error)
            body = {'error': {'code': 503, 'title': 'Service Unavailable', 'message': 'Tokens cannot be validated.'}}
            return webob.Response(json_body=body, status=503)

    @classmethod
    def factory(cls, global_conf: dict[str, Any], **local_conf: str) -> Callable[[Any], 'AuthTokenMiddleware']:
        """Return what paste wraps applications with."""
        routes = local_conf.pop('acl_public_routes', '')
        public = tuple(route.strip().rstrip('/') for route in routes.split(',') if route.strip())
        conf: dict[str, Any] = dict(local_conf)
        if global_conf.get(CONF) is not None:
            conf['oslo_config_config'] = global_conf[CONF]
        return lambda app: cls(app, conf.copy(), public)


class Telemetry:
    """Counts requests, and tells Prometheus of them.

    :param conf: options, as read.
    :raises ConfigurationError: the directory for the figures cannot be used.
    """

    #: What may follow the version in a path; of all others there are as many as somebody likes.
    ROUTES = frozenset(
        ('adjustments', 'billing', 'collector', 'coverage', 'dataframes', 'explain', 'info', 'rating', 'report',
         'scope', 'storage', 'summary', 'task')
    )  # fmt: skip
    #: Headers of those that speak for somebody else.
    FORWARDED = ('HTTP_FORWARDED', 'HTTP_VIA', 'HTTP_X_FORWARDED_FOR', 'HTTP_X_REAL_IP')

    def __init__(self, app: Any, conf: Any) -> None:
        self._app = app
        self._path = conf.metrics.path
        try:
            self._networks = [ipaddress.ip_network(text.strip()) for text in conf.metrics.api_clients]
        except ValueError as error:
            raise errors.ConfigurationError('[metrics] api_clients: %s.' % error) from error
        self._directory = telemetry.prepare(conf.metrics.directory)
        telemetry.start(self._directory, telemetry.API)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get('PATH_INFO', '')
        if path == self._path and environ['REQUEST_METHOD'] == 'GET' and self._is_known(environ):
            body, kind = telemetry.read(self._directory)
            start_response('200 OK', [('Content-Type', kind), ('Content-Length', str(len(body)))])
            return [body]
        begin = time.monotonic()
        route = self._route(path)
        method = environ['REQUEST_METHOD'] if environ['REQUEST_METHOD'] in METHODS else 'other'

        def note(status: str, *args: Any) -> Any:
            telemetry.count(telemetry.API_REQUESTS, method=method, route=route, status=status[:3])
            telemetry.observe(telemetry.API_SECONDS, time.monotonic() - begin, route=route)
            return start_response(status, *args)

        return self._app(environ, note)

    def _is_known(self, environ: dict[str, Any]) -> bool:
        if any(name in environ for name in self.FORWARDED):
            return False
        try:
            address = ipaddress.ip_address(environ.get('REMOTE_ADDR', ''))
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def _route(self, path: str) -> str:
        segments = path.split('/')[1:3]
        if segments[0] not in ('', 'v1', 'v2') or len(segments) == 2 and segments[1] not in self.ROUTES:
            return 'other'
        return '/' + '/'.join(segments)


class CleanPath:
    """Takes doubled and trailing slashes out of the path, and what is not UTF-8; keeps how it came in :data:`PATH`."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ.get('PATH_INFO', '').encode('latin-1').decode('utf-8', 'replace')
        environ.setdefault(PATH, path)
        clean = '/' + '/'.join(segment for segment in path.split('/') if segment)
        environ['PATH_INFO'] = clean.encode('utf-8').decode('latin-1')
        return self._app(environ, start_response)
