# SPDX-License-Identifier: Apache-2.0
"""The database: one engine a process, and transactions that are committed by leaving them."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import inspect
import random
import re
import socket
import sqlite3
import time
from typing import Any
from typing import TypeVar

from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import engines
from oslo_log import log
from oslo_utils import importutils
import sqlalchemy
from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty import telemetry
from cloudkitty.db import types

LOG = log.getLogger(__name__)

#: What makes :meth:`Database.repeat` run its function again.
REPEATABLE = (db_exc.DBDeadlock, db_exc.DBDuplicateEntry)
#: What a database that is away makes of a statement. Errors of connecting come as they are: oslo.db only knows those of
#: MySQL.
AWAY = (db_exc.DBConnectionError, sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
#: Error numbers and texts of lock time-outs and serialisation failures that oslo.db leaves as they are.
_REPEATABLE_TEXTS = ('database is locked', 'lock wait timeout', 'could not serialize', 'record has changed since')
_NO_TABLE = re.compile(r"no such table|Table '.*' doesn't exist|relation \".*\" does not exist")

#: Seconds after which a server that says nothing, though its host is asked, is given up, and after which the server
#: gives up a transaction in which it is told nothing: a cable that was pulled tells neither of them, and the locks of a
#: host that is gone would be kept for hours.
SILENCE = 60
#: An error number of MySQL: it has no such variable.
_UNKNOWN_VARIABLE = 1193

Result = TypeVar('Result')


def normalise_url(connection: str) -> str:
    """Return *connection* with the driver this service speaks: PyMySQL for MySQL and MariaDB, psycopg2 for PostgreSQL.

    MySQL connections use utf8mb4 unless the URL says otherwise. Raises ConfigurationError for text that is no URL, and
    for a database whose driver is not installed.
    """
    try:
        url = sqlalchemy.make_url(connection)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        raise errors.ConfigurationError('[database] connection is not a database URL.') from error
    if url.drivername in ('mysql', 'mariadb', 'mysql+mysqldb'):
        url = url.set(drivername='mysql+pymysql')
    elif url.drivername in ('postgresql', 'postgres'):
        url = url.set(drivername='postgresql+psycopg2')
    try:
        driver = url.get_dialect().import_dbapi()
    except (sqlalchemy.exc.NoSuchModuleError, ImportError) as error:
        raise errors.ConfigurationError(
            '[database] connection: there is no driver %s here; expected mysql+pymysql, postgresql or sqlite.'
            % url.drivername
        ) from error
    if url.get_backend_name() == 'mysql' and 'charset' not in url.query:
        url = url.update_query_dict({'charset': 'utf8mb4'})
    if url.drivername == 'mysql+pymysql':
        _refuse_parameters(url, driver)
    return url.render_as_string(hide_password=False)


def _refuse_parameters(url: sqlalchemy.URL, driver: Any) -> None:
    """Refuse what PyMySQL does not take: it would say so by a TypeError, at the first connection."""
    try:
        made: Any = url.get_dialect()
        _, given = made(dbapi=driver).create_connect_args(url)
    except ValueError as error:
        raise errors.ConfigurationError('[database] connection: %s.' % error) from error
    unknown = sorted(set(given) - set(inspect.signature(driver.connections.Connection.__init__).parameters))
    if unknown:
        raise errors.ConfigurationError('[database] connection: PyMySQL has no parameter %s.' % unknown[0][:100])


class Database:
    """The database at *connection*; nothing is opened before the first transaction.

    :param options: keyword arguments of oslo.db's ``create_engine`` (pool sizes, retries, ...).
    """

    def __init__(self, connection: str, **options: Any) -> None:
        self._connection = normalise_url(connection)
        self._options = {'max_retries': 0, 'mysql_sql_mode': 'TRADITIONAL'} | options
        self._engine: sqlalchemy.Engine | None = None

    @property
    def engine(self) -> sqlalchemy.Engine:
        """The SQLAlchemy engine, made at the first use."""
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    @property
    def dialect(self) -> str:
        """``sqlite``, ``mysql`` or ``postgresql``."""
        return sqlalchemy.make_url(self._connection).get_backend_name()

    def _make_engine(self) -> sqlalchemy.Engine:
        engine = engines.create_engine(self._connection, sqlite_fk=True, **self._options)
        # Errors would quote rows of whole requests, scripts and frames, into the log.
        engine.hide_parameters = True
        if self.dialect == 'sqlite':
            sqlalchemy.event.listen(engine, 'connect', _prepare_sqlite)
            return engine
        if self.dialect == 'postgresql':
            sqlalchemy.event.listen(engine, 'do_executemany', _send_together)
            sqlalchemy.event.listen(engine, 'do_connect', _watch_postgresql)

        # By the options of a connection it would be set back each time one goes back to the pool, and one that is
        # broken by then would raise the driver's own error, after its work was done.
        @sqlalchemy.event.listens_for(engine, 'connect')
        def prepare(connection: Any, record: Any) -> None:
            engine.dialect.set_isolation_level(connection, 'READ COMMITTED')
            _limit_silence(connection, self.dialect)

        return engine

    def dispose(self) -> None:
        """Close every connection; the next transaction opens a new one."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextlib.contextmanager
    def reader(self) -> Iterator[orm.Session]:
        """Give a session for reading; nothing it does is kept."""
        session = orm.Session(self.engine)
        try:
            yield session
        finally:
            try:
                session.close()
            except AWAY:
                # Whoever worked long on what was read has it all the same.
                session.invalidate()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[orm.Session]:
        """Give a session for reading that sees one moment of the database, however many statements it takes."""
        with self.reader() as session:
            if self.dialect == 'sqlite':
                connection = session.connection()
                connection.exec_driver_sql('ROLLBACK')
                connection.exec_driver_sql('BEGIN')
            else:
                # Of this transaction only.
                session.connection().exec_driver_sql('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ')
            yield session

    @contextlib.contextmanager
    def writer(self) -> Iterator[orm.Session]:
        """Give a session whose transaction is committed by leaving the block and rolled back by any error."""
        with orm.Session(self.engine, expire_on_commit=False) as session, session.begin():
            if self.dialect == 'sqlite':
                # A plain BEGIN that writes later fails at once when another writer was faster; this one queues.
                connection = session.connection()
                connection.exec_driver_sql('ROLLBACK')
                connection.exec_driver_sql('BEGIN IMMEDIATE')
            yield session

    def repeat(self, function: Callable[[orm.Session], Result], attempts: int = 10, once: bool = False) -> Result:
        """Return *function(session)*, run in a transaction of its own.

        The whole function is run again after a deadlock, a lock time-out, a serialisation failure, a lost connection
        or a unique violation; the last error is raised when *attempts* are used up.

        :param once: what it does must not be done twice, and it would not notice: it is not run again when the
            connection was lost while its work was committed, for nobody knows whether it was.
        """
        for attempt in range(1, attempts + 1):
            has_returned = False
            try:
                with self.writer() as session:
                    result = function(session)
                    has_returned = True
                return result
            except Exception as error:
                is_unknown = once and has_returned and isinstance(error, AWAY)
                if attempt == attempts or is_unknown or not is_repeatable(error):
                    raise
                LOG.debug('Repeating a transaction (attempt %d): %s', attempt, type(error).__name__)
                telemetry.count(telemetry.REPEATED)
                time.sleep(random.uniform(0, min(0.05 * 2**attempt, 2)))
        raise AssertionError('unreachable')


