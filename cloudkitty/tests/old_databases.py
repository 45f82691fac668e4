# SPDX-License-Identifier: Apache-2.0
"""Databases as releases of old left them, with rows of every kind: literal tables that know nothing of our migrations.

Where a server could not have a database of a release, because the release's own migration failed there, it has that of
the newest that could be made: see :func:`make_possible`.
"""

import datetime
import decimal
import hashlib
import json
import re
import string
import zlib

import sqlalchemy

#: The revisions of each chain, in order; ``c50ed2c19204B`` is the other shape that this revision left.
REVISIONS = {
    'core': ('464e951dc3b8', '2ac2217dcbd9', '385e33fef139'),
    'hashmap': (
        '3dd7e13527f3',
        '4fa888fd7eda',
        '54cc17accf2c',
        '10d2738b67df',
        'f8c799db4aa0',
        'c88a06b1cfce',
        '4da82e1c11c8',
        '644faa4491fd',
        'Ifbf5b2515c7',
        '4e0232ce',
        '8a591f85865f',
    ),
    'pyscripts': ('4f9efa4601c0', '75c205f6f1a2', 'c6e4cda29654'),
    'v1': ('17fd1b237aa3', '792b438b663', '307430ab38bc', 'c703a1bad612', 'd875621d0384'),
    'hybrid': ('03da4bb002b9',),
    'ghybrid': ('4c2f20df7491', 'd39836d70aee'),
    'states': (
        'c14eea9d3cc1',
        'd9d103dd4dcf',
        'c50ed2c19204',
        'c50ed2c19204B',
        '750d3050cf71',
        '4d69395f',
        '9feccd32',
    ),
}
VERSION_TABLES = {
    'core': 'cloudkitty_alembic',
    'hashmap': 'hashmap_alembic',
    'pyscripts': 'pyscripts_alembic',
    'v1': 'storage_sqlalchemy_alembic',
    'hybrid': 'storage_hybrid_alembic',
    'ghybrid': 'storage_gnocchi_hybrid_alembic',
    'states': 'storage_states_alembic',
}


def _heads(hashmap, pyscripts, v1, states=None, hybrid='03da4bb002b9', ghybrid=None):
    heads = {'core': '385e33fef139', 'hashmap': hashmap, 'pyscripts': pyscripts, 'v1': v1}
    heads.update({'states': states, 'hybrid': hybrid, 'ghybrid': ghybrid})
    return {chain: revision for chain, revision in heads.items() if revision}


#: The revision of each chain that a release left, releases of the same heads together.
RELEASES = {
    '5': _heads('4da82e1c11c8', '4f9efa4601c0', '307430ab38bc', hybrid=None, ghybrid='d39836d70aee'),
    '6': _heads('4da82e1c11c8', '4f9efa4601c0', 'c703a1bad612', hybrid=None, ghybrid='d39836d70aee'),
    '7': _heads('4da82e1c11c8', '4f9efa4601c0', 'c703a1bad612', ghybrid='d39836d70aee'),
    '8': _heads('4da82e1c11c8', '4f9efa4601c0', 'c703a1bad612', 'c14eea9d3cc1'),
    '9': _heads('644faa4491fd', '4f9efa4601c0', 'c703a1bad612', 'd9d103dd4dcf'),
    '13': _heads('644faa4491fd', '75c205f6f1a2', 'c703a1bad612', 'c50ed2c19204'),
    '14A': _heads('Ifbf5b2515c7', '75c205f6f1a2', 'c703a1bad612', 'c50ed2c19204'),
    '14B': _heads('Ifbf5b2515c7', '75c205f6f1a2', 'c703a1bad612', 'c50ed2c19204B'),
    '15': _heads('Ifbf5b2515c7', '75c205f6f1a2', 'c703a1bad612', '750d3050cf71'),
    '16': _heads('Ifbf5b2515c7', '75c205f6f1a2', 'c703a1bad612', '9feccd32'),
    '17': _heads('4e0232ce', '75c205f6f1a2', 'c703a1bad612', '9feccd32'),
    '19': _heads('4e0232ce', '75c205f6f1a2', 'd875621d0384', '9feccd32'),
    '25': _heads('8a591f85865f', 'c6e4cda29654', 'd875621d0384', '9feccd32'),
    # Never a storage of the first version.
    '25v2': {'core': '385e33fef139', 'hashmap': '8a591f85865f', 'pyscripts': 'c6e4cda29654', 'states': '9feccd32'},
}


