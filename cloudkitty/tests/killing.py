# SPDX-License-Identifier: Apache-2.0
"""Killing a process at each of its statements in turn, and looking at what it leaves.

Nothing is sampled: a child process is killed before its first statement, before its second, and so on, and before every
COMMIT, until one gets through. In CI moments are left out; ``CLOUDKITTY_EVERY=1`` in the environment has all of them.
"""

import contextlib
import os
import shutil
import signal

import sqlalchemy

from cloudkitty import messaging
from cloudkitty.tests import databases
from cloudkitty.tests.functional import conftest

EVERY = os.environ.get('CLOUDKITTY_EVERY')
#: What is compared: rows without the ids that servers give, and without what tells how often something was tried.
CONTENT = {
    'clocks': 'SELECT identifier, last_processed_timestamp, active FROM cloudkitty_storage_states',
    'guards': 'SELECT identifier, epoch, gone_since FROM scopes',
    'series': 'SELECT s.identifier, fingerprint FROM series JOIN scopes s ON s.id = scope_id',
    'days': 'SELECT s.identifier, fingerprint, day, qty, price, points, body FROM rated_days d '
    'JOIN series ON series.id = d.series_id JOIN scopes s ON s.id = d.scope_id',
    'scope days': 'SELECT s.identifier, metric, origin, day, qty, price, points, unpriced, skipped, body '
    'FROM scope_days JOIN scopes s ON s.id = scope_id',
    'scope months': 'SELECT s.identifier, metric, origin, month, qty, price, points, unpriced, skipped '
    'FROM scope_months JOIN scopes s ON s.id = scope_id',
    'coverage': 'SELECT s.identifier, metric, %s, %s, status, rule_set IS NULL, altered '
    'FROM coverage JOIN scopes s ON s.id = scope_id',
    'troubles': 'SELECT s.identifier, metric, %s, since FROM coverage_failures JOIN scopes s ON s.id = scope_id',
    'history': 'SELECT s.identifier, fingerprint, day, qty, price, points, body, cause FROM rated_history d '
    'JOIN series ON series.id = d.series_id JOIN scopes s ON s.id = d.scope_id',
}


class Axe:
    """Ends this process before statement or COMMIT number *moment* of it."""

    def __init__(self, moment):
        self._left = moment
        sqlalchemy.event.listen(sqlalchemy.Engine, 'before_cursor_execute', self._fall)
        sqlalchemy.event.listen(sqlalchemy.Engine, 'commit', self._fall)

    def _fall(self, *args):
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


def is_killed(act, stand, moment):
    """Let a child *act* until it is killed; return whether it was."""
    # Nobody else may use a connection of ours.
    stand.database.dispose()
    child = os.fork()
    if not child:
        try:
            # The thread that sends is not in the child, and may have held its lock.
            messaging.Notifier.cast = lambda *arguments, **options: None
            Axe(moment)
            act(stand)
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def kill_everywhere(stage, act, read, look, again=None, begin=1, step=1):
    """Kill *act* at every moment from *begin* in steps of *step*; return the one that was too late.

    :param read: returns what must be equal in the end, wherever it was killed.
    :param look: is called before anybody mends what was left, with whether it was killed.
    :param again: what is done then, whether it was killed or its end remained unknown; default: *act* if it was killed.
    """
    with stage.open() as stand:
        act(stand)
        expected = read(stand)
    moment = 1 if EVERY else begin
    while True:
        with stage.open() as stand:
            was_killed = is_killed(act, stand, moment)
            look(stand, was_killed)
            if was_killed and again is None:
                act(stand)
            elif again is not None:
                again(stand)
            assert read(stand) == expected, 'killed at moment %d' % moment
        if not was_killed:
            return moment
        moment += 1 if EVERY else step


def read_rows(database, queries):
    """Return {name: sorted rows} of *queries*; words that servers reserve are put in for ``%s``."""
    quote = database.engine.dialect.identifier_preparer.quote
    names = quote('begin'), quote('end')
    with database.engine.connect() as connection:
        return {
            name: sorted(
                (
                    tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
                    for row in connection.exec_driver_sql(query % names[: query.count('%s')])
                ),
                key=repr,
            )
            for name, query in queries.items()
        }


class Stage:
    """Equal databases, one for each attempt.

    :param make: takes the URL of a database with every table, brings it to where all begins, and returns something
        with a :class:`cloudkitty.db.engine.Database` as *database*, and ``close()``.
    :param move: takes that thing and the URL of a copy of its database, and returns the like of it there.
    """

    def __init__(self, kind, directory, make, move):
        self._kind = kind
        self._directory = directory
        self._make = make
        self._move = move
        self._made = 0
        if kind == 'sqlite':
            # Files are copied.
            self._original = directory / 'original.sqlite'
            databases.ready('sqlite:///%s' % self._original).dispose()
            self._stand = make('sqlite:///%s' % self._original)
            self._stand.close()
        else:
            conftest.require(conftest.SERVERS[kind][1], kind)

    @contextlib.contextmanager
    def open(self):
        """Give what *make* returns, on a database of its own."""
        if self._kind == 'sqlite':
            self._made += 1
            path = shutil.copy(self._original, self._directory / ('%d.sqlite' % self._made))
            stand = self._move(self._stand, 'sqlite:///%s' % path)
            yield stand
            stand.close()
            path.unlink()
            return
        with databases.lend(conftest.SERVERS[self._kind][0]) as url:
            stand = self._make(url)
            yield stand
            stand.close()
