# SPDX-License-Identifier: Apache-2.0
"""Dumps of a database before and after an upgrade, and what differs beyond what the revisions say.

A dump is text, a JSON object a line. A table is a line with its name, the columns of its key and the kind of each
column, followed by a line for each row, sorted by key, text by code points. Amounts are text of all their digits,
floats what ``repr`` gives, bytes hexadecimal, moments ``YYYY-MM-DD hh:mm:ss``.
"""

import argparse
import contextlib
import datetime
import decimal
import json
import re
import sys

import sqlalchemy

from cloudkitty import errors
from cloudkitty.db import engine
from cloudkitty.db import migration

#: Heads of the field's chains, by version table. Those that we do not run have to stay as they are.
HEADS = {
    'cloudkitty_alembic': '385e33fef139',
    'hashmap_alembic': '8a591f85865f',
    'pyscripts_alembic': 'c6e4cda29654',
    'storage_sqlalchemy_alembic': 'd875621d0384',
    'storage_states_alembic': '9feccd32',
}
#: What the field's tables are called at the heads, by their names of old; likewise columns.
TABLES = {'hashmap_maps': 'hashmap_mappings'}
COLUMNS = {('cloudkitty_storage_states', 'state'): 'last_processed_timestamp'}
#: Tables that revisions create; seeded states apart they are empty.
CREATED = {
    'states',
    'modules_state',
    'service_to_collector_mappings',
    'hashmap_services',
    'hashmap_fields',
    'hashmap_groups',
    'hashmap_mappings',
    'hashmap_thresholds',
    'pyscripts_scripts',
    'rated_data_frames',
    'cloudkitty_storage_states',
    'storage_scope_reprocessing_schedule',
}
MOMENT = re.compile(r'20[0-9]{2}-[01][0-9]-[0-3][0-9] [0-2][0-9](:[0-5][0-9]){2}(\.[0-9]+)?')
HEXADECIMAL = re.compile('[0-9a-f]{32}')
_DATES = {
    'created_at': MOMENT,
    'end': None,
    'description': None,
    'deleted': None,
    'created_by': 'migration',
    'updated_by': None,
    'deleted_by': None,
}
#: What rows of old hold in columns that revisions add: a value, or a pattern of it.
ADDED = {
    'modules_state': {'priority': None},
    'hashmap_mappings': {'tenant_id': None, 'name': HEXADECIMAL, 'start': '1970-01-01 00:00:00', **_DATES},
    'hashmap_thresholds': {'tenant_id': None},
    'pyscripts_scripts': {'start': '2014-01-01 00:00:00', **_DATES},
    'rated_data_frames': {'tenant_id': None},
    'cloudkitty_storage_states': {
        'scope_key': None,
        'fetcher': None,
        'collector': None,
        'scope_activation_toggle_date': MOMENT,
        'active': 1,
    },
}
#: The most differences that are listed of a table.
MOST = 20


def write(url, path):
    """Write the dump of the database at *url* to *path*."""
    with open(path, 'w', encoding='utf-8') as file:
        for line in read(url):
            file.write(line + '\n')


def read(url):
    """Yield the lines of the dump of the database at *url*, as of one moment."""
    found = sqlalchemy.create_engine(engine.normalise_url(url), poolclass=sqlalchemy.NullPool)
    with found.connect() as connection:
        if found.dialect.name == 'sqlite':
            connection.exec_driver_sql('BEGIN')
        else:
            connection = connection.execution_options(isolation_level='REPEATABLE READ')
        for table in sorted(sqlalchemy.inspect(connection).get_table_names()):
            yield from _read_table(connection, table)


def _read_table(connection, table):
    inspector = sqlalchemy.inspect(connection)
    columns = inspector.get_columns(table)
    kinds = {column['name']: _find_kind(column['type']) for column in columns}
    key = inspector.get_pk_constraint(table)['constrained_columns']
    texts = {column['name'] for column in columns if isinstance(column['type'], sqlalchemy.String)}
    yield json.dumps({'table': table, 'key': key, 'columns': kinds})
    dialect = connection.dialect
    quote = dialect.identifier_preparer.quote_identifier
    chosen = [_choose(quote(name), kind, dialect.name) for name, kind in kinds.items()]
    order = [_order(quote(name), name in texts, dialect.name) for name in key]
    query = 'SELECT %s FROM %s' % (', '.join(chosen), quote(table)) + (' ORDER BY ' + ', '.join(order) if key else '')
    rows = connection.execution_options(yield_per=1000).execute(sqlalchemy.text(query.replace(':', r'\:')))
    lines = (
        json.dumps({name: _to_json(value, kind) for (name, kind), value in zip(kinds.items(), row, strict=True)})
        for row in rows
    )
    yield from lines if key else sorted(lines)