def list_steps():
    """Return {name: heads} so that each revision that no release ended with is in one of them."""
    return {
        'step%d' % step: {chain: revisions[min(step, len(revisions) - 1)] for chain, revisions in REVISIONS.items()}
        for step in range(6)
    }


def make_possible(heads, dialect):
    """Return *heads* as far as they can be on *dialect*.

    PostgreSQL: the last revisions of hashmap and pyscripts failed, and that of the states' constraint with releases 10
    to 13. SQLite: the other shape of that constraint does not exist.
    """
    limits = {'hashmap': '4e0232ce', 'pyscripts': '75c205f6f1a2'} if dialect == 'postgresql' else {}
    others = {'postgresql': {'c50ed2c19204': 'c50ed2c19204B'}, 'sqlite': {'c50ed2c19204B': 'c50ed2c19204'}}
    found = {chain: others.get(dialect, {}).get(revision, revision) for chain, revision in heads.items()}
    for chain, limit in limits.items():
        order = REVISIONS[chain]
        if chain in found and order.index(found[chain]) > order.index(limit):
            found[chain] = limit
    if dialect == 'postgresql' and heads == RELEASES['13']:
        found['states'] = 'd9d103dd4dcf'
    return found


WORDS = {
    'sqlite': {
        'id': 'INTEGER NOT NULL',
        'utf8': '',
        'moment': 'DATETIME',
        'bytes': 'BLOB',
        'boolean': 'BOOLEAN',
        'numeric': 'NUMERIC',
        'text256': 'TEXT(256)',
    },
    'mysql': {
        'id': 'INTEGER NOT NULL AUTO_INCREMENT',
        'utf8': ' CHARSET=utf8 ENGINE=InnoDB',
        'moment': 'DATETIME',
        'bytes': 'BLOB',
        'boolean': 'BOOL',
        'numeric': 'NUMERIC',
        'text256': 'TEXT(256)',
    },
    'postgresql': {
        'id': 'SERIAL NOT NULL',
        'utf8': '',
        'moment': 'TIMESTAMP WITHOUT TIME ZONE',
        'bytes': 'BYTEA',
        'boolean': 'BOOLEAN',
        'numeric': 'NUMERIC',
        'text256': 'TEXT',
    },
}

