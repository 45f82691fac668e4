# SPDX-License-Identifier: Apache-2.0
"""An adjustment: what would change of a period that is closed, to be applied or dropped by an operator.

Instants here are epoch seconds.
"""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from decimal import Decimal
import enum
import json
from typing import Any
from typing import NamedTuple

from cloudkitty import amount
from cloudkitty import coverage
from cloudkitty import series


class Status(enum.Enum):
    """What was decided about an adjustment."""

    PENDING = 'pending'
    APPLIED = 'applied'
    DROPPED = 'dropped'


class Sum(NamedTuple):
    """What some points add up to; those without a price count nothing towards it."""

    points: int
    qty: Decimal
    price: Decimal


@dataclasses.dataclass(frozen=True)
class Cell:
    """What would change of one metric.

    :ivar cause: why.
    :ivar before: what the points add up to that are stored.
    :ivar digest: tells those points, as :func:`cloudkitty.series.digest` does.
    :ivar run: the coverage that the cell would have.
    :ivar columns: the points that it would have.
    :ivar skipped: how many more a skip expression dropped.
    """

    cause: str
    before: Sum
    digest: str
    run: coverage.Run
    columns: Sequence[series.Columns]
    skipped: int = 0

    @property
    def after(self) -> Sum:
        return add_up(self.columns)


@dataclasses.dataclass(frozen=True)
class Adjustment:
    """The cells of a scope and a period ``[begin, end)`` that would change.

    :ivar cells: by metric type.
    :ivar id: None until it is noted.
    """

    scope_id: str
    begin: int
    end: int
    cells: Mapping[str, Cell]
    status: Status = Status.PENDING
    noted_at: int = 0
    decided_at: int | None = None
    decided_by: str | None = None
    id: int | None = None


def add_up(columns: Iterable[series.Columns]) -> Sum:
    """Return what *columns*, which have prices, add up to."""
    points = 0
    qty: list[Decimal] = []
    price: list[Decimal] = []
    for item in columns:
        points += len(item.begins)
        qty += item.quantities
        price += [value for value in item.prices or () if value is not None]
    return Sum(points, amount.total(qty), amount.total(price))


def encode(cells: Mapping[str, Cell]) -> str:
    """Return *cells* as text: JSON, amounts as texts, sorted, so that equal cells have equal texts."""
    return json.dumps(
        {
            name: {
                'cause': cell.cause,
                'before': [cell.before.points, *map(amount.to_text, cell.before[1:])],
                'digest': cell.digest,
                'status': cell.run.status.value,
                'rule_set': cell.run.rule_set,
                'altered': cell.run.altered,
                'skipped': cell.skipped,
                'series': sorted((_encode_columns(item) for item in cell.columns), key=series.canonical),
            }
            for name, cell in cells.items()
        },
        sort_keys=True,
        separators=(',', ':'),
    )


def decode(text: str, scope_id: str, begin: int, end: int) -> dict[str, Cell]:
    """Return the cells that :func:`encode` made *text* of."""
    result = {}
    for name, item in json.loads(text).items():
        points, qty, price = item['before']
        result[name] = Cell(
            item['cause'],
            Sum(points, Decimal(qty), Decimal(price)),
            item['digest'],
            coverage.Run(
                scope_id, name, begin, end, coverage.Status(item['status']), item['rule_set'], item['altered']
            ),
            [_decode_columns(found, scope_id, name, begin, end) for found in item['series']],
            item['skipped'],
        )
    return result


def _encode_columns(item: series.Columns) -> dict[str, Any]:
    of = item.series
    prices = item.prices or (None,) * len(item.begins)
    return {
        'unit': of.unit,
        'description': of.description,
        'groupby': series.canonical(of.groupby),
        'metadata': series.canonical(of.metadata),
        'points': [
            [amount.to_text(qty), None if price is None else amount.to_text(price), is_unpriced]
            for qty, price, is_unpriced in zip(
                item.quantities, prices, item.unpriced or (False,) * len(item.begins), strict=True
            )
        ],
    }


def _decode_columns(found: Mapping[str, Any], scope_id: str, metric: str, begin: int, end: int) -> series.Columns:
    of = series.Series(
        scope_id,
        metric,
        found['unit'],
        json.loads(found['groupby']),
        json.loads(found['metadata']),
        found['description'],
    )
    quantities, prices, unpriced = zip(*found['points'], strict=True)
    return series.Columns(
        of,
        end - begin,
        (begin,) * len(quantities),
        tuple(map(Decimal, quantities)),
        tuple(None if price is None else Decimal(price) for price in prices),
        unpriced if any(unpriced) else None,
    )
