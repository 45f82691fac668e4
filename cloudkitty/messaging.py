# SPDX-License-Identifier: Apache-2.0
"""The RPC transport, and messages that may be lost.

A message only says *now*: whoever does not get it sees the change in the database at its next batch. So nothing here
waits for a broker, and a broker that is away is a WARNING.
"""

import logging
import threading
import time
from typing import Any
import warnings

from oslo_config import cfg
from oslo_log import log
from oslo_utils import importutils

from cloudkitty import errors

with warnings.catch_warnings():
    # It imports eventlet, whatever it is used with, and eventlet tells every user that it grows old.
    warnings.simplefilter('ignore')
    import oslo_messaging
    from oslo_messaging import opts

LOG = log.getLogger(__name__)

TOPIC = 'cloudkitty'
EXCHANGE = 'cloudkitty'


def register(conf):
    """Register oslo.messaging's ``[DEFAULT]`` options and make the exchange ours."""
    for group, options in opts.list_opts():
        if group in (None, 'DEFAULT'):
            conf.register_opts(options)
    # The library reads these of any object, but registers them with the global one only.
    for name in ('metrics', 'tracing'):
        client = importutils.try_import('oslo_messaging._%s.client' % name)
        if client is not None:
            group = 'oslo_messaging_%s' % name
            conf.register_opts(getattr(client, group), group=group)
    conf.set_default('control_exchange', EXCHANGE)


def make_transport(conf):
    """Return the RPC transport of *conf*; nothing is connected yet."""
    return oslo_messaging.get_rpc_transport(conf)


def check(conf):
    """Raise ConfigurationError for a transport URL that cannot work; whether a broker answers is not asked."""
    try:
        make_transport(conf).cleanup()
    except (oslo_messaging.InvalidTransportURL, oslo_messaging.DriverLoadFailure, ValueError) as error:
        # The URL may hold a password: it is not repeated.
        raise errors.ConfigurationError(
            '[DEFAULT] transport_url: there is no such driver, or it is not a URL such as '
            'rabbit://user:password@host:5672/.'
        ) from error


class _Once(logging.Filter):
    """Of a broker that is away, lets the driver say so once, as the WARNING that it is."""

    def __init__(self):
        super().__init__()
        self._is_away = False

    def filter(self, record):
        text = str(record.msg)
        if 'Reconnected' in text:
            self._is_away = False
        elif record.levelno >= logging.ERROR and any(part in text for part in _AWAY):
            if self._is_away:
                return False
            self._is_away = True
            record.levelno, record.levelname = logging.WARNING, 'WARNING'
        return True

    def note_back(self):
        self._is_away = False


_AWAY = ('Connection failed', 'is unreachable', 'closed the connection', 'Unable to connect', 'Failed to consume')
_ONCE = _Once()


def _say_once():
    # Adding it again is without effect.
    logging.getLogger('oslo.messaging._drivers.impl_rabbit').addFilter(_ONCE)


class Listener:
    """Serves RPC from a thread of its own: a broker that is away keeps nobody from working.

    :param conf: options of oslo.messaging.
    :param name: of this server.
    :param endpoints: only their public methods can be called.
    :param executor: ``threading`` or ``eventlet``.
    """

    #: Seconds between two attempts to start, where the driver does not try again by itself.
    RETRY = 30
    #: Seconds that stopping waits for a broker.
    PATIENCE = 5

    def __init__(self, conf, name, endpoints, executor):
        self._conf = conf
        self._name = name
        self._endpoints = endpoints
        self._executor = executor
        self._server = None
        self._stopping = threading.Event()

    def start(self):
        """Begin to listen as soon as the broker lets us; returns at once."""
        _say_once()
        threading.Thread(target=self._serve, name='rpc', daemon=True).start()

    def _serve(self):
        is_warned = False
        while not self._stopping.is_set():
            problem: Exception | None = None
            try:
                server = make_server(make_transport(self._conf), self._name, self._endpoints, self._executor)
                server.start()
            except Exception as error:
                # Whatever a broker or its driver does: changes are seen in the database.
                problem = error
            if problem is None:
                self._server = server
                _ONCE.note_back()
                if self._stopping.is_set():
                    self._end(server)
                return
            level = LOG.debug if is_warned else LOG.warning
            level('The broker is away (%s): changed rules are seen at the next batch.', _describe(problem))
            is_warned = True
            self._stopping.wait(self.RETRY)

    def stop(self):
        """Listen no more; again, or before the start, is fine."""
        self._stopping.set()
        server, self._server = self._server, None
        if server is not None:
            ending = threading.Thread(target=self._end, args=(server,), name='rpc', daemon=True)
            ending.start()
            ending.join(self.PATIENCE)

    @staticmethod
    def _end(server):
        try:
            server.stop()
            server.wait()
            server.transport.cleanup()
        except Exception as error:
            LOG.debug('The RPC server did not stop in order: %s', error)