CORE = """
CREATE TABLE states (name VARCHAR(255) NOT NULL, state BIGINT NOT NULL, s_metadata TEXT, PRIMARY KEY (name));
CREATE TABLE modules_state (name VARCHAR(255) NOT NULL, state $boolean NOT NULL, $priority PRIMARY KEY (name)$check);
"""
COLLECTORS = """
CREATE TABLE service_to_collector_mappings (service VARCHAR(255) NOT NULL, collector VARCHAR(255) NOT NULL,
    PRIMARY KEY (service));
"""
# [name] is the name of a constraint, which it has since f8c799db4aa0.
HASHMAP = """
CREATE TABLE hashmap_services (id $id, service_id VARCHAR(36) NOT NULL, name VARCHAR(255) NOT NULL,
    [pk_hashmap_services] PRIMARY KEY (id),
    [uq_hashmap_services_name] UNIQUE (name),
    [uq_hashmap_services_service_id] UNIQUE (service_id))$utf8;
CREATE TABLE hashmap_fields (id $id, field_id VARCHAR(36) NOT NULL, name VARCHAR(255) NOT NULL,
    service_id INTEGER NOT NULL,
    [pk_hashmap_fields] PRIMARY KEY (id),
    [fk_hashmap_fields_service_id_hashmap_services] FOREIGN KEY (service_id) REFERENCES hashmap_services (id)
        ON DELETE CASCADE,
    [uq_hashmap_fields_field_id] UNIQUE (field_id), $field_uniques)$utf8;
CREATE TABLE hashmap_groups (id $id, group_id VARCHAR(36) NOT NULL, name VARCHAR(255) NOT NULL,
    [pk_hashmap_groups] PRIMARY KEY (id),
    [uq_hashmap_groups_group_id] UNIQUE (group_id),
    [uq_hashmap_groups_name] UNIQUE (name))$utf8;
CREATE TABLE hashmap_maps (id $id, mapping_id VARCHAR(36) NOT NULL, value VARCHAR(255), cost $cost,
    map_type $kind, service_id INTEGER, field_id INTEGER, group_id INTEGER, $tenant $dates
    [pk_hashmap_mappings] PRIMARY KEY (id),
    [uq_${mapping}_mapping_id] UNIQUE (mapping_id),
    $mapping_uniques $mapping_check
    [fk_${mapping}_service_id_hashmap_services] FOREIGN KEY (service_id) REFERENCES hashmap_services (id)
        ON DELETE CASCADE,
    [fk_${mapping}_field_id_hashmap_fields] FOREIGN KEY (field_id) REFERENCES hashmap_fields (id) ON DELETE CASCADE,
    [fk_${mapping}_group_id_hashmap_groups] FOREIGN KEY (group_id) REFERENCES hashmap_groups (id)
        ON DELETE SET NULL)$utf8;
"""
THRESHOLDS = """
CREATE TABLE hashmap_thresholds (id $id, threshold_id VARCHAR(36) NOT NULL, level $numeric(20, 8), cost $cost,
    map_type $kind, service_id INTEGER, field_id INTEGER, group_id INTEGER, $tenant
    [pk_hashmap_thresholds] PRIMARY KEY (id),
    [uq_hashmap_thresholds_threshold_id] UNIQUE (threshold_id),
    CONSTRAINT uniq_field_$threshold UNIQUE (level, field_id$and_tenant),
    CONSTRAINT uniq_service_$threshold UNIQUE (level, service_id$and_tenant), $threshold_check
    [fk_hashmap_thresholds_service_id_hashmap_services] FOREIGN KEY (service_id) REFERENCES hashmap_services (id)
        ON DELETE CASCADE,
    [fk_hashmap_thresholds_field_id_hashmap_fields] FOREIGN KEY (field_id) REFERENCES hashmap_fields (id)
        ON DELETE CASCADE,
    [fk_hashmap_thresholds_group_id_hashmap_groups] FOREIGN KEY (group_id) REFERENCES hashmap_groups (id)
        ON DELETE SET NULL)$utf8;
"""
DATES = """created_at $moment DEFAULT CURRENT_TIMESTAMP NOT NULL, start $moment DEFAULT CURRENT_TIMESTAMP NOT NULL,
    "end" $moment, description $text256, deleted $moment, created_by VARCHAR(32) NOT NULL, updated_by VARCHAR(32),
    deleted_by VARCHAR(32),"""
