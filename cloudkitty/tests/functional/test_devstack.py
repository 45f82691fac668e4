# SPDX-License-Identifier: Apache-2.0
"""The devstack plugin: its phases, among small functions in the place of devstack's, start the real services."""

import configparser
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest
import requests

from cloudkitty.tests import secrecy
from cloudkitty.tests.functional.cli import programs as cli_programs

ROOT = pathlib.Path(__file__).parents[3]
PLUGIN = ROOT / 'devstack'
FUNCTIONS = ROOT / 'cloudkitty' / 'tests' / 'devstack.sh'
SETTINGS = """
set -o errexit
source {functions}
source {plugin}/settings
CLOUDKITTY_DIR={root}
"""
#: What the processor says once it works, for there is none.
NO_KEYSTONE = 'The scopes cannot be listed: Keystone does not answer'
PHASES = ('stack pre-install', 'stack install', 'stack post-config', 'stack extra', 'stack test-config')


def find_port():
    with socket.create_server(('127.0.0.1', 0)) as probe:
        return probe.getsockname()[1]


class Devstack:
    """A machine on which devstack runs, in *directory*.

    :ivar environment: what local.conf would set.
    """

    def __init__(self, directory, database_url):
        self.directory = directory
        # uWSGI has no command line for the API: it looks here.
        self.conf = directory / '.cloudkitty' / 'cloudkitty.conf'
        self.bin = directory / 'bin'
        self.bin.mkdir()
        (self.bin / 'uwsgi').symlink_to(cli_programs.program('pyuwsgi'))
        self.environment = {
            **os.environ,
            'PATH': '%s:%s' % (self.bin, os.environ['PATH']),
            'BIN': str(pathlib.Path(sys.executable).parent),
            'PYTHONWARNINGS': 'ignore',
            'HOME': str(directory),
            'DEST': str(directory),
            'DATABASE_URL': database_url,
            'ENABLED_SERVICES': 'keystone,mysql,tempest',
            'UWSGI_PORT': str(find_port()),
            'CLOUDKITTY_SERVICE_PORT': str(find_port()),
            'CLOUDKITTY_CONF_DIR': str(self.conf.parent),
            'CLOUDKITTY_DATA_DIR': str(directory / 'data'),
            'CLOUDKITTY_ENABLED_DIR': str(directory / 'dashboard'),
            'CLOUDKITTY_HORIZON_ENABLED_DIR': str(directory / 'horizon'),
        }

    def run(self, script):
        """Run *script* after the settings; return what became of it."""
        text = SETTINGS.format(functions=FUNCTIONS, plugin=PLUGIN, root=ROOT) + script
        with (self.directory / 'output').open('w+') as output:
            # Not a pipe: what is started in the background would keep it.
            done = subprocess.run(
                ['bash', '-c', text], env=self.environment, stdout=output, stderr=subprocess.STDOUT, check=False,
                stdin=subprocess.DEVNULL, timeout=400,
            )  # fmt: skip
            output.seek(0)
            done.stdout = output.read()
        return done

    def phase(self, phase):
        done = self.run('source %s/plugin.sh %s' % (PLUGIN, phase))
        assert done.returncode == 0, done.stdout + self.read_logs()

    def stack(self):
        for phase in PHASES:
            self.phase(phase)

    def list_calls(self):
        path = self.directory / 'calls'
        return path.read_text().splitlines() if path.exists() else []

    def read_logs(self):
        return ''.join(path.read_text() for path in self.directory.glob('*.log'))

    def pid(self, name):
        return int((self.directory / ('%s.pid' % name)).read_text())

    def end(self):
        self.run('stop_process ck-proc; stop_process ck-api')
        for path in self.directory.glob('*.log'):
            secrecy.WATCH.read_file(path)


@pytest.fixture
def devstack(tmp_path):
    found = Devstack(tmp_path, 'sqlite:///%s/cloudkitty.sqlite' % tmp_path)
    yield found
    found.end()


def read(path):
    found = configparser.RawConfigParser()
    found.optionxform = str
    found.read(path)
    return found


def check_services(devstack, url):
    """The API answers, the processor works, and all tables are there."""
    assert requests.get('%s/healthcheck' % url, timeout=60).text == 'OK'
    assert requests.get('%s/v1/info/config' % url, timeout=60).status_code in (401, 503)
    log = devstack.directory / 'ck-proc.log'
    cli_programs.wait_until(
        lambda: NO_KEYSTONE in log.read_text() or not cli_programs.is_alive(devstack.pid('ck-proc'))
    )
    assert cli_programs.is_alive(devstack.pid('ck-proc')), log.read_text()
    done = devstack.run('"$CLOUDKITTY_BIN_DIR/cloudkitty-dbsync" --config-file "$CLOUDKITTY_CONF" check')
    assert done.returncode == 0, done.stdout


