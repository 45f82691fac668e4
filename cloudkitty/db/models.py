# SPDX-License-Identifier: Apache-2.0
"""Tables of the core chain and of the states chain, as the field knows them."""

import datetime

import sqlalchemy
from sqlalchemy import orm

UTF8 = {'mysql_charset': 'utf8', 'mysql_engine': 'InnoDB'}


class CoreBase(orm.DeclarativeBase):
    """Tables of the core chain."""


class StatesBase(orm.DeclarativeBase):
    """Tables of the states chain."""


class Status(CoreBase):
    """Progress of the report writer of old; nothing reads it any more, and nothing deletes it."""

    __tablename__ = 'states'

    name: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(255), primary_key=True)
    state: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    s_metadata: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.Text, default='')


class ModuleState(CoreBase):
    """Whether a rating module (or, as ``collector_<name>``, a collector of old) is enabled."""

    __tablename__ = 'modules_state'

    name: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(255), primary_key=True)
    state: orm.Mapped[bool] = orm.mapped_column(sqlalchemy.Boolean, default=False)
    priority: orm.Mapped[int | None] = orm.mapped_column(sqlalchemy.Integer, default=1)


class ServiceToCollector(CoreBase):
    """Which collector of old a service used."""

    __tablename__ = 'service_to_collector_mappings'

    service: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(255), primary_key=True)
    collector: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(255))


class State(StatesBase):
    """The clock of a scope; instants are naive UTC."""

    __tablename__ = 'cloudkitty_storage_states'
    __table_args__ = (
        sqlalchemy.UniqueConstraint(
            'identifier', 'scope_key', 'collector', 'fetcher', name='uq_cloudkitty_storage_states_identifier'
        ),
        UTF8,
    )

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=True)
    identifier: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(256))
    scope_key: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(40))
    fetcher: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(40))
    collector: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(40))
    last_processed_timestamp: orm.Mapped[datetime.datetime] = orm.mapped_column(sqlalchemy.DateTime)
    scope_activation_toggle_date: orm.Mapped[datetime.datetime] = orm.mapped_column(
        sqlalchemy.DateTime, server_default=sqlalchemy.func.now()
    )
    active: orm.Mapped[bool] = orm.mapped_column(sqlalchemy.Boolean, default=True)


class ReprocessingSchedule(StatesBase):
    """A stretch of a scope's past that is to be rated once more; instants are naive UTC."""

    __tablename__ = 'storage_scope_reprocessing_schedule'
    __table_args__ = UTF8

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=True)
    identifier: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(256))
    start_reprocess_time: orm.Mapped[datetime.datetime] = orm.mapped_column(sqlalchemy.DateTime)
    end_reprocess_time: orm.Mapped[datetime.datetime] = orm.mapped_column(sqlalchemy.DateTime)
    current_reprocess_time: orm.Mapped[datetime.datetime | None] = orm.mapped_column(sqlalchemy.DateTime)
    reason: orm.Mapped[str] = orm.mapped_column(sqlalchemy.Text)