PYSCRIPTS = """
CREATE TABLE pyscripts_scripts (id $id, script_id VARCHAR(36) NOT NULL, name VARCHAR(255) NOT NULL,
    data $bytes NOT NULL, checksum $checksum, $dates PRIMARY KEY (id), $name_unique UNIQUE (script_id))$utf8;
"""
FRAMES = """
CREATE TABLE rated_data_frames (id $id, "begin" $moment NOT NULL, "end" $moment NOT NULL, unit VARCHAR(255) NOT NULL,
    qty $qty, res_type VARCHAR(255) NOT NULL, rate FLOAT NOT NULL, "desc" TEXT NOT NULL, $tenant
    PRIMARY KEY (id))$utf8;
"""
FRAME_INDEXES = """
CREATE INDEX idx_rated_data_frames_date ON rated_data_frames ("begin", "end");
CREATE INDEX idx_tenantid_begin_end ON rated_data_frames (tenant_id, "begin", "end");
"""
HYBRID = """
CREATE TABLE hybrid_storage_states (id $id, tenant_id VARCHAR(32) NOT NULL, state $moment NOT NULL,
    PRIMARY KEY (id))$utf8;
"""
GHYBRID = """
CREATE TABLE ghybrid_dataframes (id $id, "begin" $moment NOT NULL, "end" $moment NOT NULL,
    res_type VARCHAR(255) NOT NULL, rate $numeric(20, 8) NOT NULL, resource_ref VARCHAR(32), tenant_id VARCHAR(32),
    PRIMARY KEY (id))$utf8;
"""
UNIQUE = 'CONSTRAINT uq_cloudkitty_storage_states_identifier UNIQUE (identifier, scope_key, collector, fetcher)'
STATES = {
    'c14eea9d3cc1': """
CREATE TABLE cloudkitty_storage_states (id $id, identifier VARCHAR(40) NOT NULL, state $moment NOT NULL,
    PRIMARY KEY (id), UNIQUE (identifier))$utf8;
""",
    'd9d103dd4dcf': """
CREATE TABLE cloudkitty_storage_states (id $id, identifier VARCHAR(40) NOT NULL, state $moment NOT NULL,
    scope_key VARCHAR(40), collector VARCHAR(40), fetcher VARCHAR(40), PRIMARY KEY (id), UNIQUE (identifier))$utf8;
""",
    'c50ed2c19204': """
CREATE TABLE cloudkitty_storage_states (id $id, identifier VARCHAR(256) NOT NULL, scope_key VARCHAR(40),
    fetcher VARCHAR(40), collector VARCHAR(40), state $moment NOT NULL, PRIMARY KEY (id), $unique);
""",
    'c50ed2c19204B': """
CREATE TABLE cloudkitty_storage_states (id $id, identifier VARCHAR(40) NOT NULL, state $moment NOT NULL,
    scope_key VARCHAR(40), collector VARCHAR(40), fetcher VARCHAR(40), PRIMARY KEY (id), UNIQUE (identifier),
    $unique)$utf8;
""",
    # Rebuilt: names and sequence on PostgreSQL are those of the copy.
    '750d3050cf71': """
CREATE TABLE _alembic_tmp_cloudkitty_storage_states (id $id, identifier VARCHAR(256) NOT NULL, scope_key VARCHAR(40),
    fetcher VARCHAR(40), collector VARCHAR(40), last_processed_timestamp $moment NOT NULL, PRIMARY KEY (id), $unique);
ALTER TABLE _alembic_tmp_cloudkitty_storage_states RENAME TO cloudkitty_storage_states;
""",
    '4d69395f': """
CREATE TABLE _alembic_tmp_cloudkitty_storage_states (id $id, identifier VARCHAR(256) NOT NULL, scope_key VARCHAR(40),
    fetcher VARCHAR(40), collector VARCHAR(40), last_processed_timestamp $moment NOT NULL,
    scope_activation_toggle_date $moment DEFAULT CURRENT_TIMESTAMP NOT NULL, active $boolean NOT NULL,
    PRIMARY KEY (id), $unique);
ALTER TABLE _alembic_tmp_cloudkitty_storage_states RENAME TO cloudkitty_storage_states;
""",
}
REPROCESSING = """
CREATE TABLE storage_scope_reprocessing_schedule (id $id, identifier VARCHAR(256) NOT NULL,
    start_reprocess_time $moment NOT NULL, end_reprocess_time $moment NOT NULL, current_reprocess_time $moment,
    reason TEXT NOT NULL, PRIMARY KEY (id))$utf8;
"""


def write_ddl(heads, dialect):
    """Return the statements that make the tables of *heads* on *dialect*, but for those of the versions."""
    words = dict(WORDS[dialect])
    if 'sqlite' == dialect:
        boolean_check = ', CHECK (state IN (0, 1))'
    else:
        boolean_check = ', CONSTRAINT CONSTRAINT_1 CHECK (state IN (0, 1))' if dialect == 'mysql' else ''
    texts = []

    def add(text, **more):
        known = {**words, **more}
        # Twice: what is put in has words of its own.
        texts.append(string.Template(string.Template(text).safe_substitute(known)).substitute(known))

    def at(chain):
        return REVISIONS[chain].index(heads[chain]) if chain in heads else -1

    if 'core' in heads:
        # Releases on SQLAlchemy before 1.4.
        is_checked = heads.get('hashmap') not in ('Ifbf5b2515c7', '4e0232ce', '8a591f85865f')
        priority = 'priority INTEGER,' if at('core') >= 2 else ''
        add(CORE, priority=priority, check=boolean_check if is_checked else '')
        if at('core') >= 1:
            add(COLLECTORS)
    if 'hashmap' in heads:
        _add_hashmap(add, texts, at('hashmap'), dialect)
    if 'pyscripts' in heads:
        step = at('pyscripts')
        null = '' if step and dialect == 'mysql' else ' NOT NULL'
        add(
            PYSCRIPTS,
            checksum='VARCHAR(%d)%s' % (128 if step else 40, null),
            dates=DATES if step == 2 else '',
            name_unique='UNIQUE (name),' if step < 2 or dialect == 'sqlite' else '',
        )
    if 'v1' in heads:
        step = at('v1')
        null = '' if step >= 2 and dialect == 'mysql' else ' NOT NULL'
        add(
            FRAMES,
            qty='NUMERIC%s%s' % ({2: '(10, 5)'}.get(step, '(15, 5)') if step >= 2 else '', null),
            tenant='tenant_id VARCHAR(32),' if step else '',
        )
        if step == 4:
            add(FRAME_INDEXES)
    if 'hybrid' in heads:
        add(HYBRID)
    if 'ghybrid' in heads:
        add(GHYBRID)
    if 'states' in heads:
        add(STATES.get(heads['states'], STATES['4d69395f']), unique=UNIQUE)
        if heads['states'] == '9feccd32':
            add(REPROCESSING)
    return [statement for text in texts for statement in text.split(';') if statement.strip()]


