# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: databases, floors, counts, and the file that figures go to.

A benchmark prints figures beside the floor of the same run. With ``--save`` they also go to
``benchmarks/results/NAME.json``, with the machine they were measured on.
"""

import contextlib
import datetime
from decimal import Decimal
import importlib.metadata
import io
import json
import os
import pathlib
import platform
import socket
import subprocess
import sys
import tempfile
import time

import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.tests.functional import conftest

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / 'benchmarks' / 'results'
KINDS = ('sqlite', *conftest.SERVERS)
PACKAGES = ('SQLAlchemy', 'PyMySQL', 'psycopg2-binary', 'eventlet', 'requests', 'pecan')


def describe_machine():
    """Return what figures depend on: processor, memory, versions."""
    info = pathlib.Path('/proc/cpuinfo')
    models = [line.partition(':')[2].strip() for line in info.read_text().splitlines() if line.startswith('model name')]
    return {
        'processor': models[0] if models else platform.processor() or platform.machine(),
        'cores': len(os.sched_getaffinity(0)),
        'memory MiB': os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 20,
        'system': platform.platform(),
        'Python': platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def add_option(parser):
    """Add ``--save`` to the options of a benchmark."""
    parser.add_argument('--save', action='store_true', help='keep the figures in benchmarks/results')


def save(name, figures, servers=()):
    """Write *figures* (anything JSON takes; Decimals and floats are rounded to 4 digits) of the benchmark *name*.

    :param servers: {kind of database: its version}, as :func:`version_of` gives.
    """
    commit = subprocess.run(
        ['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, capture_output=True, text=True, check=False
    )
    RESULTS.mkdir(exist_ok=True)
    content = {
        'benchmark': name,
        'command': ' '.join([os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]),
        'at': datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0).isoformat(),
        'commit': commit.stdout.strip() or None,
        'machine': describe_machine(),
        'servers': dict(servers),
        'figures': _round(figures),
    }
    (RESULTS / ('%s.json' % name)).write_text(json.dumps(content, indent=1) + '\n')


def _round(value):
    if isinstance(value, dict):
        return {str(key): _round(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_round(item) for item in value]
    if isinstance(value, float | Decimal):
        return float('%.4g' % value)
    return value


def answers(kind):
    """Return whether the database server *kind* answers; one that does not is an error in CI."""
    if kind == 'sqlite':
        return True
    try:
        socket.create_connection(('127.0.0.1', conftest.SERVERS[kind][1]), timeout=2).close()
    except OSError:
        if os.environ.get('CI', '').lower() in ('1', 'true', 'yes'):
            raise SystemExit('%s does not answer' % kind) from None
        print('%-11s does not answer: skipped' % kind)
        return False
    return True


def empty_url(kind, directory):
    """Give the URL of a new, empty database of *kind*; one of SQLite is a file below *directory*."""
    place = pathlib.Path(tempfile.mkdtemp(dir=directory))
    return contextlib.contextmanager(conftest.make_url)(kind, place)


@contextlib.contextmanager
def empty_database(kind, directory):
    """Give a new database of *kind* with every table."""
    with empty_url(kind, directory) as url:
        database = engine.Database(url)
        try:
            migration.upgrade_all(database)
            yield database
        finally:
            database.dispose()


def version_of(database):
    """Return what the server of *database* calls itself."""
    query = 'SELECT sqlite_version()' if database.dialect == 'sqlite' else 'SELECT version()'
    with database.engine.connect() as connection:
        return str(connection.exec_driver_sql(query).scalar()).partition(' on ')[0]


def peak_memory():
    """Return the peak memory of this process in MiB; what getrusage says includes that of the parent."""
    for line in pathlib.Path('/proc/self/status').read_text().splitlines():
        if line.startswith('VmHWM:'):
            return int(line.split()[1]) // 1024
    raise OSError('VmHWM is missing in /proc/self/status.')


class Counter:
    """What an engine sends: statements, rows given with them, and transactions committed."""

    def __init__(self, database):
        self.statements = self.rows = self.commits = 0
        sqlalchemy.event.listen(database.engine, 'before_cursor_execute', self._note_statement)
        sqlalchemy.event.listen(database.engine, 'commit', self._note_commit)

    def _note_statement(self, connection, cursor, statement, parameters, context, executemany):
        self.statements += 1
        if executemany:
            self.rows += len(parameters)

    def _note_commit(self, connection):
        self.commits += 1


def best_of(rounds, function, *args):
    """Return the least processor seconds that *function* took."""
    found = []
    for _ in range(rounds):
        begin = time.process_time()
        function(*args)
        found.append(time.process_time() - begin)
    return min(found)


def floor_of_reading(lines):
    """Return the processor seconds of ``json.loads`` of *lines*."""

    def read():
        for line in lines:
            json.loads(line)

    return best_of(3, read)


def floor_of_pricing(points):
    """Return the processor seconds of ``[q * c + c for q in qs]`` over so many *points*."""
    quantities = [Decimal(number * 31 % 4800) / 32 for number in range(points)]
    cost = Decimal('0.125')
    return best_of(3, lambda: [quantity * cost + cost for quantity in quantities])


DAY_ROW = ('day', 'series_id', 'scope_id', 'qty', 'price', 'points', 'body')


class InsertFloor:
    """The fastest insert by hand of the same day rows, on a connection of the same engine.

    Multi-row INSERT with literals on MariaDB, COPY on PostgreSQL, ``executemany`` of texts on SQLite; into a table of
    the same shape, and nothing else done.
    """

    def __init__(self, database):
        self._database = database
        with database.engine.begin() as connection:
            if database.dialect == 'sqlite':
                (text,) = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'rated_days'").one()
                connection.exec_driver_sql(text.replace('rated_days', 'floor_days'))
                connection.exec_driver_sql('CREATE INDEX idx_floor ON floor_days (scope_id, day)')
            elif database.dialect == 'mysql':
                connection.exec_driver_sql('CREATE TABLE floor_days LIKE rated_days')
            else:
                connection.exec_driver_sql('CREATE TABLE floor_days (LIKE rated_days INCLUDING ALL)')

    def read(self, first_day, last_day):
        """Return the day rows of these days, as a driver gives and takes them, in key order."""
        with self._database.engine.connect() as connection:
            query = 'SELECT %s FROM rated_days WHERE day BETWEEN %d AND %d ORDER BY day, series_id'
            return [tuple(row) for row in connection.exec_driver_sql(query % (', '.join(DAY_ROW), first_day, last_day))]

    def write(self, rows, by_driver=False):
        """Write *rows* in one transaction; return (wall, processor) seconds.

        :param by_driver: with ``executemany`` of the driver and parameters, as programs usually do.
        """
        connection = self._database.engine.raw_connection()
        try:
            cursor = connection.cursor()
            wall, cpu = time.perf_counter(), time.process_time()
            self._execute(cursor, rows, by_driver)
            connection.commit()
            return time.perf_counter() - wall, time.process_time() - cpu
        finally:
            connection.close()

    def _execute(self, cursor, rows, by_driver):
        names = ', '.join(DAY_ROW)
        dialect = self._database.dialect
        if dialect == 'sqlite':
            cursor.executemany('INSERT OR REPLACE INTO floor_days (%s) VALUES (?, ?, ?, ?, ?, ?, ?)' % names, rows)
        elif dialect == 'mysql':
            update = ', '.join('%s = VALUES(%s)' % (name, name) for name in DAY_ROW[2:])
            text = 'INSERT INTO floor_days (%s) VALUES %%s ON DUPLICATE KEY UPDATE %s' % (names, update)
            if by_driver:
                cursor.executemany(text % ('(%s)' % ', '.join(['%s'] * 7)), rows)
                return
            for first in range(0, len(rows), 2000):
                cursor.execute(
                    text % ','.join(["(%d,%d,%d,%s,%s,%d,'%s')" % row for row in rows[first : first + 2000]])
                )
        else:
            update = ', '.join('%s = excluded.%s' % (name, name) for name in DAY_ROW[2:])
            conflict = 'ON CONFLICT (day, series_id) DO UPDATE SET %s' % update
            if by_driver:
                places = ', '.join(['%s'] * 7)
                cursor.executemany('INSERT INTO floor_days (%s) VALUES (%s) %s' % (names, places, conflict), rows)
                return
            text = io.StringIO(''.join(['%d\t%d\t%d\t%s\t%s\t%d\t%s\n' % row for row in rows]))
            cursor.execute('CREATE TEMPORARY TABLE floor_new (LIKE floor_days) ON COMMIT DROP')
            cursor.copy_expert('COPY floor_new (%s) FROM STDIN' % names, text)
            cursor.execute(
                'INSERT INTO floor_days (%s) SELECT %s FROM floor_new ORDER BY day, series_id %s'
                % (names, names, conflict)
            )


def server_seconds(kind):
    """Return the processor seconds that the database server *kind* has spent so far; 0 for SQLite."""
    names = {'mariadb': ('mariadbd', 'mysqld'), 'mysql': ('mariadbd', 'mysqld'), 'postgresql': ('postgres',)}
    ticks = 0
    for path in pathlib.Path('/proc').glob('[0-9]*/stat') if kind in names else ():
        with contextlib.suppress(OSError):
            before, _, after = path.read_text().rpartition(')')
            if before.partition('(')[2] in names[kind]:
                # Its own, and that of children that have ended.
                ticks += sum(map(int, after.split()[11:15]))
    return ticks / os.sysconf('SC_CLK_TCK')
