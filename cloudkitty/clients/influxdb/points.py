# SPDX-License-Identifier: Apache-2.0
"""What is read of InfluxDB, whichever version of its API it has."""

from collections.abc import Iterator
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple
from typing import Protocol

#: The measurement that holds the points of a cloud.
MEASUREMENT = 'dataframes'
#: What a field holds: text, a truth value, or a number, which keeps its digits.
Value = str | bool | int | Decimal


class Point(NamedTuple):
    """A point; *begin* in epoch seconds, attributes without a value are missing."""

    begin: int
    tags: Mapping[str, str]
    fields: Mapping[str, Value]


class Amount(NamedTuple):
    """One amount of a point: *name* is that of its field, *owner* and *metric* may be ''."""

    owner: str
    metric: str
    begin: int
    name: str
    value: Value


class Reader(Protocol):
    """Either version of the API. Windows are ``[begin, end)`` in epoch seconds. Everything raises SourceError."""

    #: Seconds that :meth:`count` is best asked for at a time.
    stride: int

    def find_bounds(self) -> tuple[int, int] | None:
        """Return when the first and the last point begin; None without points."""

    def count(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield (begin, how many points begin then)."""

    def read(self, begin: int, end: int) -> Iterator[Point]:
        """Yield the points."""

    def read_amounts(self, begin: int, end: int, scope_key: str) -> Iterator[Amount]:
        """Yield quantities and prices alone, with the tags *scope_key* and ``type``."""
