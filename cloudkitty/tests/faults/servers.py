# SPDX-License-Identifier: Apache-2.0
"""Databases of the laboratory's own that can be killed and started again."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import sqlalchemy

from cloudkitty.tests import processes
from cloudkitty.tests.faults import network as networks

#: Seconds that one may take to start.
PATIENCE = 120
LOOPBACK = networks.Loopback()
#: The superuser of MariaDB may do everything from wherever he comes.
RIGHTS = "FLUSH PRIVILEGES;\nCREATE USER root@'%';\nGRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;\n"
#: MiB of the small disk that a database of a kind gets.
DISKS = {'sqlite': 32, 'mariadb': 320, 'postgresql': 256}


class NotInstalled(Exception):
    """This machine has no such server."""


def _install(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError('%s: %s %s' % (command[0], done.stdout[-2000:], done.stderr[-2000:]))


class File:
    """SQLite: there is no server, and nothing of it to kill.

    :ivar url: of the database.
    """

    kind = 'sqlite'

    def __init__(self, directory, network=LOOPBACK):
        self.directory = pathlib.Path(directory)
        self.url = 'sqlite:///%s' % (self.directory / 'cloudkitty.sqlite')

    def install(self):
        """Nothing has to be there."""

    def start(self):
        """Nothing is to be started."""

    def is_up(self):
        return True

    def stop(self):
        """Nothing is to be stopped."""

    def count_deadlocks(self):
        """Return none: all writers wait in one line."""
        return 0


class Server:
    """A server of a database.

    :param directory: for all that it writes.
    :param network: whose servers' address it listens at.
    :ivar url: of the database that the laboratory works with.
    """

    #: A directory of its own that has to be removed, if there is one.
    made = None

    def __init__(self, directory, network=LOOPBACK):
        self.network = network
        self.log = pathlib.Path(directory).with_name('server.log')
        self.directory = pathlib.Path(directory)
        self.data = self.directory / 'data'
        (self.port,) = processes.free_ports(1)
        self.process = None
        self.server_url = self.URL % (network.address, self.port)
        self.url = sqlalchemy.make_url(self.server_url).set(database='lab').render_as_string(hide_password=False)

    def start(self):
        """Start it and wait until it answers to a client."""
        deadline = time.monotonic() + PATIENCE
        while not self.is_up():
            if time.monotonic() > deadline:
                raise RuntimeError('%s does not start: %s' % (self.kind, self.process.tail()))
            time.sleep(0.1)

    def is_up(self):
        """Return whether it answers; start it where it does not run."""
        if self.process is None or not self.process.is_alive():
            # What is left of one that was killed may be in the way of the next for a moment.
            self.process = processes.start(self.kind, self.command(), self.log, **self.options())
            return False
        return self.is_answering()

    def options(self):
        return {}

    def is_answering(self):
        try:
            socket.create_connection((self.network.address, self.port), timeout=1).close()
            self.administer('SELECT 1')
        except (OSError, sqlalchemy.exc.SQLAlchemyError):
            return False
        return True

    def administer(self, statement):
        """Run a statement beside the database, and return its rows."""
        server = sqlalchemy.create_engine(self.server_url, isolation_level='AUTOCOMMIT', poolclass=sqlalchemy.NullPool)
        with server.connect() as connection:
            found = connection.exec_driver_sql(statement)
            return found.all() if found.returns_rows else []

    def kill(self):
        """End it without a word."""
        self.process.signal(signal.SIGKILL)
        while self.process.is_alive():
            time.sleep(0.02)

    def stop(self):
        if self.process is not None:
            self.process.stop()


class MariaDB(Server):
    kind = 'mariadb'
    URL = 'mysql+pymysql://root@%s:%d/?ssl_disabled=true'

    def install(self):
        """Make an empty database."""
        if not shutil.which('mariadbd'):
            raise NotInstalled('MariaDB is not installed.')
        self.directory.mkdir(parents=True, exist_ok=True)
        _install(
            ['mariadb-install-db', '--no-defaults', '--datadir=%s' % self.data,
             '--auth-root-authentication-method=normal', '--skip-test-db',
             '--user=%s' % pwd.getpwuid(os.getuid()).pw_name],
            **self.options(),
        )  # fmt: skip
        _install(
            [shutil.which('mariadbd'), '--no-defaults', '--bootstrap', '--datadir=%s' % self.data,
             '--user=%s' % pwd.getpwuid(os.getuid()).pw_name],
            input=RIGHTS, **self.options(),
        )  # fmt: skip
        self.start()
        self.administer('CREATE DATABASE lab')

    def options(self):
        # When one starts, it removes what looks like temporary tables of another in the same place.
        return {'env': {**os.environ, 'TMPDIR': str(self.directory)}}

    def command(self):
        return [
            shutil.which('mariadbd'), '--no-defaults', '--datadir=%s' % self.data, '--port=%d' % self.port,
            '--socket=%s' % (self.directory / 'socket'), '--bind-address=%s' % self.network.address,
            '--innodb-lock-wait-timeout=3',
            '--user=%s' % pwd.getpwuid(os.getuid()).pw_name, '--innodb-log-file-size=16M',
        ]  # fmt: skip

    def count_deadlocks(self):
        """Return how many there were since it was started."""
        return int(self.administer("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0][1])

    def cut(self):
        """End all connections that are in a transaction, or some others; return how many."""
        found = self.administer(
            "SELECT id FROM information_schema.processlist WHERE db = 'lab' AND id <> connection_id()"
        )
        busy = {row[0] for row in self.administer('SELECT trx_mysql_thread_id FROM information_schema.innodb_trx')}
        ids = [row[0] for row in found if row[0] in busy] or [row[0] for row in found]
        for number in ids:
            try:
                self.administer('KILL %d' % number)
            except sqlalchemy.exc.SQLAlchemyError:
                # It has gone by itself.
                continue
        return len(ids)


class PostgreSQL(Server):
    kind = 'postgresql'
    URL = 'postgresql+psycopg2://postgres@%s:%d/postgres'

    def __init__(self, directory, network=LOOPBACK):
        if os.getuid() == 0:
            # Another user's, who may not reach the directories of the superuser.
            self.made = tempfile.mkdtemp(prefix='cloudkitty-postgresql-')
        super().__init__(self.made or directory, network)
        self.log = pathlib.Path(directory).with_name('server.log')

    def _find(self, name):
        found = sorted(pathlib.Path('/usr/lib/postgresql').glob('*/bin/%s' % name))
        if not found:
            raise NotInstalled('PostgreSQL is not installed.')
        return str(found[-1])

    def options(self):
        # What becomes another user may not be able to read the Python that would start it.
        return {'attached': False, 'cwd': '/'}

    def _become(self):
        """Return the words before a command that make it another user's: it refuses to be the superuser's."""
        if os.getuid():
            return []
        return ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups', '--pdeathsig=TERM']

    def install(self):
        """Make an empty database."""
        command = [
            *self._become(),
            self._find('initdb'),
            '-D',
            str(self.data),
            '-U',
            'postgres',
            '-A',
            'trust',
            '-E',
            'UTF8',
        ]
        self.directory.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.directory, 'postgres', 'postgres')
        _install(command, cwd='/')
        if self.network.prefix:
            with (self.data / 'pg_hba.conf').open('a') as file:
                print('host all all %s trust' % self.network.prefix, file=file)
        self.start()
        self.administer('CREATE DATABASE lab')

    def command(self):
        return [
            *self._become(), self._find('postgres'), '-D', str(self.data), '-p', str(self.port), '-k', '', '-c',
            'listen_addresses=%s' % self.network.address, '-c', 'deadlock_timeout=200ms', '-c', 'max_connections=300',
        ]  # fmt: skip

    def stop(self):
        # By SIGTERM it would wait until all clients have gone.
        if self.process is not None:
            self.process.signal(signal.SIGINT)
            deadline = time.monotonic() + PATIENCE
            while self.process.is_alive() and time.monotonic() < deadline:
                time.sleep(0.05)
        super().stop()

    def count_deadlocks(self):
        return int(self.administer("SELECT deadlocks FROM pg_stat_database WHERE datname = 'lab'")[0][0])

    def cut(self):
        busy = "datname = 'lab' AND pid <> pg_backend_pid()"
        found = self.administer("SELECT pid FROM pg_stat_activity WHERE %s AND state LIKE '%%%%transaction%%%%'" % busy)
        found = found or self.administer('SELECT pid FROM pg_stat_activity WHERE %s' % busy)
        for (pid,) in found:
            self.administer('SELECT pg_terminate_backend(%d)' % pid)
        return len(found)


@contextlib.contextmanager
def small_disk(directory, kind):
    """Make *directory* a disk of its own for a database of that kind; raise NotInstalled where that is not allowed."""
    done = subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=%dm' % DISKS[kind], 'none', str(directory)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise NotInstalled('Nothing can be mounted here.')
    try:
        yield
    finally:
        subprocess.run(['umount', '--lazy', str(directory)], check=False)


KINDS = {found.kind: found for found in (File, MariaDB, PostgreSQL)}
