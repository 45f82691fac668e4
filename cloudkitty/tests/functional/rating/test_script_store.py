# SPDX-License-Identifier: Apache-2.0
"""What may be done to scripts, on every server."""

import bisect
import concurrent.futures
import dataclasses
import datetime
import hashlib
import threading
import zlib
import zoneinfo

import hypothesis
from hypothesis import strategies
import pytest
import sqlalchemy

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.db import rule_revision
from cloudkitty.rating import dated
from cloudkitty.rating.pyscripts import models
from cloudkitty.rating.pyscripts import store

PARIS = zoneinfo.ZoneInfo('Europe/Paris')
NOW = datetime.datetime(2026, 6, 1, 10, 0, 0, 250000, tzinfo=period.UTC)
#: The same on a wall in Paris.
LOCAL = datetime.datetime(2026, 6, 1, 12)
HOUR = datetime.timedelta(hours=1)
NOBODY = 'no-such-id'


def later(hours):
    return LOCAL + hours * HOUR


class Scripts:
    """The store of *database*."""

    def __init__(self, database):
        self.database = database

    def make(self, name='a', data='x = 1', actor='me', now=NOW, force=False, **members):
        request = store.ScriptRequest(name, data, **members)
        return store.create_script(self.database, request, actor, now, PARIS, force)

    def update(self, script, now=NOW, actor='me', **members):
        members.setdefault('name', script.name)
        return store.update_script(self.database, script.id, store.ScriptRequest(**members), actor, now, PARIS)

    def delete(self, script, actor='me'):
        store.delete_script(self.database, script.id, actor, NOW, PARIS)

    def list(self, **wanted):
        return store.list_scripts(self.database, dated.Filter(**wanted), PARIS)

    def names(self, **wanted):
        return [script.name for script in self.list(**wanted)]

    @property
    def revision(self):
        return rule_revision.current(self.database)


@pytest.fixture
def scripts(database):
    return Scripts(database)


@pytest.fixture
def quick(sqlite):
    """On SQLite only: what does not depend on the server."""
    return Scripts(sqlite)


def whole(script):
    """Return the request that repeats what is stored."""
    return {field.name: getattr(script, field.name) for field in dataclasses.fields(store.ScriptRequest)}


# Making


def test_a_script_is_what_was_asked_for(scripts):
    source = 'price = "h\u00e9"\n'
    made = scripts.make('n' * 255, source, start=later(1), end=later(2), description='d' * 256)
    assert made == store.Script(
        id=made.id,
        name='n' * 255,
        data=source,
        checksum=hashlib.sha512(source.encode()).hexdigest(),
        created_at=LOCAL,
        start=later(1),
        end=later(2),
        description='d' * 256,
        deleted=None,
        created_by='me',
        updated_by=None,
        deleted_by=None,
    )
    assert store.get_script(scripts.database, made.id) == made
    assert scripts.list() == [made]
    with scripts.database.reader() as session:
        assert zlib.decompress(session.scalars(sqlalchemy.select(models.Script.data)).one()) == source.encode()


def test_what_is_not_said_has_a_default(scripts):
    made = scripts.make(data='')
    assert (made.start, made.end, made.description, made.data) == (LOCAL, None, None, '')
    assert scripts.make('b', end=later(1)).start == LOCAL


def test_aware_dates_become_local(scripts):
    made = scripts.make(start=NOW + HOUR, end=NOW + 2 * HOUR)
    assert (made.start, made.end) == (later(1), later(2))


def test_the_past_needs_force(quick):
    with pytest.raises(errors.BadRequest, match='^start: .*force'):
        quick.make(start=later(-1))
    assert quick.make(start=later(-1), force=True).start == later(-1)


@pytest.mark.parametrize(
    ('members', 'match'),
    [
        ({'name': ''}, '^name'),
        ({'name': 'n' * 256}, '^name'),
        ({'description': 'd' * 257}, '^description'),
        ({'data': None}, '^data'),
        ({'end': later(-1)}, '^end'),
        ({'start': later(2), 'end': later(1)}, '^end'),
        ({'start': datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(14 * HOUR))}, '^start'),
    ],
)
def test_a_refusal_names_what_is_wrong(quick, members, match):
    with pytest.raises(errors.BadRequest, match=match):
        quick.make(**members)
    assert quick.list() == []


