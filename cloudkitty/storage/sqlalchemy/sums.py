# SPDX-License-Identifier: Apache-2.0
"""What all scopes cost together, of the roll-ups."""

from collections.abc import Collection
from decimal import Decimal

import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.db import types
from cloudkitty.storage.sqlalchemy import models

ScopeMonth = models.ScopeMonth


def read_prices(database: engine.Database, months: Collection[int]) -> dict[int, Decimal]:
    """Return {month: exact price of all scopes} of those of *months* that have roll-ups; one statement.

    :param months: as :mod:`models` counts them.
    """
    query = sqlalchemy.select(ScopeMonth.month, types.exact_sum(ScopeMonth.price)).where(
        ScopeMonth.month.in_(sorted(months))
    )
    with database.reader() as session:
        return {row[0]: row[1] for row in session.execute(query.group_by(ScopeMonth.month))}
