# SPDX-License-Identifier: Apache-2.0
"""Cells, and what the ledger says became of them."""

import bisect
from collections.abc import Iterable

from cloudkitty import coverage
from cloudkitty import usage

#: (scope id, metric type, begin of the period)
Cell = tuple[str, str, int]


class Past:
    """What the ledger says about some scopes and a stretch of time."""

    def __init__(self, runs: Iterable[coverage.Run]) -> None:
        self._runs: dict[str, dict[str, list[coverage.Run]]] = {}
        for run in sorted(runs, key=_begin_of):
            self._runs.setdefault(run.scope_id, {}).setdefault(run.metric, []).append(run)

    def at(self, scope_id: str, begin: int) -> dict[str, coverage.Run]:
        """Return {metric type: run} of the cells of a scope and period."""
        result = {}
        for name, runs in self._runs.get(scope_id, {}).items():
            place = bisect.bisect_right(runs, begin, key=_begin_of) - 1
            if place >= 0 and begin < runs[place].end:
                result[name] = runs[place]
        return result

    def status(self, cell: Cell) -> coverage.Status | None:
        run = self.at(cell[0], cell[2]).get(cell[1])
        return run.status if run else None

    def is_altered(self, scope_id: str, begin: int) -> bool:
        return any(run.altered for run in self.at(scope_id, begin).values())

    def rule_set(self, cell: Cell) -> str | None:
        """Return the rule set that priced most of the other cells of the period of *cell*, else the one of its own."""
        votes: dict[str, int] = {}
        runs = self.at(cell[0], cell[2])
        own = runs.pop(cell[1], None)
        for _, run in sorted(runs.items()):
            if run.rule_set is not None:
                votes[run.rule_set] = votes.get(run.rule_set, 0) + 1
        return max(votes, key=lambda digest: votes[digest], default=own.rule_set if own else None)


def _begin_of(run: coverage.Run) -> int:
    return run.begin


def troubled_cells(troubles: Iterable[usage.Trouble], length: int) -> dict[Cell, usage.Trouble]:
    """Return the trouble of each cell that has one; of several the last."""
    return {
        (trouble.scope_id, trouble.metric, begin): trouble
        for trouble in troubles
        for begin in range(trouble.begin, trouble.end, length)
    }
