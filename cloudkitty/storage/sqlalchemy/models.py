# SPDX-License-Identifier: Apache-2.0
"""Tables of the series chain: series, their days, roll-ups, and what corrections replaced.

A *day* is the count of days since 1970-01-01 (UTC), a *month* is ``year * 12 + month - 1`` (UTC).
"""

import datetime
from decimal import Decimal

import sqlalchemy
from sqlalchemy import orm
from sqlalchemy.dialects import mysql

from cloudkitty.db import types

AutoId = sqlalchemy.BigInteger().with_variant(sqlalchemy.Integer, 'sqlite')
Fingerprint = sqlalchemy.LargeBinary(16).with_variant(mysql.BINARY(16), 'mysql', 'mariadb')


class Base(orm.DeclarativeBase):
    """Tables of the series chain."""


class SeriesRow(Base):
    """What describes the points of a resource."""

    __tablename__ = 'series'
    __table_args__ = (
        sqlalchemy.UniqueConstraint('fingerprint', name='uq_series_fingerprint'),
        sqlalchemy.Index('idx_series_scope_metric', 'scope_id', 'metric'),
    )

    id: orm.Mapped[int] = orm.mapped_column(AutoId, primary_key=True, autoincrement=True)
    fingerprint: orm.Mapped[bytes] = orm.mapped_column(Fingerprint)
    scope_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    metric: orm.Mapped[str] = orm.mapped_column(types.exact_string(255))
    unit: orm.Mapped[str] = orm.mapped_column(types.exact_string(255))
    origin: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(16))
    description: orm.Mapped[str | None] = orm.mapped_column(types.long_text())
    groupby: orm.Mapped[str] = orm.mapped_column(types.long_text())
    metadata_: orm.Mapped[str] = orm.mapped_column('metadata', types.long_text())


class RatedDay(Base):
    """The points of a series whose begin falls into one UTC day; see ``body.py`` for the form of *body*."""

    __tablename__ = 'rated_days'
    __table_args__ = (sqlalchemy.Index('idx_rated_days_scope_day', 'scope_id', 'day'),)

    day: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=False)
    series_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    scope_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    qty: orm.Mapped[Decimal] = orm.mapped_column(types.Amount)
    price: orm.Mapped[Decimal] = orm.mapped_column(types.Amount)
    points: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer)
    body: orm.Mapped[str] = orm.mapped_column(types.long_text())


class ScopeDay(Base):
    """The roll-up of a scope, metric and origin over one UTC day; *body* holds the same per period."""

    __tablename__ = 'scope_days'

    day: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=False)
    scope_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    metric: orm.Mapped[str] = orm.mapped_column(types.exact_string(255), primary_key=True)
    origin: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(16), primary_key=True)
    qty: orm.Mapped[Decimal] = orm.mapped_column(types.Amount)
    price: orm.Mapped[Decimal] = orm.mapped_column(types.Amount)
    points: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer)
    unpriced: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer)
    skipped: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer)
    body: orm.Mapped[str] = orm.mapped_column(types.long_text())


class ScopeMonth(Base):
    """The roll-up of a scope, metric and origin over one UTC month."""

    __tablename__ = 'scope_months'

    month: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=False)
    scope_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    metric: orm.Mapped[str] = orm.mapped_column(types.exact_string(255), primary_key=True)
    origin: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(16), primary_key=True)
    qty: orm.Mapped[Decimal] = orm.mapped_column(types.Amount)
    price: orm.Mapped[Decimal] = orm.mapped_column(types.Amount)
    points: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    unpriced: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    skipped: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)


class RatedHistory(Base):
    """The points of a day row that a correction took out: why, by whom, when.

    :ivar task_id: the reprocessing that replaced it.
    """

    __tablename__ = 'rated_history'
    __table_args__ = (sqlalchemy.Index('idx_rated_history_scope_day', 'scope_id', 'day'),)

    id: orm.Mapped[int] = orm.mapped_column(AutoId, primary_key=True, autoincrement=True)
    day: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer)
    series_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    scope_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    qty: orm.Mapped[Decimal] = orm.mapped_column(types.Amount)
    price: orm.Mapped[Decimal] = orm.mapped_column(types.Amount)
    points: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer)
    body: orm.Mapped[str] = orm.mapped_column(types.long_text())
    cause: orm.Mapped[str] = orm.mapped_column(types.long_text())
    who: orm.Mapped[str | None] = orm.mapped_column(types.exact_string(255))
    at: orm.Mapped[datetime.datetime] = orm.mapped_column(types.UtcDateTime)
    task_id: orm.Mapped[int | None] = orm.mapped_column(sqlalchemy.BigInteger)


class FrameLength(Base):
    """The length of a frame that was longer than those before it, in seconds: none is longer than the longest here."""

    __tablename__ = 'frame_lengths'

    length: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)


class CrossedMidnight(Base):
    """A day that points may begin on and end after: those of every other day end with it at the latest."""

    __tablename__ = 'crossed_midnights'

    day: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=False)


class ImportedFrame(Base):
    """How much of ``rated_data_frames`` has been imported, by begin.

    :ivar begin: epoch second.
    :ivar row_count: of the rows with this begin, up to *last_id*.
    :ivar left_out: how many of them could not be imported.
    """

    __tablename__ = 'imported_frames'

    begin: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    row_count: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    last_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    left_out: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)


class ImportedPoint(Base):
    """How much of the points in InfluxDB has been imported, by begin.

    :ivar begin: epoch second.
    :ivar row_count: of the points with this begin.
    :ivar left_out: how many of them could not be imported.
    """

    __tablename__ = 'imported_points'

    begin: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    row_count: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    left_out: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
