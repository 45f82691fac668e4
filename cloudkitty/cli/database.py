# SPDX-License-Identifier: Apache-2.0
"""What the commands that work on the database share: how they begin, and how they fail."""

from collections.abc import Callable
from collections.abc import Sequence
import sys
from typing import Any

from cloudkitty import errors
from cloudkitty import service


def run(program: str, function: Callable[[Any, Any], None], argv: Sequence[str] | None, conf: Any) -> int:
    """Call *function(conf, database)* with the options read; return the exit status.

    :param function: imports what it works with: ``--help`` and ``--version`` end before it is called.

    What an operator can mend is one line on stderr and status 1. Migrations are told on stderr, wherever the log goes.
    """
    try:
        service.prepare_service(argv, conf=conf, program=program)
    except errors.CloudKittyError as error:
        return _fail(program, str(error))
    from oslo_db import exception as db_exc
    import sqlalchemy

    from cloudkitty.db import engine
    from cloudkitty.db import migration

    try:
        migration.log_to_stderr()
        database = engine.from_options(conf)
        try:
            function(conf, database)
        finally:
            database.dispose()
    except (errors.CloudKittyError, db_exc.DBError, sqlalchemy.exc.SQLAlchemyError) as error:
        return _fail(program, engine.describe(error))
    return 0


def _fail(program: str, text: str) -> int:
    print('%s: %s' % (program, text), file=sys.stderr)
    return 1