def test_the_largest_source_is_kept_and_a_larger_one_refused_on_update_too(scripts):
    digits = hashlib.shake_256(b'x').hexdigest(70000)
    sizes = range(len(digits))
    count = bisect.bisect_right(sizes, store.LARGEST, key=lambda size: len(zlib.compress(digits[:size].encode()))) - 1
    made = scripts.make(data=digits[:count], start=later(1))
    assert store.get_script(scripts.database, made.id).data == digits[:count]
    assert len(zlib.compress(made.data.encode())) > store.LARGEST - 3
    with pytest.raises(errors.BadRequest, match='^data: the script takes [0-9]+ bytes'):
        scripts.update(made, data=digits[: count + 10])
    assert scripts.list() == [made]


def test_characters_that_mysql_does_not_know_are_refused_there_but_in_sources(scripts):
    assert scripts.make(data='# \U0001f600').data == '# \U0001f600'
    for members in ({'name': '\U0001f600'}, {'name': 'b', 'description': '\U0001f600'}):
        if scripts.database.dialect == 'mysql':
            with pytest.raises(errors.BadRequest, match='U.FFFF'):
                scripts.make(**members)
        else:
            assert scripts.make(**members)


def test_any_source_comes_back(scripts):
    made = scripts.make(start=later(1))

    @hypothesis.settings(max_examples=50, deadline=None)
    @hypothesis.given(strategies.text(strategies.characters(exclude_categories=['Cs'])))
    def check(source):
        found = scripts.update(made, data=source)
        assert (found.data, found.checksum) == (source, hashlib.sha512(source.encode()).hexdigest())

    check()


# Names


def test_names_are_unique_and_exact_among_scripts_that_are_not_deleted(scripts):
    made = scripts.make('discount')
    with pytest.raises(errors.Conflict, match=made.id):
        scripts.make('discount')
    for name in ('Discount', 'discount ', 'disc\u00f6unt'):
        scripts.make(name)
    scripts.delete(made)
    again = scripts.make('discount')
    scripts.delete(again)
    scripts.make('discount')
    assert scripts.names(deleted=True).count('discount') == 3


@pytest.mark.parametrize('name', ['discount', 'n' * 255])
def test_a_deleted_name_is_free_where_the_table_kept_its_unique_of_old(scripts, name):
    with scripts.database.engine.begin() as connection:
        connection.exec_driver_sql('CREATE UNIQUE INDEX uniq_of_old ON pyscripts_scripts (name)')
    gone = []
    for _ in range(2):
        gone.append(scripts.make(name))
        scripts.delete(gone[-1])
    made = scripts.make(name)
    assert scripts.list() == [made] and made.name == name
    found = scripts.list(deleted=True)
    assert [script.id for script in found] == [*[script.id for script in gone], made.id]
    assert all(script.name.endswith(' (%s)' % script.id) and len(script.name) <= 255 for script in found[:2])
    with pytest.raises(errors.Conflict, match=made.id):
        scripts.make(name)


def test_a_deleted_name_is_free_in_a_table_of_another_release_on_sqlite(sqlite_url):
    database = engine.Database(sqlite_url)
    migration.upgrade(database, migration.PYSCRIPTS, '75c205f6f1a2')
    with database.engine.begin() as connection:
        # What release 25 does to the table: it adds the columns and leaves the unique.
        for column in ('created_at DATETIME', 'start DATETIME', '"end" DATETIME', 'deleted DATETIME'):
            connection.exec_driver_sql('ALTER TABLE pyscripts_scripts ADD COLUMN %s' % column)
        for column in ('description TEXT', 'created_by TEXT', 'updated_by TEXT', 'deleted_by TEXT'):
            connection.exec_driver_sql('ALTER TABLE pyscripts_scripts ADD COLUMN %s' % column)
    migration.stamp(database, migration.PYSCRIPTS, 'c6e4cda29654')
    migration.upgrade_all(database)
    found = Scripts(database)
    found.delete(found.make('discount'))
    made = found.make('discount')
    assert found.list() == [made]
    database.dispose()


# Changing


