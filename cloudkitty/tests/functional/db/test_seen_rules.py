# SPDX-License-Identifier: Apache-2.0
"""Rules that another release writes into the tables are noticed, on every server."""

from types import SimpleNamespace

import pytest
import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.db import rating_modules
from cloudkitty.db import rule_actors
from cloudkitty.db import rule_revision
from cloudkitty.db import seen_rules
from cloudkitty.tests import old_databases


def write(database, table, row):
    """Insert *row* as another release does: without a word to us."""
    with database.engine.begin() as connection:
        old_databases.insert(connection, table, row)


def test_what_nobody_changed_is_let_be(database):
    revision = rule_revision.current(database)
    assert not seen_rules.look(database) and not seen_rules.look(database)
    assert rule_revision.current(database) == revision


@pytest.mark.parametrize(
    ('table', 'row'),
    [
        ('hashmap_services', {'service_id': 'new', 'name': 'new'}),
        ('hashmap_groups', {'group_id': 'new', 'name': 'new'}),
        ('modules_state', {'name': 'hashmap', 'state': True}),
        (
            'pyscripts_scripts',
            {'script_id': 'new', 'name': 'new', 'data': b'new', 'checksum': '0' * 128, 'created_by': 'new'},
        ),
    ],
)
def test_a_row_of_another_release_advances_the_revision_once(database, table, row):
    seen_rules.look(database)
    revision = rule_revision.current(database)
    write(database, table, row)
    assert seen_rules.look(database) and not seen_rules.look(database)
    assert rule_revision.current(database) == revision + 1


def test_a_changed_value_is_noticed(database):
    write(database, 'hashmap_services', {'service_id': 'new', 'name': 'new'})
    seen_rules.look(database)
    with database.engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE hashmap_services SET name = 'New'"))
    assert seen_rules.look(database)


def test_changes_of_ours_are_not_called_foreign(database):
    seen_rules.look(database)
    rating_modules.set_enabled(database, 'hashmap', True)
    assert not seen_rules.look(database)


def test_changes_of_both_are_read_again(database):
    seen_rules.look(database)
    database.repeat(rule_revision.bump)
    write(database, 'hashmap_services', {'service_id': 'new', 'name': 'new'})
    revision = rule_revision.current(database)
    seen_rules.look(database)
    assert rule_revision.current(database) == revision + 1


def test_a_change_of_ours_that_another_release_took_back_is_read_again(database):
    seen_rules.look(database)
    database.repeat(rule_revision.bump)
    revision = rule_revision.current(database)
    assert not seen_rules.look(database)
    assert rule_revision.current(database) == revision + 1
    seen_rules.look(database)
    assert rule_revision.current(database) == revision + 1


def test_before_the_tables_are_made_there_is_nothing_to_see(empty_database):
    assert not seen_rules.look(empty_database)


def test_an_actor_is_whole_only_as_long_as_the_column_begins_like_it():
    actors = rule_actors.RuleActors(rule_id='a', updated_by='x' * 64)
    assert rule_actors.read(actors, SimpleNamespace(updated_by='x' * 32), 'updated_by') == 'x' * 64
    assert rule_actors.read(actors, SimpleNamespace(updated_by='y' * 32), 'updated_by') == 'y' * 32
    assert rule_actors.read(None, SimpleNamespace(updated_by='y'), 'updated_by') == 'y'


def test_the_digest_is_the_same_in_every_process(ready_url):
    first, second = engine.Database(ready_url), engine.Database(ready_url)
    seen_rules.look(first)
    assert not seen_rules.look(second)
    first.dispose()
    second.dispose()