def _find_kind(kind):
    for name, classes in {
        'float': sqlalchemy.Float,
        'numeric': sqlalchemy.Numeric,
        'bytes': sqlalchemy.types._Binary,
        'moment': sqlalchemy.DateTime,
    }.items():
        if isinstance(kind, classes):
            return name
    return 'plain'


def _choose(name, kind, dialect):
    # MySQL shows six digits of a FLOAT, unless it is made a DOUBLE first.
    return '%s + 0e0' % name if (kind, dialect) == ('float', 'mysql') else name


def _order(name, is_text, dialect):
    if is_text and dialect == 'mysql':
        return 'CAST(CONVERT(%s USING utf8mb4) AS BINARY)' % name
    return '%s COLLATE "C"' % name if is_text and dialect == 'postgresql' else name


def _to_json(value, kind):
    if value is None or isinstance(value, bool):
        return value
    if kind == 'numeric':
        text = value.decode() if isinstance(value, bytes) else repr(value) if isinstance(value, float) else str(value)
        return format(decimal.Decimal(text), 'f')
    if kind == 'moment':
        moment = datetime.datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.isoformat(' ')
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return value if isinstance(value, int | float | str) else str(value)


class Dump:
    """A dump in a file, of which a row at a time is in memory.

    :ivar tables: name of each table to its line.
    """

    def __init__(self, path):
        self.path = path
        self.tables = {}
        self._places = {}
        with open(path, 'rb') as file:
            place = 0
            for line in file:
                place += len(line)
                if line.startswith(b'{"table": '):
                    table = json.loads(line)
                    self.tables[table['table']] = table
                    self._places[table['table']] = place

    def rows(self, table):
        """Yield the rows of *table*, nothing if there is no such table."""
        if table not in self.tables:
            return
        with open(self.path, 'rb') as file:
            file.seek(self._places[table])
            for line in file:
                if line.startswith(b'{"table": '):
                    return
                yield json.loads(line)


def compare(before, after):
    """Return what differs between the dumps at the paths *before* and *after*, a text each, [] if all is well.

    What should differ is what the revisions say: tables and columns are renamed and added, and rows of old have the
    values that they are given there. The version tables are at their heads. Scopes with rated rows but without a state
    have got one. Tables of ours are compared if both have them.
    """
    before, after = Dump(before), Dump(after)
    ours = _list_ours()
    found = []
    seen = set()
    for old in before.tables:
        new = TABLES.get(old, old)
        seen.add(new)
        if new not in after.tables:
            found.append('%s: the table is gone' % new)
        elif new in HEADS:
            found += _compare_version(new, after)
        elif not (new in ours and old.endswith('_alembic')):
            added = _work_out_seeds(before) if new == 'cloudkitty_storage_states' else {}
            found += _compare_tables(old, new, before, after, added, new in ours)
    for new in after.tables:
        if new in seen or new in ours:
            continue
        if new in HEADS:
            found += _compare_version(new, after)
        elif new == 'cloudkitty_storage_states':
            found += _compare_seeds(_work_out_seeds(before), list(after.rows(new)))
        elif new not in CREATED:
            found.append('%s: nobody knows this table' % new)
        elif next(after.rows(new), None) is not None:
            found.append('%s: the table is new, and has rows' % new)
    return found


def _list_ours():
    chains = (migration.LEDGER, migration.SERIES)
    return {chain.version_table for chain in chains} | {name for chain in chains for name in chain.metadata().tables}


def _compare_version(table, after):
    rows = list(after.rows(table))
    if rows != [{'version_num': HEADS[table]}]:
        return ['%s: %s instead of %s' % (table, [row['version_num'] for row in rows], HEADS[table])]
    return []


