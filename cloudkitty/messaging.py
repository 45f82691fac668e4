# SPDX-License-Identifier: Apache-2.0
"""The RPC transport, and messages that may be lost.

A message only says *now*: whoever does not get it sees the change in the database at its next batch. So nothing here
waits for a broker, and a broker that is away is a WARNING.
"""

import threading
import time
import warnings

from oslo_config import cfg
from oslo_log import log

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
    conf.set_default('control_exchange', EXCHANGE)


def make_transport(conf):
    """Return the RPC transport of *conf*; nothing is connected yet."""
    return oslo_messaging.get_rpc_transport(conf)


class Notifier:
    """Sends casts from a thread of its own; messages a broker does not take are dropped.

    :param conf: options of oslo.messaging.
    """

    #: Seconds without a WARNING after one about a broker that is away.
    SILENCE = 60

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._transport = None
        self._sending: threading.Thread | None = None
        self._warned_at = float('-inf')

    def cast(self, method: str, *, namespace: str = 'rating', version: str = '1.0', fanout: bool = False, **args):
        """Send *method(args)* to the processors, later and perhaps never; returns at once and raises nothing."""
        with self._lock:
            if self._sending is not None and self._sending.is_alive():
                # The broker does not take the one before; the database will tell.
                LOG.debug('%s: not sent, the broker is slow.', method)
                return
            self._sending = threading.Thread(
                target=self._send, args=(method, namespace, version, fanout, args), daemon=True
            )
            self._sending.start()

    def _send(self, method, namespace, version, fanout, args):
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
                LOG.warning('The broker did not take a message (%s); processors will see the change later.', error)


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
