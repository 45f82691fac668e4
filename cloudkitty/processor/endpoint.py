# SPDX-License-Identifier: Apache-2.0
"""The child of the processor that answers Prometheus: for the other children of the host, and for the database."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import contextlib
import datetime
import os
import shutil
import socketserver
import tempfile
import threading
from typing import Any
from wsgiref import simple_server

from oslo_log import log
from oslo_service.backend import base as oslo_base
from oslo_utils import importutils

from cloudkitty import telemetry
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.processor import planner
from cloudkitty.processor import standing

LOG = log.getLogger(__name__)


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = 10  # AF_INET6


class _Silent(simple_server.WSGIRequestHandler):
    #: Seconds after which one that says nothing is sent away.
    timeout = 30

    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def directory() -> Iterator[str]:
    """Give a new directory for the figures of this process and of what it forks; of these, none deletes it."""
    owner = os.getpid()
    found = tempfile.mkdtemp(prefix='cloudkitty-metrics-')
    try:
        yield found
    finally:
        if os.getpid() == owner:
            shutil.rmtree(found, ignore_errors=True)


class Endpoint(oslo_base.ServiceBase):
    """Answers at the address of ``[metrics]`` until it is stopped.

    :param conf: options, as read.
    :param directory: where the figures of all children are.
    """

    name = 'metrics'

    def __init__(
        self,
        conf: Any,
        directory: str,
        identity: scopes.Identity,
        schedule: planner.Schedule,
        clock: Callable[[], datetime.datetime],
    ) -> None:
        self._conf = conf
        self._directory = directory
        self._identity = identity
        self._schedule = schedule
        self._clock = clock
        self._ended = threading.Event()
        self._server: Any = None
        self._database: engine.Database | None = None
        self._others: tuple[Any, ...] = ()
        self.address: tuple[str, int] | None = None

    def start(self) -> None:
        """Listen; where that cannot be, say so: rating goes on without."""
        options = self._conf.metrics
        library = importutils.import_module('prometheus_client.core')
        self._database = engine.from_options(self._conf)
        self._others = (
            standing.Standing(library, self._database, self._identity, self._schedule, self._clock, options.max_scopes),
        )
        try:
            self._server = simple_server.make_server(
                options.bind_host,
                options.port,
                self.answer,
                server_class=_Server6 if ':' in options.bind_host else _Server,
                handler_class=_Silent,
            )
        except OSError as error:
            LOG.error(
                '[metrics] bind_host, port: cannot listen on %s, port %d: %s. Prometheus gets no answer.',
                options.bind_host, options.port, error.strerror or error,
            )  # fmt: skip
            return
        self.address = self._server.server_address[:2]
        LOG.info('Prometheus is answered at http://%s:%d%s', *self.address, options.path)
        threading.Thread(target=self._server.serve_forever, name='metrics', daemon=True).start()

    def answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if environ.get('PATH_INFO') != self._conf.metrics.path or environ['REQUEST_METHOD'] not in ('GET', 'HEAD'):
            start_response('404 Not Found', [('Content-Type', 'text/plain'), ('Content-Length', '0')])
            return []
        body, kind = telemetry.read(self._directory, *self._others)
        start_response('200 OK', [('Content-Type', kind), ('Content-Length', str(len(body)))])
        return [body] if environ['REQUEST_METHOD'] == 'GET' else []

    def stop(self, graceful: bool = True) -> None:
        """Answer no more; again, or before the start, is fine."""
        self._ended.set()
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        if self._database is not None:
            self._database.dispose()

    def wait(self) -> None:
        """Wait until it is told to end."""
        while not self._ended.wait(1):
            pass

    def reset(self) -> None:
        """Go on: the address is read at the start of the processor only."""
