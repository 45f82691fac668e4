# SPDX-License-Identifier: Apache-2.0
"""What is still to be imported, in pieces that one transaction takes."""

from collections.abc import Iterable
import dataclasses

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.storage import base
from cloudkitty.storage.sqlalchemy import models
from cloudkitty.storage.v1 import rows

Imported = models.ImportedFrame

#: How many rows a piece has at most, unless a single begin has more.
LARGEST = 250_000
#: How many characters the descriptions of a piece have together, more or less.
LARGEST_TEXT = 64 * 2**20


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
    :ivar begins: all of them that can be imported, imported or not, in order.
    :ivar broken: begin to why it cannot be gone on with; only :func:`pieces.forget` helps.
    :ivar outside: of rows that begin at an instant that the storage has no place for.
    """

    pieces: tuple[Piece, ...]
    newest: int
    total: int
    begins: tuple[rows.Begin, ...]
    broken: dict[int, str]
    outside: tuple[rows.Begin, ...]

    @property
    def count(self) -> int:
        return sum(piece.count for piece in self.pieces)


def make(database: engine.Database, largest: int = LARGEST) -> Plan:
    """Return what is to be imported.

    :param largest: rows of a piece; fewer where descriptions are long.
    """
    with database.snapshot() as session:
        newest = rows.newest_id(session)
        found = rows.list_begins(session, newest)
        done = {item.begin: item for item in session.scalars(sqlalchemy.select(Imported))}
        begins = [item for item in found if 0 <= item.begin < base.END_OF_TIME]
        broken = _find_broken(session, begins, done)
        largest = max(1, min(largest, LARGEST_TEXT // max(1, rows.average_text(session))))
    fresh = [item for item in begins if item.begin not in done or item.row_count > done[item.begin].row_count]
    return Plan(
        tuple(_cut([item for item in fresh if item.begin not in broken], done, largest)),
        newest,
        sum(item.row_count for item in found),
        tuple(begins),
        broken,
        tuple(item for item in found if not 0 <= item.begin < base.END_OF_TIME),
    )


def list_left_out(session: orm.Session) -> list[int]:
    """Return the begins of which rows could not be imported."""
    return list(session.scalars(sqlalchemy.select(Imported.begin).where(Imported.left_out > 0)))


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


def _find_broken(session: orm.Session, begins: Iterable[rows.Begin], done: dict[int, Imported]) -> dict[int, str]:
    found = {item.begin: item for item in begins}
    broken = {}
    for begin, item in done.items():
        now = found[begin].row_count if begin in found else 0
        if now < item.row_count:
            broken[begin] = 'it had %d rows when they were imported, and has %d now' % (item.row_count, now)
        elif now > item.row_count:
            query = sqlalchemy.select(sqlalchemy.func.count()).select_from(rows.Frame)
            where = (*rows.between(begin, begin + 1), rows.of_ids(item.last_id + 1, found[begin].last_id))
            if session.scalar(query.where(*where)) != now - item.row_count:
                broken[begin] = 'rows came to it later whose ids are lower than those that were imported'
    return broken
