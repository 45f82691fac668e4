# SPDX-License-Identifier: Apache-2.0
"""Cells that could not be rated: without prices, and said to be so."""

from collections.abc import Collection
from collections.abc import Iterable
import dataclasses

from cloudkitty import coverage
from cloudkitty import series
from cloudkitty import usage

#: Scope id, metric type, begin (epoch second).
Cell = tuple[str, str, int]


def unrated(cells: Iterable[Cell], length: int, error: str) -> list[usage.Trouble]:
    """Return an UNRATED trouble for each stretch of consecutive *cells*."""
    result: list[usage.Trouble] = []
    for scope_id, metric, begin in sorted(cells):
        last = result[-1] if result else None
        if last is not None and (last.scope_id, last.metric, last.end) == (scope_id, metric, begin):
            result[-1] = dataclasses.replace(last, end=begin + length)
        else:
            trouble = usage.Trouble(scope_id, metric, begin, begin + length, coverage.Status.UNRATED, error)
            result.append(trouble)
    return result


def without_prices(columns: series.Columns, cells: Collection[Cell]) -> series.Columns:
    """Return *columns* with None for the prices of points in *cells*."""
    of = columns.series
    hit = [(of.scope_id, of.metric, begin) in cells for begin in columns.begins]
    if not any(hit):
        return columns
    prices = columns.prices or (None,) * len(hit)
    flags = None
    if columns.unpriced is not None:
        flags = tuple([flag and not gone for flag, gone in zip(columns.unpriced, hit, strict=True)])
    return dataclasses.replace(
        columns,
        prices=tuple([None if gone else price for price, gone in zip(prices, hit, strict=True)]),
        unpriced=flags if flags and any(flags) else None,
    )
