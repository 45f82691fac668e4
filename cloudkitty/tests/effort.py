# SPDX-License-Identifier: Apache-2.0
"""What requests ask of a database: their statements, and the rows that those make the server read.

Statements are noted while a request runs and run once more afterwards, alone, between two looks at what the server
counts: MariaDB's ``Rows_read`` and ``Handler_read_%`` of the session, PostgreSQL's ``EXPLAIN (ANALYZE, BUFFERS)``.
SQLite counts nothing.

PostgreSQL reads a table of few pages whole, however good its index. What is counted there is the way by the index;
what it really read whole is noted beside.
"""

import collections
import contextlib
import dataclasses
import re

import sqlalchemy

_TABLE = re.compile(r'\bFROM (\w+)')


@dataclasses.dataclass
class Effort:
    """What some statements asked for.

    :ivar statements: how many there were, transaction control left out.
    :ivar fetched: rows that came to us.
    :ivar read: table to the rows that the server read of it; empty on SQLite.
    :ivar steps: what the server counts besides: steps of handlers on MariaDB, pages on PostgreSQL.
    :ivar whole: table to the pages of it, of those that PostgreSQL really reads whole.
    """

    statements: int = 0
    fetched: int = 0
    read: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    steps: int = 0
    whole: collections.Counter = dataclasses.field(default_factory=collections.Counter)


@contextlib.contextmanager
def note():
    """Give a list to which every statement that any engine sends is added, with its parameters."""
    found = []

    def add(connection, cursor, statement, parameters, context, executemany):
        if statement.split()[0] not in ('BEGIN', 'ROLLBACK', 'SET'):
            found.append((statement, parameters))

    sqlalchemy.event.listen(sqlalchemy.Engine, 'before_cursor_execute', add)
    try:
        yield found
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, 'before_cursor_execute', add)


def measure(database, noted):
    """Run the statements *noted*, which must be questions, once more; return their :class:`Effort`."""
    result = Effort()
    look = {'mysql': _run_on_mariadb, 'postgresql': _run_on_postgresql, 'sqlite': _run}[database.dialect]
    connection = database.engine.raw_connection()
    try:
        cursor = connection.cursor()
        for statement, parameters in noted:
            assert statement.startswith('SELECT'), statement
            result.statements += 1
            look(cursor, statement, parameters, result)
        connection.rollback()
    finally:
        connection.close()
    return result


def _run(cursor, statement, parameters, result):
    cursor.execute(statement, parameters)
    result.fetched += len(cursor.fetchall())


def _run_on_mariadb(cursor, statement, parameters, result):
    # Looking counts as well, the same each time.
    _look(cursor)
    first = _look(cursor)
    second = _look(cursor)
    _run(cursor, statement, parameters, result)
    third = _look(cursor)
    spent = {name: third[name] - second[name] - (second[name] - first[name]) for name in third}
    result.read[_TABLE.search(statement)[1]] += spent.pop('Rows_read')
    result.steps += sum(spent.values())


def _look(cursor):
    cursor.execute("SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%' OR Variable_name = 'Rows_read'")
    return {name: int(value) for name, value in cursor.fetchall()}


def _run_on_postgresql(cursor, statement, parameters, result):
    _run(cursor, statement, parameters, result)
    for node in _nodes(_explain(cursor, statement, parameters)):
        if node['Node Type'] == 'Seq Scan':
            result.whole[node['Relation Name']] += node['Shared Hit Blocks'] + node['Shared Read Blocks']
    cursor.execute('SET LOCAL enable_seqscan = off')
    plan = _explain(cursor, statement, parameters)
    cursor.execute('SET LOCAL enable_seqscan = on')
    result.steps += plan['Shared Hit Blocks'] + plan['Shared Read Blocks']
    for node in _nodes(plan):
        if 'Relation Name' in node:
            dropped = node.get('Rows Removed by Filter', 0) + node.get('Rows Removed by Index Recheck', 0)
            result.read[node['Relation Name']] += round((node['Actual Rows'] + dropped) * node['Actual Loops'])


def _explain(cursor, statement, parameters):
    cursor.execute('EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' + statement, parameters)
    return cursor.fetchone()[0][0]['Plan']


def _nodes(node):
    yield node
    for child in node.get('Plans', ()):
        yield from _nodes(child)