def _add_hashmap(add, texts, step, dialect):
    is_named = step >= 4
    null = '' if step >= 8 and dialect == 'mysql' else ' NOT NULL'
    check = dialect == 'sqlite'
    tenant = ', tenant_id' if step >= 6 else ''
    words = {
        'cost': 'NUMERIC(%s)%s' % ({8: '30, 28', 9: '40, 28', 10: '40, 28'}.get(step, '20, 8'), null),
        'kind': {'sqlite': 'VARCHAR(4)', 'mysql': "ENUM('flat','rate')", 'postgresql': 'enum_map_type'}[dialect]
        + ' NOT NULL',
        'field_uniques': 'CONSTRAINT uniq_field_per_service UNIQUE (service_id, name)'
        if step >= 5
        else 'CONSTRAINT uniq_field UNIQUE (field_id, name), '
        'CONSTRAINT uniq_map_service_field UNIQUE (service_id, name)',
        'mapping': 'hashmap_maps' if dialect == 'postgresql' else 'hashmap_mappings',
        'mapping_uniques': 'CONSTRAINT uniq_field_mapping UNIQUE (value, field_id$and_tenant), '
        'CONSTRAINT uniq_service_mapping UNIQUE (value, service_id$and_tenant),'
        if step < 10
        else '',
        'and_tenant': tenant,
        'tenant': 'tenant_id VARCHAR(%d),' % (255 if step >= 7 else 36) if tenant else '',
        'dates': 'name VARCHAR(32) NOT NULL, ' + DATES if step == 10 else '',
        'threshold': 'mapping' if step == 1 and dialect != 'postgresql' else 'threshold',
        'mapping_check': "CONSTRAINT enum_map_type CHECK (map_type IN ('flat', 'rate')),%s"
        % (" CONSTRAINT ck_hashmap_mappings_enum_map_type CHECK (map_type IN ('flat', 'rate'))," if step == 10 else '')
        if check
        else '',
        'threshold_check': "CONSTRAINT %s CHECK (map_type IN ('flat', 'rate')),"
        % ('enum_hashmap_type' if is_named else 'enum_map_type')
        if check
        else '',
    }
    first = len(texts)
    if dialect == 'postgresql':
        add("CREATE TYPE enum_map_type AS ENUM ('flat', 'rate');")
    add(HASHMAP, **words)
    if step >= 1:
        add(THRESHOLDS, **words)
    if step >= 3:
        add('ALTER TABLE hashmap_maps RENAME TO hashmap_mappings;')
    for place in range(first, len(texts)):
        texts[place] = re.sub(r'\[(\w+)\]', r'CONSTRAINT \1' if is_named else '', texts[place])


def _at(text):
    return datetime.datetime.fromisoformat(text)


def _cost(text):
    return decimal.Decimal(text)


def _script(number, name, source, new=False, **more):
    digest = hashlib.sha512 if new else hashlib.sha1
    return {
        'id': number,
        'script_id': '00000000-0000-4000-8000-%012d' % number,
        'name': name,
        'data': zlib.compress(source.encode()),
        'checksum': digest(source.encode()).hexdigest(),
        'created_at': _at('2024-02-01 09:00:00'),
        'start': _at('2024-02-01 09:00:00'),
        'created_by': 'f' * 32,
        **more,
    }


def _mapping(number, cost, kind='flat', **more):
    return {
        'id': number,
        'mapping_id': '00000000-0000-4000-8000-%012d' % number,
        'cost': _cost(cost),
        'map_type': kind,
        'name': '%032x' % number,
        'created_at': _at('2024-01-31 23:00:00'),
        'start': _at('1970-01-01 00:00:00'),
        'created_by': 'migration',
        **more,
    }


