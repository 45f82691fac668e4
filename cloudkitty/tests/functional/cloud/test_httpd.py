# SPDX-License-Identifier: Apache-2.0
"""The API behind Debian's Apache httpd and mod_wsgi, with a real Keystone, under a path prefix."""

import collections
import concurrent.futures
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading

import pytest
import requests

from cloudkitty.tests import httpd
from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional.cli import programs
from cloudkitty.tests.functional.cloud import guarded

pytestmark = pytest.mark.cloud
TOTAL = '/v1/report/total?begin=2026-06-01&end=2026-07-01'
HASHMAP = '/v1/rating/module_config/hashmap'


@pytest.fixture(scope='module')
def served(cloud):
    """(server, API, token of an administrator of the project that is rated)."""
    done = subprocess.run([httpd.ROOT / 'tools' / 'httpd', 'install'], capture_output=True, text=True, check=False)
    if done.returncode:
        conftest._miss('httpd cannot be installed: %s' % done.stderr.strip()[-500:])
    project_id = cloud.create_project('httpd')
    credentials = cloud.create_user('httpd-admin', 'httpd', 'admin')[1]
    directory = pathlib.Path(tempfile.mkdtemp(prefix='cloudkitty-httpd-'))
    with guarded.make_api(cloud, 'cloudkitty-of-httpd') as api:
        guarded.rate(api, project_id)
        server = httpd.Httpd(directory, api.config_file)
        try:
            yield server.start(), api, credentials.session().get_token()
        finally:
            server.stop()
            shutil.rmtree(directory)


def ask(served, path, method='GET', token=True, **arguments):
    server, _, found = served
    headers = {'X-Auth-Token': found} if token else {}
    return requests.request(method, server.url + path, headers=headers, timeout=60, allow_redirects=False, **arguments)


def test_tokens_are_asked_for(served):
    server = served[0]
    assert ask(served, '/v1/info/config', token=False).status_code == 401
    assert ask(served, TOTAL).json() == '0.5', server.log()
    root = ask(served, '/', token=False).json()
    # The prefix is no part of it: that is how it always was.
    assert root['versions'][0]['links'][0]['href'] == 'http://127.0.0.1:%d/v1' % server.port
    assert ask(served, '/healthcheck', token=False).text == 'OK'


def test_locations_have_the_prefix(served):
    server = served[0]
    made = ask(served, HASHMAP + '/services', 'POST', json={'name': 'httpd'})
    assert made.status_code == 201
    expected = '%s%s/services/%s' % (server.url, HASHMAP, made.json()['service_id'])
    assert made.headers['location'] == expected
    body = {'module_id': 'hashmap', 'priority': 2}
    changed = ask(served, '/v1/rating/modules/hashmap', 'PUT', json=body)
    assert (changed.status_code, changed.headers['location']) == (302, server.url + '/v1/rating/modules/hashmap')


def test_scripts_run_for_quotes(served):
    script = 'for points in data["usage"].values():\n    for point in points: point["rating"]["price"] = 5'
    made = ask(served, '/v1/rating/module_config/pyscripts/scripts', 'POST', json={'name': 'five', 'data': script})
    assert made.status_code == 201
    ask(served, '/v1/rating/modules/pyscripts', 'PUT', json={'module_id': 'pyscripts', 'enabled': True})
    quote = ask(served, '/v1/rating/quote', 'POST', json={'resources': [{'service': 'x', 'volume': 1}]})
    assert quote.json() == '5', served[0].log()


class Load:
    """Eight clients that ask for the same all the time.

    :ivar answers: how often each (status, body) came.
    """

    def __init__(self, served):
        self._served = served
        self._ending = threading.Event()
        self._executor = concurrent.futures.ThreadPoolExecutor(8)
        self.answers = collections.Counter()

    def __enter__(self):
        self._clients = [self._executor.submit(self._ask) for _ in range(8)]
        return self

    def _ask(self):
        while not self._ending.is_set():
            answer = ask(self._served, TOTAL)
            self.answers[answer.status_code, answer.text] += 1

    def wait_for(self, count):
        """Wait until so many more answers have come."""
        enough = sum(self.answers.values()) + count
        programs.wait_until(lambda: sum(self.answers.values()) > enough)

    def __exit__(self, *_):
        self._ending.set()
        for client in self._clients:
            client.result()


def reload_by_script(server):
    (server.directory / 'app.wsgi').touch()


def reload_httpd(server):
    server.reload()


@pytest.mark.parametrize('reload', [reload_by_script, reload_httpd])
def test_reload_under_load(served, reload):
    server, api, _ = served
    metrics = api.directory / 'metrics.yml'
    unit = 'MiB'
    with Load(served) as load:
        for number in range(3):
            before = server.processes()
            load.wait_for(100)
            unit = 'MiB-%s-%d' % (reload.__name__, number)
            metrics.write_text(re.sub('unit: MiB.*', 'unit: %s' % unit, metrics.read_text()))
            reload(server)
            programs.wait_until(lambda before=before: not set(before) & set(server.processes()))
            programs.wait_until(lambda before=before: len(server.processes()) == len(before))
            load.wait_for(100)
            # Nothing is left of the processes before, nor of what they started.
            programs.wait_until(lambda before=before: not [pid for pid in before if programs.is_alive(pid)])
    others = {answer: count for answer, count in load.answers.items() if answer != (200, '"0.5"')}
    print('%s: %d answers, %d others' % (reload.__name__, sum(load.answers.values()), sum(others.values())))
    if reload is reload_by_script:
        assert others == {}, server.log()
    else:
        # What mod_wsgi refuses while it has no processes, it refuses by itself.
        assert all(status in (500, 503) and text.startswith('<!DOCTYPE') for status, text in others), others
        assert sum(others.values()) < 0.2 * sum(load.answers.values())
    units = {metric['metric_id']: metric['unit'] for metric in ask(served, '/v1/info/metrics').json()['metrics']}
    assert units['image.size'] == unit, server.log()
