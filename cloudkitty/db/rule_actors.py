# SPDX-License-Identifier: Apache-2.0
"""Who made, changed and deleted rules, where an id is longer than the column of old takes."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import ledger_models

RuleActors = ledger_models.RuleActors

#: Characters that the columns of old hold.
LONGEST = 32


def note(session: orm.Session, rule_id: str, role: str, actor: str) -> None:
    """Keep *actor* whole where the column *role* of rule *rule_id* does not."""
    row = session.get(RuleActors, rule_id)
    whole = actor if len(actor) > LONGEST else None
    if row is None and whole is not None:
        row = RuleActors(rule_id=rule_id)
        session.add(row)
    if row is not None:
        setattr(row, role, whole)


def read(actors: RuleActors | None, row: Any, role: str) -> Any:
    """Return the actor of *row* in *role*: whole where it is kept whole, unless another release has written since."""
    short = getattr(row, role)
    whole = getattr(actors, role, None)
    return whole if whole is not None and whole[:LONGEST] == short else short


def forget(session: orm.Session, rule_ids: Sequence[str]) -> None:
    """Delete what is kept of rules that are about to go for good."""
    for first in range(0, len(rule_ids), 500):
        chosen = rule_ids[first : first + 500]
        session.execute(sqlalchemy.delete(RuleActors).where(RuleActors.rule_id.in_(chosen)))
