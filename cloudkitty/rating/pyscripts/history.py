# SPDX-License-Identifier: Apache-2.0
"""The table of scripts as it was from release to release: what its migrations make of it."""

import sqlalchemy

from cloudkitty.db import schema


def scripts(checksum: int = 40, dated: bool = False) -> sqlalchemy.Table:
    """:param checksum: length of the column; *dated*: since c6e4cda29654, when names may be used again."""
    items = [
        sqlalchemy.Column('id', sqlalchemy.Integer, primary_key=True, nullable=False, autoincrement=True),
        sqlalchemy.Column('script_id', sqlalchemy.String(36), nullable=False),
        sqlalchemy.Column('name', sqlalchemy.String(255), nullable=False),
        sqlalchemy.Column('data', sqlalchemy.LargeBinary, nullable=False),
        sqlalchemy.Column('checksum', sqlalchemy.String(checksum), nullable=False),
        _unique('script_id'),
    ]
    if dated:
        items += schema.dates_of_rules()
    else:
        items.append(_unique('name'))
    return schema.define('pyscripts_scripts', *items, **schema.UTF8)


def _unique(column: str) -> sqlalchemy.UniqueConstraint:
    """Return the unique of *column* under the name that the server gave it: it was made without one."""
    names = {'mysql': column, 'postgresql': 'pyscripts_scripts_%s_key' % column}
    return sqlalchemy.UniqueConstraint(column, name=names.get(schema.dialect()))
