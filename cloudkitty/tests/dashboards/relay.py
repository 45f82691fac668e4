# SPDX-License-Identifier: Apache-2.0
"""Stands between Prometheus and what it scrapes, and says when: by the clock of the laboratory, not by its own."""

import requests

from cloudkitty.tests import answering


class Relay:
    """:param url: of the figures.

    :param clock: whose time they get.
    :ivar port: where Prometheus is answered, on loopback.
    """

    def __init__(self, url, clock):
        self._url = url
        self._clock = clock
        self._server = answering.serve(self._answer)
        self.port = self._server.server_port

    def stop(self):
        answering.stop(self._server)

    def _answer(self, handler):
        try:
            status, text = 200, requests.get(self._url, timeout=5).text
        except requests.RequestException:
            # As one who is not there: the scrape has failed.
            status, text = 502, ''
        at = round(self._clock.now() * 1000)
        lines = [line if line.startswith('#') else '%s %d' % (line, at) for line in text.splitlines()]
        content = ''.join(line + '\n' for line in lines).encode()
        handler.send_response(status)
        handler.send_header('Content-Type', 'text/plain; version=0.0.4')
        handler.send_header('Content-Length', str(len(content)))
        handler.send_header('Connection', 'close')
        handler.end_headers()
        handler.wfile.write(content)
        # Prometheus ends connections on which it had to wait, and nobody wants to be told.
        handler.close_connection = True
