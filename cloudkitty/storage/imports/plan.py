# SPDX-License-Identifier: Apache-2.0
"""What is still to be imported, in pieces that one transaction takes."""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
from typing import Any

import sqlalchemy
from sqlalchemy import orm

from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import purges
from cloudkitty.db import statements
from cloudkitty.storage import base
from cloudkitty.storage.imports import sources
from cloudkitty.storage.v1 import rows

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
    done: Mapping[int, Any]

    @property
    def count(self) -> int:
        """How many rows are to be imported."""
        done = sum(int(item.row_count) for item in self.done.values())
        return sum(item.row_count for item in self.begins) - done

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
    :ivar passed: rows that were never imported, and are older than what was purged of any scope.
    :ivar outside: of rows that begin at an instant that the storage has no place for.
    """

    pieces: tuple[Piece, ...]
    newest: int
    total: int
    begins: tuple[rows.Begin, ...]
    broken: dict[int, str]
    outside: tuple[rows.Begin, ...]
    passed: int = 0

    @property
    def count(self) -> int:
        return sum(piece.count for piece in self.pieces)


def make(database: engine.Database, source: sources.Source, largest: int = LARGEST) -> Plan:
    """Return what is to be imported of *source*.

    :param largest: rows of a piece; fewer where their texts are long.
    """
    survey = source.survey(database)
    # What is older than what was purged has been imported, or is not wanted any more.
    with database.reader() as session:
        purged = purges.newest(session)
    found = [item for item in survey.begins if item.begin >= purged or item.begin < 0]
    begins = [item for item in found if _is_storable(item)]
    done = survey.done
    broken = {begin: reason for begin, reason in survey.broken.items() if begin >= purged}
    fresh = [item for item in begins if item.begin not in done or item.row_count > done[item.begin].row_count]
    largest = max(1, min(largest, LARGEST_TEXT // max(1, survey.average_text)))
    return Plan(
        tuple(_cut([item for item in fresh if item.begin not in broken], done, largest)),
        survey.newest,
        sum(item.row_count for item in found),
        tuple(begins),
        broken,
        tuple(item for item in found if not _is_storable(item)),
        sum(item.row_count for item in survey.begins if 0 <= item.begin < purged and item.begin not in done),
    )


def _is_storable(item: rows.Begin) -> bool:
    return 0 <= item.begin < base.END_OF_TIME


def list_done(session: orm.Session, marks: Any, begins: Iterable[int]) -> list[int]:
    """Return those of *begins* that were imported; *marks* is that of the source."""
    result: list[int] = []
    for part in statements.chunks(sorted(begins)):
        result += session.scalars(sqlalchemy.select(marks.begin).where(marks.begin.in_(part)))
    return result


def list_left_out(session: orm.Session, marks: Any) -> list[int]:
    """Return the begins of which rows could not be imported; *marks* is that of the source."""
    return list(session.scalars(sqlalchemy.select(marks.begin).where(marks.left_out > 0)))


def count_left_out(session: orm.Session, marks: Any) -> int:
    """Return how many rows could not be imported, in this run or before; *marks* is that of the source."""
    return int(session.scalar(sqlalchemy.select(sqlalchemy.func.sum(marks.left_out))) or 0)


def _cut(begins: Iterable[rows.Begin], done: Mapping[int, Any], largest: int) -> Iterable[Piece]:
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


def _to_piece(begins: list[rows.Begin], done: Mapping[int, Any]) -> Piece:
    return Piece(tuple(begins), {item.begin: done[item.begin] for item in begins if item.begin in done})