def _threshold(number, level, cost, kind='flat', **more):
    return {
        'id': number,
        'threshold_id': '00000000-0000-4000-8000-%012d' % number,
        'level': _cost(level),
        'cost': _cost(cost),
        'map_type': kind,
        **more,
    }


def _frame(number, begin, qty, rate, tenant, unit='instance', kind='compute', desc=None):
    return {
        'id': number,
        'begin': _at(begin),
        'end': _at(begin) + datetime.timedelta(hours=1),
        'unit': unit,
        'qty': None if qty is None else decimal.Decimal(qty),
        'res_type': kind,
        'rate': rate,
        'desc': json.dumps({'flavor_name': 'm1.größe', 'id': 'i-%d' % number}, ensure_ascii=False)
        if desc is None
        else desc,
        'tenant_id': tenant,
    }


ALPHA, BETA, GAMMA = 'a' * 32, 'b' * 32, 'c' * 32
CORE_ROWS = {
    'states': [
        {'name': 'writer_status_' + ALPHA, 'state': 1538352000, 's_metadata': '{"total": 150.25}'},
        {'name': 'osrf_' + ALPHA, 'state': 1538355600, 's_metadata': '{"total": 0.1, "name": "Größe"}'},
        {'name': 'csv_' + BETA, 'state': 9007199254740993, 's_metadata': ''},
        {'name': 'csv_' + GAMMA, 'state': 0, 's_metadata': None},
    ],
    'modules_state': [
        {'name': 'hashmap', 'state': True, 'priority': 3},
        {'name': 'pyscripts', 'state': True, 'priority': None},
        {'name': 'noop', 'state': False, 'priority': 1},
        {'name': 'collector_gnocchi', 'state': True, 'priority': 0},
    ],
    'service_to_collector_mappings': [
        {'service': 'compute', 'collector': 'gnocchi'},
        {'service': 'größe', 'collector': 'ceilometer'},
    ],
}
PARENTS = {
    'hashmap_services': [
        {'id': 1, 'service_id': 'service-1', 'name': 'compute'},
        {'id': 2, 'service_id': 'service-2', 'name': 'volume.größe'},
        {'id': 7, 'service_id': 'service-7', 'name': 'без правил'},
    ],
    'hashmap_fields': [
        {'id': 1, 'field_id': 'field-1', 'name': 'flavor_name', 'service_id': 1},
        {'id': 4, 'field_id': 'field-4', 'name': 'vcpus', 'service_id': 1},
        {'id': 5, 'field_id': 'field-5', 'name': 'flavor_name', 'service_id': 2},
    ],
    'hashmap_groups': [
        {'id': 1, 'group_id': 'group-1', 'name': 'uptime'},
        {'id': 3, 'group_id': 'group-3', 'name': 'störung'},
    ],
}
#: Costs of 30 digits with 28 decimals end at 99.
MAPPINGS = [
    _mapping(1, '150.25', field_id=1, value='m1.tiny', group_id=1),
    _mapping(2, '0.00000001', field_id=1, value='m1.größe', group_id=3),
    _mapping(3, '999999999999.12345678', field_id=1, value='m1.ünique'),
    _mapping(4, '1.15', 'rate', service_id=1, group_id=1),
    _mapping(5, '0', service_id=2),
    _mapping(6, '-3.5', service_id=1),
    _mapping(9, '0.1', 'rate', field_id=5, value=''),
    _mapping(10, '99.99999999', field_id=1, value='m1.tiny', tenant_id=ALPHA, group_id=1),
    _mapping(11, '0.00000003', service_id=1, tenant_id='d3b07384-d9a0-4c9b-8b3a-000000000001'),
]
LONG_MAPPING = _mapping(12, '1.0000000000000000000000000001', field_id=4, value='2', tenant_id='scope ' * 40)
DATED_MAPPINGS = [
    _mapping(20, '7.125', field_id=4, value='4', name='four', end=_at('2024-06-30 22:00:00'), description='Größe ☃'),
    _mapping(
        21,
        '8',
        field_id=4,
        value='4',
        name='four',
        start=_at('2024-07-01 00:00:00'),
        created_by='e' * 32,
        updated_by='f' * 32,
        deleted=_at('2024-07-02 00:00:00'),
        deleted_by='f' * 32,
    ),
    # The same name and place again.
    _mapping(22, '8.5', field_id=4, value='4', name='four', start=_at('2024-07-01 00:00:00'), created_by='e' * 32),
]
THRESHOLD_ROWS = [
    _threshold(1, '10', '123456789012.5', 'rate', service_id=1),
    _threshold(2, '0.00000001', '0.00000001', field_id=4, group_id=3),
    _threshold(4, '123456789012.12345678', '42.42424242', field_id=4),
    _threshold(5, '10', '0.9', 'rate', service_id=1, tenant_id=BETA),
    _threshold(6, '20', '0', service_id=2, group_id=1),
]
SCRIPTS = [
    _script(1, 'price', 'data = data\n'),
    _script(2, 'größe', 'for point in data:\n    pass  # ☃ größer\n' * 100),
    _script(6, 'empty', ''),
]
DATED_SCRIPTS = [
    _script(8, 'deleted', 'pass', new=True, deleted=_at('2024-03-01 00:00:00'), deleted_by='f' * 32),
    _script(9, 'ended', 'pass  # ended', new=True, end=_at('2024-04-01 00:00:00'), description='Größe', updated_by='x'),
]
FRAME_ROWS = [
    _frame(1, '2018-09-30 22:00:00', '1', 0.1, ALPHA),
    _frame(2, '2018-09-30 22:00:00', '12345', 1234.5678, ALPHA, 'GiB', 'volume'),
    _frame(3, '2018-09-30 23:00:00', '0', 0.0, None, 'None', '_NO_DATA_', ''),
    _frame(7, '2018-10-01 00:00:00', '3', 0.333333333333, BETA),
    _frame(8, '2018-10-01 01:00:00', '2', 1e-9, ALPHA),
]
FINE_FRAME = _frame(10, '2018-10-01 01:00:00', '12345.12345', 16777217.25, BETA, 'GiB', 'größe')
WIDE_FRAME = _frame(11, '2018-10-01 01:00:00', '1234567890.12345', 9.87654321, BETA, 'B', 'image.size')
NULL_FRAME = _frame(12, '2018-10-01 01:00:00', None, 0.5, ALPHA)
STATE_ROWS = [
    {'id': 1, 'identifier': ALPHA, 'state': _at('2018-10-01 01:00:00')},
    {'id': 2, 'identifier': BETA, 'state': _at('2018-10-01 01:00:00')},
    {
        'id': 5,
        'identifier': GAMMA,
        'state': _at('2018-10-01 02:00:00'),
        'scope_key': 'project_id',
        'fetcher': 'keystone',
        'collector': 'gnocchi',
        'active': False,
    },
]
#: The same scope for another collector, which the first constraint did not allow.
TWIN = {**STATE_ROWS[2], 'id': 6, 'collector': 'prometheus', 'active': True}
REPROCESSING_ROWS = [
    {
        'id': 1,
        'identifier': ALPHA,
        'start_reprocess_time': _at('2018-09-01 00:00:00'),
        'end_reprocess_time': _at('2018-09-02 00:00:00'),
        'current_reprocess_time': None,
        'reason': 'größer',
    },
    {
        'id': 4,
        'identifier': GAMMA,
        'start_reprocess_time': _at('2018-09-01 00:00:00'),
        'end_reprocess_time': _at('2018-09-02 00:00:00'),
        'current_reprocess_time': _at('2018-09-02 00:00:00'),
        'reason': 'wrong rule',
    },
]


