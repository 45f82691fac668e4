# SPDX-License-Identifier: Apache-2.0
"""What is written out as text comes back as it was, whatever it holds."""

from decimal import Decimal

import pytest
import sqlalchemy

from cloudkitty.db import bulk
from cloudkitty.db import ledger_models
from cloudkitty.storage.sqlalchemy import models

TEXTS = [
    'plain',
    "it's",
    'back\\slash',
    '\\N',
    '100 %s %d %(name)s',
    'tab\tnew\nline\rreturn',
    '"quoted" `ticks` ; -- no comment',
    "\\'",
    'é漢字🐈',
    'a:b ::c {d}',
    '',
    'NULL',
]
SERIES = ('fingerprint', 'scope_id', 'metric', 'unit', 'origin', 'description', 'groupby', 'metadata')
MONTH = ('month', 'scope_id', 'metric', 'origin', 'points', 'qty', 'price', 'unpriced', 'skipped')
RUN = ('scope_id', 'metric', 'begin', 'end', 'status', 'rule_set', 'altered')
AMOUNTS = [
    Decimal(text) for text in ('0', '1E+3', '-0.5', '0.0000000000000000000000000001', '999999999999999999999999.5')
]


def read(database, model, names):
    columns = [model.__table__.columns[name] for name in names]
    with database.reader() as session:
        return [tuple(row) for row in session.execute(sqlalchemy.select(*columns).order_by(*columns[:4]))]


def test_what_is_there_is_left_alone(database):
    rows = [
        (bytes([number]) * 16, number, text, 'u', 'pushed', text if number % 2 else None, text, '{}')
        for number, text in enumerate(TEXTS)
    ]
    with database.writer() as session:
        bulk.add(session, models.SeriesRow, SERIES, rows[:5])
        bulk.add(session, models.SeriesRow, SERIES, [(*row[:3], 'other', *row[4:]) for row in rows[:5]] + rows[5:])
        bulk.add(session, models.SeriesRow, SERIES, [])
    assert read(database, models.SeriesRow, SERIES) == rows


@pytest.mark.parametrize('copy_from', [1, 1000])
@pytest.mark.parametrize('most', [10, 1 << 20])
def test_what_is_there_is_replaced(database, monkeypatch, copy_from, most):
    monkeypatch.setattr(bulk, 'COPY_FROM', copy_from)
    monkeypatch.setattr(bulk, 'MOST', most)
    rows = [
        (number, 1, text, 'collected', number, AMOUNTS[number % 5], AMOUNTS[(number + 1) % 5], 0, 0)
        for number, text in enumerate(TEXTS)
    ]
    with database.writer() as session:
        bulk.replace(
            session, models.ScopeMonth, MONTH, [(*row[:4], 7, AMOUNTS[2], AMOUNTS[2], 1, 1) for row in rows[:7]]
        )
        bulk.replace(session, models.ScopeMonth, MONTH, rows)
    assert read(database, models.ScopeMonth, MONTH) == rows


@pytest.mark.parametrize('copy_from', [1, 1000])
def test_nothing_and_flags_come_back(database, monkeypatch, copy_from):
    monkeypatch.setattr(bulk, 'COPY_FROM', copy_from)
    rows = [(1, 'a', 0, 3600, 'rated', None, True), (1, 'b', 0, 3600, 'empty', 'd' * 32, False)]
    with database.writer() as session:
        bulk.replace(session, ledger_models.CoverageRun, RUN, rows)
        # Within one transaction, again.
        bulk.replace(session, ledger_models.CoverageRun, RUN, rows)
    assert read(database, ledger_models.CoverageRun, RUN) == rows
