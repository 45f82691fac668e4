# SPDX-License-Identifier: Apache-2.0
"""The samples for uWSGI, logrotate, Kolla and bash."""

import concurrent.futures
import json
import os
import pathlib
import shlex
import shutil
import socket
import subprocess

import pytest
import requests

from cloudkitty.tests.functional.cli import programs as cli_programs
from cloudkitty.tests.functional.cli import test_starting

ETC = pathlib.Path(__file__).parents[4] / 'etc'
IMAGES = sorted((ETC / 'kolla').iterdir())


@pytest.fixture
def uwsgi(programs):
    """(the API under uWSGI, its address, its file)."""
    with socket.create_server(('127.0.0.1', 0)) as probe:
        address = '127.0.0.1:%d' % probe.getsockname()[1]
    text = (ETC / 'uwsgi' / 'cloudkitty-api.ini').read_text()
    assert 'http-socket = :8889\n' in text
    path = programs.directory / 'cloudkitty-api.ini'
    path.write_text(text.replace('http-socket = :8889', 'http-socket = %s' % address))
    programs.set('DEFAULT', auth_strategy='noauth', api_paste_config=ETC / 'cloudkitty' / 'api_paste.ini')
    programs.prepare()
    programs.write()
    # Its options are found where they are without a command line.
    programs.environment['HOME'] = str(programs.directory)
    running = cli_programs.Running([cli_programs.program('pyuwsgi'), '--ini', str(path)], programs)
    try:
        running.wait_for('WSGI app 0', times=2)
        yield running, 'http://%s' % address, path
    finally:
        running.signal(cli_programs.SIGTERM)
        running.wait()
        running.end()


def test_uwsgi_serves_the_api(uwsgi):
    running, url, path = uwsgi
    assert requests.get(url, timeout=60).status_code == 200
    assert requests.get('%s/healthcheck' % url, timeout=60).text == 'OK'
    # The body is read, and a request that is as long as one may be is answered.
    made = requests.post('%s/v1/rating/module_config/hashmap/services' % url, json={'name': 'cpu'}, timeout=60)
    assert (made.status_code, made.json()['name']) == (201, 'cpu')
    assert requests.get('%s/v1/report/total?service=%s' % (url, 'x' * 60000), timeout=60).status_code == 200


def test_touched_file_of_uwsgi_has_options_read_again(uwsgi, programs):
    running, url, path = uwsgi

    def read():
        return requests.get('%s/v1/info/config' % url, timeout=60).json()['metrics']['cpu']['unit']

    assert read() == 'u'
    programs.metrics.write_text(programs.metrics.read_text().replace('unit: u', 'unit: v'))
    os.utime(path)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # Each process in its turn; no request is lost meanwhile.
        waiting = pool.submit(running.wait_for, 'WSGI app 0', times=4, seconds=200)
        while not waiting.done():
            assert read() in ('u', 'v')
        waiting.result()
    assert {read() for _ in range(10)} == {'v'}


def test_logs_are_rotated(tmp_path):
    rotate = shutil.which('logrotate', path='/usr/sbin:/usr/bin')
    if rotate is None:
        pytest.skip('logrotate is not here.')
    log = tmp_path / 'processor.log'
    log.write_text('a line\n' * 20000)
    sample = tmp_path / 'cloudkitty'
    sample.write_text((ETC / 'logrotate.d' / 'cloudkitty').read_text().replace('/var/log/cloudkitty', str(tmp_path)))
    sample.chmod(0o644)
    with log.open('a') as writer:
        subprocess.run([rotate, '--force', '--state', tmp_path / 'state', sample], check=True, timeout=60)
        writer.write('another\n')
    assert log.read_text() == 'another\n'
    assert (tmp_path / 'processor.log.1').read_text() == 'a line\n' * 20000


@pytest.mark.parametrize('image', IMAGES, ids=lambda image: image.name)
def test_kolla_starts_a_command_with_the_files_it_gets(image):
    found = json.loads((image / 'config.json').read_text())
    assert set(found) == {'command', 'config_files', 'permissions'}
    for item in found['config_files']:
        assert set(item) - {'optional'} == {'source', 'dest', 'owner', 'perm'}
        assert os.path.basename(item['source']) == os.path.basename(item['dest'])
    command, *arguments = shlex.split(found['command'])
    assert command in {'uwsgi', *test_starting.COMMANDS}
    assert {word for word in arguments if word.startswith('/')} <= {item['dest'] for item in found['config_files']}


def complete(*words):
    """Return what bash offers for the last of *words*."""
    script = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cloudkitty; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ['bash', '-c', script, ETC / 'bash_completion.d' / 'cloudkitty', cli_programs.program(words[0]), *words[1:]],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ''
    return done.stdout.split()


@pytest.mark.parametrize(
    ('words', 'offered'),
    [
        (('cloudkitty-dbsync', 'st'), ['stamp']),
        (('cloudkitty-dbsync', 'stamp', '--'), ['--help', '--module', '--revision']),
        (('cloudkitty-dbsync', '--config-f'), ['--config-file']),
        (('cloudkitty-dbsync', '--config-file', __file__[:-1]), [__file__]),
        (('cloudkitty-storage-import', '--dry'), ['--dry-run']),
        (('cloudkitty-api', '--po'), ['--port']),
        (('cloudkitty-status', 'u'), ['upgrade']),
    ],
)
def test_bash_completes(words, offered):
    assert complete(*words) == offered


def test_bash_completes_every_command():
    text = (ETC / 'bash_completion.d' / 'cloudkitty').read_text()
    assert sorted(set(text[text.index('-F _cloudkitty') :].replace('\\', '').split()[2:])) == test_starting.COMMANDS
