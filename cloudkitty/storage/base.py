# SPDX-License-Identifier: Apache-2.0
"""What a storage driver is: it commits batches, takes frames, and answers for totals."""

import abc
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
from typing import Any
from typing import NamedTuple

from sqlalchemy import orm

from cloudkitty import adjustment
from cloudkitty import coverage
from cloudkitty import dataframe
from cloudkitty import reprocessing
from cloudkitty import scope
from cloudkitty import series
from cloudkitty.db import pushes

Filters = Mapping[str, Any]

#: Behind every point: 2200-01-01T00:00Z, in epoch seconds.
END_OF_TIME = 7_258_118_400

#: The word of a groupby that makes a row per period.
BY_PERIOD = 'time'
#: Calendar words of a groupby: what a point's begin says, in the deployment's zone.
TIME_WORDS = {
    'time-d': 'day_of_the_year',
    'time-w': 'week_of_the_year',
    'time-m': 'month',
    'time-y': 'year',
}


@dataclasses.dataclass(frozen=True)
class Change:
    """What a commit does to one scope: it writes the cells of ``[begin, end)`` (epoch seconds).

    :ivar state: as it was read when the work was planned; a scope that moved since is dropped from the commit.
    :ivar moves_clock: the clock becomes the last period of the window.
    """

    state: scope.State
    begin: int
    end: int
    moves_clock: bool = True


@dataclasses.dataclass
class Commit:
    """Points, coverage and clocks that become durable together.

    :ivar length: of a period, in seconds.
    :ivar columns: priced points; prices of None are kept as quantities without a price.
    :ivar runs: the coverage of the changed cells.
    :ivar failures: open troubles of the changed cells; troubles of the others among them are over.
    :ivar skipped: count of points a skip expression dropped, by (scope id, metric, begin).
    :ivar replace: the cells may hold collected points already, which go to the history with *cause* and *who*.
    :ivar steps: by scope id, how far a task of reprocessing gets with it; a scope whose task is no longer as it was
        when that was planned is dropped from the commit. What is replaced has to be whole periods then.
    :ivar adjustments: by scope id, the adjustment that is applied; a scope of which it is no longer pending, or says
        something else by now, is dropped from the commit.
    :ivar now: the present, in epoch seconds; None for that of the host.
    """

    length: int
    changes: Sequence[Change]
    columns: Sequence[series.Columns]
    runs: Sequence[coverage.Run]
    failures: Sequence[coverage.Failure] = ()
    skipped: Mapping[tuple[str, str, int], int] = dataclasses.field(default_factory=dict)
    replace: bool = False
    cause: str | None = None
    who: str | None = None
    now: int | None = None
    steps: Mapping[str, reprocessing.Progress] = dataclasses.field(default_factory=dict)
    adjustments: Mapping[str, adjustment.Adjustment] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class CommitResult:
    """Scope ids whose changes were written, and those that somebody else changed meanwhile."""

    committed: frozenset[str]
    dropped: frozenset[str]


class Span(NamedTuple):
    """What was collected of a scope and metric, where it begins in ``[begin, end)`` (epoch seconds)."""

    scope_id: str
    metric: str
    begin: int
    end: int


class Counts(NamedTuple):
    """How many points have a price, which of those no rule matched, and how many more were dropped."""

    points: int
    unpriced: int
    skipped: int