def test_before_the_start_some_members_change(scripts):
    made = scripts.make(start=later(1), end=later(2), description='old')
    found = scripts.update(made, name='ignored', data='y', start=later(2), end=later(3), description='new', actor='you')
    assert found == dataclasses.replace(
        made,
        data='y',
        checksum=hashlib.sha512(b'y').hexdigest(),
        start=later(2),
        end=later(3),
        description='new',
        updated_by='you',
    )
    assert store.get_script(scripts.database, made.id) == found


def test_before_the_start_what_is_not_said_is_forgotten_but_start_and_source(quick):
    made = quick.make(start=later(1), end=later(2), description='old')
    found = quick.update(made)
    assert (found.start, found.data, found.end, found.description) == (later(1), 'x = 1', None, None)


def test_before_the_start_dates_are_checked(quick):
    made = quick.make(start=later(2))
    with pytest.raises(errors.BadRequest, match='^start'):
        quick.update(made, start=later(-1))
    with pytest.raises(errors.BadRequest, match='^end'):
        quick.update(made, end=later(1))
    assert quick.list() == [made]


@pytest.mark.parametrize('member', ['name', 'data', 'description', 'start'])
def test_after_the_start_only_the_end_changes(quick, member):
    made = quick.make(description='old')
    value = later(1) if member == 'start' else 'other'
    with pytest.raises(errors.BadRequest, match=r'^%s of script .*update only the attribute \[end\]' % member):
        quick.update(made, **(whole(made) | {member: value, 'end': later(5)}))
    assert quick.list() == [made]


def test_after_the_start_the_end_can_be_set_once(scripts):
    made = scripts.make(description='old')
    with pytest.raises(errors.BadRequest, match='^end'):
        scripts.update(made, end=later(-1))
    ended = scripts.update(made, end=later(5))
    assert ended == dataclasses.replace(made, end=later(5), updated_by='me')
    for members in ({'end': later(6)}, {}, {'end': later(5), 'data': 'other'}):
        with pytest.raises(errors.BadRequest, match='already processed and has a defined end date'):
            scripts.update(made, **members)
    assert scripts.list() == [ended]


DATES = strategies.none() | strategies.integers(-3, 6).map(later)
TEXTS = strategies.none() | strategies.sampled_from(['', 'a', 'x = 1', 'y'])


def test_repeating_any_update_changes_nothing_more(quick):
    """Clients follow the redirection, or send again what got no answer."""

    @hypothesis.settings(max_examples=200, deadline=None)
    @hypothesis.given(strategies.integers(-2, 4), DATES, TEXTS, DATES, DATES, TEXTS)
    def check(begin, finish, data, start, end, description):
        hypothesis.assume(finish is None or finish >= later(begin))
        script = quick.make(start=later(begin), end=finish, force=True)
        try:
            found = quick.update(script, data=data, start=start, end=end, description=description)
        except errors.BadRequest:
            assert store.get_script(quick.database, script.id) == script
        else:
            before = quick.revision
            assert quick.update(script, data=data, start=start, end=end, description=description) == found
            assert quick.update(script, **whole(found)) == found
            assert quick.revision == before
            if begin <= 0:
                assert found == dataclasses.replace(script, end=found.end, updated_by=found.updated_by)
        quick.delete(script)

    check()


def test_a_script_of_old_keeps_its_checksum_until_its_source_changes(scripts):
    made = scripts.make(start=later(1))
    old = hashlib.sha1(b'x = 1').hexdigest()
    with scripts.database.writer() as session:
        session.execute(sqlalchemy.update(models.Script).values(checksum=old))
    assert scripts.update(made, data='x = 1', description='new').checksum == old
    assert scripts.update(made, data='x = 2').checksum == hashlib.sha512(b'x = 2').hexdigest()


def test_what_cannot_be_read_is_listed_and_can_be_mended_or_deleted(scripts):
    made, started = scripts.make(start=later(1)), scripts.make('b')
    with scripts.database.writer() as session:
        session.execute(sqlalchemy.update(models.Script).values(data=b'nonsense'))
    assert [script.data for script in scripts.list()] == [None, None]
    assert scripts.update(made, data='x = 2').data == 'x = 2'
    scripts.delete(started)
    assert scripts.names() == ['a']


# Deleting


