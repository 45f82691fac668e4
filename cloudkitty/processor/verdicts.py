# SPDX-License-Identifier: Apache-2.0
"""What mending some cells came to."""

import dataclasses

from cloudkitty import coverage
from cloudkitty.processor import known_cells

Cell = known_cells.Cell


@dataclasses.dataclass
class Verdict:
    """What is to be written.

    :ivar runs: cell to its run; its points are written, those that are stored are replaced.
    :ivar failures: cell to its open trouble, of cells that are written or not.
    """

    runs: dict[Cell, coverage.Run] = dataclasses.field(default_factory=dict)
    failures: dict[Cell, coverage.Failure] = dataclasses.field(default_factory=dict)
