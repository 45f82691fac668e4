# SPDX-License-Identifier: Apache-2.0
"""The table of the storage of old: one row a point."""

import datetime
from decimal import Decimal

import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import types


class Base(orm.DeclarativeBase):
    """Tables of the old storage chain."""


class RatedDataFrame(Base):
    """A rated point; instants are naive UTC, *desc* is a JSON object."""

    __tablename__ = 'rated_data_frames'
    __table_args__ = (
        sqlalchemy.Index('idx_rated_data_frames_date', 'begin', 'end'),
        sqlalchemy.Index('idx_tenantid_begin_end', 'tenant_id', 'begin', 'end'),
        {'mysql_charset': 'utf8', 'mysql_engine': 'InnoDB'},
    )

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=True)
    begin: orm.Mapped[datetime.datetime] = orm.mapped_column(sqlalchemy.DateTime)
    end: orm.Mapped[datetime.datetime] = orm.mapped_column(sqlalchemy.DateTime)
    unit: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(255))
    qty: orm.Mapped[Decimal] = orm.mapped_column(types.OldAmount(15, 5))
    res_type: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(255))
    rate: orm.Mapped[float] = orm.mapped_column(sqlalchemy.Float)
    desc: orm.Mapped[str] = orm.mapped_column(sqlalchemy.Text)
    tenant_id: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(32))