def list_rows(heads, dialect):
    """Return {table: rows} for the tables of *heads*; rows may have columns that the table does not have yet."""
    rows = {}

    def at(chain):
        return REVISIONS[chain].index(heads[chain]) if chain in heads else -1

    if 'core' in heads:
        rows.update({name: found for name, found in CORE_ROWS.items() if at('core') >= 1 or 'service_to' not in name})
    if 'hashmap' in heads:
        rows.update(_list_rules(at('hashmap')))
    if 'pyscripts' in heads:
        rows['pyscripts_scripts'] = SCRIPTS + (DATED_SCRIPTS if at('pyscripts') == 2 else [])
        if at('pyscripts') == 2 and dialect != 'sqlite':
            again = _script(11, 'deleted', 'pass  # again', new=True)
            rows['pyscripts_scripts'] = [*rows['pyscripts_scripts'], again]
    if 'v1' in heads:
        step = at('v1')
        rows['rated_data_frames'] = FRAME_ROWS + [FINE_FRAME] * (step >= 2) + [WIDE_FRAME] * (step >= 3)
        if step >= 2 and dialect == 'mysql':
            rows['rated_data_frames'] = [*rows['rated_data_frames'], NULL_FRAME]
    if 'hybrid' in heads:
        rows['hybrid_storage_states'] = [
            {'id': 1, 'tenant_id': ALPHA, 'state': _at('2018-10-01 00:00:00')},
            {'id': 2, 'tenant_id': BETA, 'state': _at('2018-10-01 01:00:00')},
        ]
    if 'ghybrid' in heads:
        rows['ghybrid_dataframes'] = [
            {
                'id': 3,
                'begin': _at('2017-01-01 00:00:00'),
                'end': _at('2017-01-01 01:00:00'),
                'res_type': 'compute',
                'rate': _cost('12.34567891'),
                'resource_ref': ALPHA,
                'tenant_id': ALPHA,
            }
        ]
    if 'states' in heads:
        step = at('states')
        states = [*STATE_ROWS, TWIN] if step == 2 or step >= 4 else STATE_ROWS
        defaults = {'active': True, 'scope_activation_toggle_date': _at('2023-05-06 07:08:09')}
        rows['cloudkitty_storage_states'] = [
            {**defaults, **row, 'last_processed_timestamp': row['state']} for row in states
        ]
        if heads['states'] == '9feccd32':
            rows['storage_scope_reprocessing_schedule'] = REPROCESSING_ROWS
    return rows


