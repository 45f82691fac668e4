# SPDX-License-Identifier: Apache-2.0
import datetime
import hashlib
import logging
import re
import zlib

from alembic import autogenerate
from alembic.runtime import migration as runtime
from oslo_db import exception as db_exc
import pytest
import sqlalchemy

from cloudkitty import errors
from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.storage.sqlalchemy import models

CHAINS = migration.DBSYNC + migration.STORAGE
FRAMES = sqlalchemy.table(
    'rated_data_frames',
    *map(sqlalchemy.column, ('begin', 'end', 'unit', 'qty', 'res_type', 'rate', 'desc', 'tenant_id')),
)
SCRIPTS = sqlalchemy.table(
    'pyscripts_scripts',
    *map(sqlalchemy.column, ('id', 'script_id', 'name', 'data', 'checksum', 'start', 'end', 'created_by')),
)
EXPECTED = {
    'cloudkitty': """
         -> 464e951dc3b8, Initial migration
        464e951dc3b8 -> 2ac2217dcbd9, Added support for meta collector
        2ac2217dcbd9 -> 385e33fef139, Added priority to modules_state.
    """,
    'hashmap': """
         -> 3dd7e13527f3, Initial migration
        3dd7e13527f3 -> 4fa888fd7eda, Added threshold support.
        4fa888fd7eda -> 54cc17accf2c, Fixed constraint name.
        54cc17accf2c -> 10d2738b67df, Rename mapping table to hashmap_mappings.
        10d2738b67df -> f8c799db4aa0, Fix unnamed constraints.
        f8c799db4aa0 -> c88a06b1cfce, Clean hashmap fields constraints.
        c88a06b1cfce -> 4da82e1c11c8, Add per tenant hashmap support
        4da82e1c11c8 -> 644faa4491fd, Update tenant_id type from uuid to text
        644faa4491fd -> Ifbf5b2515c7, Increase cost fields to 30 digits
        Ifbf5b2515c7 -> 4e0232ce, Increase cost fields to 30 digits
        4e0232ce -> 8a591f85865f, Add start end dates and audit in hashmap mappings
    """,
    'pyscripts': """
         -> 4f9efa4601c0, Initial migration.
        4f9efa4601c0 -> 75c205f6f1a2, move from sha1 to sha512
        75c205f6f1a2 -> c6e4cda29654, Add start end dates and audit in pyscripts
    """,
    'storage': """
         -> 17fd1b237aa3, Initial migration
        17fd1b237aa3 -> 792b438b663, added tenant informations
        792b438b663 -> 307430ab38bc, improve qty precision
        307430ab38bc -> c703a1bad612, improve_qty_digit
        c703a1bad612 -> d875621d0384, Creating indexes to allow SQL query optimizations
    """,
    'states': """
         -> c14eea9d3cc1, Initial
        c14eea9d3cc1 -> d9d103dd4dcf, Add details to state management
        d9d103dd4dcf -> c50ed2c19204, Update storage state constraint
        c50ed2c19204 -> 750d3050cf71, Create last processed timestamp column
        750d3050cf71 -> 4d69395f, Update storage state constraint
        4d69395f -> 9feccd32, Create reprocessing scheduler table
    """,
}


def lines_of(caplog):
    return [record.getMessage() for record in caplog.records if record.name.startswith('alembic.runtime')]


@pytest.mark.parametrize('chain', [chain for chain in CHAINS if chain.name in EXPECTED], ids=lambda chain: chain.name)
def test_operators_see_every_step_of_the_contract(sqlite_url, chain, caplog):
    with caplog.at_level(logging.INFO, 'alembic'):
        migration.upgrade(engine.Database(sqlite_url), chain)
    lines = lines_of(caplog)
    assert lines[:2] == ['Context impl SQLiteImpl.', 'Will assume non-transactional DDL.']
    expected = [
        'Running upgrade %s' % line[8:] for line in EXPECTED[chain.name].strip('\n').splitlines() if line.strip()
    ]
    assert lines[2:] == [re.sub(r'^Running upgrade +->', 'Running upgrade  ->', line) for line in expected]


def test_models_equal_migrations_and_a_second_run_does_nothing(empty_database, caplog):
    migration.upgrade_all(empty_database)
    assert differences(empty_database) == []
    with caplog.at_level(logging.INFO, 'alembic'):
        caplog.clear()
        migration.upgrade_all(empty_database)
    assert [line for line in lines_of(caplog) if line.startswith('Running')] == []
    assert all(migration.is_at_head(empty_database, chain) for chain in CHAINS)