def test_a_deleted_script_is_gone_but_for_lists_that_ask(scripts):
    made = scripts.make()
    scripts.delete(made, actor='you')
    assert scripts.list() == []
    assert scripts.list(deleted=True) == [dataclasses.replace(made, deleted=LOCAL, deleted_by='you')]
    for use in (
        lambda: store.get_script(scripts.database, made.id),
        lambda: scripts.update(made, end=later(1)),
        lambda: scripts.delete(made),
    ):
        with pytest.raises(errors.NotFound, match=made.id):
            use()


@pytest.mark.parametrize('id_', [NOBODY, '', '\u00e9', '\U0001f600'])
def test_ids_that_are_not_there_are_not_found(scripts, id_):
    with pytest.raises(errors.NotFound):
        store.get_script(scripts.database, id_)


def test_ids_are_exact(scripts):
    made = scripts.make()
    with scripts.database.writer() as session:
        session.execute(sqlalchemy.update(models.Script).values(script_id='abc'))
    with pytest.raises(errors.NotFound):
        store.get_script(scripts.database, 'ABC')
    assert store.get_script(scripts.database, 'abc') == dataclasses.replace(made, id='abc')


# Lists


def test_scripts_by_dates(scripts):
    scripts.make('past', start=later(-5), end=later(-4), force=True)
    scripts.make('now', start=later(-5), force=True)
    scripts.make('soon', start=later(1), end=later(2))
    assert scripts.names() == ['past', 'now', 'soon']
    assert scripts.names(active_at=NOW) == ['now']
    assert scripts.names(active_at=NOW + HOUR) == ['now', 'soon']
    assert scripts.names(active_at=NOW + 2 * HOUR) == ['now']
    assert scripts.names(start=NOW) == scripts.names(start=later(1)) == ['soon']
    assert scripts.names(end=later(2)) == ['past']
    assert scripts.names(end=later(3)) == ['past', 'soon']


def test_scripts_by_actor_and_description(scripts):
    first, second = scripts.make(actor='ann', description='A Discount'), scripts.make('b', actor='bob')
    scripts.update(first, end=later(1), actor='bob')
    scripts.delete(second, actor='ann')
    assert scripts.names(created_by='ann') == scripts.names(updated_by='bob') == ['a']
    assert scripts.names(created_by='ANN') == scripts.names(created_by='bob') == []
    assert scripts.names(deleted_by='ann', deleted=True) == ['b']
    assert scripts.names(description='discount') == ['a']


def test_actors_are_kept_whole(scripts):
    long = ['%s-%s' % (word, 'x' * 60) for word in ('creator', 'updater', 'deleter')]
    made = scripts.make(actor=long[0])
    scripts.update(made, end=later(1), actor=long[1])
    scripts.delete(made, actor=long[2])
    (found,) = scripts.list(deleted=True, deleted_by=long[2])
    assert [found.created_by, found.updated_by, found.deleted_by] == long
    with scripts.database.reader() as session:
        assert session.scalars(sqlalchemy.select(models.Script.created_by)).all() == [long[0][:32]]


@pytest.mark.parametrize('count', [1, 30])
def test_a_list_is_one_query(scripts, count):
    for number in range(count):
        scripts.make(str(number), actor='x' * 40)
    statements = []
    sqlalchemy.event.listen(scripts.database.engine, 'before_cursor_execute', lambda *args: statements.append(args[2]))
    assert len(scripts.list()) == count
    assert len([statement for statement in statements if statement.startswith('SELECT')]) == 1


# Revisions and races


def test_every_change_moves_the_revision_and_a_refusal_does_not(scripts):
    made = scripts.make()
    for change in (
        lambda: scripts.make('b'),
        lambda: scripts.update(made, end=later(1)),
        lambda: scripts.delete(made),
    ):
        before = scripts.revision
        change()
        assert scripts.revision == before + 1
        with pytest.raises(errors.CloudKittyError):
            scripts.make('b')
        assert scripts.revision == before + 1


def test_of_two_at_the_same_time_one_is_refused(scripts):
    barrier = threading.Barrier(2)

    def run(name):
        barrier.wait()
        try:
            return scripts.make(name)
        except errors.Conflict as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        for number in range(5):
            found = list(executor.map(run, ['s%d' % number] * 2))
            assert sorted(isinstance(one, errors.Conflict) for one in found) == [False, True]
    assert scripts.names() == ['s%d' % number for number in range(5)]
