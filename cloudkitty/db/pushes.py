# SPDX-License-Identifier: Apache-2.0
"""The keys that callers give their pushes, by which one that is repeated is known."""

import dataclasses
import datetime
import functools
import hashlib

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.db import ledger_models

Push = ledger_models.Push

#: How many old keys go at once.
BATCH = 100


class KeyTaken(errors.Conflict):
    def __init__(self, text: str) -> None:
        super().__init__('The key %s named a push of other content already.' % text)
        self.text = text


@dataclasses.dataclass(frozen=True)
class Key:
    """What a caller names a push by.

    :ivar user_id, project_id: of the caller; equal keys of two callers are two.
    :ivar text: up to 255 characters.
    """

    user_id: str | None
    project_id: str | None
    text: str

    @functools.cached_property
    def id(self) -> str:
        """32 hexadecimal digits that differ whenever any member does."""
        text = series.canonical([self.user_id, self.project_id, self.text])
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def claim(session: orm.Session, key: Key, digest: str) -> bool:
    """Return whether the push of *key* is still to be done; from then on it is not, once *session* is committed.

    It comes first in a transaction. Whoever pushes with the same key at the same time waits here, without a lock that
    anybody else waits for, until that is done or given up; where it was done, the unique violation has him repeat.

    :param digest: of what is pushed.
    :raises KeyTaken: the key stands for other content.
    """
    row = session.get(Push, key.id)
    if row is None:
        now = datetime.datetime.now(period.UTC).replace(microsecond=0)
        values = {'id': key.id, 'text': key.text, 'digest': digest, 'at': now}
        session.execute(sqlalchemy.insert(Push), values)
        return True
    if row.digest != digest:
        raise KeyTaken(key.text)
    return False


def forget(database: engine.Database, before: datetime.datetime) -> None:
    """Delete some of the keys that were noted before *before*, the oldest first."""
    query = sqlalchemy.select(Push.id).where(Push.at < before).order_by(Push.at).limit(BATCH)
    with database.reader() as session:
        ids = sorted(session.scalars(query))
    if ids:
        # One may be a new push's again.
        delete = sqlalchemy.delete(Push).where(Push.id.in_(ids), Push.at < before)
        database.repeat(lambda session: session.execute(delete, execution_options={'synchronize_session': False}))
