# SPDX-License-Identifier: Apache-2.0
"""Databases of every release and revision of old, upgraded on every server: no row is lost or changed.

Beyond what the revisions say, that is, as :mod:`cloudkitty.tests.dumps` knows it.
"""

import datetime
import logging
import re

from oslo_db import exception as db_exc
import pytest
import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.tests import dumps
from cloudkitty.tests import old_databases

CHAINS = migration.DBSYNC + migration.STORAGE
MOMENT = datetime.datetime(2026, 6, 1)
#: A row of each table of the field at its head, without what has a default.
NEW_ROWS = {
    'states': {'name': 'new', 'state': 1},
    'modules_state': {'name': 'new', 'state': True},
    'service_to_collector_mappings': {'service': 'new', 'collector': 'new'},
    'hashmap_services': {'service_id': 'new', 'name': 'new'},
    'hashmap_fields': {'field_id': 'new', 'name': 'new', 'service_id': 1},
    'hashmap_groups': {'group_id': 'new', 'name': 'new'},
    'hashmap_mappings': {
        'mapping_id': 'new',
        'value': 'm1.tiny',
        'cost': 150.25,
        'map_type': 'rate',
        'field_id': 1,
        'group_id': 1,
        'name': 'new',
        'created_by': 'new',
    },
    'hashmap_thresholds': {'threshold_id': 'new', 'level': 77, 'cost': 1, 'map_type': 'flat', 'service_id': 1},
    'pyscripts_scripts': {
        'script_id': 'new',
        'name': 'new',
        'data': b'new',
        'checksum': '0' * 128,
        'created_by': 'new',
    },
    'rated_data_frames': {
        'begin': MOMENT,
        'end': MOMENT,
        'unit': 'new',
        'qty': 1,
        'res_type': 'new',
        'rate': 1,
        'desc': '{}',
        'tenant_id': 'new',
    },
    'cloudkitty_storage_states': {
        'identifier': 'n' * 256,
        'scope_key': 'new',
        'last_processed_timestamp': MOMENT,
        'active': True,
    },
    'storage_scope_reprocessing_schedule': {
        'identifier': 'new',
        'start_reprocess_time': MOMENT,
        'end_reprocess_time': MOMENT,
        'reason': 'new',
    },
}
#: The revisions that change most, by chain and the revision before.
CUT = [
    (migration.HASHMAP, 'hashmap', '4e0232ce', '8a591f85865f'),
    (migration.PYSCRIPTS, 'pyscripts', '75c205f6f1a2', 'c6e4cda29654'),
    (migration.STATES, 'states', 'c50ed2c19204', '750d3050cf71'),
    (migration.STATES, 'states', 'c50ed2c19204B', '750d3050cf71'),
    (migration.STATES, 'states', '750d3050cf71', '4d69395f'),
]


def fill(database, heads):
    """Put the database of *heads* into *database*, with the session of a client that knows nothing of ours."""
    server = sqlalchemy.create_engine(database.engine.url, poolclass=sqlalchemy.NullPool)
    old_databases.fill(server, heads)


def dump(database, path):
    dumps.write(database.engine.url.render_as_string(hide_password=False), path)
    return path


def upgrade_storage_first(database):
    migration.init_storage(database)
    for chain in migration.DBSYNC:
        migration.upgrade(database, chain)


def check(database, heads, tmp_path, caplog, upgrade=migration.upgrade_all):
    """Upgrade the database of *heads*, compare, and use what it has become."""
    fill(database, heads)
    before = dump(database, tmp_path / 'before')
    upgrade(database)
    after = dump(database, tmp_path / 'after')
    assert dumps.compare(before, after) == []
    check_current(database, after, tmp_path, caplog)
    check_every_table_takes_a_row(database)


def check_current(database, now, tmp_path, caplog):
    """Assert that *database*, whose dump is *now*, is at all heads, and that another run changes nothing."""
    assert all(migration.is_at_head(database, chain) for chain in CHAINS)
    with caplog.at_level(logging.INFO, 'alembic'):
        caplog.clear()
        migration.upgrade_all(database)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith('alembic.runtime')]
    assert [re.sub(' impl .*| [a-z-]+ DDL.', '', line) for line in lines] == ['Context', 'Will assume'] * len(CHAINS)
    assert dump(database, tmp_path / 'again').read_bytes() == now.read_bytes()


