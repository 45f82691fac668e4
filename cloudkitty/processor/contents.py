# SPDX-License-Identifier: Apache-2.0
"""What cells hold: which points, whatever their prices and order."""

import collections
from collections.abc import Iterable
from decimal import Decimal

from cloudkitty import series
from cloudkitty.processor import known_cells

Cell = known_cells.Cell
#: (fingerprint of the series, quantity) and how many such points there are.
Content = collections.Counter[tuple[bytes, Decimal]]
NONE: Content = collections.Counter()


def of(columns: Iterable[series.Columns]) -> dict[Cell, Content]:
    """Return the content of each cell that has any."""
    result: dict[Cell, Content] = {}
    for item in columns:
        owner = item.series
        for begin, quantity in zip(item.begins, item.quantities, strict=True):
            cell = (owner.scope_id, owner.metric, begin)
            found = result.get(cell)
            if found is None:
                found = result[cell] = collections.Counter()
            found[owner.fingerprint, quantity] += 1
    return result


def by_cell(columns: Iterable[series.Columns]) -> dict[Cell, list[series.Columns]]:
    """Return the points of each cell that has any, each series in one piece."""
    result: dict[Cell, list[series.Columns]] = {}
    for item in columns:
        owner = item.series
        places: dict[int, list[int]] = {}
        for place, begin in enumerate(item.begins):
            places.setdefault(begin, []).append(place)
        for begin, own in places.items():
            part = series.Columns(
                owner,
                item.length,
                (begin,) * len(own),
                tuple([item.quantities[place] for place in own]),
                None if item.prices is None else tuple([item.prices[place] for place in own]),
                None if item.unpriced is None else tuple([item.unpriced[place] for place in own]),
            )
            result.setdefault((owner.scope_id, owner.metric, begin), []).append(part)
    return result
