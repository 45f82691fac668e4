# SPDX-License-Identifier: Apache-2.0
"""What is still to be imported, in pieces that one transaction takes."""

from collections.abc import Iterable
import dataclasses

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import errors
from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import rows

Imported = models.ImportedFrame

#: How many rows a piece has at most, unless a single begin has more.
LARGEST = 250_000


@dataclasses.dataclass(frozen=True)
class Piece:
    """Rows of consecutive begins within one UTC day.

    :ivar begins: each with all of its rows, those that were imported before too.
    :ivar done: begin to what was imported of it before; those without anything are missing.
    """

    begins: tuple[rows.Begin, ...]
    done: dict[int, Imported]

    @property
    def count(self) -> int:
        """How many rows are to be imported."""
        return sum(item.row_count for item in self.begins) - sum(item.row_count for item in self.done.values())

    @property
    def ids(self) -> tuple[int, int]:
        """The lowest and the highest id among the rows of its begins."""
        return min(item.first_id for item in self.begins), max(item.last_id for item in self.begins)


@dataclasses.dataclass(frozen=True)
class Plan:
    """:ivar newest: highest id that takes part; rows that come later are for the next run.
    :ivar total: rows up to it.
    :ivar begins: all of them, imported or not, in order.
    """

    pieces: tuple[Piece, ...]
    newest: int
    total: int
    begins: tuple[rows.Begin, ...]

    @property
    def count(self) -> int:
        return sum(piece.count for piece in self.pieces)


def make(database: engine.Database, largest: int = LARGEST) -> Plan:
    """Return what is to be imported.

    :raises Conflict: rows that were imported are not there any more.
    """
    with database.snapshot() as session:
        newest = rows.newest_id(session)
        begins = rows.list_begins(session, newest)
        done = {item.begin: item for item in session.scalars(sqlalchemy.select(Imported))}
    _refuse_vanished(begins, done)
    fresh = [item for item in begins if item.begin not in done or item.row_count > done[item.begin].row_count]
    return Plan(
        tuple(_cut(fresh, done, largest)),
        newest,
        sum(item.row_count for item in begins),
        tuple(begins),
    )


def count_left_out(session: orm.Session) -> int:
    """Return how many rows could not be imported, in this run or before."""
    return int(session.scalar(sqlalchemy.select(sqlalchemy.func.sum(Imported.left_out))) or 0)


def _cut(begins: Iterable[rows.Begin], done: dict[int, Imported], largest: int) -> Iterable[Piece]:
    part: list[rows.Begin] = []
    count = 0
    for item in begins:
        is_new_day = bool(part) and part[-1].begin // period.DAY != item.begin // period.DAY
        if is_new_day or (part and count + item.row_count > largest):
            yield _to_piece(part, done)
            part, count = [], 0
        part.append(item)
        count += item.row_count
    if part:
        yield _to_piece(part, done)


def _to_piece(begins: list[rows.Begin], done: dict[int, Imported]) -> Piece:
    return Piece(tuple(begins), {item.begin: done[item.begin] for item in begins if item.begin in done})


def _refuse_vanished(begins: Iterable[rows.Begin], done: dict[int, Imported]) -> None:
    counts = {item.begin: item.row_count for item in begins}
    gone = sorted(begin for begin, item in done.items() if counts.get(begin, 0) < item.row_count)
    if gone:
        raise errors.Conflict(
            'rated_data_frames had %d rows that begin at %s when they were imported, and has %d now; %d begins are '
            'like that. Rows were deleted from it since: delete the same from the new storage, or bring them back.'
            % (
                done[gone[0]].row_count,
                period.from_epoch(gone[0]).isoformat(),
                counts.get(gone[0], 0),
                len(gone),
            )
        )