def _list_rules(step):
    mappings = MAPPINGS + [LONG_MAPPING] * (step >= 8) + DATED_MAPPINGS * (step == 10)
    rows = {'mappings': mappings, 'thresholds': THRESHOLD_ROWS if step >= 1 else []}
    for kind, found in rows.items():
        found = [row for row in found if step >= 6 or not row.get('tenant_id')]
        rows[kind] = [row for row in found if step != 8 or abs(row['cost']) < 100]
    return {
        **PARENTS,
        'hashmap_mappings' if step >= 3 else 'hashmap_maps': rows['mappings'],
        **({'hashmap_thresholds': rows['thresholds']} if step >= 1 else {}),
    }


def fill(engine, heads):
    """Make the database of *heads*, which *engine* connects to, with rows in every table.

    :param heads: {chain: revision}, one of :data:`RELEASES` or :func:`list_steps`.
    """
    dialect = engine.dialect.name
    heads = make_possible(heads, dialect)
    with engine.begin() as connection:
        for statement in write_ddl(heads, dialect):
            connection.exec_driver_sql(statement.replace('"', '`') if dialect == 'mysql' else statement)
        for chain, revision in heads.items():
            table = VERSION_TABLES[chain]
            connection.exec_driver_sql(
                'CREATE TABLE %s (version_num VARCHAR(32) NOT NULL, CONSTRAINT %s_pkc PRIMARY KEY (version_num))'
                % (table, table)
            )
            connection.exec_driver_sql("INSERT INTO %s VALUES ('%s')" % (table, revision.removesuffix('B')))
        for table, rows in list_rows(heads, dialect).items():
            columns = [column['name'] for column in sqlalchemy.inspect(connection).get_columns(table)]
            for row in rows:
                insert(connection, table, {name: value for name, value in row.items() if name in columns})
            if dialect == 'postgresql' and 'id' in columns and rows:
                _count_on(connection, table, rows)


def insert(connection, table, row):
    """Insert *row* into *table*: {column: value}."""
    if connection.dialect.name == 'sqlite':
        row = {name: _to_sqlite(value) for name, value in row.items()}
    connection.execute(sqlalchemy.table(table, *map(sqlalchemy.column, row)).insert(), row)


def _to_sqlite(value):
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value.strftime('%Y-%m-%d %H:%M:%S.%f') if isinstance(value, datetime.datetime) else value


def _count_on(connection, table, rows):
    """Let ids go on after those of *rows*, but where a rebuild by the releases of old left the sequence behind."""
    sequence = connection.scalar(sqlalchemy.text("SELECT pg_get_serial_sequence('%s', 'id')" % table))
    if '_alembic_tmp_' not in sequence:
        connection.exec_driver_sql("SELECT setval('%s', %d)" % (sequence, max(row['id'] for row in rows)))