def is_repeatable(error: Exception) -> bool:
    """Return whether a transaction that ended in *error* may succeed when it is run again."""
    if isinstance(error, REPEATABLE + AWAY):
        return True
    return isinstance(error, db_exc.DBError) and any(text in str(error).lower() for text in _REPEATABLE_TEXTS)


def lacks_table(error: Exception) -> bool:
    """Return whether *error* says that a table is not there; oslo.db does not tell of every server's."""
    if not isinstance(error, db_exc.DBError | sqlalchemy.exc.SQLAlchemyError):
        return False
    return isinstance(error, db_exc.DBNonExistentTable) or _NO_TABLE.search(str(error)) is not None


def describe(error: Exception) -> str:
    """Return *error* in one line; of a database error what the server says, without the statement."""
    if lacks_table(error):
        return 'A table is missing: run cloudkitty-dbsync upgrade and cloudkitty-storage-init.'
    if isinstance(error, db_exc.DBError) and error.inner_exception is not None:
        error = getattr(error.inner_exception, 'orig', None) or error.inner_exception
        return 'The database says: %s' % ' '.join(str(error).split())
    if isinstance(error, sqlalchemy.exc.SQLAlchemyError):
        return 'The database says: %s' % ' '.join(str(getattr(error, 'orig', None) or error).split())
    return ' '.join(str(error).split())


