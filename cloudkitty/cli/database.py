# SPDX-License-Identifier: Apache-2.0
"""What the commands that work on the database share: how they begin, and how they fail."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from cloudkitty import service
from cloudkitty.cli import failing


def run(program: str, function: Callable[[Any, Any], None], argv: Sequence[str] | None, conf: Any) -> int:
    """Call *function(conf, database)* with the options read; return the exit status.

    :param function: imports what it works with: ``--help`` and ``--version`` end before it is called.

    What goes wrong is one line on stderr and status 1. Migrations are told on stderr, wherever the log goes.
    """

    def work() -> int:
        service.prepare_service(argv, conf=conf, program=program)
        from cloudkitty.db import engine
        from cloudkitty.db import migration

        migration.log_to_stderr()
        database = engine.from_options(conf)
        try:
            function(conf, database)
        finally:
            database.dispose()
        return 0

    return failing.guard(program, work, argv)
