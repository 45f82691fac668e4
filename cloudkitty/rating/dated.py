# SPDX-License-Identifier: Apache-2.0
"""Which of the rules with dates and authors to list: mappings and scripts alike."""

import dataclasses
import datetime
from typing import Any

from cloudkitty.rating import dates


@dataclasses.dataclass(frozen=True)
class Filter:
    """Which rules to list.

    :ivar deleted: those that were deleted as well.
    :ivar start: they start then or later.
    :ivar end: they end before then; those without an end do not.
    :ivar description: is part of theirs, in whatever case.
    :ivar active_at: only those in force at that instant (aware).
    """

    deleted: bool = False
    start: datetime.datetime | None = None
    end: datetime.datetime | None = None
    created_by: str | None = None
    updated_by: str | None = None
    deleted_by: str | None = None
    description: str | None = None
    active_at: datetime.datetime | None = None


def narrow(query: Any, model: Any, wanted: Filter, zone: datetime.tzinfo) -> Any:
    """Return *query* for those rows of *model* that *wanted* may let through."""
    if not wanted.deleted or wanted.active_at is not None:
        query = query.where(model.deleted.is_(None))
    if wanted.start is not None:
        query = query.where(model.start >= dates.to_local('start', wanted.start, zone))
    if wanted.end is not None:
        query = query.where(model.end < dates.to_local('end', wanted.end, zone))
    return query


def is_wanted(rule: Any, wanted: Filter, zone: datetime.tzinfo) -> bool:
    """Return whether a *rule* that the database let through is wanted: MySQL takes more texts for equal than we do."""
    for role in ('created_by', 'updated_by', 'deleted_by'):
        if getattr(wanted, role) not in (None, getattr(rule, role)):
            return False
    if wanted.description is not None:
        if wanted.description.casefold() not in (rule.description or '').casefold():
            return False
    return wanted.active_at is None or dates.is_active(rule.start, rule.end, wanted.active_at, zone)