def check_every_table_takes_a_row(database):
    with database.engine.begin() as connection:
        for table, row in NEW_ROWS.items():
            is_numbered = 'id' in [column['name'] for column in sqlalchemy.inspect(connection).get_columns(table)]
            query = sqlalchemy.text('SELECT max(id) FROM %s' % table)
            highest = connection.scalar(query) if is_numbered else None
            old_databases.insert(connection, table, row)
            if is_numbered:
                assert connection.scalar(query) > (highest or 0)


@pytest.mark.parametrize('release', old_databases.RELEASES)
def test_every_row_of_every_release_comes_along(empty_database, release, tmp_path, caplog):
    check(empty_database, old_databases.RELEASES[release], tmp_path, caplog)


@pytest.mark.parametrize('name', [*old_databases.list_steps(), '8'])
def test_every_row_of_every_revision_comes_along_with_the_commands_in_the_other_order(
    empty_database, name, tmp_path, caplog
):
    heads = {**old_databases.RELEASES, **old_databases.list_steps()}[name]
    check(empty_database, heads, tmp_path, caplog, upgrade_storage_first)


@pytest.mark.mariadb
@pytest.mark.parametrize(
    ('release', 'charset'), [('8', 'latin1'), ('8', 'utf8'), ('8', 'utf8mb4'), ('13', 'latin1'), ('14B', 'utf8mb4')]
)
def test_rows_come_along_under_any_charset_in_compact_rows(mariadb_url, charset, release, tmp_path, caplog):
    database = engine.Database(mariadb_url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql('ALTER DATABASE CHARACTER SET %s' % charset)
    database.dispose()
    fill(database, old_databases.RELEASES[release])
    with database.engine.begin() as connection:
        for table in sqlalchemy.inspect(connection).get_table_names():
            # Keys of tables of this charset may be too long for such rows.
            if charset != 'utf8mb4' or table not in old_databases.CORE_ROWS:
                connection.exec_driver_sql('ALTER TABLE %s ROW_FORMAT=COMPACT' % table)
    before = dump(database, tmp_path / 'before')
    migration.upgrade_all(database)
    after = dump(database, tmp_path / 'after')
    assert dumps.compare(before, after) == []
    check_current(database, after, tmp_path, caplog)
    check_every_table_takes_a_row(database)
    database.dispose()


#: What MariaDB says of tables: columns, indexes without their estimates, constraints, and when each table was made.
SCHEMA = {
    'columns': '*',
    'statistics': 'table_name, index_name, seq_in_index, column_name, non_unique, sub_part, nullable, index_type',
    'table_constraints': '*',
    'key_column_usage': '*',
    'referential_constraints': '*',
    'check_constraints': '*',
    'tables': 'table_name, create_time, engine, row_format, table_collation, create_options',
}


def read_schema(database, tables):
    names = ', '.join("'%s'" % table for table in tables)
    with database.engine.connect() as connection:
        return {
            view: sorted(
                connection.exec_driver_sql(
                    'SELECT %s FROM information_schema.%s WHERE %s_schema = database() AND table_name IN (%s)'
                    % (columns, view, 'constraint' if 'constraint' in view else 'table', names)
                ).all(),
                key=repr,
            )
            for view, columns in SCHEMA.items()
        }


@pytest.mark.mariadb
def test_what_release_25_left_on_mariadb_is_not_touched(mariadb_url, tmp_path, caplog):
    database = engine.Database(mariadb_url)
    fill(database, old_databases.RELEASES['25'])
    before = dumps.Dump(dump(database, tmp_path / 'before'))
    schema = read_schema(database, before.tables)
    written = []

    def look(connection, cursor, statement, parameters, context, many):
        if re.match(r'\s*(CREATE|ALTER|DROP|INSERT|UPDATE|DELETE)', statement):
            written.append(statement)

    sqlalchemy.event.listen(database.engine, 'before_cursor_execute', look)
    migration.upgrade_all(database)
    after = dumps.Dump(dump(database, tmp_path / 'after'))
    ours = re.compile(r'\b(%s)\b' % '|'.join(sorted(set(after.tables) - set(before.tables))))
    assert [statement for statement in written if not ours.search(statement)] == []
    assert read_schema(database, before.tables) == schema
    for table in before.tables:
        assert list(after.rows(table)) == list(before.rows(table))
    assert dumps.compare(before.path, after.path) == []
    check_current(database, after.path, tmp_path, caplog)
    check_every_table_takes_a_row(database)
    database.dispose()


class Cut(Exception):
    """The moment at which the command was killed: what is not committed is gone."""


def upgrade_cut(database, chain, revision, allowed):
    """Upgrade *chain* to *revision*, cut off after *allowed* changing statements; return whether it was finished."""
    writes = []

    def cut(connection, cursor, statement, parameters, context, many):
        if re.match(r'\s*(CREATE|ALTER|DROP|INSERT|UPDATE|DELETE)', statement):
            if len(writes) == allowed:
                raise Cut('killed')
            writes.append(statement)

    sqlalchemy.event.listen(database.engine, 'before_cursor_execute', cut)
    try:
        migration.upgrade(database, chain, revision)
        return True
    except (Cut, db_exc.DBError) as error:
        assert 'killed' in str(error)
        return False
    finally:
        sqlalchemy.event.remove(database.engine, 'before_cursor_execute', cut)


def clear(database):
    """Drop every table of *database*."""
    with database.engine.begin() as connection:
        if database.dialect == 'postgresql':
            connection.exec_driver_sql('DROP SCHEMA public CASCADE')
            connection.exec_driver_sql('CREATE SCHEMA public')
            return
        names = sqlalchemy.inspect(connection).get_table_names()
        # Children after parents in the alphabet: hashmap_fields, _mappings and _thresholds go first.
        for name in sorted(names, key=lambda name: (name in ('hashmap_services', 'hashmap_groups'), name[8:9] == 'f')):
            connection.exec_driver_sql('DROP TABLE %s' % name)


@pytest.mark.parametrize(('chain', 'name', 'old', 'revision'), CUT, ids=[cut[2] for cut in CUT])
def test_a_revision_that_was_cut_off_at_any_statement_is_finished_by_the_next_run(
    empty_database, chain, name, old, revision, tmp_path
):
    heads = old_databases.make_possible({name: old}, empty_database.dialect)
    # On PostgreSQL a chain is a transaction: some places will do.
    stride = 5 if empty_database.dialect == 'postgresql' else 1
    for allowed in range(0, 100, stride):
        fill(empty_database, heads)
        before = dump(empty_database, tmp_path / 'before')
        if upgrade_cut(empty_database, chain, revision, allowed):
            break
        migration.upgrade(empty_database, chain)
        assert dumps.compare(before, dump(empty_database, tmp_path / 'after')) == []
        clear(empty_database)
    assert allowed > 1


@pytest.mark.mariadb
def test_columns_that_mariadb_forgot_to_forbid_null_in_may_hold_it(mariadb_url, tmp_path):
    database = engine.Database(mariadb_url)
    fill(database, old_databases.RELEASES['19'])
    with database.engine.begin() as connection:
        connection.exec_driver_sql('UPDATE hashmap_mappings SET cost = NULL WHERE id = 5')
        connection.exec_driver_sql('UPDATE pyscripts_scripts SET checksum = NULL WHERE id = 6')
    before = dump(database, tmp_path / 'before')
    migration.upgrade_all(database)
    assert dumps.compare(before, dump(database, tmp_path / 'after')) == []
    database.dispose()


@pytest.mark.postgresql
def test_the_first_id_of_a_sequence_that_was_never_used_is_not_given_twice(postgresql_url):
    database = engine.Database(postgresql_url)
    fill(database, old_databases.RELEASES['19'])
    with database.engine.begin() as connection:
        connection.exec_driver_sql('DELETE FROM cloudkitty_storage_states WHERE id > 1')
    migration.upgrade_all(database)
    check_every_table_takes_a_row(database)
    database.dispose()
