# SPDX-License-Identifier: Apache-2.0
"""The API as operators start it: the command, a WSGI server's import, a script for mod_wsgi."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import pytest

from cloudkitty.tests import secrecy
from cloudkitty.tests.functional.api import deployment

COMMAND = str(pathlib.Path(sys.executable).parent / 'cloudkitty-api')


@contextlib.contextmanager
def serve(*arguments):
    """Run ``cloudkitty-api``; give the process, its port and the lines it printed."""
    process = subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        banner = [process.stdout.readline().rstrip('\n') for _ in range(5)]
        found = re.search(r':(\d+)/$', banner[2])
        assert found, (banner, process.stderr.read() if process.poll() is not None else '')
        yield process, int(found.group(1)), banner
    finally:
        process.kill()
        _scan(process.communicate())


def _scan(outputs):
    for text in outputs:
        secrecy.WATCH.read(text or '', 'output of cloudkitty-api')


def get(port, path, host='127.0.0.1'):
    connection = http.client.HTTPConnection(host, port, timeout=30)
    with contextlib.closing(connection):
        connection.request('GET', path)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_the_command_serves(noauth):
    with serve('--config-file', str(noauth.config_file), '-p', '0', '-b', '127.0.0.1') as (process, port, banner):
        assert banner[0] == banner[4] == '*' * 80
        assert 'cloudkitty.api.app.build_wsgi_app' in banner[1]
        assert banner[2] == 'Available at http://%s:%d/' % (socket.gethostname(), port)
        status, body = get(port, '/')
        assert (status, json.loads(body)['versions'][0]['links'][0]['href']) == (
            200,
            'http://127.0.0.1:%d/v1' % port,
        )
        assert get(port, '/healthcheck') == (200, b'OK')
        status, body = get(port, '/v1/info/config')
        assert (status, json.loads(body)['metrics']['cpu']['unit']) == (200, 'instance')
        assert get(port, '/v1/report/total?begin=2026-06-01&end=2026-07-01') == (200, b'"2.125"')
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_clients_that_wait_for_a_thread_are_no_news(noauth):
    with serve('--config-file', str(noauth.config_file), '-p', '0', '-b', '127.0.0.1') as (process, port, _):
        with concurrent.futures.ThreadPoolExecutor(40) as executor:
            answers = list(executor.map(lambda _: get(port, '/v1/info/config')[0], range(80)))
        assert answers == [200] * 80
        process.send_signal(signal.SIGTERM)
        assert 'queue' not in ''.join(process.communicate(timeout=30))


def test_options_may_stand_behind_two_dashes(noauth):
    with serve('--port', '0', '--host', '127.0.0.1', '--', '--config-file', str(noauth.config_file)) as (
        process,
        port,
        _,
    ):
        assert get(port, '/')[0] == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_options_of_the_group_say_where_to_listen(make_api):
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    api = make_api('noauth', collect='[api]\nhost_ip = 127.0.0.1\nport = %d' % port)
    with serve('--config-file', str(api.config_file)) as (_, found, _):
        assert found == port and get(port, '/')[0] == 200


def test_the_command_listens_on_ipv6(noauth):
    try:
        socket.create_server(('::1', 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip('This machine has no IPv6.')
    with serve('--config-file', str(noauth.config_file), '-p', '0', '-b', '::1') as (_, port, _):
        assert get(port, '/', '::1')[0] == 200


def run(*arguments):
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60)
    _scan((done.stdout, done.stderr))
    return done


def test_a_port_in_use_is_told_in_one_line(noauth):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run('--config-file', str(noauth.config_file), '-p', port, '-b', '127.0.0.1')
    assert (done.returncode, done.stdout) == (1, '')
    assert re.fullmatch(r'cloudkitty-api: .*%s.*\n' % port, done.stderr)


def test_a_paste_file_that_is_not_there_is_told_in_one_line(make_api):
    api = make_api(default='api_paste_config = nowhere.ini')
    done = run('--config-file', str(api.config_file), '-p', '0')
    assert done.returncode == 1 and re.fullmatch(r'cloudkitty-api: .*nowhere\.ini.*\n', done.stderr)


@pytest.mark.parametrize('arguments', [['8889'], ['-p', 'x'], ['-p', '70000'], ['-b', 'a b'], ['--nothing']])
def test_wrong_usage(arguments):
    done = run(*arguments)
    assert done.returncode == 2 and done.stderr


def test_the_version():
    assert run('--version').returncode == 0


def import_under_a_server(api, code):
    """Run *code* as a WSGI server would that has arguments of its own; the options are in the home directory."""
    home = api.directory / '.cloudkitty'
    home.mkdir()
    for name in ('cloudkitty.conf', 'api_paste.ini'):
        (home / name).write_text((api.directory / name).read_text())
    head = 'import sys; sys.argv = ["/usr/bin/gunicorn", "--workers", "3", "-b", ":80", "--config-file", "x", "app"]\n'
    return subprocess.run(
        [sys.executable, '-c', head + code],
        env={**os.environ, 'HOME': str(api.directory)},
        cwd=deployment.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


ASK = 'import webob; print(webob.Request.blank("/v1/report/total").get_response(application).text)'


def test_the_application_is_imported_under_a_foreign_command_line(noauth):
    done = import_under_a_server(noauth, 'from cloudkitty.wsgi.api import application\n' + ASK)
    assert (done.returncode, done.stdout) == (0, '"0"\n'), done.stderr


def test_the_script_for_mod_wsgi(noauth):
    path = deployment.ROOT / 'cloudkitty' / 'api' / 'app.wsgi'
    done = import_under_a_server(
        noauth, 'import runpy; application = runpy.run_path(%r)["application"]\n%s' % (str(path), ASK)
    )
    assert (done.returncode, done.stdout) == (0, '"0"\n'), done.stderr


def test_a_server_with_its_own_configuration_file_serves_the_paste_file(noauth):
    code = (
        'from paste.deploy import loadapp\n'
        'application = loadapp("config:%s/api_paste.ini", name="cloudkitty+noauth")\n' % noauth.directory
    )
    done = import_under_a_server(noauth, code + ASK)
    assert (done.returncode, done.stdout) == (0, '"0"\n'), done.stderr
