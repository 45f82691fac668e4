# SPDX-License-Identifier: Apache-2.0
"""Tables of the ledger chain: guards, coverage, rule sets. Instants are epoch seconds unless they are UtcDateTime."""

import datetime

import sqlalchemy
from sqlalchemy import orm

from cloudkitty.db import types

#: An integer that counts by itself; SQLite does that only for its plain INTEGER.
AutoId = sqlalchemy.BigInteger().with_variant(sqlalchemy.Integer, 'sqlite')


class Base(orm.DeclarativeBase):
    """Tables of the ledger chain."""


class Guard(Base):
    """One row per scope id: what every change of a scope's data locks first."""

    __tablename__ = 'scopes'

    id: orm.Mapped[int] = orm.mapped_column(AutoId, primary_key=True, autoincrement=True)
    identifier: orm.Mapped[str] = orm.mapped_column(types.exact_string(255))
    epoch: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, default=0)
    touched: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, default=0)
    gone_since: orm.Mapped[datetime.datetime | None] = orm.mapped_column(types.UtcDateTime)

    __table_args__ = (sqlalchemy.UniqueConstraint('identifier', name='uq_scopes_identifier'),)


class CoverageRun(Base):
    """A stretch of cells of one scope and metric that fared alike, within one UTC month."""

    __tablename__ = 'coverage'
    __table_args__ = (sqlalchemy.Index('idx_coverage_scope_begin', 'scope_id', 'begin'),)

    scope_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    metric: orm.Mapped[str] = orm.mapped_column(types.exact_string(255), primary_key=True)
    begin: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    end: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    status: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(16))
    rule_set: orm.Mapped[str | None] = orm.mapped_column(sqlalchemy.String(32))
    altered: orm.Mapped[bool] = orm.mapped_column(sqlalchemy.Boolean, default=False)


class CoverageFailure(Base):
    """An open trouble of one cell."""

    __tablename__ = 'coverage_failures'
    __table_args__ = (sqlalchemy.Index('idx_coverage_failures_next_attempt', 'next_attempt'),)

    scope_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    metric: orm.Mapped[str] = orm.mapped_column(types.exact_string(255), primary_key=True)
    begin: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    since: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    attempts: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer)
    next_attempt: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    error: orm.Mapped[str] = orm.mapped_column(types.long_text())


class RuleSet(Base):
    """The rules of a moment, written once: what priced a cell can be read back for ever."""

    __tablename__ = 'rule_sets'

    digest: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(32), primary_key=True)
    created_at: orm.Mapped[datetime.datetime] = orm.mapped_column(types.UtcDateTime)
    body: orm.Mapped[str] = orm.mapped_column(types.long_text())


class RulePart(Base):
    """A part of rule sets: the rules of one hashmap service, or one script."""

    __tablename__ = 'rule_parts'

    digest: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(32), primary_key=True)
    kind: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(32))
    body: orm.Mapped[str] = orm.mapped_column(types.long_text())


class RuleRevision(Base):
    """One row: a number that grows with every change of rules or modules."""

    __tablename__ = 'rule_revision'

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=False)
    revision: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)


class SeenRules(Base):
    """One row: what the tables of rules held when the processor last looked, by which changes of others are noticed."""

    __tablename__ = 'seen_rules'

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer, primary_key=True, autoincrement=False)
    revision: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    digest: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(32))


class RuleActors(Base):
    """Whole ids of those who changed a rule, as far as they are longer than the columns of old.

    :ivar rule_id: public id of the mapping or script.
    """

    __tablename__ = 'rule_actors'

    # Of all collations only the binary one can be compared with whatever a server or an operator gave the old tables.
    rule_id: orm.Mapped[str] = orm.mapped_column(types.exact_string(36), primary_key=True)
    created_by: orm.Mapped[str | None] = orm.mapped_column(types.long_text())
    updated_by: orm.Mapped[str | None] = orm.mapped_column(types.long_text())
    deleted_by: orm.Mapped[str | None] = orm.mapped_column(types.long_text())


class Push(Base):
    """A push that its caller gave a key.

    :ivar id: tells the caller and the key.
    :ivar text: the key as the caller has it.
    :ivar digest: of what was pushed.
    """

    __tablename__ = 'pushes'
    __table_args__ = (sqlalchemy.Index('idx_pushes_at', 'at'),)

    id: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(32), primary_key=True)
    text: orm.Mapped[str] = orm.mapped_column(types.exact_string(255))
    digest: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(32))
    at: orm.Mapped[datetime.datetime] = orm.mapped_column(types.UtcDateTime)


class ReprocessingTask(Base):
    """What a schedule of old does not say of its task.

    A task that an older release must not work on, as it is cancelled or asks no source, is finished in the schedule:
    how far it really got is here.

    :ivar id: of the schedule.
    :ivar open: whether there is work left that the schedule does not tell of.
    :ivar last_done: begin of the last period that is done, where the schedule does not tell it.
    :ivar since, attempts, next_attempt, error: the trouble that it waits for; *error* is null without one.
    """

    __tablename__ = 'reprocessing_tasks'

    id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    recollect: orm.Mapped[bool] = orm.mapped_column(sqlalchemy.Boolean)
    cancelled: orm.Mapped[bool] = orm.mapped_column(sqlalchemy.Boolean)
    open: orm.Mapped[bool] = orm.mapped_column(sqlalchemy.Boolean)
    last_done: orm.Mapped[int | None] = orm.mapped_column(sqlalchemy.BigInteger)
    actor: orm.Mapped[str | None] = orm.mapped_column(types.long_text())
    since: orm.Mapped[int | None] = orm.mapped_column(sqlalchemy.BigInteger)
    attempts: orm.Mapped[int] = orm.mapped_column(sqlalchemy.Integer)
    next_attempt: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    error: orm.Mapped[str | None] = orm.mapped_column(types.long_text())


class ReprocessingKept(Base):
    """Periods of a metric that a task left as they were."""

    __tablename__ = 'reprocessing_kept'

    task_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    metric: orm.Mapped[str] = orm.mapped_column(types.exact_string(255), primary_key=True)
    begin: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    end: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    error: orm.Mapped[str] = orm.mapped_column(types.long_text())


class Closing(Base):
    """How far a scope is closed: nothing of it changes by itself before."""

    __tablename__ = 'closings'

    scope_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    closed_until: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)


class Purge(Base):
    """Up to where data of a scope was purged: no period that begins before is rated again."""

    __tablename__ = 'purges'

    scope_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger, primary_key=True, autoincrement=False)
    purged_until: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)


class Adjustment(Base):
    """What would have changed of a scope's period, and what was decided about it.

    :ivar body: the cells, before and after; see :mod:`cloudkitty.db.adjustments`.
    """

    __tablename__ = 'adjustments'
    __table_args__ = (
        sqlalchemy.UniqueConstraint('scope_id', 'begin', name='uq_adjustments_scope_begin'),
        sqlalchemy.Index('idx_adjustments_status', 'status'),
    )

    id: orm.Mapped[int] = orm.mapped_column(AutoId, primary_key=True, autoincrement=True)
    scope_id: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    begin: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    end: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    status: orm.Mapped[str] = orm.mapped_column(sqlalchemy.String(16))
    noted_at: orm.Mapped[int] = orm.mapped_column(sqlalchemy.BigInteger)
    decided_at: orm.Mapped[int | None] = orm.mapped_column(sqlalchemy.BigInteger)
    decided_by: orm.Mapped[str | None] = orm.mapped_column(types.long_text())
    body: orm.Mapped[str] = orm.mapped_column(types.long_text())
