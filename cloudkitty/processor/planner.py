# SPDX-License-Identifier: Apache-2.0
"""What to do next: states and a clock in, batches out. No database, no configuration."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import datetime

from cloudkitty import period
from cloudkitty import scope


@dataclasses.dataclass(frozen=True)
class Limits:
    """How large a batch may grow.

    :ivar scopes: scopes in one batch.
    :ivar cells: scopes x periods in one batch: what the memory for granules allows.
    """

    scopes: int
    cells: int


@dataclasses.dataclass(frozen=True)
class Work:
    """Scopes of the same phase, and the *count* consecutive periods from *begin* (epoch second) that they wait for."""

    states: tuple[scope.State, ...]
    begin: int
    count: int


@dataclasses.dataclass(frozen=True)
class Schedule:
    """When a period may be rated: *wait_periods* after its begin; *length* in seconds."""

    length: int
    wait_periods: int

    def next_begin(self, state: scope.State) -> int:
        """Return the begin of the next period of *state*."""
        return period.to_epoch(state.last_processed) + self.length

    def due_at(self, begin: int) -> int:
        """Return the first second at which the period that begins at *begin* may be rated."""
        return begin + self.wait_periods * self.length + 1

    def count_due(self, begin: int, now: datetime.datetime) -> int:
        """Return how many consecutive periods from *begin* on are due at *now*."""
        waited = period.to_epoch(now) - 1 - self.wait_periods * self.length - begin
        return max(0, waited // self.length + 1)


def plan(
    states: Iterable[scope.State],
    schedule: Schedule,
    limits: Limits,
    now: datetime.datetime,
    held_until: Mapping[str, int] | None = None,
    alone: Collection[str] = (),
) -> list[Work]:
    """Return what is due at *now*: live periods first, then the backlog from the newest to the oldest.

    A scope that the fetcher lists no more is rated up to the period in which it was last listed.

    :param held_until: scope id to the epoch second before which it waits for its source.
    :param alone: scopes to plan by themselves, one period at a time.
    """
    second = period.to_epoch(now)
    groups: dict[tuple[int, int, str], list[scope.State]] = {}
    for state in states:
        if not state.active or (held_until or {}).get(state.scope.id, 0) > second:
            continue
        begin = schedule.next_begin(state)
        count = schedule.count_due(begin, now)
        if state.gone_since is not None:
            count = min(count, _count_listed(begin, schedule.length, period.to_epoch(state.gone_since)))
        if count < 1:
            continue
        lonely = state.scope.id in alone
        groups.setdefault((begin, 1 if lonely else count, state.scope.id if lonely else ''), []).append(state)
    result = []
    for (begin, count, _), members in groups.items():
        members.sort(key=lambda state: state.scope)
        for start in range(0, len(members), limits.scopes):
            part = tuple(members[start : start + limits.scopes])
            periods = max(1, min(count, limits.cells // len(part)))
            result.append(Work(part, begin, periods))
    result.sort(key=lambda work: (-work.begin, work.states[0].scope))
    return result


def _count_listed(begin: int, length: int, gone: int) -> int:
    """Return how many periods from *begin* on begin before *gone*."""
    return max(0, -(-(gone - begin) // length))


def next_due(
    states: Iterable[scope.State], schedule: Schedule, held_until: Mapping[str, int] | None = None
) -> int | None:
    """Return the earliest second at which a period of an active scope is due and not held; None without any."""
    found = []
    for state in states:
        if not state.active:
            continue
        begin = schedule.next_begin(state)
        if state.gone_since is not None and begin >= period.to_epoch(state.gone_since):
            continue
        found.append(max(schedule.due_at(begin), (held_until or {}).get(state.scope.id, 0)))
    return min(found, default=None)
