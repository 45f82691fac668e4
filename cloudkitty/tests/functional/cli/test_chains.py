# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-dbsync version`` and ``check`` of all chains, as processes, on every server."""

import pytest
import sqlalchemy

from cloudkitty.db import engine

DBSYNC = 'cloudkitty-dbsync'
HEADS = {
    'cloudkitty': ('cloudkitty_alembic', '385e33fef139'),
    'hashmap': ('hashmap_alembic', '8a591f85865f'),
    'pyscripts': ('pyscripts_alembic', 'c6e4cda29654'),
    'storage': ('storage_sqlalchemy_alembic', 'd875621d0384'),
    'states': ('storage_states_alembic', '9feccd32'),
}
THIRD_PARTY = """
class Migration:
    def version(self):
        return %r

class Database:
    def get_migration(self):
        return Migration()

class Module:
    db_api = Database()
"""


def read_table(text):
    """Return {chain: (version table, revision, head, state)} in the order of the lines, and the titles."""
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line[0] == '|']
    return {line[0]: tuple(line[1:]) for line in lines[1:]}, lines[0]


def execute(programs, *statements):
    database = engine.Database(programs.options['database']['connection'])
    with database.engine.begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))
    database.dispose()


def add_module(programs, version):
    """Install a rating module of a third party whose tables are at *version*."""
    place = programs.directory / 'plugins'
    info = place / 'third_party-1.0.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n')
    (info / 'entry_points.txt').write_text('[cloudkitty.rating.processors]\nthird = third_party:Module\n')
    (place / 'third_party.py').write_text(THIRD_PARTY % version)


def test_chains_are_missing_then_at_head(everywhere):
    done = everywhere.run(DBSYNC, 'version')
    assert (done.returncode, done.stderr) == (0, '')
    found, titles = read_table(done.stdout)
    assert titles == ['Chain', 'Version table', 'Revision', 'Head', 'State']
    assert list(found)[: len(HEADS)] == list(HEADS)
    assert {'ledger', 'series'} <= set(found)
    for name, (table, head) in HEADS.items():
        assert found[name] == (table, '-', head, 'missing')
    assert everywhere.run(DBSYNC, 'check').returncode == 1

    everywhere.install()
    found, _ = read_table(everywhere.run(DBSYNC, 'version').stdout)
    assert {(row[1] == row[2], row[3]) for row in found.values()} == {(True, 'head')}
    for name, (table, head) in HEADS.items():
        assert found[name] == (table, head, head, 'head')
    done = everywhere.run(DBSYNC, 'check')
    assert (done.returncode, done.stderr) == (0, '')
    assert read_table(done.stdout)[0] == found


def test_check_says_which_command_to_run(programs):
    assert programs.run(DBSYNC, 'upgrade').returncode == 0
    done = programs.run(DBSYNC, 'check')
    assert done.returncode == 1
    assert read_table(done.stdout)[0]['states'][3] == 'missing'
    assert len(done.stderr.splitlines()) == 1
    assert 'run cloudkitty-storage-init' in done.stderr
    assert 'cloudkitty-dbsync upgrade' not in done.stderr


def test_chain_that_is_behind(programs):
    programs.prepare()
    execute(programs, "UPDATE hashmap_alembic SET version_num = '644faa4491fd'")
    done = programs.run(DBSYNC, 'check')
    assert done.returncode == 1
    assert read_table(done.stdout)[0]['hashmap'][1:] == ('644faa4491fd', '8a591f85865f', 'behind')
    assert done.stderr.splitlines() == [
        'cloudkitty-dbsync: Not at the head of this release: hashmap (behind): run cloudkitty-dbsync upgrade.'
    ]
    done = programs.run(DBSYNC, 'check', '--module', 'hashmap')
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, '644faa4491fd\n', 1)
    done = programs.run(DBSYNC, 'check', '--module', 'pyscripts')
    assert (done.returncode, done.stdout, done.stderr) == (0, 'c6e4cda29654 (head)\n', '')


def test_revision_that_this_release_does_not_know(everywhere):
    everywhere.prepare()
    execute(everywhere, "UPDATE storage_states_alembic SET version_num = 'abcdef'")
    done = everywhere.run(DBSYNC, 'check')
    assert done.returncode == 1
    assert read_table(done.stdout)[0]['states'][1:] == ('abcdef', '9feccd32', 'unknown revision')
    assert 'states (unknown revision): another release has been here' in done.stderr
    assert 'run ' not in done.stderr


def test_chains_of_storages_that_are_gone_are_shown_where_they_are_and_left_alone(everywhere):
    everywhere.prepare()
    execute(
        everywhere,
        'CREATE TABLE storage_hybrid_alembic (version_num VARCHAR(32))',
        "INSERT INTO storage_hybrid_alembic VALUES ('03da4bb002b9')",
        'CREATE TABLE storage_gnocchi_hybrid_alembic (version_num VARCHAR(32))',
    )
    done = everywhere.run(DBSYNC, 'check')
    assert (done.returncode, done.stderr) == (0, '')
    assert list(read_table(done.stdout)[0].items())[-2:] == [
        ('storage_hybrid', ('storage_hybrid_alembic', '03da4bb002b9', '-', 'left alone')),
        ('storage_gnocchi_hybrid', ('storage_gnocchi_hybrid_alembic', '-', '-', 'left alone')),
    ]


@pytest.mark.parametrize(
    ('version', 'row', 'status'),
    [
        ('0123abc (head)', ('-', '0123abc', '0123abc', 'head'), 0),
        ('0123abc', ('-', '0123abc', '-', 'behind'), 1),
        (None, ('-', '-', '-', 'missing'), 1),
    ],
)
def test_module_of_a_third_party_is_in_the_table(programs, version, row, status):
    programs.prepare()
    add_module(programs, version)
    done = programs.run(DBSYNC, 'check')
    assert done.returncode == status
    found, _ = read_table(done.stdout)
    assert list(found)[3] == 'third'
    assert found['third'] == row
    done = programs.run(DBSYNC, 'check', '--module', 'third')
    assert (done.returncode, done.stdout.strip()) == (status, version or '')


@pytest.mark.parametrize('module', ['nonsense', 'noop', 'storage'])
def test_module_that_is_not_there_is_one_line_and_status_1(programs, module):
    done = programs.run(DBSYNC, 'check', '--module', module)
    assert (done.returncode, done.stdout) == (1, '')
    assert 'There is no module "%s"' % module in done.stderr


@pytest.mark.parametrize('command', ['version', 'check'])
def test_database_that_is_away_is_one_line_and_status_1(programs, command):
    programs.set('database', connection='mysql://root:secret@127.0.0.1:1/cloudkitty')
    done = programs.run(DBSYNC, command)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, '', 1)
    assert 'secret' not in done.stderr
