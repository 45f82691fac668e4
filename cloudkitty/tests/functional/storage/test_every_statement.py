# SPDX-License-Identifier: Apache-2.0
"""Whatever statement a command or a writer of the old table is killed at, running it again comes to the same."""

from types import SimpleNamespace

import futurist
import pytest
import sqlalchemy

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.cli import drop
from cloudkitty.cli import history_import
from cloudkitty.db import migration
from cloudkitty.storage.imports import frames
from cloudkitty.storage.imports import pieces
from cloudkitty.storage.imports import plan
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.v1 import driver as v1
from cloudkitty.tests import databases
from cloudkitty.tests import killing
from cloudkitty.tests import samples
from cloudkitty.tests.functional.storage import test_import
from cloudkitty.tests.functional.storage import test_pushes

HOUR = samples.HOUR
JUNE = samples.JUNE
#: How many moments CI goes on by.
STEPS = {'sqlite': 3, 'mariadb': 9, 'postgresql': 9}
OLD = {'old table': 'SELECT tenant_id, res_type, qty, rate, unit FROM rated_data_frames'}
DATA = (
    {name: query for name, query in killing.CONTENT.items() if name != 'guards'}
    | OLD
    | {
        'pushes': 'SELECT text, digest FROM pushes',
        'imported': 'SELECT %s, row_count, last_id, left_out FROM imported_frames',
    }
)


class Stand:
    """A database."""

    def __init__(self, url):
        self.database = databases.ready(url)

    def move(self, url):
        return Stand(url)

    def close(self):
        self.database.dispose()


def read(stand):
    return killing.read_rows(stand.database, DATA)


def commit(storage, stand):
    """Rate three hours of two scopes, once."""
    states = [
        state for state in samples.states(stand.database, 'p', 'q') if period.to_epoch(state.last_processed) < JUNE
    ]
    begins = tuple(JUNE + hour * HOUR for hour in range(3))
    points = [samples.columns(state.scope.id, begins=begins, id=state.scope.id) for state in states]
    if states:
        result = storage.commit(samples.commit(states, points, periods=3))
        assert not result.dropped


def make_scopes(stand):
    samples.ready_states(stand.database, 'p', 'q')


def make_rated(stand):
    make_scopes(stand)
    commit(driver.SQLAlchemyStorage(stand.database), stand)


def make_rated_old(stand):
    make_scopes(stand)
    commit(v1.SQLAlchemyStorage(stand.database), stand)


def delete(storage):
    storage.delete(samples.instant(JUNE + HOUR), samples.instant(JUNE + 2 * HOUR))


def make_frames(stand):
    """Make rows of old: an hour each of two scopes, on two days."""
    rows = [test_import.row(JUNE + 22 * HOUR + hour * HOUR, name) for hour in range(4) for name in 'pq']
    test_import.insert(stand.database, *rows, test_import.row(res_type='_NO_DATA_', qty='0', rate=0.0, desc='""'))


def make_odd_frames(stand):
    """Import rows, one of which vanishes."""
    make_frames(stand)
    import_all(stand)
    frame = test_import.old_models.RatedDataFrame
    with stand.database.writer() as session:
        last = session.scalar(sqlalchemy.select(sqlalchemy.func.max(frame.id)).where(frame.tenant_id == 'q'))
        session.execute(sqlalchemy.delete(frame).where(frame.id == last))


def import_all(stand):
    """Import, two begins a transaction, with reading and writing in one thread: so moments are the same each time."""
    threads, pieces.futures = (
        pieces.futures,
        SimpleNamespace(ThreadPoolExecutor=lambda count: futurist.SynchronousExecutor()),
    )
    try:
        source = frames.Frames(test_import.DEFINITIONS, period.UTC)
        metric_types = [item.type for item in test_import.DEFINITIONS]
        found = plan.make(stand.database, source, 4)
        history_import.import_all(stand.database, source, found, metric_types, False)
        return history_import.check(stand.database, source, plan.make(stand.database, source))
    finally:
        pieces.futures = threads


def import_again(stand):
    test_import.again(stand.database)
    assert not import_all(stand)


SCENES = {
    'commit to the old table': (make_scopes, lambda stand: commit(v1.SQLAlchemyStorage(stand.database), stand)),
    'push to the old table': (
        make_scopes,
        lambda stand: v1.SQLAlchemyStorage(stand.database).push(test_pushes.make_frames(), key=test_pushes.KEY),
    ),
    'push': (
        make_scopes,
        lambda stand: driver.SQLAlchemyStorage(stand.database).push(test_pushes.make_frames(), key=test_pushes.KEY),
    ),
    'deletion': (make_rated, lambda stand: delete(driver.SQLAlchemyStorage(stand.database))),
    'deletion from the old table': (make_rated_old, lambda stand: delete(v1.SQLAlchemyStorage(stand.database))),
    'import': (make_frames, import_all),
    'import once more': (make_odd_frames, import_again),
}


def make_stage(kind, directory, prepare):
    def make(url):
        stand = Stand(url)
        prepare(stand)
        return stand

    return killing.Stage(kind, directory, make, Stand.move)


@pytest.mark.parametrize('scene', SCENES)
def test_what_is_killed_at_any_statement_is_done_again(scene, database_kind, tmp_path):
    prepare, act = SCENES[scene]
    stage = make_stage(database_kind, tmp_path, prepare)
    with stage.open() as stand:
        before = read(stand)
    step = STEPS[database_kind]
    begin = 1 + list(SCENES).index(scene) % step
    # Whoever was not told runs it again, if it was done, too.
    moment = killing.kill_everywhere(stage, act, read, lambda *_: None, again=act, begin=begin, step=step)
    assert moment > 5
    with stage.open() as stand:
        assert read(stand) == before
    print('%s on %s: %d moments' % (scene, database_kind, moment))


def make_both(stand):
    """Import rows of old, and rate after them."""
    make_frames(stand)
    assert not import_all(stand)
    make_rated(stand)


def drop_all(stand, write_frames=True, replace=False):
    drop.run(SimpleNamespace(yes=True, write_frames=write_frames, replace=replace), stand.database)


def drop_the_rest(stand):
    try:
        drop_all(stand)
    except errors.Conflict as error:
        assert 'was cut off' in str(error)
        drop_all(stand, write_frames=False)
    except errors.NotFound:
        # It was done.
        pass


def install_and_drop(stand):
    migration.upgrade_all(stand.database)
    drop_all(stand, replace=True)


def read_dropped(stand):
    with stand.database.engine.connect() as connection:
        tables = set(sqlalchemy.inspect(connection).get_table_names())
    return tables, killing.read_rows(stand.database, OLD)


@pytest.mark.parametrize('again', [drop_the_rest, install_and_drop])
def test_what_was_rated_is_written_before_anything_is_dropped(again, database_kind, tmp_path):
    stage = make_stage(database_kind, tmp_path, make_both)
    with stage.open() as stand:
        tables, before = read_dropped(stand)
        drop_all(stand)
        kept, rows = read_dropped(stand)
    assert kept < tables and len(before['old table']) == 9 and len(rows['old table']) == 15

    def look(stand, was_killed):
        left, found = read_dropped(stand)
        assert left == tables or found == rows

    step = 5 if database_kind == 'sqlite' else 17
    moment = killing.kill_everywhere(stage, drop_all, read_dropped, look, again, step=step)
    print('drop on %s: %d moments' % (database_kind, moment))
