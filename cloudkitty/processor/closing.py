# SPDX-License-Identifier: Apache-2.0
"""What is closed stays as its bills say: what would change of it waits for an operator, as an adjustment.

So does what would leave a cell with fewer points than it has, in any period: the source may have forgotten some.
"""

from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
import datetime

from oslo_log import log

from cloudkitty import adjustment
from cloudkitty import coverage
from cloudkitty import period
from cloudkitty import scope
from cloudkitty import series
from cloudkitty import usage
from cloudkitty.db import adjustments
from cloudkitty.db import closings
from cloudkitty.db import engine
from cloudkitty.processor import contents
from cloudkitty.processor import known_cells
from cloudkitty.processor import verdicts
from cloudkitty.storage import adjusting
from cloudkitty.storage import base as storage_base

LOG = log.getLogger(__name__)

Cell = known_cells.Cell
Status = coverage.Status

#: Seconds until a cell that waits for a decision is collected again.
WAIT = 6 * 3600
#: How the troubles of such cells begin.
WAITS = 'An adjustment waits'
#: Causes of adjustments.
CLOSED = 'the period is closed'
FEWER = 'the source has fewer points than before'
#: Statuses of cells that have an open trouble.
_OPEN = frozenset({Status.FAILED, Status.PROVISIONAL, Status.UNRATED})

Proposals = dict[tuple[str, int], dict[str, adjustment.Cell]]


class Closed:
    """Holds back changes of what is closed.

    :param length: of a period, in seconds.
    :param until: epoch second before which every scope is closed; one may be closed further by itself.
    """

    def __init__(
        self,
        database: engine.Database,
        storage: storage_base.BaseStorage,
        length: int,
        clock: Callable[[], datetime.datetime],
        until: int | None = None,
    ) -> None:
        self._database = database
        self._storage = storage
        self._length = length
        self._clock = clock
        self._until = until

    def hold_back(
        self,
        states: Mapping[str, scope.State],
        verdict: verdicts.Verdict,
        rated: usage.Rated,
        past: known_cells.Past,
        fewer: Collection[Cell],
        is_whole: bool,
    ) -> None:
        """Take out of *verdict* what is not to be written without being asked for, and note it.

        :param states: by scope id, as they were read when the work was planned.
        :param fewer: cells that have fewer points than before.
        :param is_whole: a period of a scope only makes sense as a whole.
        """
        causes = self._find(verdict, fewer)
        if causes:
            self._propose_all(states, causes, verdict, rated, past, is_whole)
        # What is written now would not wait any more, whatever the source said before.
        adjustments.withdraw(self._database, verdict.runs)

    def _propose_all(
        self,
        states: Mapping[str, scope.State],
        causes: Mapping[Cell, str],
        verdict: verdicts.Verdict,
        rated: usage.Rated,
        past: known_cells.Past,
        is_whole: bool,
    ) -> None:
        fresh = contents.by_cell(rated.columns)
        proposals: Proposals = {}
        for cell, cause in causes.items():
            found = self._propose(cell, cause, verdict, rated, fresh)
            if found.digest != series.digest(found.columns):
                proposals.setdefault((cell[0], cell[2]), {})[cell[1]] = found
        if is_whole:
            for cell in verdict.runs:
                others = proposals.get((cell[0], cell[2]))
                if others is not None and cell[1] not in others:
                    cause = next(iter(others.values())).cause
                    others[cell[1]] = self._propose(cell, cause, verdict, rated, fresh)
        if proposals:
            self._note(states, proposals, verdict, past)

    def _find(self, verdict: verdicts.Verdict, fewer: Collection[Cell]) -> dict[Cell, str]:
        """Return the cells of *verdict* that are closed or have fewer points, and which it is."""
        own = closings.read(self._database, {cell[0] for cell in verdict.runs})
        result = {}
        for cell in verdict.runs:
            ends = [end for end in (own.get(cell[0]), self._until) if end is not None]
            if ends and cell[2] < max(ends):
                result[cell] = CLOSED
            elif cell in fewer:
                result[cell] = FEWER
        return result

    def _propose(
        self,
        cell: Cell,
        cause: str,
        verdict: verdicts.Verdict,
        rated: usage.Rated,
        fresh: Mapping[Cell, list[series.Columns]],
    ) -> adjustment.Cell:
        before = adjusting.stored(self._storage, *cell)
        return adjustment.Cell(
            cause,
            adjustment.add_up(before),
            series.digest(before),
            verdict.runs[cell],
            fresh.get(cell, []),
            rated.skipped.get(cell, 0),
        )

    def _note(
        self,
        states: Mapping[str, scope.State],
        proposals: Proposals,
        verdict: verdicts.Verdict,
        past: known_cells.Past,
    ) -> None:
        now = period.to_epoch(self._clock())
        failures = []
        for (scope_id, begin), found in proposals.items():
            for name, item in found.items():
                cell = (scope_id, name, begin)
                verdict.runs.pop(cell, None)
                verdict.failures.pop(cell, None)
                if past.status(cell) in _OPEN:
                    # It is no trouble of the source's, so it is never lost.
                    failures.append(coverage.Failure(*cell, now, 0, now + WAIT, '%s: %s.' % (WAITS, item.cause)))
        fresh = adjustments.note(
            self._database,
            [
                adjustment.Adjustment(scope_id, begin, begin + self._length, found)
                for (scope_id, begin), found in proposals.items()
            ],
            failures,
            now,
            {scope_id: state.epoch for scope_id, state in states.items()},
        )
        if fresh:
            LOG.warning(
                '%d periods that are closed, or of which the source has less than before, would change: look at the '
                'adjustments, and apply or drop them.',
                fresh,
            )