def _prepare_sqlite(connection: sqlite3.Connection, record: object) -> None:
    connection.execute('PRAGMA busy_timeout=30000')
    connection.execute('PRAGMA journal_mode=WAL')
    connection.execute('PRAGMA synchronous=NORMAL')
    connection.create_aggregate('exact_sum', 1, types.ExactSum)  # type: ignore[arg-type]


def _watch_postgresql(dialect: Any, record: Any, arguments: Any, parameters: dict[str, Any]) -> None:
    """Let libpq notice that the server's host is gone; what the URL says counts."""
    for name, value in {
        'connect_timeout': 10,
        'keepalives_idle': SILENCE // 2,
        'keepalives_interval': max(1, SILENCE // 6),
        'keepalives_count': 3,
        'tcp_user_timeout': 1000 * SILENCE,
    }.items():
        parameters.setdefault(name, value)


def _limit_silence(connection: Any, dialect: str) -> None:
    """Let the server give up a transaction in which it is told nothing, and PyMySQL notice that the server is gone."""
    if dialect == 'postgresql':
        _run(connection, "SET SESSION idle_in_transaction_session_timeout = '%ds'" % SILENCE)
        connection.commit()
        return
    # PyMySQL has no option for any of it, only for the length of an answer, which may be long.
    found = getattr(connection, '_sock', None)
    if found is not None and found.family in (socket.AF_INET, socket.AF_INET6):
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in {
            'TCP_KEEPIDLE': SILENCE // 2,
            'TCP_KEEPINTVL': max(1, SILENCE // 6),
            'TCP_KEEPCNT': 3,
            'TCP_USER_TIMEOUT': 1000 * SILENCE,
        }.items():
            if hasattr(socket, name):
                found.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    try:
        _run(connection, 'SET SESSION idle_transaction_timeout = %d' % SILENCE)
    except Exception as error:
        # MySQL has no such limit.
        if error.args[:1] != (_UNKNOWN_VARIABLE,):
            raise


def _run(connection: Any, statement: str) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()


def _send_together(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """Send the rows of one of :mod:`cloudkitty.db.statements` together; psycopg2 would send one by one."""
    if not context.execution_options.get('together'):
        return False
    extras = importutils.import_module('psycopg2.extras')
    head, found, rest = statement.partition(' VALUES ')
    if found:
        row, conflict, action = rest.partition(' ON CONFLICT')
        extras.execute_values(cursor, head + ' VALUES %s' + conflict + action, parameters, row, page_size=1000)
    else:
        extras.execute_batch(cursor, statement, parameters, page_size=1000)
    return True


def from_options(conf: Any) -> Database:
    """Return the database of group ``[database]`` of *conf* (an oslo.config object with oslo.db's options)."""
    group = conf.database
    return Database(
        group.connection or 'sqlite:////var/lib/cloudkitty/cloudkitty.sqlite',
        mysql_sql_mode=group.mysql_sql_mode,
        connection_recycle_time=group.connection_recycle_time,
        max_pool_size=group.max_pool_size,
        max_overflow=group.max_overflow,
        pool_timeout=group.pool_timeout,
        connection_debug=group.connection_debug,
        connection_trace=group.connection_trace,
    )