def _compare_tables(old, new, before, after, seeds, is_ours):
    found = []
    kinds = {**before.tables[old]['columns'], **after.tables[new]['columns']}
    names = {name: COLUMNS.get((new, name), name) for name in before.tables[old]['columns']}
    names = {
        name: renamed if renamed in after.tables[new]['columns'] else name
        for name, renamed in names.items()
        if not (renamed in names and renamed != name)
    }
    for name, renamed in names.items():
        if renamed not in after.tables[new]['columns']:
            found.append('%s: column %s is gone' % (new, name))
    added = [name for name in after.tables[new]['columns'] if name not in names.values()]
    rules = ADDED.get(new, {})
    if not is_ours:
        found += ['%s: nobody knows column %s' % (new, name) for name in added if name not in rules]
    if found:
        return found
    distinct = {name: set() for name in added if rules.get(name) is HEXADECIMAL}
    extra = []
    for key, was, row in _pair(old, new, before, after):
        if was is None:
            extra.append(row)
        elif row is None:
            found.append('%s %s: the row is gone' % (new, key))
        else:
            for name, renamed in names.items():
                if not _is_equal(was[name], row[renamed], kinds[renamed]):
                    found.append('%s %s: %s was %r, is %r' % (new, key, renamed, was[name], row[renamed]))
            for name in added:
                if not is_ours and not _matches(row[name], rules[name]):
                    found.append('%s %s: the new column %s is %r' % (new, key, name, row[name]))
                if name in distinct:
                    if row[name] in distinct[name]:
                        found.append('%s %s: another row has %s %r as well' % (new, key, name, row[name]))
                    distinct[name].add(row[name])
        if len(found) > MOST:
            return [*found[:MOST], '%s: and more' % new]
    if new == 'cloudkitty_storage_states':
        return found + _compare_seeds(seeds, extra)
    return found + ['%s: a row has appeared: %r' % (new, row) for row in extra]


def _pair(old, new, before, after):
    """Yield (key, row before or None, row after or None), both in the order of the keys."""
    columns = before.tables[old]['key']
    if not columns:
        columns = list(before.tables[old]['columns'])
        left = iter(sorted(before.rows(old), key=repr))
        right = iter(sorted(after.rows(new), key=repr))
        for was in left:
            row = next(right, None)
            yield tuple(was.values()), was, row
        for row in right:
            yield tuple(row.values()), None, row
        return
    left, right = before.rows(old), after.rows(new)
    was, row = next(left, None), next(right, None)
    while was is not None or row is not None:
        first = None if was is None else tuple(was[name] for name in columns)
        second = None if row is None else tuple(row[name] for name in columns)
        if second is None or (first is not None and first < second):
            yield first, was, None
            was = next(left, None)
        elif first is None or second < first:
            yield second, None, row
            row = next(right, None)
        else:
            yield first, was, row
            was, row = next(left, None), next(right, None)


def _is_equal(was, now, kind):
    if kind == 'numeric' and was is not None and now is not None:
        return decimal.Decimal(was) == decimal.Decimal(now)
    return was == now


def _matches(value, rule):
    if isinstance(rule, re.Pattern):
        return isinstance(value, str) and rule.fullmatch(value) is not None
    return value == rule


def _work_out_seeds(before):
    """Return the clock that each scope with rated rows, but without a state, has to get."""
    if migration.SERIES.version_table in before.tables:
        return {}
    known = {row['identifier'] for row in before.rows('cloudkitty_storage_states')}
    seeds = {}
    for row in before.rows('rated_data_frames'):
        tenant = row.get('tenant_id')
        if tenant is not None and tenant not in known:
            seeds[tenant] = max(row['begin'], seeds.get(tenant, ''))
    return seeds


def _compare_seeds(seeds, rows):
    found = []
    wanted = dict(seeds)
    for row in rows:
        clock = wanted.pop(row['identifier'], None)
        rest = {name: row[name] for name in ('scope_key', 'fetcher', 'collector', 'active')}
        if row['last_processed_timestamp'] != clock or any(
            not _matches(value, ADDED['cloudkitty_storage_states'][name]) for name, value in rest.items()
        ):
            found.append('cloudkitty_storage_states: a row has appeared: %r' % row)
    return found + ['cloudkitty_storage_states: scope %s did not get a state' % scope for scope in wanted]


def main(argv=None):
    """Run the command: write a dump to stdout, or list what differs between two; return the exit status."""
    parser = argparse.ArgumentParser(prog='tools/dump', description=__doc__.splitlines()[0])
    parser.add_argument('url', nargs='?', help='database to dump, as [database] connection has it')
    parser.add_argument('--compare', nargs=2, metavar=('BEFORE', 'AFTER'), help='dumps to compare')
    arguments = parser.parse_args(argv)
    if (arguments.url is None) == (arguments.compare is None):
        parser.error('either a URL or --compare BEFORE AFTER is needed')
    try:
        if arguments.compare:
            found = compare(*arguments.compare)
            for line in found:
                print(line)
            return 1 if found else 0
        with contextlib.suppress(BrokenPipeError):
            for line in read(arguments.url):
                print(line)
    except (errors.CloudKittyError, sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        print('tools/dump: %s' % engine.describe(error), file=sys.stderr)
        return 2
    except (ValueError, LookupError, TypeError) as error:
        print('tools/dump: this is no dump: %s' % error, file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
