# SPDX-License-Identifier: Apache-2.0
"""Servers of fetchers: a stand-in for Gnocchi, and one that answers whatever it is told to."""

import http.server
import json
import threading
import urllib.parse

import pytest

from cloudkitty.tests import gnocchi


class Answers:
    """Answers with what it was given, the last for ever.

    :ivar requests: [(path, body)]; a body is parsed, a form to {name: value}.
    """

    def __init__(self):
        self.requests = []
        self._answers = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                fake.answer(self)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = 'http://127.0.0.1:%d' % self._server.server_port

    def give(self, *answers):
        """Answer with these: JSON values, texts that are sent as they are, or (status, JSON value)."""
        self._answers = list(answers)

    def answer(self, handler):
        text = handler.rfile.read(int(handler.headers['Content-Length'])).decode()
        is_json = handler.headers['Content-Type'] == 'application/json'
        body = json.loads(text) if is_json else dict(urllib.parse.parse_qsl(text))
        self.requests.append((handler.path, body))
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        status, found = found if isinstance(found, tuple) else (200, found)
        handler.send_response(status)
        handler.send_header('Content-Type', 'application/json')
        handler.end_headers()
        handler.wfile.write((found if isinstance(found, str) else json.dumps(found)).encode())

    def start(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def answers():
    found = Answers()
    found.start()
    yield found
    found.stop()


@pytest.fixture
def stand_in():
    """A small Gnocchi with the resource type *instance*."""
    found = gnocchi.FakeGnocchi()
    found.create_type('instance', ('domain',))
    found.start()
    yield found
    found.stop()
