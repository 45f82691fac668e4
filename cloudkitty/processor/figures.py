# SPDX-License-Identifier: Apache-2.0
"""What is counted of a batch, for Prometheus."""

import collections

from cloudkitty import telemetry
from cloudkitty import usage
from cloudkitty.storage import base as storage_base

RATING, REPAIR, REPROCESSING = 'rating', 'repair', 'reprocessing'


def collected(batch: usage.Batch) -> None:
    """Count a batch that the collector answered for."""
    telemetry.observe(telemetry.BATCH_SCOPES, len(batch.scope_ids))
    telemetry.observe(telemetry.BATCH_PERIODS, batch.count)


def committed(work: str, commit: storage_base.Commit, result: storage_base.CommitResult, points: int) -> None:
    """Count *commit* and what became of it; *points* is how many of its points were written."""
    telemetry.count(telemetry.DROPPED, len(result.dropped), work=work)
    if not result.committed:
        return
    telemetry.count(telemetry.BATCHES, work=work)
    telemetry.count(telemetry.POINTS, points, work=work)
    cells: dict[str, int] = collections.defaultdict(int)
    for run in commit.runs:
        if run.scope_id in result.committed:
            cells[run.status.value] += (run.end - run.begin) // commit.length
    for status, count in cells.items():
        telemetry.count(telemetry.CELLS, count, work=work, status=status)
