# SPDX-License-Identifier: Apache-2.0
"""Rule sets: the immutable written form of the rules that priced something, named by digest."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import hashlib
import json
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.db import ledger_models
from cloudkitty.db import statements

#: A part: its kind (``hashmap service``, ``script``) and what it holds, ready for JSON.
Part = tuple[str, Mapping[str, Any]]


def digest_of(text: str) -> str:
    """Return the digest of canonical text: 32 hexadecimal digits of BLAKE2b."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def save(database: engine.Database, body: Mapping[str, Any], parts: Sequence[Part]) -> str:
    """Write a rule set, as far as it is new, and return its digest.

    :param body: what holds for the whole: the chain's order, zone, arithmetic; gets the digests of its *parts*.
    """
    rows = []
    for kind, content in parts:
        text = series.canonical(content)
        rows.append({'digest': digest_of(text), 'kind': kind, 'body': text})
    whole = series.canonical({**body, 'parts': [row['digest'] for row in rows]})
    digest = digest_of(whole)

    def run(session: orm.Session) -> None:
        if session.get(ledger_models.RuleSet, digest) is not None:
            return
        unique = {row['digest']: row for row in rows}
        statements.insert_or_ignore(session, ledger_models.RulePart, [unique[key] for key in sorted(unique)])
        now = datetime.datetime.now(period.UTC).replace(microsecond=0)
        statements.insert_or_ignore(
            session, ledger_models.RuleSet, [{'digest': digest, 'created_at': now, 'body': whole}]
        )

    database.repeat(run)
    return digest


@dataclasses.dataclass(frozen=True)
class RuleSet:
    """A rule set as it was written.

    :ivar created_at: when it was first written, aware.
    :ivar parts: in the order of the chain.
    """

    digest: str
    created_at: datetime.datetime
    body: dict[str, Any]
    parts: tuple[Part, ...]


def load(database: engine.Database, digest: str) -> RuleSet:
    """Return rule set *digest*; raise NotFound."""
    with database.reader() as session:
        row = session.get(ledger_models.RuleSet, digest)
        if row is None:
            raise errors.NotFound('No rule set %s.' % digest)
        body = json.loads(row.body)
        query = sqlalchemy.select(ledger_models.RulePart).where(ledger_models.RulePart.digest.in_(body['parts']))
        found = {part.digest: part for part in session.scalars(query)}
    parts = tuple((found[key].kind, json.loads(found[key].body)) for key in body['parts'])
    return RuleSet(digest, row.created_at, body, parts)
