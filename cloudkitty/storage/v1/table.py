# SPDX-License-Identifier: Apache-2.0
"""What ``rated_data_frames`` has room for, and how a point becomes a row of it.

Source: processor contract, section 8.2.
"""

from collections.abc import Mapping
from decimal import Decimal
import json
from typing import Any

from cloudkitty import amount
from cloudkitty import period

#: Characters that the column of scopes holds, bytes that MySQL's TEXT holds, and what quantities stay below.
LONGEST_SCOPE = 32
LONGEST_DESC = 65535
LARGEST_QTY = Decimal(10) ** 10

#: The metric of a row that stands for a period without points.
NO_DATA = '_NO_DATA_'

_QTY_QUANTUM = Decimal(1).scaleb(-5)


def round_qty(value: Decimal) -> Decimal:
    """Return a quantity as the table holds it, rounded half-even; :func:`is_too_large` tells whether it can."""
    return value.quantize(_QTY_QUANTUM, context=amount.CONTEXT)


def is_too_large(rounded: Decimal) -> bool:
    """Return whether the table has no room for a quantity of :func:`round_qty`."""
    return not rounded.is_finite() or abs(rounded) >= LARGEST_QTY


def to_desc(groupby: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Return the JSON text of all attributes of a point; groupby wins."""
    return json.dumps({**metadata, **groupby}, default=_to_plain)


def _to_plain(value: object) -> Any:
    return float(value) if isinstance(value, Decimal) else str(value)


def refuse(scope_id: str, metric: str, unit: str, desc: str, dialect: str) -> str:
    """Return why points of a series cannot be rows; '' if they can."""
    if len(scope_id) > LONGEST_SCOPE:
        return 'a scope id of more than %d characters' % LONGEST_SCOPE
    if dialect != 'mysql':
        return ''
    if any(ord(character) > 0xFFFF for text in (scope_id, metric, unit) for character in text):
        return 'a character that the table cannot hold'
    return 'a description of more than %d bytes' % LONGEST_DESC if len(desc) > LONGEST_DESC else ''


def to_row(
    scope_id: str, metric: str, unit: str, desc: str, begin: int, length: int, qty: Decimal, price: Decimal
) -> dict[str, Any]:
    """Return the row of a point, column to value.

    :param begin: epoch second; *length*: in seconds.
    :param qty: as :func:`round_qty` gives it.
    """
    return {
        'begin': period.to_naive(period.from_epoch(begin)),
        'end': period.to_naive(period.from_epoch(begin + length)),
        'unit': unit,
        'qty': qty,
        'res_type': metric,
        'rate': float(price),
        'desc': desc,
        'tenant_id': scope_id or None,
    }


def to_empty_row(scope_id: str, begin: int, length: int) -> dict[str, Any]:
    """Return the row that says that a scope had nothing in a period."""
    return to_row(scope_id, NO_DATA, 'None', json.dumps(''), begin, length, amount.ZERO, amount.ZERO)
