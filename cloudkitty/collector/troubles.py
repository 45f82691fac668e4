# SPDX-License-Identifier: Apache-2.0
"""Troubles of single cells, and how they travel: neighbours of equal content joined."""

from collections.abc import Mapping
import dataclasses

from cloudkitty import coverage
from cloudkitty import usage

#: (scope id, metric type, begin).
Cell = tuple[str, str, int]
#: What became of it, why, and whether that is permanent.
Content = tuple[coverage.Status, str, bool]


def join(cells: Mapping[Cell, Content], batch: usage.Batch) -> list[usage.Trouble]:
    """Return *cells*, as far as they are of *batch*, neighbours of equal content joined."""
    wanted = set(batch.scope_ids)
    result: list[usage.Trouble] = []
    last: tuple[tuple[str, str], int, Content] | None = None
    for scope_id, name, begin in sorted(cells):
        if scope_id not in wanted or begin >= batch.end:
            continue
        what = cells[scope_id, name, begin]
        end = begin + batch.length
        if last == ((scope_id, name), begin, what):
            result[-1] = dataclasses.replace(result[-1], end=end)
        else:
            status, text, permanent = what
            result.append(usage.Trouble(scope_id, name, begin, end, status, text, permanent))
        last = ((scope_id, name), end, what)
    return result