class BaseStorage(abc.ABC):
    """A place for rated data. Instants are aware, amounts Decimal.

    :cvar longest_scope_id: characters of a scope's id that there is room for; a scope with a longer one is not rated.
    :cvar tells_origins: what was pushed stays while what was collected is replaced, and is given back as it was given.
    """

    longest_scope_id = 255
    tells_origins = False

    @abc.abstractmethod
    def init(self) -> None:
        """Prepare the back end, as ``cloudkitty-storage-init`` asks."""

    @abc.abstractmethod
    def commit(self, commit: Commit) -> CommitResult:
        """Write *commit*: all of it for the scopes that did not move, nothing for the others."""

    @abc.abstractmethod
    def quantities(
        self,
        scope_ids: Collection[str],
        metric_types: Collection[str] | None,
        begin: int,
        end: int,
        priced: bool = False,
    ) -> list[series.Columns]:
        """Return the collected points without a price that begin in ``[begin, end)`` (epoch seconds).

        :param metric_types: None for all.
        :param priced: those that have a price as well; their prices are left out.
        """

    @abc.abstractmethod
    def points_at(self, scope_id: str, metric_type: str, begin: int, filters: Filters) -> list[series.Columns]:
        """Return each point of a scope and metric type that begins at epoch second *begin*, by itself.

        They are in an order that is always the same, those of every origin, and those without a price, which is None.

        :param filters: attribute to the value that it has.
        """

    @abc.abstractmethod
    def push(
        self,
        dataframes: Iterable[dataframe.DataFrame],
        scope_id: str | None = None,
        key: pushes.Key | None = None,
    ) -> None:
        """Append the points of *dataframes*, which are read before anything is written; raise on failure.

        :param scope_id: of points whose groupby lacks the scope key.
        :param key: nothing is done if these points were pushed with it before.
        :raises Conflict: other points were pushed with *key*.
        """

    @abc.abstractmethod
    def retrieve(
        self,
        begin: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        filters: Filters | None = None,
        metric_types: str | Sequence[str] | None = None,
        offset: int = 0,
        limit: int | None = 1000,
        paginate: bool = True,
        whole: bool = False,
    ) -> dict[str, Any]:
        """Return ``{'total': number of points, 'dataframes': [DataFrame]}``, a frame per scope and period.

        Frames are sorted by begin, end and scope.

        :param filters: attribute (of groupby or metadata) to a value or a list of values.
        :param offset, limit: of points; without effect unless *paginate*.
        :param whole: only points that lie wholly inside; else those that begin inside.
        """

    @abc.abstractmethod
    def delete(
        self,
        begin: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        filters: Filters | None = None,
    ) -> None:
        """Delete the collected points that begin in ``[begin, end)``; None leaves that side open.

        :param filters: ``{scope key: scope id or list of them}``; None for every scope.
        """

    @abc.abstractmethod
    def erase(self, session: orm.Session, guards: Mapping[str, int], begin: int, end: int, who: str | None) -> None:
        """Delete what was collected of the scopes of *guards*, which *session* has locked, in ``[begin, end)``.

        :param guards: {scope id: guard id}.
        :param who: asked for it.
        """

    @abc.abstractmethod
    def total(
        self,
        groupby: str | Sequence[str] | None = None,
        begin: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        metric_types: str | Sequence[str] | None = None,
        filters: Filters | None = None,
        custom_fields: str | None = None,
        offset: int = 0,
        limit: int | None = 1000,
        paginate: bool = True,
        whole: bool = False,
    ) -> dict[str, Any]:
        """Return ``{'total': number of rows, 'results': [row]}``.

        A row holds ``begin`` and ``end`` (those asked for), ``qty``, ``rate`` and a value for each word of *groupby*:
        ``type``, the scope key, any attribute, or a calendar word; with ``time`` there is a row per period, whose
        ``begin`` and ``end`` are those of the period. Rows are sorted by those values, then by time. Without points
        there is no row.

        :param custom_fields: columns in place of *qty* and *rate*, as :mod:`cloudkitty.storage.fields` reads them.
        """

    @abc.abstractmethod
    def get_tenants(
        self, begin: datetime.datetime | None = None, end: datetime.datetime | None = None, whole: bool = False
    ) -> list[str]:
        """Return the sorted ids of the scopes that have points in the window."""

    def forget_history(self, before: datetime.datetime) -> int:
        """Delete what corrections replaced before that instant; return how many entries of the history that were."""
        return 0

    def count(self, session: orm.Session, spans: Sequence[Span]) -> list[Counts | None]:
        """Return how many points each of *spans* has; None where the driver does not know.

        :param session: what the ledger was read with; spans of one scope and metric do not overlap.
        """
        return [None] * len(spans)

    def get_retention(self) -> datetime.timedelta:
        """Return how long data is kept: nothing is deleted by age."""
        return datetime.timedelta.max

    @staticmethod
    def parse_groupby_syntax_to_groupby_elements(groupbys: Sequence[str]) -> list[str]:
        """Return *groupbys* with ``time-d`` and the like turned into calendar attributes."""
        return [TIME_WORDS.get(word, word) for word in groupbys]
