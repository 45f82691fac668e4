# SPDX-License-Identifier: Apache-2.0
"""Which rating modules are enabled, and in which order they run."""

import dataclasses

import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import engine
from cloudkitty.db import models
from cloudkitty.db import rule_revision


@dataclasses.dataclass(frozen=True)
class ModuleState:
    """:ivar priority: modules of a higher one run first."""

    enabled: bool = False
    priority: int = 1


def get_state(database: engine.Database, name: str) -> ModuleState:
    """Return the state of module *name*; one that nobody set is disabled and has priority 1."""
    with database.reader() as session:
        row = session.get(models.ModuleState, name)
        return ModuleState() if row is None else _to_state(row)


def list_states(database: engine.Database) -> dict[str, ModuleState]:
    """Return {module name: state} of those that somebody set."""
    with database.reader() as session:
        return {row.name: _to_state(row) for row in session.scalars(sqlalchemy.select(models.ModuleState))}


def set_enabled(database: engine.Database, name: str, enabled: bool) -> None:
    """Enable or disable module *name*."""
    database.repeat(lambda session: _set(session, name, 'state', enabled))


def set_priority(database: engine.Database, name: str, priority: int) -> None:
    """Set the priority of module *name*."""
    database.repeat(lambda session: _set(session, name, 'priority', priority))


def _set(session: orm.Session, name: str, attribute: str, value: bool | int) -> None:
    row = session.get(models.ModuleState, name, with_for_update=True)
    if row is None:
        row = models.ModuleState(name=name, state=False, priority=1)
        session.add(row)
    setattr(row, attribute, value)
    session.flush()
    rule_revision.bump(session)


def _to_state(row: models.ModuleState) -> ModuleState:
    return ModuleState(bool(row.state), row.priority or 1)