def test_of_days_that_were_there_any_may_have_points_that_end_after_them(empty_database):
    migration.upgrade(empty_database, migration.SERIES, '0004')
    with empty_database.engine.begin() as connection:
        connection.execute(
            sqlalchemy.insert(models.ScopeDay.__table__),
            [
                {'day': day, 'scope_id': scope_id, 'metric': 'cpu', 'origin': 'collected', 'qty': 1, 'price': 1}
                | {'points': 1, 'unpriced': 0, 'skipped': 0, 'body': '0 3600 1 1 1 0 0'}
                for day, scope_id in [(20, 1), (21, 1), (21, 2)]
            ],
        )
    migration.upgrade(empty_database, migration.SERIES)
    with empty_database.reader() as session:
        assert sorted(session.scalars(sqlalchemy.select(models.CrossedMidnight.day))) == [20, 21]


def only(metadata):
    def include(item, name, kind, reflected, compare_to):
        table = item if kind == 'table' else item.table
        return table.name in metadata.tables

    return include


def is_historical_name(difference):
    """Names that PostgreSQL keeps from before hashmap_maps was renamed."""
    name = str(getattr(difference[1], 'name', ''))
    return name in ('uq_hashmap_maps_mapping_id', 'uq_hashmap_mappings_mapping_id') or name.startswith(
        ('fk_hashmap_maps_', 'fk_hashmap_mappings_')
    )


def test_every_table_takes_a_row_and_counts_on(empty_database):
    migration.upgrade_all(empty_database)
    with empty_database.engine.begin() as connection:
        for name in ('one', 'two'):
            connection.execute(
                sqlalchemy.text(
                    'INSERT INTO cloudkitty_storage_states (identifier, last_processed_timestamp, active) '
                    "VALUES (:name, '2026-06-01 00:00:00', :active)"
                ),
                {'name': name, 'active': True},
            )
        assert connection.scalar(sqlalchemy.text('SELECT max(id) FROM cloudkitty_storage_states')) == 2


def fill_as_rocky(database):
    """Bring *database* to the heads of release 8 and put rows into it."""
    migration.upgrade(database, migration.CORE)
    migration.upgrade(database, migration.HASHMAP, '4da82e1c11c8')
    migration.upgrade(database, migration.PYSCRIPTS, '4f9efa4601c0')
    migration.upgrade(database, migration.STORAGE_V1, 'c703a1bad612')
    migration.upgrade(database, migration.STATES, 'c14eea9d3cc1')
    with database.engine.begin() as connection:
        for name in ('first', 'second'):
            connection.execute(
                sqlalchemy.insert(SCRIPTS),
                {
                    'script_id': 's-' + name,
                    'name': name,
                    'data': zlib.compress(name.encode()),
                    'checksum': hashlib.sha1(name.encode()).hexdigest(),
                },
            )
        enabled = 'true' if database.dialect == 'postgresql' else '1'
        connection.exec_driver_sql(
            "INSERT INTO modules_state (name, state, priority) VALUES ('hashmap', %s, NULL)" % enabled
        )
        connection.exec_driver_sql("INSERT INTO hashmap_services (service_id, name) VALUES ('s', 'instance')")
        connection.exec_driver_sql("INSERT INTO hashmap_fields (field_id, name, service_id) VALUES ('f', 'flavor', 1)")
        connection.exec_driver_sql("INSERT INTO hashmap_groups (group_id, name) VALUES ('g', 'group')")
        for name, cost, value, tenant in (('m1', '150.25', "'a'", 'NULL'), ('m2', '0.5', 'NULL', "'t'")):
            parent = 'service_id' if value == 'NULL' else 'field_id'
            connection.exec_driver_sql(
                'INSERT INTO hashmap_mappings (mapping_id, value, cost, map_type, %s, tenant_id, group_id) '
                "VALUES ('%s', %s, %s, 'flat', 1, %s, 1)" % (parent, name, value, cost, tenant)
            )
        connection.exec_driver_sql(
            'INSERT INTO hashmap_thresholds (threshold_id, level, cost, map_type, service_id) '
            "VALUES ('t1', 10, 123456789012.5, 'rate', 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO cloudkitty_storage_states (identifier, state) VALUES ('p', '2018-10-01 00:00:00')"
        )
        connection.execute(
            sqlalchemy.insert(FRAMES),
            {
                'begin': datetime.datetime(2018, 10, 1),
                'end': datetime.datetime(2018, 10, 1, 1),
                'unit': 'GiB',
                'qty': 1234567890,
                'res_type': 'volume',
                'rate': 0.5,
                'desc': '{}',
                'tenant_id': 'p',
            },
        )


