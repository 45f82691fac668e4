# SPDX-License-Identifier: Apache-2.0
"""The history of what corrections replaced: what is old goes where the operator says so."""

import datetime

import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import engine
from cloudkitty.db import statements
from cloudkitty.storage.sqlalchemy import models

History = models.RatedHistory


def forget(database: engine.Database, before: datetime.datetime) -> int:
    """Delete the entries that were written before that instant; return how many that were."""
    count = 0
    while True:
        gone = database.repeat(lambda session: _forget_some(session, before))
        count += gone
        if gone < statements.CHUNK:
            return count


def _forget_some(session: orm.Session, before: datetime.datetime) -> int:
    # Ids grow with time, so the oldest are found at once.
    query = sqlalchemy.select(History.id, History.at).order_by(History.id).limit(statements.CHUNK)
    ids = [row.id for row in session.execute(query) if row.at < before]
    statements.delete_keys(session, History, [(id_,) for id_ in ids])
    return len(ids)
