# SPDX-License-Identifier: Apache-2.0
"""What happens to every request: it learns who asks and what there is, and its errors become faults.

This is the API's outermost layer: whatever else goes wrong in a handler is a 500 without a text, and a traceback in the
log.

Source: API contract, section 1.7.
"""

import codecs
import json
import traceback
from typing import Any
import urllib.parse

from oslo_db import exception as db_exc
from oslo_log import log
from pecan import hooks
import sqlalchemy
from webob import acceptparse
from webob import exc
import webob.request
import webob.response
import wsme.exc
from wsme.rest import xml

from cloudkitty import errors
from cloudkitty.api import context
from cloudkitty.api import policy
from cloudkitty.api import rest
from cloudkitty.api import types
from cloudkitty.db import engine

LOG = log.getLogger(__name__)

#: Seconds after which a caller may try again when the database is away.
RETRY_AFTER = 10
#: Where bodies are large.
_PUSHES = '/v2/dataframes'
_TYPES = ('application/json', 'application/xml', 'text/xml')
#: Texts of errors of a database that is away which oslo.db does not know.
_AWAY = ('unable to open database', 'too many connections', 'too many clients', 'remaining connection slots')


class ContextHook(hooks.PecanHook):
    """Gives the request its *deployment* and its *context*.

    :param deployment: a :class:`context.Deployment`.
    """

    priority = 0

    def __init__(self, deployment: context.Deployment) -> None:
        self._deployment = deployment

    def on_route(self, state: Any) -> None:
        request = state.request
        caller = context.RequestContext.from_environ(request.environ)
        caller.is_admin = policy.is_admin(self._deployment.enforcer, caller)
        request.deployment = self._deployment
        request.context = caller
        options = self._deployment.conf.api
        _check_content_type(request)
        _check_size(request, options)
        _check_query(request, options)


def _check_content_type(request: Any) -> None:
    """Refuse bodies that nobody here reads, before a library tries to."""
    if not request.content_length and not request.headers.get('Transfer-Encoding'):
        # The type of nothing: libraries would take it at its word.
        request.environ.pop('CONTENT_TYPE', None)
        return
    try:
        is_known = codecs.lookup(request.charset).name in ('utf-8', 'ascii')
    except LookupError:
        is_known = False
    if not is_known or request.content_type not in (*rest.JSON_TYPES, rest.FORM_TYPE):
        raise rest.UnsupportedMediaType('Content-Type must be application/json.')


def _check_size(request: Any, options: Any) -> None:
    """Refuse a body that is too large, unread if it says how large it is; one in chunks as soon as it is."""
    option, limit = 'max_body_size', options.max_body_size
    if request.path_info != _PUSHES and options.max_document_size < limit:
        option, limit = 'max_document_size', options.max_document_size
    if request.content_length is None and request.is_body_readable:
        request.body_file = _Bounded(request.body_file, limit, option)
    if (request.content_length or 0) > limit:
        raise rest.BodyTooLarge(limit, option)


class _Bounded:
    """A body of unknown length, as a file that refuses to give more than *limit* bytes."""

    def __init__(self, body: Any, limit: int, option: str) -> None:
        self._body = body
        self._left = limit
        self._error = rest.BodyTooLarge(limit, option)

    def read(self, size: int = -1) -> bytes:
        # One more than there may be tells.
        most = self._left + 1
        found: bytes = self._body.read(most if size is None or size < 0 else min(size, most))
        self._left -= len(found)
        if self._left < 0:
            raise self._error
        return found


def _check_query(request: Any, options: Any) -> None:
    """Refuse an address that is too long, and parameters that say more than anybody needs."""
    query = request.environ.get('QUERY_STRING', '')
    if len(request.environ.get('PATH_INFO', '')) + len(query) > options.max_url_size:
        raise rest.UrlTooLong(options.max_url_size)
    counts: dict[str, int] = {}
    for name, text in urllib.parse.parse_qsl(query):
        values = text.split(',')
        counts[name] = counts.get(name, 0) + len(values)
        if counts[name] > options.max_filter_values:
            _refuse(name, options.max_filter_values, 'values, [api] max_filter_values')
        if any(len(value) > options.max_filter_length for value in values):
            _refuse(name, options.max_filter_length, 'characters a value, [api] max_filter_length')