def check_rocky(database):
    """Assert that the rows of :func:`fill_as_rocky` are what the contract makes of them."""
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql(
            'SELECT mapping_id, cost, value, tenant_id, group_id, created_by, start, name '
            'FROM hashmap_mappings ORDER BY id'
        ).all()
        assert [(row[0], float(row[1]), *row[2:6]) for row in rows] == [
            ('m1', 150.25, 'a', None, 1, 'migration'),
            ('m2', 0.5, None, 't', 1, 'migration'),
        ]
        assert all(str(row[6]) == '1970-01-01 00:00:00' and re.fullmatch('[0-9a-f]{32}', row[7]) for row in rows)
        assert len({row[7] for row in rows}) == 2
        thresholds = connection.exec_driver_sql('SELECT level, cost, service_id FROM hashmap_thresholds').all()
        assert [tuple(map(float, row)) for row in thresholds] == [(10, 123456789012.5, 1)]
        states = connection.exec_driver_sql(
            'SELECT id, identifier, last_processed_timestamp, active, fetcher FROM cloudkitty_storage_states'
        ).all()
        assert [(row[0], row[1], str(row[2]), bool(row[3]), row[4]) for row in states] == [
            (1, 'p', '2018-10-01 00:00:00', True, None)
        ]
        scripts = connection.execute(sqlalchemy.select(SCRIPTS).order_by(SCRIPTS.c.id)).all()
        assert [(row.id, row.script_id, row.name, zlib.decompress(row.data).decode()) for row in scripts] == [
            (1, 's-first', 'first', 'first'),
            (2, 's-second', 'second', 'second'),
        ]
        for row in scripts:
            assert row.checksum == hashlib.sha1(row.name.encode()).hexdigest()
            assert (str(row.start), row.end, row.created_by) == ('2014-01-01 00:00:00', None, 'migration')
        frames = connection.execute(sqlalchemy.select(FRAMES.c.qty, FRAMES.c.rate, FRAMES.c.tenant_id)).all()
        assert [(float(row[0]), *row[1:]) for row in frames] == [(1234567890, 0.5, 'p')]
        assert connection.exec_driver_sql('SELECT name, priority FROM modules_state').all() == [('hashmap', None)]


def differences(database):
    """Return what autogenerate sees between tables and models, names that PostgreSQL keeps apart."""
    with database.engine.connect() as connection:
        found = []
        for chain in CHAINS:
            context = runtime.MigrationContext.configure(
                connection, opts={'compare_type': True, 'include_object': only(chain.metadata())}
            )
            found += autogenerate.compare_metadata(context, chain.metadata())
    return [item for item in found if database.dialect != 'postgresql' or not is_historical_name(item)]


def test_rows_of_rocky_come_along(empty_database):
    fill_as_rocky(empty_database)
    migration.upgrade_all(empty_database)
    migration.upgrade_all(empty_database)
    check_rocky(empty_database)
    assert differences(empty_database) == []


class Cut(Exception):
    """The moment at which the command was killed: what is not committed is gone."""


def test_an_upgrade_that_was_cut_off_anywhere_is_finished_by_the_next(empty_database):
    fill_as_rocky(empty_database)
    done = False
    for allowed in range(200):
        writes = []

        def cut(connection, cursor, statement, parameters, context, many, allowed=allowed, writes=writes):
            if re.match(r'\s*(CREATE|ALTER|DROP|INSERT|UPDATE|DELETE)', statement):
                if len(writes) == allowed:
                    raise Cut('killed')
                writes.append(statement)

        sqlalchemy.event.listen(empty_database.engine, 'before_cursor_execute', cut)
        try:
            migration.upgrade_all(empty_database)
            done = True
        except (Cut, db_exc.DBError) as error:
            assert 'killed' in str(error)
        sqlalchemy.event.remove(empty_database.engine, 'before_cursor_execute', cut)
        if done:
            break
    assert done and allowed > 5
    check_rocky(empty_database)
    assert differences(empty_database) == []


def test_a_table_whose_rebuild_was_cut_off_before_the_rename_is_found(empty_database):
    fill_as_rocky(empty_database)
    migration.upgrade(empty_database, migration.STATES, 'c50ed2c19204')
    with empty_database.engine.begin() as connection:
        connection.exec_driver_sql(
            'ALTER TABLE cloudkitty_storage_states RENAME TO _alembic_tmp_cloudkitty_storage_states'
        )
    migration.upgrade_all(empty_database)
    check_rocky(empty_database)


def test_a_forgotten_revision_does_not_cost_rows_or_columns(sqlite_url):
    database = engine.Database(sqlite_url)
    fill_as_rocky(database)
    migration.upgrade_all(database)
    for chain, revision in ((migration.HASHMAP, '644faa4491fd'), (migration.STATES, 'd9d103dd4dcf')):
        migration.stamp(database, chain, revision)
    migration.upgrade_all(database)
    check_rocky(database)


