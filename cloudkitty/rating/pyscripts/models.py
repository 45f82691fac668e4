# SPDX-License-Identifier: Apache-2.0
"""Table of the pyscripts chain, as the field knows it; dates are naive, in the deployment's zone."""

import datetime

import sqlalchemy
from sqlalchemy import orm

UTF8 = {'mysql_charset': 'utf8', 'mysql_engine': 'InnoDB'}


class Base(orm.DeclarativeBase):
    """Table of the pyscripts chain."""


class Script(Base):
    """A script; rows with *deleted* rate nothing. *data* is its source, compressed by zlib."""

    __tablename__ = 'pyscripts_scripts'
    __table_args__ = (sqlalchemy.UniqueConstraint('script_id'), UTF8)

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=True)
    script_id: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(36))
    name: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(255))
    data: orm.Mapped[bytes] = orm.mapped_column(sqlalchemy.LargeBinary)
    checksum: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(128))
    created_at: orm.Mapped[datetime.datetime] = orm.mapped_column(
        sqlalchemy.DateTime, server_default=sqlalchemy.func.now()
    )
    start: orm.Mapped[datetime.datetime] = orm.mapped_column(sqlalchemy.DateTime, server_default=sqlalchemy.func.now())
    end: orm.Mapped[datetime.datetime | None] = orm.mapped_column(sqlalchemy.DateTime)
    description: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.Text)
    deleted: orm.Mapped[datetime.datetime | None] = orm.mapped_column(sqlalchemy.DateTime)
    created_by: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(32))
    updated_by: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(32))
    deleted_by: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(32))
