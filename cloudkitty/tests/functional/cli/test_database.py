# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-dbsync`` and ``cloudkitty-storage-init`` as processes: what operators see, on every server."""

import re

import pytest
import sqlalchemy

from cloudkitty.db import engine

CORE = [
    ('', '464e951dc3b8', 'Initial migration'),
    ('464e951dc3b8', '2ac2217dcbd9', 'Added support for meta collector'),
    ('2ac2217dcbd9', '385e33fef139', 'Added priority to modules_state.'),
]
HASHMAP = [
    ('', '3dd7e13527f3', 'Initial migration'),
    ('3dd7e13527f3', '4fa888fd7eda', 'Added threshold support.'),
    ('4fa888fd7eda', '54cc17accf2c', 'Fixed constraint name.'),
    ('54cc17accf2c', '10d2738b67df', 'Rename mapping table to hashmap_mappings.'),
    ('10d2738b67df', 'f8c799db4aa0', 'Fix unnamed constraints.'),
    ('f8c799db4aa0', 'c88a06b1cfce', 'Clean hashmap fields constraints.'),
    ('c88a06b1cfce', '4da82e1c11c8', 'Add per tenant hashmap support'),
    ('4da82e1c11c8', '644faa4491fd', 'Update tenant_id type from uuid to text'),
    ('644faa4491fd', 'Ifbf5b2515c7', 'Increase cost fields to 30 digits'),
    ('Ifbf5b2515c7', '4e0232ce', 'Increase cost fields to 30 digits'),
    ('4e0232ce', '8a591f85865f', 'Add start end dates and audit in hashmap mappings'),
]
PYSCRIPTS = [
    ('', '4f9efa4601c0', 'Initial migration.'),
    ('4f9efa4601c0', '75c205f6f1a2', 'move from sha1 to sha512'),
    ('75c205f6f1a2', 'c6e4cda29654', 'Add start end dates and audit in pyscripts'),
]
STORAGE = [
    ('', '17fd1b237aa3', 'Initial migration'),
    ('17fd1b237aa3', '792b438b663', 'added tenant informations'),
    ('792b438b663', '307430ab38bc', 'improve qty precision'),
    ('307430ab38bc', 'c703a1bad612', 'improve_qty_digit'),
    ('c703a1bad612', 'd875621d0384', 'Creating indexes to allow SQL query optimizations'),
]
STATES = [
    ('', 'c14eea9d3cc1', 'Initial'),
    ('c14eea9d3cc1', 'd9d103dd4dcf', 'Add details to state management'),
    ('d9d103dd4dcf', 'c50ed2c19204', 'Update storage state constraint'),
    ('c50ed2c19204', '750d3050cf71', 'Create last processed timestamp column'),
    ('750d3050cf71', '4d69395f', 'Update storage state constraint'),
    ('4d69395f', '9feccd32', 'Create reprocessing scheduler table'),
]
CONTEXT = {
    'sqlite': ('SQLiteImpl', 'non-transactional'),
    'mysql': ('MySQLImpl', 'non-transactional'),
    'postgresql': ('PostgresqlImpl', 'transactional'),
}


def lines_of(chain, programs):
    """Return the lines that upgrading *chain* prints."""
    name, ddl = CONTEXT[sqlalchemy.make_url(programs.options['database']['connection']).get_backend_name()]
    head = 'INFO  [alembic.runtime.migration] '
    return [
        '%sContext impl %s.' % (head, name),
        '%sWill assume %s DDL.' % (head, ddl),
        *('%sRunning upgrade %s -> %s, %s' % (head, *step) for step in chain),
    ]


def test_upgrade_prints_every_step_and_a_second_one_none(everywhere):
    done = everywhere.run('cloudkitty-dbsync', 'upgrade')
    assert (done.returncode, done.stdout) == (0, '')
    assert done.stderr.splitlines() == [
        line for chain in (CORE, HASHMAP, PYSCRIPTS) for line in lines_of(chain, everywhere)
    ]
    done = everywhere.run('cloudkitty-dbsync', 'upgrade')
    assert (done.returncode, done.stdout) == (0, '')
    assert done.stderr.splitlines() == lines_of([], everywhere) * 3


def test_storage_init_prints_every_step_and_a_second_one_none(everywhere):
    done = everywhere.run('cloudkitty-storage-init')
    assert (done.returncode, done.stdout) == (0, '')
    lines = done.stderr.splitlines()
    wanted = lines_of(STORAGE, everywhere) + lines_of(STATES, everywhere)
    assert lines[: len(wanted)] == wanted
    # Then ours, which nobody compares.
    assert [line for line in lines[len(wanted) :] if not line.startswith('INFO  [alembic')] == []
    done = everywhere.run('cloudkitty-storage-init')
    assert done.returncode == 0
    assert 'Running upgrade' not in done.stderr