@pytest.mark.mariadb
@pytest.mark.parametrize('charset', ['latin1', 'utf8', 'utf8mb4'])
def test_rows_of_rocky_come_along_under_any_charset_in_compact_rows(mariadb_url, charset):
    database = engine.Database(mariadb_url)
    with database.engine.begin() as connection:
        connection.exec_driver_sql('ALTER DATABASE CHARACTER SET %s' % charset)
    fill_as_rocky(database)
    with database.engine.begin() as connection:
        connection.exec_driver_sql('ALTER TABLE cloudkitty_storage_states ROW_FORMAT=COMPACT')
    migration.upgrade_all(database)
    check_rocky(database)
    database.dispose()


@pytest.mark.mariadb
def test_the_states_of_later_releases_come_along_in_their_other_shape(mariadb_url):
    database = engine.Database(mariadb_url)
    fill_as_rocky(database)
    migration.upgrade(database, migration.STATES, 'd9d103dd4dcf')
    with database.engine.begin() as connection:
        # Release 14 and later added the composite unique and left the old one.
        connection.exec_driver_sql(
            'ALTER TABLE cloudkitty_storage_states ADD CONSTRAINT uq_cloudkitty_storage_states_identifier '
            'UNIQUE (identifier, scope_key, collector, fetcher)'
        )
    migration.stamp(database, migration.STATES, 'c50ed2c19204')
    migration.upgrade_all(database)
    check_rocky(database)
    assert differences(database) == []
    database.dispose()


@pytest.mark.mariadb
def test_what_release_25_left_on_mariadb_is_not_touched(mariadb_url):
    database = engine.Database(mariadb_url)
    migration.upgrade_all(database)
    with database.engine.begin() as connection:
        connection.exec_driver_sql('ALTER TABLE hashmap_mappings MODIFY cost NUMERIC(40, 28) NULL')
        connection.exec_driver_sql('ALTER TABLE hashmap_thresholds MODIFY cost NUMERIC(40, 28) NULL')
        connection.exec_driver_sql('ALTER TABLE rated_data_frames MODIFY qty NUMERIC(15, 5) NULL')
        connection.exec_driver_sql('ALTER TABLE cloudkitty_storage_states CONVERT TO CHARACTER SET latin1')
    before = read_schema(database)
    migration.upgrade_all(database)
    assert read_schema(database) == before
    database.dispose()


def read_schema(database):
    with database.engine.connect() as connection:
        return connection.exec_driver_sql(
            'SELECT table_name, column_name, column_type, is_nullable, column_default, character_set_name '
            'FROM information_schema.columns WHERE table_schema = database() ORDER BY 1, 2'
        ).all()


@pytest.mark.postgresql
def test_ids_of_states_count_on_where_a_rebuild_left_them_behind(postgresql_url):
    database = engine.Database(postgresql_url)
    migration.upgrade_all(database)
    add = (
        'INSERT INTO cloudkitty_storage_states (%sidentifier, last_processed_timestamp, active) '
        "VALUES (%s'%s', '2026-06-01', true)"
    )
    with database.engine.begin() as connection:
        connection.exec_driver_sql(add % ('id, ', '7, ', 'one'))
    migration.init_storage(database)
    with database.engine.begin() as connection:
        connection.exec_driver_sql(add % ('', '', 'two'))
        assert connection.exec_driver_sql('SELECT max(id) FROM cloudkitty_storage_states').scalar() == 8
    database.dispose()


def test_scopes_without_a_state_go_on_after_their_newest_rows(empty_database):
    migration.upgrade(empty_database, migration.STORAGE_V1, 'c703a1bad612')
    row = {'unit': 'GiB', 'qty': 1, 'res_type': 'volume', 'rate': 0.5, 'desc': '{}'}
    with empty_database.engine.begin() as connection:
        for tenant, hour in (('a', 3), ('a', 5), ('b', 4), (None, 6)):
            begin = datetime.datetime(2017, 3, 1, hour)
            end = begin + datetime.timedelta(hours=1)
            connection.execute(sqlalchemy.insert(FRAMES), {**row, 'tenant_id': tenant, 'begin': begin, 'end': end})
    migration.init_storage(empty_database)
    query = 'SELECT identifier, last_processed_timestamp, scope_key FROM cloudkitty_storage_states ORDER BY identifier'
    with empty_database.engine.connect() as connection:
        found = [(row[0], str(row[1])[:19], row[2]) for row in connection.exec_driver_sql(query)]
    assert found == [('a', '2017-03-01 05:00:00', None), ('b', '2017-03-01 04:00:00', None)]
    with empty_database.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM cloudkitty_storage_states WHERE identifier = 'b'")
    migration.init_storage(empty_database)
    with empty_database.engine.connect() as connection:
        assert [row[0] for row in connection.exec_driver_sql(query)] == ['a']


def test_an_unknown_revision_is_a_bad_request(sqlite_url):
    with pytest.raises(errors.BadRequest, match='hashmap'):
        migration.upgrade(engine.Database(sqlite_url), migration.HASHMAP, 'nonsense')