def test_every_phase_with_uwsgi(devstack):
    # There is no httpd on port 80.
    host = '127.0.0.1:%s' % devstack.environment['UWSGI_PORT']
    devstack.environment['CLOUDKITTY_SERVICE_HOST'] = host
    devstack.stack()
    conf = read(devstack.conf)
    assert (conf['collect']['collector'], conf['collect']['wait_periods']) == ('gnocchi', '0')
    assert conf['collect']['metrics_conf'] == str(devstack.conf.parent / 'metrics.yml')
    assert (conf['fetcher']['backend'], conf['fetcher_keystone']['auth_section']) == ('keystone', 'authinfos')
    assert (conf['storage']['backend'], conf['storage']['version']) == ('sqlalchemy', '2')
    assert 'rating:list_modules' in (devstack.conf.parent / 'policy.yaml').read_text()
    calls = devstack.list_calls()
    assert 'setup_develop %s' % ROOT in calls
    assert 'pip_install_gr python-cloudkittyclient' in calls
    assert [call for call in calls if 'create' in call or 'role' in call] == [
        'create_service_user cloudkitty admin',
        'get_or_create_service cloudkitty rating Rating',
        'get_or_create_endpoint rating RegionOne http://%s/rating' % host,
        'get_or_create_role rating',
        'get_or_add_user_project_role rating cloudkitty demo',
        'recreate_database cloudkitty',
    ]
    assert read(devstack.directory / 'tempest.conf')['service_available']['cloudkitty'] == 'True'
    check_services(devstack, 'http://%s/rating' % host)
    pids = [devstack.pid(name) for name in ('ck-api', 'ck-proc')]
    devstack.phase('unstack')
    assert [cli_programs.is_alive(pid) for pid in pids] == [False, False]
    devstack.phase('clean')
    assert not devstack.conf.parent.exists()
    assert not (devstack.directory / 'data').exists()


def test_api_by_itself_and_an_upgrade(devstack):
    devstack.environment['CLOUDKITTY_USE_UWSGI'] = 'False'
    devstack.stack()
    url = 'http://127.0.0.1:%s' % devstack.environment['CLOUDKITTY_SERVICE_PORT']
    assert 'get_or_create_endpoint rating RegionOne %s' % url in devstack.list_calls()
    check_services(devstack, url)
    assert not list(devstack.conf.parent.glob('*uwsgi*'))

    # grenade: the files that it has sourced are empty but for devstack's functions.
    grenade = devstack.directory / 'grenade'
    for name in ('grenaderc', 'functions', 'stackrc', 'openrc', 'lib/tls', 'lib/apache', 'lib/keystone'):
        path = grenade / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('source %s\n' % FUNCTIONS if name == 'functions' else '')
    for name in ('GRENADE_DIR', 'BASE_DEVSTACK_DIR', 'TARGET_DEVSTACK_DIR', 'TOP_DIR'):
        devstack.environment[name] = str(grenade)
    (devstack.directory / 'cloudkitty').symlink_to(ROOT)
    before = devstack.pid('ck-api')
    for script in ('shutdown.sh', 'upgrade.sh'):
        done = devstack.run('%s/upgrade/%s' % (PLUGIN, script))
        assert done.returncode == 0, done.stdout + devstack.read_logs()
    assert not cli_programs.is_alive(before)
    check_services(devstack, url)
    assert 'ensure_services_started cloudkitty-api cloudkitty-processor' in devstack.list_calls()


def test_pages_are_linked_where_horizon_is(devstack):
    devstack.environment['ENABLED_SERVICES'] += ',horizon'
    enabled, linked = devstack.directory / 'dashboard', devstack.directory / 'horizon'
    for directory in (enabled, linked):
        directory.mkdir()
    (enabled / '_11_rating.py').write_text('')
    (enabled / '__init__.py').write_text('')
    for phase in PHASES[:3]:
        devstack.phase(phase)
    assert 'setup_develop %s/cloudkitty-dashboard' % devstack.directory in devstack.list_calls()
    assert [path.name for path in linked.iterdir()] == ['_11_rating.py']
    devstack.phase('clean')
    assert list(linked.iterdir()) == []


def test_storage_of_another_release_is_refused_first(devstack):
    devstack.environment['CLOUDKITTY_STORAGE_BACKEND'] = 'influxdb'
    done = devstack.run('source %s/plugin.sh stack pre-install' % PLUGIN)
    assert done.returncode == 1
    assert 'this release has sqlalchemy, not influxdb' in done.stdout


def test_nothing_is_done_where_the_services_are_disabled(devstack):
    devstack.environment['DISABLED_SERVICES'] = 'ck-api,ck-proc'
    devstack.stack()
    assert devstack.list_calls() == ['define_plugin cloudkitty'] * len(PHASES)
    assert not devstack.conf.parent.exists()


def test_client_comes_from_its_repository_if_asked(devstack):
    devstack.environment['LIBS_FROM_GIT'] = 'python-cloudkittyclient'
    devstack.phase('stack install')
    assert 'setup_dev_lib python-cloudkittyclient' in devstack.list_calls()


def test_documentation_names_every_setting():
    page = (ROOT / 'doc' / 'source' / 'contributor' / 'devstack.rst').read_text()
    own = re.findall(
        r'^(CLOUDKITTY\w*)=\$[{(].*:-|^(CLOUDKITTY\w*)=\$\(trueorfalse', (PLUGIN / 'settings').read_text(), re.M
    )
    assert [name for pair in own for name in pair if name and '``%s``' % name not in page] == []