def test_messages_stay_on_stderr_when_there_is_a_log_file(programs):
    programs.set('DEFAULT', log_dir=programs.directory)
    done = programs.run('cloudkitty-dbsync', 'upgrade')
    assert done.stderr.splitlines() == [
        line for chain in (CORE, HASHMAP, PYSCRIPTS) for line in lines_of(chain, programs)
    ]


@pytest.mark.parametrize(
    ('module', 'revision', 'printed'),
    [
        ('cloudkitty', 'head', '385e33fef139 (head)'),
        ('hashmap', 'head', '8a591f85865f (head)'),
        ('hashmap', '644f', '644faa4491fd'),
    ],
)
def test_one_module_is_upgraded_to_any_revision(programs, module, revision, printed):
    assert programs.run('cloudkitty-dbsync', 'version', '--module', module).stdout == ''
    done = programs.run('cloudkitty-dbsync', 'upgrade', '--module', module, '--revision', revision)
    assert done.returncode == 0
    done = programs.run('cloudkitty-dbsync', 'version', '--module', module)
    assert (done.returncode, done.stdout.strip()) == (0, printed)


def test_stamp_says_where_a_module_is_without_a_change(programs):
    done = programs.run('cloudkitty-dbsync', 'stamp', '--module', 'hashmap', '--revision', '4da82e1c11c8')
    assert done.returncode == 0
    assert programs.run('cloudkitty-dbsync', 'version', '--module', 'hashmap').stdout.strip() == '4da82e1c11c8'
    database = engine.Database(programs.options['database']['connection'])
    assert sqlalchemy.inspect(database.engine).get_table_names() == ['hashmap_alembic']
    database.dispose()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['upgrade', '--revision', '4da82e1c11c8'], '--revision 4da82e1c11c8 needs --module'),
        (['upgrade', '--module', 'nonsense'], 'There is no module "nonsense"'),
        (['upgrade', '--module', 'noop'], 'There is no module "noop"'),
        (['upgrade', '--module', 'hashmap', '--revision', 'nonsense'], 'nonsense'),
        (['version', '--module', 'nonsense'], 'There is no module "nonsense"'),
    ],
)
def test_what_cannot_be_done_is_one_line_and_status_1(programs, arguments, message):
    done = programs.run('cloudkitty-dbsync', *arguments)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('arguments', [[], ['nonsense'], ['stamp'], ['stamp', '--module', 'hashmap']])
def test_bad_usage_is_status_2(programs, arguments):
    assert programs.run('cloudkitty-dbsync', *arguments).returncode == 2


@pytest.mark.parametrize('name', ['cloudkitty-dbsync', 'cloudkitty-storage-init'])
@pytest.mark.parametrize(
    'url',
    [
        'mysql://root:secret@127.0.0.1:1/cloudkitty',
        'postgresql://postgres:secret@127.0.0.1:1/cloudkitty',
        'sqlite:////nonexistent/cloudkitty.sqlite',
        'nonsense',
        'nonsense://localhost/cloudkitty',
        'mysql://root:secret@127.0.0.1:port/cloudkitty',
        'oracle://root:secret@127.0.0.1/cloudkitty',
    ],
)
def test_database_that_cannot_be_used_is_one_line_without_the_password(programs, name, url):
    programs.set('database', connection=url)
    done = programs.run(name, *(['upgrade'] if name == 'cloudkitty-dbsync' else []))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith('%s: ' % name)
    assert 'secret' not in done.stderr


def test_history_of_another_storage_is_not_hidden_by_a_default(programs):
    programs.set('storage_influxdb', host='influx.example.org')
    done = programs.run('cloudkitty-storage-init')
    assert done.returncode == 1
    assert '[storage] backend is not set' in done.stderr
    programs.set('storage', backend='sqlalchemy')
    assert programs.run('cloudkitty-storage-init').returncode == 0


def test_rows_of_an_older_release_are_counted(everywhere):
    everywhere.set('storage', version=1, backend='sqlalchemy')
    everywhere.prepare()
    database = engine.Database(everywhere.options['database']['connection'])
    with database.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                'INSERT INTO rated_data_frames (%s, tenant_id, unit, qty, res_type, rate, %s, %s) '
                "VALUES ('2018-06-01 00:00:00', 'a', 'u', 1, 'cpu', 1, '{}', '2018-06-01 01:00:00')"
                % tuple(database.engine.dialect.identifier_preparer.quote(name) for name in ('begin', 'desc', 'end'))
            )
        )
    database.dispose()
    everywhere.options.pop('storage')
    done = everywhere.run('cloudkitty-storage-init')
    assert done.returncode == 0
    assert re.search('WARNI.* rated_data_frames holds 1 rows of an older release', done.stderr)
