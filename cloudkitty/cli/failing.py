# SPDX-License-Identifier: Apache-2.0
"""How commands fail: in one line on stderr that says what to do. Where it was is told with ``--debug``."""

from collections.abc import Callable
from collections.abc import Sequence
import os
import sys
import traceback

from cloudkitty import errors

#: Exit status of a command that was interrupted, as shells have it.
INTERRUPTED = 130


def guard(program: str, function: Callable[[], int], argv: Sequence[str] | None, failed: int = 1) -> int:
    """Return what *function()* does, an exit status; *failed* where it raises, which is told.

    :param argv: arguments of the command; None for those of this process.
    """
    try:
        return function()
    except KeyboardInterrupt:
        print('%s: interrupted.' % program, file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Who read the output has seen enough; the interpreter must not complain of it at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        # A command is an outermost layer.
        if is_debugging(argv):
            traceback.print_exception(error)
        print('%s: %s' % (program, describe(error)), file=sys.stderr)
        return failed


def is_debugging(argv: Sequence[str] | None) -> bool:
    """Return whether the command line asks for everything that there is to say."""
    return bool({'--debug', '-d'} & set(sys.argv[1:] if argv is None else argv))


def describe(error: Exception) -> str:
    """Return *error* in one line, and what to do about it."""
    # Here, for --help and --version need none of it.
    from oslo_db import exception as db_exc
    import sqlalchemy

    from cloudkitty.db import engine

    if isinstance(error, errors.CloudKittyError):
        return engine.describe(error)
    if isinstance(error, db_exc.DBError | sqlalchemy.exc.SQLAlchemyError):
        text = engine.describe(error)
        cause = error.inner_exception if isinstance(error, db_exc.DBError) else error
        is_away = isinstance(cause, engine.AWAY) and not isinstance(error, engine.REPEATABLE)
        is_away = (is_away or isinstance(error, engine.AWAY)) and not engine.lacks_table(error)
        return '%s. Look at [database] connection.' % text.rstrip('.') if is_away else text
    text = '%s: %s' % (type(error).__name__, engine.describe(error))
    return 'Unexpected %s. --debug tells where.' % text.rstrip(':. ')
