# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-api``: serves the API by itself, in threads."""

from collections.abc import Sequence
import logging
import signal
import socket
import sys
from typing import Any

from oslo_config import cfg

from cloudkitty import errors
from cloudkitty import service
from cloudkitty.cli import failing

PROGRAM = 'cloudkitty-api'
THREADS = 8
_LINE = '*' * 80
_OPTS = [
    cfg.PortOpt('port', short='p', help='Port to listen on; default: [api] port.'),
    cfg.HostAddressOpt('host', dest='host_ip', short='b', help='Address to listen on; default: [api] host_ip.'),
]


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Serve the API until a signal comes; return the exit status.

    :param argv: default that of this process. Options of the service may stand anywhere, a ``--`` before them or not.
    """
    conf = cfg.CONF if conf is None else conf
    conf.register_cli_opts(_OPTS)
    arguments = list(sys.argv[1:] if argv is None else argv)
    if '--' in arguments:
        arguments.remove('--')
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    return failing.guard(PROGRAM, lambda: work(conf, arguments), arguments)


def work(conf: Any, arguments: Sequence[str]) -> int:
    """Do the same; raise what keeps it from starting."""
    try:
        service.prepare_service(arguments, conf=conf, program=PROGRAM)
    except SystemExit as error:
        return int(error.code or 0)
    serve(conf)
    return 0


def serve(conf: Any) -> None:
    """Listen where *conf* says and answer; raise ConfigurationError where that is not possible."""
    # Here, for --help and --version need none of it.
    from waitress import server

    from cloudkitty.api import app

    application = app.load_app(conf)
    # It warns of every request that waits for a thread, as most do of more clients than threads.
    logging.getLogger('waitress.queue').setLevel(logging.ERROR)
    host = conf.host_ip or conf.api.host_ip
    port = conf.api.port if conf.port is None else conf.port
    try:
        made = server.create_server(
            application,
            host=host,
            port=port,
            threads=THREADS,
            # Whether a proxy is believed is an option of the filter http_proxy_to_wsgi.
            clear_untrusted_proxy_headers=False,
            # What is a little too large is refused in JSON, by the application; it keeps bodies on disk until then.
            max_request_body_size=2 * conf.api.max_body_size,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, 'strerror', None) or str(error)
        raise errors.ConfigurationError('Cannot listen on %s, port %d: %s.' % (host, port, reason)) from error
    listeners = getattr(made, 'effective_listen', None) or [(made.effective_host, made.effective_port)]
    print(_LINE)
    print('STARTING test server %s.build_wsgi_app' % app.__name__)
    print('Available at http://%s:%s/' % (socket.gethostname(), listeners[0][1]))
    print('DANGER! For testing and small clouds only; let a web server host cloudkitty.wsgi.api:application.')
    print(_LINE, flush=True)
    try:
        made.run()
    finally:
        made.close()


def _end(number: int, frame: Any) -> None:
    raise SystemExit(0)


if __name__ == '__main__':
    sys.exit(main())