class Notifier:
    """Sends casts from a thread of its own; messages a broker does not take are dropped.

    :param conf: options of oslo.messaging.
    """

    #: Seconds without a WARNING after one about a broker that is away.
    SILENCE = 60
    #: Different messages that wait at most for one that is being sent.
    WAITING = 100

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._transport = None
        self._sending: threading.Thread | None = None
        self._is_sending = False
        # In the order in which they came; those that say the same are one.
        self._waiting: dict[tuple[Any, ...], None] = {}
        self._warned_at = float('-inf')

    def cast(self, method: str, *, namespace: str = 'rating', version: str = '1.0', fanout: bool = False, **args):
        """Send *method(args)* to the processors, later and perhaps never; returns at once and raises nothing."""
        with self._lock:
            if len(self._waiting) >= self.WAITING:
                LOG.debug('%s: not sent, the broker is slow.', method)
                return
            # Not left out for one of the kind that is being sent: who hears that may look before this change.
            self._waiting[method, namespace, version, fanout, tuple(sorted(args.items()))] = None
            if not self._is_sending:
                self._is_sending = True
                self._sending = threading.Thread(target=self._send_waiting, name='casts', daemon=True)
                self._sending.start()

    def _send_waiting(self):
        while True:
            with self._lock:
                message = next(iter(self._waiting), None)
                if message is None:
                    self._is_sending = False
                    return
                del self._waiting[message]
            method, namespace, version, fanout, args = message
            self._send(method, namespace, version, fanout, dict(args))

    def _send(self, method, namespace, version, fanout, args):
        _say_once()
        try:
            if self._transport is None:
                self._transport = make_transport(self._conf)
            target = oslo_messaging.Target(topic=TOPIC, namespace=namespace, version=version, fanout=fanout or None)
            client = oslo_messaging.get_rpc_client(self._transport, target)
            client.prepare(retry=1).cast({}, method, **args)
        except Exception as error:
            # Whatever a broker or its driver does, the change itself is already in the database.
            if time.monotonic() - self._warned_at > self.SILENCE:
                self._warned_at = time.monotonic()
                LOG.warning(
                    'The broker did not take a message (%s); processors will see the change later.', _describe(error)
                )


def _describe(error: Exception) -> str:
    """Return what to log of *error*; one about a URL that cannot be read repeats parts of it, the password perhaps."""
    return '[DEFAULT] transport_url cannot be read' if isinstance(error, ValueError) else str(error)


def make_target(namespace: str, version: str):
    """Return what an endpoint declares itself to be."""
    return oslo_messaging.Target(namespace=namespace, version=version)


def make_server(transport, server_name, endpoints, executor):
    """Return an RPC server for *endpoints*; only their public methods can be called.

    :param executor: ``threading`` or ``eventlet``.
    """
    return oslo_messaging.get_rpc_server(
        transport,
        oslo_messaging.Target(topic=TOPIC, server=server_name),
        endpoints,
        executor=executor,
        access_policy=oslo_messaging.DefaultRPCAccessPolicy,
    )
