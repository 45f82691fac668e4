# SPDX-License-Identifier: Apache-2.0
"""A real little cloud on loopback: Keystone, and Gnocchi with metricd, on SQLite and files, without root.

usage: python -m cloudkitty.tests.cloud start [--basic] DIRECTORY
       python -m cloudkitty.tests.cloud stop DIRECTORY

Only the standard library and keystoneauth are needed here: tests import it, and so does the environment that
``tools/cloud install`` makes, in which the services run.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import secrets
import socket
import sqlite3
import subprocess
import sys

from keystoneauth1 import adapter
from keystoneauth1 import exceptions
from keystoneauth1 import http_basic
from keystoneauth1 import session as sessions
from keystoneauth1.identity import v3

from cloudkitty.tests import processes

ROOT = pathlib.Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'cloud'
ENVIRONMENT = ROOT / '.cache' / 'cloud'
REGION = 'RegionOne'
#: Seconds a service may take to answer for the first time.
PATIENCE = 120

_KEYSTONE = """[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///{directory}/keystone.sqlite?timeout=60
sqlite_synchronous = false
[token]
provider = fernet
[fernet_tokens]
key_repository = {directory}/fernet
[fernet_receipts]
key_repository = {directory}/fernet
[credential]
key_repository = {directory}/credential
[cache]
# One process serves it. Without, a token takes it a second of computing.
enabled = true
backend = dogpile.cache.memory
[identity]
# Nobody attacks it: hashing is made cheap.
password_hash_rounds = 4
"""
_GNOCCHI = """[DEFAULT]
# Its INFO lines hold the whole configuration, passwords included.
verbose = false
coordination_url = file://{directory}/locks
[api]
auth_mode = {mode}
paste_config = {directory}/gnocchi-paste.ini
[indexer]
url = sqlite:///{directory}/gnocchi.sqlite?timeout=60
[storage]
driver = file
file_basepath = {directory}/measures
[metricd]
workers = 1
metric_processing_delay = 1
metric_cleanup_delay = 3600
[keystone_authtoken]
interface = internal
{authtoken}
"""
# oslo's healthcheck is an application, and its filters read the configuration only where oslo_config_file says.
_PASTE = """[composite:gnocchi+basic]
use = egg:Paste#urlmap
/ = gnocchiversions
/v1 = gnocchiv1
/healthcheck = healthcheck

[composite:gnocchi+keystone]
use = egg:Paste#urlmap
/ = gnocchiversions
/v1 = gnocchiv1+keystone
/healthcheck = healthcheck

[pipeline:gnocchiv1+keystone]
pipeline = keystone_authtoken gnocchiv1

[app:gnocchiversions]
paste.app_factory = gnocchi.rest.app:app_factory
root = gnocchi.rest.api.VersionsController

[app:gnocchiv1]
paste.app_factory = gnocchi.rest.app:app_factory
root = gnocchi.rest.api.V1Controller

[filter:keystone_authtoken]
use = egg:keystonemiddleware#auth_token
oslo_config_project = gnocchi
oslo_config_file = {directory}/gnocchi.conf

[app:healthcheck]
paste.app_factory = oslo_middleware:Healthcheck.app_factory
"""


class CloudError(Exception):
    """The cloud does not do what it should; the text says which log to read, and holds its end."""


class NotInstalled(CloudError):
    """The packages of the cloud cannot be had."""

    def __init__(self):
        super().__init__('tools/cloud install failed.')


def install():
    """Make the environment that the services run in, unless it is there; raise NotInstalled."""
    if subprocess.run([TOOL, 'install'], stdin=subprocess.DEVNULL, check=False).returncode:
        raise NotInstalled


@dataclasses.dataclass(frozen=True)
class Credentials:
    """Who asks: the options of keystoneauth's password plugin, all in the default domain."""

    auth_url: str
    username: str
    password: str
    project_name: str

    def options(self):
        """Return {option: value} for a section of a configuration file."""
        return {
            'auth_type': 'password',
            **dataclasses.asdict(self),
            'user_domain_name': 'Default',
            'project_domain_name': 'Default',
        }

    def session(self):
        options = {name: value for name, value in self.options().items() if name != 'auth_type'}
        return sessions.Session(auth=v3.Password(**options), timeout=60)


class Cloud:
    """Starts and stops a cloud that keeps all it has in *directory*.

    :param auth: ``keystone``, or ``basic``: no Keystone, and Gnocchi believes the user's name.
    :param has_gnocchi: false: Keystone alone.
    :param attached: its services end with the thread that started them, even when that is killed.
    :param ports: of Keystone and of Gnocchi; 0: any that is free.

    :ivar keystone_url: with ``/v3``; None with basic authentication.
    :ivar gnocchi_url: without ``/v1``.
    :ivar index_url: SQLAlchemy URL of Gnocchi's index, for those who must put in the past.
    :ivar admin: :class:`Credentials` of the administrator; None with basic authentication.
    """

    def __init__(self, directory, auth='keystone', attached=True, has_gnocchi=True, ports=(0, 0)):
        self.directory = pathlib.Path(directory).resolve()
        self.auth = auth
        self.has_gnocchi = has_gnocchi
        self.keystone_url = self.gnocchi_url = self.admin = None
        self.index_url = 'sqlite:///%s/gnocchi.sqlite' % self.directory
        self._attached = attached
        self._ports = ports
        self._processes = []
        self._session = None

    # life

    def start(self):
        """Make the environment, the data and the services; return self once they answer."""
        install()
        self.directory.mkdir(parents=True, exist_ok=True)
        if (self.directory / 'gnocchi.sqlite').exists():
            raise CloudError('%s has held a cloud before; take a new directory.' % self.directory)
        try:
            with contextlib.ExitStack() as sockets:
                if self.auth == 'keystone':
                    self._start_keystone(sockets)
                if self.has_gnocchi:
                    self._start_gnocchi(sockets)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Stop what was started, by process id; the data stay."""
        for process in reversed(self._processes):
            process.stop()
        self._processes.clear()
        (self.directory / 'cloud.json').unlink(missing_ok=True)

    @classmethod
    def load(cls, directory):
        """Return the cloud that runs in *directory*; raises CloudError when there is none."""
        cloud = cls(directory)
        try:
            saved = json.loads((cloud.directory / 'cloud.json').read_text())
        except OSError:
            raise CloudError('No cloud runs in %s.' % cloud.directory) from None
        cloud.auth, cloud.keystone_url, cloud.gnocchi_url = saved['auth'], saved['keystone'], saved['gnocchi']
        cloud.admin = saved['admin'] and Credentials(**saved['admin'])
        cloud._processes = [processes.Process(**process) for process in saved['processes']]
        return cloud

    def _save(self):
        state = {
            'auth': self.auth,
            'keystone': self.keystone_url,
            'gnocchi': self.gnocchi_url,
            'admin': self.admin and dataclasses.asdict(self.admin),
            'processes': [dataclasses.asdict(process) for process in self._processes],
        }
        path = self.directory / 'cloud.json'
        path.touch(mode=0o600)
        path.write_text(json.dumps(state, indent=1))

    # services

    def _start_keystone(self, sockets):
        listener, url = _listen(sockets, self._ports[0])
        self.keystone_url = '%s/v3' % url
        self.admin = Credentials(self.keystone_url, 'admin', secrets.token_urlsafe(12), 'admin')
        config = self._write('keystone.conf', _KEYSTONE)
        for name in ('fernet', 'credential'):
            (self.directory / name).mkdir(mode=0o700)
            owner = ('--keystone-user', str(os.getuid()), '--keystone-group', str(os.getgid()))
            self._manage('keystone-manage', '--config-file', config, '%s_setup' % name, *owner)
        self._manage('keystone-manage', '--config-file', config, 'db_sync')
        _share(self.directory / 'keystone.sqlite')
        urls = [
            part
            for kind in ('public', 'internal', 'admin')
            for part in ('--bootstrap-%s-url' % kind, self.keystone_url)
        ]
        self._manage(
            'keystone-manage', '--config-file', config, 'bootstrap', '--bootstrap-region-id', REGION, *urls,
            environment={'OS_BOOTSTRAP_PASSWORD': self.admin.password},
        )  # fmt: skip
        self._serve('keystone', config, listener)
        self._await('keystone', self.keystone_url)
        self.create_project('service')

    def _start_gnocchi(self, sockets):
        listener, self.gnocchi_url = _listen(sockets, self._ports[1])
        authtoken = {}
        if self.auth == 'keystone':
            self.create_service('gnocchi', 'metric', self.gnocchi_url)
            authtoken = self.create_service_user('gnocchi').options()
        config = self._write(
            'gnocchi.conf',
            _GNOCCHI,
            mode=self.auth,
            authtoken='\n'.join('%s = %s' % item for item in authtoken.items()),
        )
        self._write('gnocchi-paste.ini', _PASTE)
        info = self.directory / 'plugins' / 'cloud_index-1.0.dist-info'
        info.mkdir(parents=True)
        (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: cloud-index\nVersion: 1.0\n')
        (info / 'entry_points.txt').write_text(
            '[gnocchi.indexer]\nsqlite = cloudkitty.tests.cloud_index:SQLiteIndexer\n'
        )
        self._manage('gnocchi-upgrade', '--config-file', config)
        _share(self.directory / 'gnocchi.sqlite')
        self._serve('gnocchi', config, listener)
        self._spawn('metricd', 'gnocchi-metricd', '--config-file', config)
        self._await('gnocchi', '%s/' % self.gnocchi_url)

    def _write(self, name, template, **values):
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(template.format(directory=self.directory, **values))
        return str(path)

    def _environment(self):
        paths = (str(ROOT), str(self.directory / 'plugins'))
        return {**os.environ, 'PYTHONPATH': os.pathsep.join(paths), 'PYTHONWARNINGS': 'ignore'}

    def _manage(self, program, *arguments, environment=None):
        done = subprocess.run(
            [ENVIRONMENT / 'bin' / program, *arguments],
            env={**self._environment(), **(environment or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CloudError('%s failed:\n%s' % (program, done.stdout[-4000:]))

    def _spawn(self, name, *arguments, descriptors=()):
        program = ENVIRONMENT / 'bin' / arguments[0]
        process = processes.start(
            name, [program, *arguments[1:]], self.log(name), self._attached,
            env=self._environment(), cwd=self.directory, pass_fds=descriptors,
        )  # fmt: skip
        self._processes.append(process)
        self._save()

    def _serve(self, name, config, listener):
        descriptor = listener.fileno()
        module = ('-m', 'cloudkitty.tests.cloud_server')
        self._spawn(name, 'python', *module, name, config, str(descriptor), descriptors=[descriptor])

    def _await(self, name, url):
        """Wait until *url* answers; the socket listens since before the service started."""
        plain = adapter.Adapter(sessions.Session(timeout=PATIENCE))
        try:
            plain.get(url, headers={'Accept': 'application/json'}, authenticated=False)
        except exceptions.ClientException as error:
            raise CloudError('%s does not answer: %s\n%s' % (name, error, self.tail(name))) from error

    def log(self, name):
        """Return the path of the log of a service: keystone, gnocchi or metricd."""
        return self.directory / ('%s.log' % name)

    def tail(self, name):
        """Return the last lines of the log of a service."""
        return '\n'.join(process.tail() for process in self._processes if process.name == name)

    def check(self):
        """Raise CloudError when a service that was started is gone."""
        for process in self._processes:
            if not process.is_alive():
                raise CloudError('%s has ended:\n%s' % (process.name, process.tail()))

    # clients

    def session(self):
        """Return the keystoneauth session of the administrator."""
        if self._session is None and self.admin is None:
            auth = http_basic.HTTPBasicAuth(endpoint=self.gnocchi_url, username='admin', password='')
            self._session = sessions.Session(auth=auth, timeout=60)
        elif self._session is None:
            self._session = self.admin.session()
        return self._session

    def gnocchi(self):
        """Return an adapter of the administrator to Gnocchi; paths begin with ``/v1``."""
        headers = {'Accept': 'application/json'}
        return adapter.Adapter(self.session(), endpoint_override=self.gnocchi_url, additional_headers=headers)

    def keystone(self):
        """Return an adapter of the administrator to Keystone; paths begin behind ``/v3``."""
        return adapter.Adapter(self.session(), endpoint_override=self.keystone_url)

    # accounts

    def create_project(self, name):
        """Return the id of a new project."""
        made = self.keystone().post('/projects', json={'project': {'name': name, 'domain_id': 'default'}})
        return made.json()['project']['id']

    def create_user(self, name, project_name, *roles):
        """Make a user with *roles* in a project; return its (id, :class:`Credentials`)."""
        credentials = Credentials(self.keystone_url, name, secrets.token_urlsafe(12), project_name)
        body = {'user': {'name': name, 'password': credentials.password, 'domain_id': 'default'}}
        user_id = self.keystone().post('/users', json=body).json()['user']['id']
        for role in roles:
            self.grant(role, user_id, self._find('projects', project_name))
        return user_id, credentials

    def create_service_user(self, name):
        """Make an administrator in project ``service``; return its :class:`Credentials`."""
        return self.create_user(name, 'service', 'admin', 'service')[1]

    def create_role(self, name):
        """Make a role, unless it exists."""
        with contextlib.suppress(exceptions.Conflict):
            self.keystone().post('/roles', json={'role': {'name': name}})

    def grant(self, role, user_id, project_id):
        path = '/projects/%s/users/%s/roles/%s' % (project_id, user_id, self._find('roles', role))
        self.keystone().put(path)

    def create_service(self, name, kind, url):
        """Put a service into the catalogue, under the same URL for everybody, in place of others of its kind."""
        client = self.keystone()
        for found in client.get('/services', params={'type': kind}).json()['services']:
            client.delete('/services/%(id)s' % found)
        service_id = client.post('/services', json={'service': {'name': name, 'type': kind}}).json()['service']['id']
        for interface in ('public', 'internal', 'admin'):
            endpoint = {'service_id': service_id, 'interface': interface, 'url': url, 'region_id': REGION}
            client.post('/endpoints', json={'endpoint': endpoint})

    def _find(self, kind, name):
        return self.keystone().get('/%s' % kind, params={'name': name}).json()[kind][0]['id']


def _listen(sockets, port):
    """Return a listening socket on *port* of loopback, 0: a free one, and its URL: nobody else can take the port."""
    listener = sockets.enter_context(socket.create_server(('127.0.0.1', port), backlog=128))
    return listener, 'http://127.0.0.1:%d' % listener.getsockname()[1]


def _share(path):
    """Let readers of an SQLite file go on while somebody writes; the file remembers it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('PRAGMA journal_mode = WAL')


def main(command, *arguments):
    """Start or stop a cloud from the command line."""
    directory = arguments[-1]
    try:
        if command == 'stop':
            Cloud.load(directory).stop()
            return
        cloud = Cloud(directory, 'basic' if '--basic' in arguments else 'keystone', attached=False).start()
    except CloudError as error:
        sys.exit(str(error))
    print('Gnocchi   %s' % cloud.gnocchi_url)
    if cloud.admin:
        print('Keystone  %s' % cloud.keystone_url)
        for name, value in cloud.admin.options().items():
            print('export OS_%s=%s' % (name.upper(), value))
        print('export OS_IDENTITY_API_VERSION=3 OS_REGION_NAME=%s' % REGION)


if __name__ == '__main__':
    main(*sys.argv[1:])
