# SPDX-License-Identifier: Apache-2.0
"""Reprocessing: rating past periods once more.

A *task* names a scope, the begins of the first and the last period, both included, and a reason. Instants here are
epoch seconds.
"""

import dataclasses
import enum


class Status(enum.Enum):
    """How far a task got. *WAITING*: what failed is tried again later."""

    SCHEDULED = 'scheduled'
    RUNNING = 'running'
    WAITING = 'waiting'
    FINISHED = 'finished'
    CANCELLED = 'cancelled'


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Why a task does not get on.

    :ivar since: when that was first so.
    :ivar next_attempt: second before which nobody tries again.
    """

    since: int
    attempts: int
    next_attempt: int
    error: str


@dataclasses.dataclass(frozen=True)
class Kept:
    """Periods ``[begin, end)`` of a metric that a task left as they were, and why."""

    metric: str
    begin: int
    end: int
    error: str


@dataclasses.dataclass(frozen=True)
class Task:
    """What is to be rated once more, and how far that got.

    :ivar first, last: begins of the first and the last period.
    :ivar current: begin of the last period that is done; None: none is.
    :ivar recollect: whether the source is asked again; else the stored quantities are priced anew.
    :ivar actor: who asked for it; None: it is not known.
    """

    id: int
    scope_id: str
    first: int
    last: int
    current: int | None
    reason: str
    recollect: bool = True
    actor: str | None = None
    is_cancelled: bool = False
    trouble: Trouble | None = None

    @property
    def is_finished(self) -> bool:
        return self.is_cancelled or (self.current is not None and self.current >= self.last)

    @property
    def status(self) -> Status:
        if self.is_cancelled:
            return Status.CANCELLED
        if self.is_finished:
            return Status.FINISHED
        if self.trouble is not None:
            return Status.WAITING
        return Status.SCHEDULED if self.current is None else Status.RUNNING

    def next_begin(self, length: int) -> int:
        """Return the begin of the next period to rate; *length* is that of a period."""
        return self.first if self.current is None else max(self.first, self.current + length)


@dataclasses.dataclass(frozen=True)
class Progress:
    """A step of a task, which is written together with what it changes.

    :ivar before: what the task's *current* was when the step was planned.
    :ivar after: what it is with the step.
    :ivar trouble: what the next step will have to wait for no longer; None: nothing.
    """

    task_id: int
    before: int | None
    after: int
    kept: tuple[Kept, ...] = ()
    trouble: Trouble | None = None


def join(kept: list[Kept]) -> list[Kept]:
    """Return *kept* sorted by metric and begin, neighbours with the same error joined."""
    result: list[Kept] = []
    for item in sorted(kept, key=lambda item: (item.metric, item.begin)):
        last = result[-1] if result else None
        if last is not None and (last.metric, last.end, last.error) == (item.metric, item.begin, item.error):
            result[-1] = dataclasses.replace(last, end=item.end)
        else:
            result.append(item)
    return result
