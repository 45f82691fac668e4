# SPDX-License-Identifier: Apache-2.0
"""A series: everything about a datapoint but its instant, quantity and price; and its points, in columns."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
import datetime
from decimal import Decimal
import enum
import hashlib
import json
from typing import Any

from cloudkitty import amount

#: The calendar attributes every collected point shows in its groupby; derived from its begin, never stored.
CALENDAR = ('week_of_the_year', 'day_of_the_year', 'month', 'year')


class Origin(enum.Enum):
    """Where points came from: we asked a source, or somebody pushed them."""

    COLLECTED = 'collected'
    PUSHED = 'pushed'


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """The identity of a row of points.

    :ivar scope_id: value of the scope key, ``''`` for points without a scope.
    :ivar metric: metric type.
    :ivar groupby, metadata: attribute to JSON value (text, int, float, bool, None); no calendar attributes. Not to be
        changed once handed over.
    """

    scope_id: str
    metric: str
    unit: str
    groupby: Mapping[str, Any]
    metadata: Mapping[str, Any]
    description: str | None = None
    origin: Origin = Origin.COLLECTED
    _fingerprint: bytes | None = dataclasses.field(default=None, init=False, repr=False)

    @property
    def fingerprint(self) -> bytes:
        """16 bytes that differ whenever any member differs, value types included (16, 16.0 and "16" are three)."""
        if self._fingerprint is None:
            object.__setattr__(self, '_fingerprint', self._digest())
        return self._fingerprint  # type: ignore[return-value]

    def _digest(self) -> bytes:
        members = [self.scope_id, self.metric, self.unit, self.origin.value, self.description]
        if isinstance(self.groupby, Packed):
            text = '%s,%s,%s]' % (canonical(members)[:-1], canonical(self.groupby), canonical(self.metadata))
        else:
            text = canonical([*members, self.groupby, self.metadata])
        return hashlib.blake2b(text.encode(), digest_size=16).digest()

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Series) and self.fingerprint == other.fingerprint


class Packed(Mapping[str, Any]):
    """Attributes as their canonical text: a fifth of the room of a dictionary, and slow to look at."""

    __slots__ = ('text',)

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.text = canonical(attributes)

    def __getitem__(self, name: str) -> Any:
        return json.loads(self.text)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(json.loads(self.text))

    def __len__(self) -> int:
        return len(json.loads(self.text))


@dataclasses.dataclass(slots=True)
class Columns:
    """Points of one series in columns; entry *i* of each tuple belongs to point *i*.

    :ivar begins: epoch seconds, ascending; equal neighbours are legal and stay several points.
    :ivar length: seconds from a point's begin to its end.
    :ivar quantities: in the unit of the series.
    :ivar prices: in the deployment's currency; an entry is None while the point could not be priced. None altogether
        before rating.
    :ivar unpriced: one bool a point: no rule of a built-in module matched it and its price is 0. None if that holds
        for none.
    """

    series: Series
    length: int
    begins: tuple[int, ...]
    quantities: tuple[Decimal, ...]
    prices: tuple[Decimal | None, ...] | None = None
    unpriced: tuple[bool, ...] | None = None


def digest(columns: Iterable[Columns], more: str = '') -> str:
    """Return 32 hexadecimal digits that tell what *columns*, which have prices, hold; their order does not matter.

    Points of one series and length must be in one of them.

    :param more: what else it shall tell.
    """
    parts = sorted(map(_digest_one, columns))
    return hashlib.blake2b(b''.join(parts) + more.encode(), digest_size=16).hexdigest()


def _digest_one(columns: Columns) -> bytes:
    points = [
        '%d %s %s' % (begin, amount.to_text(qty), '-' if price is None else amount.to_text(price))
        for begin, qty, price in zip(columns.begins, columns.quantities, columns.prices or (), strict=True)
    ]
    # Several may begin together.
    text = '%d;%s' % (columns.length, ';'.join(sorted(points)))
    return hashlib.blake2b(columns.series.fingerprint + text.encode(), digest_size=16).digest()


def canonical(value: object) -> str:
    """Return the canonical JSON text of *value*: sorted keys, no blanks; Decimals as numbers."""
    return value.text if isinstance(value, Packed) else _ENCODER.encode(value)


def _plain(value: object) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)


#: Made once: json.dumps makes one a call, which costs more than the encoding.
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(',', ':'), default=_plain)


def calendar(begin: datetime.datetime, zone: datetime.tzinfo) -> dict[str, str]:
    """Return the calendar attributes of a point that begins at *begin*, in *zone*, all text.

    Weeks begin on Sunday, two digits from ``00``; days from ``1`` and months from ``1`` without padding.

    Source: rating contract, section 2.1.
    """
    local = begin.astimezone(zone)
    return {
        'week_of_the_year': local.strftime('%U'),
        'day_of_the_year': str(local.timetuple().tm_yday),
        'month': str(local.month),
        'year': str(local.year),
    }
