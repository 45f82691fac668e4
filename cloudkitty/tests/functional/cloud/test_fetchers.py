# SPDX-License-Identifier: Apache-2.0
"""Fetchers that ask real servers."""

import http.server
import pathlib
import subprocess
import threading
import time

import pytest

import cloudkitty
from cloudkitty import errors
from cloudkitty.tests import processes
from cloudkitty.tests import seeding
from cloudkitty.tests.functional.fetcher import test_contract

ROOT = pathlib.Path(cloudkitty.__file__).parents[1]
LINES = """# TYPE project_info gauge
project_info{project_id="a",domain="one"} 1
project_info{project_id="b",domain="one"} 1
project_info{project_id="b",domain="one",name="again"} 1
project_info{project_id="c",domain="t\\"w\\\\o"} 0
project_info{domain="one"} 1
"""

pytestmark = pytest.mark.cloud


def test_scopes_of_a_real_gnocchi(cloud, tmp_path):
    adapter = cloud.gnocchi()
    mark = tmp_path.name
    adapter.post(
        '/v1/resource_type', json={'name': mark, 'attributes': {'domain': {'type': 'string', 'required': False}}}
    )
    for number in range(12):
        body = {'id': seeding.make_id(mark, str(number)), 'project_id': '%s-%d' % (mark, number // 5)}
        body |= {'domain': 'd'} if number == 0 else {}
        adapter.post('/v1/resource/%s' % mark, json=body)
    adapter.post('/v1/resource/%s' % mark, json={'id': seeding.make_id(mark, 'nobody')})
    lines = ['%s = %s' % item for item in cloud.admin.options().items()]
    lines = ['[fetcher]', 'backend = gnocchi', '[fetcher_gnocchi]', 'interface = public', *lines]

    def load(name, *more):
        (tmp_path / name).mkdir()
        return test_contract.load(tmp_path / name, [*lines, *more])

    mine = ['%s-%d' % (mark, number) for number in range(3)]
    assert load('type', 'resource_types = %s' % mark).get_tenants() == mine
    assert set(mine) <= set(load('all').get_tenants())
    found = load('attribute', 'resource_types = %s' % mark, 'scope_attribute = domain').get_tenants()
    assert found == ['d']
    with pytest.raises(errors.PermanentSourceError, match='Gnocchi has no type nothing'):
        load('nothing', 'resource_types = nothing').get_tenants()
    with pytest.raises(errors.PermanentSourceError, match='takes no search for colour'):
        load('colour', 'scope_attribute = colour').get_tenants()


class Exporter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'text/plain; version=0.0.4')
        self.end_headers()
        self.wfile.write(LINES.encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def prometheus(tmp_path):
    """The URL of a Prometheus that has scraped an exporter."""
    subprocess.run([ROOT / 'tools/prometheus', 'install'], check=True, stdin=subprocess.DEVNULL)
    exporter = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Exporter)
    threading.Thread(target=exporter.serve_forever, args=(0.05,), daemon=True).start()
    config = tmp_path / 'prometheus.yml'
    config.write_text(
        'scrape_configs: [{job_name: a, scrape_interval: 1s, static_configs: [{targets: ["127.0.0.1:%d"]}]}]\n'
        % exporter.server_port
    )
    (port,) = processes.free_ports(1)
    command = ['/usr/bin/prometheus', '--config.file=%s' % config, '--storage.tsdb.path=%s' % (tmp_path / 'data')]
    process = processes.start('prometheus', [*command, '--web.listen-address=127.0.0.1:%d' % port], tmp_path / 'log')
    yield 'http://127.0.0.1:%d' % port
    process.stop()
    exporter.shutdown()
    exporter.server_close()


def test_scopes_of_a_real_prometheus(prometheus, tmp_path):
    class Server:
        url = prometheus

    def list_them(name, *more):
        (tmp_path / name).mkdir()
        return test_contract.load(tmp_path / name, test_contract.prometheus_lines(Server, *more)).get_tenants()

    deadline = time.monotonic() + 60
    number = 0
    while True:
        number += 1
        try:
            found = list_them('all%d' % number)
        except errors.SourceError:
            found = []
        if found or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert found == ['a', 'b', 'c']
    assert list_them('filtered', 'filters = domain:one') == ['a', 'b']
    assert list_them('quoted', r'filters = domain:t"w\o') == ['c']
    assert list_them('label', 'scope_attribute = domain') == ['one', 't"w\\o']
    assert list_them('nobody', 'filters = domain:three') == []
