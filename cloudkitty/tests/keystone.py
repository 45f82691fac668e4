# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Keystone: the few requests of the Identity API that the service makes, over HTTP."""

import contextlib
import http.server
import json
import threading
import urllib.parse

from cloudkitty.tests import secrecy

USER = 'service-user'
PASSWORD = secrecy.make('service-password')


class Keystone:
    """Serves what its members say.

    :ivar projects: {id: enabled}.
    :ivar roles: {id: name}.
    :ivar grants: [(user id, role id, project id, or None for a grant on a domain)], effective ones.
    :ivar page: items in an answer at most; None for all.
    :ivar answers: {path: (status, body text)} in place of the true answers.
    :ivar requests: [(method, path with query)] but those for tokens and versions.
    """

    def __init__(self, address='127.0.0.1'):
        self.projects = {}
        self.roles = {'role-rating': 'rating', 'role-other': 'other'}
        self.grants = []
        self.page = None
        self.answers = {}
        self.requests = []
        self.tokens = 0
        self._server = http.server.ThreadingHTTPServer((address, 0), self._make_handler())
        self.url = 'http://%s:%d' % (address, self._server.server_port)

    def grant(self, *project_ids, role='role-rating', user=USER):
        for project_id in project_ids:
            self.projects.setdefault(project_id, True)
            self.grants.append((user, role, project_id))

    def start(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def list(self, what, query):
        if what == 'projects':
            return [{'id': id, 'name': id, 'enabled': enabled} for id, enabled in self.projects.items()]
        if what == 'roles':
            return [{'id': id, 'name': name} for id, name in self.roles.items() if name == query['name'][0]]
        found = []
        for user, role, project in self.grants:
            if (user, role) == (query['user.id'][0], query['role.id'][0]) and 'effective' in query:
                scope = {'project': {'id': project}} if project else {'domain': {'id': 'default'}}
                found.append({'user': {'id': user}, 'role': {'id': role}, 'scope': scope})
        return found

    def _make_handler(keystone):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def log_message(self, *args):
                pass

            def answer(self, status, body, headers=()):
                text = body if isinstance(body, str) else json.dumps(body)
                self.send_response(status)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(text.encode())))
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(text.encode())

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                user = body['auth']['identity']['password']['user']
                if '/v3/auth/tokens' in keystone.answers:
                    self.answer(*keystone.answers['/v3/auth/tokens'])
                    return
                if user['password'] != PASSWORD:
                    self.answer(401, {'error': {'code': 401, 'message': 'Not that one.'}})
                    return
                keystone.tokens += 1
                endpoints = [{'interface': 'public', 'region': 'One', 'url': keystone.url + '/v3', 'id': 'e'}]
                token = {
                    'user': {'id': USER, 'name': user['name'], 'domain': {'id': 'default', 'name': 'Default'}},
                    'expires_at': '2100-01-01T00:00:00.000000Z',
                    'issued_at': '2026-01-01T00:00:00.000000Z',
                    'methods': ['password'],
                    'catalog': [{'type': 'identity', 'name': 'keystone', 'id': 's', 'endpoints': endpoints}],
                }
                self.answer(
                    201,
                    {'token': token},
                    [('X-Subject-Token', '%s-%d' % (secrecy.make('token-of-service'), keystone.tokens))],
                )

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                version = {
                    'id': 'v3.14',
                    'status': 'stable',
                    'links': [{'rel': 'self', 'href': keystone.url + '/v3/'}],
                }
                if url.path in ('/v3', '/v3/'):
                    self.answer(200, {'version': version})
                    return
                if url.path == '/':
                    self.answer(300, {'versions': {'values': [version]}})
                    return
                keystone.requests.append(('GET', self.path))
                if url.path in keystone.answers:
                    self.answer(*keystone.answers[url.path])
                    return
                what = url.path.rpartition('/')[2]
                query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
                found = keystone.list(what, query)
                first = int(query.get('marker', ['0'])[0])
                last = first + (keystone.page or len(found))
                following = None
                if last < len(found):
                    more = urllib.parse.urlencode({**query, 'marker': last}, doseq=True)
                    following = '%s%s?%s' % (keystone.url, url.path, more)
                self.answer(200, {what: found[first:last], 'links': {'self': keystone.url, 'next': following}})

        return Handler
