# SPDX-License-Identifier: Apache-2.0
"""Which texts the columns of the field's tables keep."""

from cloudkitty import errors
from cloudkitty.db import engine

#: The last character that MySQL's ``utf8`` knows, in which those tables are.
_LAST_OF_MYSQL = '\uffff'


def check(database: engine.Database, member: str, value: str | None, longest: int) -> None:
    """Raise BadRequest, naming *member*, for a text that the column of *longest* characters does not keep."""
    if value is None:
        return
    if len(value) > longest:
        raise errors.BadRequest('%s: at most %d characters are kept.' % (member, longest))
    if database.dialect == 'mysql' and any(character > _LAST_OF_MYSQL for character in value):
        raise errors.BadRequest('%s: the database keeps no characters beyond U+FFFF.' % member)
