# SPDX-License-Identifier: Apache-2.0
"""What an import asks of a storage of old."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import dataclasses
from decimal import Decimal
from typing import Any
from typing import NamedTuple
from typing import Protocol

from sqlalchemy import orm

from cloudkitty import amount
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.storage.v1 import rows


class Sums(NamedTuple):
    """What points add up to."""

    points: int
    qty: Decimal
    price: Decimal

    def plus(self, other: 'Sums') -> 'Sums':
        add = amount.CONTEXT.add
        return Sums(self.points + other.points, add(self.qty, other.qty), add(self.price, other.price))


NOTHING = Sums(0, amount.ZERO, amount.ZERO)


class Day(NamedTuple):
    """A UTC day, since 1970-01-01, its year and month, and the lowest and highest id of its rows."""

    number: int
    month: tuple[int, int]
    first_id: int
    last_id: int


@dataclasses.dataclass(frozen=True)
class Survey:
    """What there is, and what was imported of it.

    :ivar newest: highest id that takes part.
    :ivar begins: in order.
    :ivar done: begin to its mark.
    :ivar broken: begin to why it cannot be gone on with.
    :ivar average_text: characters that the texts of a row have, more or less.
    """

    newest: int
    begins: list[rows.Begin]
    done: Mapping[int, Any]
    broken: dict[int, str]
    average_text: int


class Source(Protocol):
    """A storage of old. Rows that say the same but for instant, quantity and price share a *key*.

    :ivar name: as an operator knows it.
    :ivar marks: the model of what was imported: ``begin``, ``row_count``, ``left_out``.
    :ivar tells_new: rows that came after an import can be told from those before; else all of their begin are read
        again.
    """

    name: str
    marks: Any
    tells_new: bool

    def survey(self, database: engine.Database) -> Survey: ...

    def read(self, database: engine.Database, piece: Any, newest: int) -> Iterator[tuple[Any, rows.Values]]:
        """Yield (key, values) of the rows of a :class:`~cloudkitty.storage.imports.plan.Piece` that are not imported.

        Rows of other begins may be among them.
        """

    def metric_of(self, key: Any) -> str: ...

    def split(self, key: Any, begin: int) -> series.Series:
        """Return the series of a row with *key* that begins at *begin*.

        :raises BadRequest: it cannot be stored.
        """

    def depends_on_begin(self, key: Any) -> bool:
        """Return whether the series of *key* may be another one at another begin."""

    def to_mark(self, item: rows.Begin, left_out: int) -> dict[str, Any]:
        """Return the row of *marks* of a begin that is imported."""

    def sum_day(self, session: orm.Session, day: Day) -> dict[tuple[str, str], Sums]:
        """Return {(scope id, metric): sums} of the rows of *day*."""

    def begins_of(
        self, session: orm.Session, day: Day, keys: Collection[tuple[str, str]]
    ) -> Mapping[tuple[str, str], Iterable[int]]:
        """Return the begins of the rows of *day*, by (scope id, metric), for at least those of *keys*."""

    def list_remarks(self) -> list[str]:
        """Return what was odd in the rows that were read, and was imported all the same; a sentence each."""
