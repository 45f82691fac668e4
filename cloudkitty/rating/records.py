# SPDX-License-Identifier: Apache-2.0
"""What the tables still say of rules that a written rule set holds: their public ids, and who changed them."""

from collections.abc import Iterable
import dataclasses
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import engine
from cloudkitty.db import rule_actors
from cloudkitty.db import statements
from cloudkitty.rating.hashmap import models as hashmap
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.pyscripts import models as scripts
from cloudkitty.rating.pyscripts import module as pyscripts

Rule = pricing.Mapping | pricing.Threshold | pyscripts.Script


@dataclasses.dataclass(frozen=True)
class Record:
    """Who a rule is from, and what became of it. None: nobody knows, or nobody did.

    :ivar id: public id.
    :ivar name: thresholds have none.
    :ivar is_deleted: it rates nothing any more; its row may be there still.
    """

    id: str | None = None
    name: str | None = None
    created_by: str | None = None
    updated_by: str | None = None
    deleted_by: str | None = None
    is_deleted: bool = True


class Records:
    """The records of *rules*; two or three statements, whatever their number."""

    def __init__(self, database: engine.Database, rules: Iterable[Rule]) -> None:
        wanted: dict[type, dict[int, Rule]] = {pricing.Mapping: {}, pricing.Threshold: {}, pyscripts.Script: {}}
        for rule in rules:
            wanted[type(rule)][rule.id] = rule
        self._found: dict[tuple[type, int], Record] = {}
        models = (
            (pricing.Mapping, hashmap.Mapping, hashmap.Mapping.mapping_id),
            (pricing.Threshold, hashmap.Threshold, hashmap.Threshold.threshold_id),
            (pyscripts.Script, scripts.Script, scripts.Script.script_id),
        )
        with database.reader() as session:
            for kind, model, key in models:
                for row, actors in _read(session, model, key, sorted(wanted[kind])):
                    # SQLite gives the number of a row that is gone to another.
                    if _is_it(wanted[kind][row.id], row, getattr(row, key.key)):
                        self._found[kind, row.id] = _to_record(row, actors, getattr(row, key.key))

    def of(self, rule: Rule) -> Record:
        """Return the record of *rule*, one of those it was made for."""
        found = self._found.get((type(rule), rule.id))
        if found is not None:
            return found
        if isinstance(rule, pyscripts.Script):
            return Record(rule.public_id, rule.name, rule.created_by)
        return Record() if rule.label is None else Record(rule.label.id, rule.label.name, rule.label.created_by)


def _read(session: orm.Session, model: Any, key: Any, ids: list[int]) -> list[Any]:
    actors = rule_actors.RuleActors
    query = sqlalchemy.select(model, actors).outerjoin(actors, actors.rule_id == key)
    return [row for part in statements.chunks(ids) for row in session.execute(query.where(model.id.in_(part)))]


def _is_it(rule: Rule, row: Any, public_id: str) -> bool:
    """Return whether *row* is that of *rule*: by its public id, else by what nobody can change once it has begun."""
    if isinstance(rule, pyscripts.Script):
        return rule.public_id == public_id if rule.public_id is not None else bool(rule.name == row.name)
    if rule.label is not None:
        return rule.label.id == public_id
    if isinstance(rule, pricing.Threshold):
        # Everything of it can be changed, and it has no author to be taken for.
        return True
    return (rule.kind.value, rule.cost, rule.value, rule.tenant) == (
        row.map_type,
        pricing.shorten(row.cost),
        row.value if row.field_id is not None else None,
        row.tenant_id,
    )


def _to_record(row: Any, actors: rule_actors.RuleActors | None, public_id: str) -> Record:
    if isinstance(row, hashmap.Threshold):
        return Record(public_id, is_deleted=False)
    created, updated, deleted = (
        rule_actors.read(actors, row, role) for role in ('created_by', 'updated_by', 'deleted_by')
    )
    return Record(public_id, row.name, created, updated, deleted, row.deleted is not None)
