# SPDX-License-Identifier: Apache-2.0
"""Whom we rate, and how far we got."""

import dataclasses
import datetime


@dataclasses.dataclass(frozen=True, order=True)
class Scope:
    """A scope by its full identity: *id* is the value of the attribute *key*."""

    id: str
    key: str
    fetcher: str
    collector: str


@dataclasses.dataclass(frozen=True)
class State:
    """How far *scope* is rated.

    *last_processed* is the begin of its last rated period (aware UTC). *guard_id* and *epoch* are those of the
    guard row at the moment the state was read; a commit planned from this state compares both. *gone_since* is when
    the fetcher stopped listing the scope, or None while it lists it.
    """

    scope: Scope
    last_processed: datetime.datetime
    active: bool
    toggled_at: datetime.datetime
    guard_id: int
    epoch: int
    gone_since: datetime.datetime | None = None
