# SPDX-License-Identifier: Apache-2.0
"""What is released: built, installed into a clean environment and used there."""

import pathlib
import subprocess
import sys
import tarfile
import zipfile

import pytest
import requests

from cloudkitty.tests import serving
from cloudkitty.tests.functional.cli import test_starting

pytestmark = pytest.mark.package
ROOT = pathlib.Path(__file__).parents[3]
#: What no module imports, and yet has to be there.
DATA = ('cloudkitty/api/app.wsgi', 'cloudkitty/db/alembic/script.py.mako')
#: What somebody who has the source looks for.
SOURCES = (
    'LICENSE',
    'README.rst',
    'doc/source/api/openapi-v1.yaml',
    'doc/source/api/openapi-v2.yaml',
    'etc/oslo-config-generator/cloudkitty.conf',
    'etc/oslo-policy-generator/cloudkitty.conf',
    'releasenotes/source/index.rst',
    'requirements.txt',
    'setup.cfg',
    'tools/test',
)


def run(*command, **arguments):
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, **arguments)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def list_tracked(*paths):
    return run('git', 'ls-files', *paths, cwd=ROOT).split()


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """(source distribution, wheel): the second is made from the first."""
    directory = tmp_path_factory.mktemp('dist')
    run(sys.executable, '-m', 'build', '--outdir', directory, ROOT)
    (source,) = directory.glob('*.tar.gz')
    (wheel,) = directory.glob('*.whl')
    return source, wheel


@pytest.fixture(scope='module')
def prefix(built, tmp_path_factory):
    """An environment that has nothing but the wheel and what it requires."""
    directory = tmp_path_factory.mktemp('clean') / 'environment'
    run(sys.executable, '-m', 'venv', directory)
    run(directory / 'bin' / 'pip', 'install', '--quiet', '--disable-pip-version-check', built[1])
    return directory


def test_source_has_every_file(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    missing = {path for path in list_tracked() if not path.startswith('.')} - names
    assert missing == set()
    assert set(SOURCES) <= names


def test_wheel_has_every_module_and_every_migration(built):
    names = set(zipfile.ZipFile(built[1]).namelist())
    assert {path for path in list_tracked('cloudkitty') if path.endswith('.py')} <= names
    assert set(DATA) <= names


def test_requirements_fit(prefix):
    assert 'No broken requirements found.' in run(prefix / 'bin' / 'pip', 'check')


def test_files_of_etc_are_installed(prefix):
    for path in list_tracked('etc'):
        if path.startswith('etc/oslo-') or '.test.' in path:
            continue  # for who builds
        place = path if path.startswith('etc/cloudkitty/') else path.replace('etc/', 'share/cloudkitty/', 1)
        assert (prefix / place).read_bytes() == (ROOT / path).read_bytes()


@pytest.mark.parametrize('name', test_starting.COMMANDS)
def test_command_answers(prefix, name):
    command = prefix / 'bin' / name
    version = run(prefix / 'bin' / 'python', '-c', 'from cloudkitty import version; print(version.version_string())')
    assert run(command, '--version') == version
    assert run(command, '--help').startswith('usage: %s ' % name)


def test_tables_are_made_and_the_api_is_served(prefix, tmp_path):
    conf = tmp_path / 'cloudkitty.conf'
    conf.write_text(
        '[DEFAULT]\nauth_strategy = noauth\ntransport_url = fake:/\n'
        '[database]\nconnection = sqlite:///%s/cloudkitty.sqlite\n'
        '[collect]\nmetrics_conf = %s/etc/cloudkitty/metrics.yml\n' % (tmp_path, prefix)
    )
    options = ('--config-file', conf)
    run(prefix / 'bin' / 'cloudkitty-dbsync', *options, 'upgrade')
    run(prefix / 'bin' / 'cloudkitty-storage-init', *options)
    run(prefix / 'bin' / 'cloudkitty-dbsync', *options, 'check')
    # Nothing names the paste file: it is found where the package is installed.
    arguments = [str(prefix / 'bin' / 'cloudkitty-api'), *map(str, options), '-p', '0', '-b', '127.0.0.1']
    with serving.listen(arguments, tmp_path / 'api.log', 'cloudkitty-api') as server:
        url = 'http://127.0.0.1:%d' % server.port
        assert requests.get('%s/healthcheck' % url, timeout=60).text == 'OK'
        assert requests.get('%s/v1/report/total' % url, timeout=60).json() == '0'
        assert requests.get('%s/v2/scope' % url, timeout=60).status_code == 404