def _refuse(name: str, limit: int, what: str) -> None:
    raise errors.BadRequest('%s: expected at most %d %s.' % (types.shorten(name), limit, what))


class FaultHook(hooks.PecanHook):
    """Turns errors into answers.

    :param debug: show tracebacks to the caller.
    """

    priority = 0

    def __init__(self, debug: bool = False) -> None:
        self._debug = debug

    def on_error(self, state: Any, error: Exception) -> webob.response.Response | None:
        if isinstance(error, exc.HTTPException) and error.code < 400:
            return None  # a redirection
        status, text, headers = describe(error)
        if status >= 500 and status != errors.Unavailable.code:
            LOG.error('%s %s failed.', state.request.method, state.request.path_info, exc_info=error)
        elif status >= 500:
            LOG.warning('%s %s: %s', state.request.method, state.request.path_info, engine.describe(error))
        detail = ''.join(traceback.format_exception(error)) if self._debug and status >= 500 else None
        response = webob.response.Response(status=status, headerlist=list(headers.items()))
        # The path as it came: it may be the very thing that is wrong.
        if not state.request.environ.get('PATH_INFO', '').startswith('/v1'):
            response.content_type, response.charset = 'application/json', None
            response.body = json.dumps({'message': text}).encode()
            return response
        fault = {'faultcode': 'Client' if status < 500 else 'Server', 'faultstring': text, 'debuginfo': detail}
        accepted = acceptparse.create_accept_header(state.request.headers.get('Accept') or None)
        offers = accepted.acceptable_offers(_TYPES) or [(_TYPES[0], 1.0)]
        content_type = offers[0][0]
        if content_type == _TYPES[0]:
            response.content_type, response.charset = content_type, None
            response.body = json.dumps(fault).encode()
        else:
            body = xml.encode_error(None, fault)
            response.content_type, response.charset = content_type, 'UTF-8'
            response.body = body if isinstance(body, bytes) else body.encode()
        return response


def describe(error: Exception) -> tuple[int, str, dict[str, str]]:
    """Return the status, the text and the headers of the answer to a request that ended in *error*."""
    if isinstance(error, errors.ConfigurationError):
        # The service runs without what it names; somebody mends it.
        return errors.Unavailable.code, str(error), {'Retry-After': str(RETRY_AFTER)}
    if isinstance(error, errors.Unavailable):
        return error.code, str(error), {'Retry-After': str(RETRY_AFTER)}
    if isinstance(error, errors.CloudKittyError) and error.code < 500:
        return error.code, str(error), {}
    if isinstance(error, wsme.exc.ClientSideError):
        return error.code, error.faultstring, {}
    if isinstance(error, exc.HTTPException):
        allow = error.headers.get('Allow')
        return error.code, error.detail or error.title, {'Allow': allow} if allow else {}
    if isinstance(error, UnicodeDecodeError | RecursionError):
        return 400, 'The request is not valid UTF-8, or too deeply nested.', {}
    if isinstance(error, webob.request.DisconnectionError):
        return 400, 'The body is shorter than its Content-Length.', {}
    if is_away(error):
        return (
            errors.Unavailable.code,
            'The database cannot be reached just now. Try again later.',
            {'Retry-After': str(RETRY_AFTER)},
        )
    return 500, 'The service met an unexpected error. Its log says more.', {}


def is_away(error: Exception) -> bool:
    """Return whether *error* says that the database is away, busy or not made yet, so that trying again may help."""
    if isinstance(error, db_exc.DBConnectionError | sqlalchemy.exc.TimeoutError) or engine.lacks_table(error):
        return True
    if isinstance(error, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError):
        # Met while connecting: oslo.db translates what comes later.
        return True
    if isinstance(error, db_exc.DBDuplicateEntry) or not isinstance(error, db_exc.DBError):
        return False
    return engine.is_repeatable(error) or any(text in str(error).lower() for text in _AWAY)
