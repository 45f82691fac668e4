# SPDX-License-Identifier: Apache-2.0
"""A batch, and what a source said about it.

A batch is some scopes that wait for the same period x all metrics x some consecutive periods. What a source gave for
it travels as columns, one per series, plus the *troubles*: the cells it did not answer plainly.
"""

import dataclasses

from cloudkitty import coverage
from cloudkitty import metric as metrics
from cloudkitty import series


@dataclasses.dataclass(frozen=True)
class Batch:
    """*scope_ids* x *metrics* x the *count* periods of *length* seconds from *begin* (epoch second) on."""

    scope_ids: tuple[str, ...]
    metrics: tuple[metrics.Metric, ...]
    begin: int
    length: int
    count: int

    @property
    def end(self) -> int:
        return self.begin + self.length * self.count

    @property
    def begins(self) -> range:
        """The begins of the batch's periods."""
        return range(self.begin, self.end, self.length)


@dataclasses.dataclass(frozen=True)
class Trouble:
    """The cells ``[begin, end)`` of one scope and metric type that were not answered (or not rated) plainly.

    :ivar status: UNKNOWN, FAILED, PROVISIONAL or UNRATED.
    :ivar permanent: for FAILED: a refusal that names configuration; it never holds the clock.
    :ivar error: one line for the operator, without credentials.
    """

    scope_id: str
    metric: str
    begin: int
    end: int
    status: coverage.Status
    error: str
    permanent: bool = False


@dataclasses.dataclass(frozen=True)
class Backlog:
    """What a source admits to have been given and not to answer with yet.

    :ivar since: epoch second: it says nothing of periods that ended before.
    :ivar is_deep: it is so much that what is asked for again soon may still lack it.
    :ivar text: one line for the operator.
    """

    since: int
    is_deep: bool
    text: str


@dataclasses.dataclass(slots=True)
class Usage:
    """What a source said about *batch*.

    A cell with points in *columns* is rated; a cell without points and without a trouble is empty. FAILED and UNKNOWN
    cells have no points; PROVISIONAL ones may.

    :ivar batch: what was answered: the batch that was asked, or a part of it that the collector could hold in memory.
        A part has the first of the periods and some of the scopes, at least one of each; the rest is to be asked again.
    :ivar source_down: every request of the batch failed transiently: nothing at all is known about the source.
    :ivar backlog: what more there may be of its newest periods, if the source says that there is.
    """

    batch: Batch
    columns: list[series.Columns]
    troubles: list[Trouble]
    source_down: bool = False
    backlog: Backlog | None = None


@dataclasses.dataclass(slots=True)
class Rated:
    """*usage* with prices.

    :ivar columns: the points to store: prices filled in (None for points of UNRATED cells).
    :ivar troubles: those of the usage plus the UNRATED cells.
    :ivar rule_set: digest of the rule set that priced it (validity windows are part of a rule set).
    :ivar altered: (scope_id, begin) of the periods in which a module changed anything but prices.
    :ivar skipped: count of points a skip expression dropped, by (scope_id, metric type, begin).
    """

    batch: Batch
    columns: list[series.Columns]
    troubles: list[Trouble]
    rule_set: str
    altered: frozenset[tuple[str, int]] = frozenset()
    skipped: dict[tuple[str, str, int], int] = dataclasses.field(default_factory=dict)
