# SPDX-License-Identifier: Apache-2.0
"""A number that grows with every change of rules or modules, by which workers know that theirs are old."""

from collections.abc import Callable
from typing import Any
from typing import TypeVar
import weakref

from oslo_db import exception as db_exc
import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import engine
from cloudkitty.db import ledger_models

RuleRevision = ledger_models.RuleRevision

Result = TypeVar('Result')

#: How many times rules are read that change meanwhile, before others have to wait.
_ATTEMPTS = 3


def current(database: engine.Database) -> int:
    """Return the revision; 0 while the table is not there, before ``cloudkitty-storage-init``."""
    try:
        with database.reader() as session:
            return session.scalar(sqlalchemy.select(RuleRevision.revision).where(RuleRevision.id == 1)) or 0
    except (db_exc.DBError, sqlalchemy.exc.SQLAlchemyError) as error:
        if not engine.lacks_table(error):
            raise
        return 0


def lock(session: orm.Session) -> None:
    """Keep others from changing rules until the session's transaction ends, and wait for those who do."""
    if _is_there(session):
        session.execute(sqlalchemy.select(RuleRevision.revision).where(RuleRevision.id == 1).with_for_update())


def bump(session: orm.Session) -> None:
    """Advance the revision with the change that the session makes; nothing while the table is not there."""
    if _is_there(session):
        session.execute(
            sqlalchemy.update(RuleRevision).where(RuleRevision.id == 1).values(revision=RuleRevision.revision + 1)
        )


def change(database: engine.Database, function: Callable[[orm.Session], Result]) -> Result:
    """Return *function(session)*, run as one change of the rules."""

    def run(session: orm.Session) -> Result:
        result = function(session)
        session.flush()
        bump(session)
        return result

    return in_turn(database, run)


def in_turn(database: engine.Database, function: Callable[[orm.Session], Result]) -> Result:
    """Return *function(session)*, run in a transaction while nobody else changes rules."""

    def run(session: orm.Session) -> Result:
        lock(session)
        return function(session)

    return database.repeat(run)


def read_settled(database: engine.Database, revision: int, read: Callable[[], Result]) -> tuple[Result, int]:
    """Return what *read()* returns, and the revision of the rules it belongs to: nobody changed them meanwhile.

    :param revision: a moment ago.

    *read* may be called several times; where they change all the time, changes are made to wait for it.
    """
    for _ in range(_ATTEMPTS):
        found = read()
        before, revision = revision, current(database)
        if before == revision:
            return found, revision
    return in_turn(database, lambda session: (read(), current(database)))


#: Engines whose database has the table: it is not looked for again with every change.
_SEEN: 'weakref.WeakSet[Any]' = weakref.WeakSet()


def _is_there(session: orm.Session) -> bool:
    bind = session.get_bind()
    if bind not in _SEEN and sqlalchemy.inspect(session.connection()).has_table(RuleRevision.__tablename__):
        _SEEN.add(bind)
    return bind in _SEEN
