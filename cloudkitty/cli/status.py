# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-status``: may this deployment be upgraded, and how far is it?"""

from collections.abc import Sequence
import functools
import logging
import sys
from typing import Any

from oslo_config import cfg
from oslo_log import log

from cloudkitty import errors
from cloudkitty import service
from cloudkitty.cli import failing
from cloudkitty.cli import tables

PROGRAM = 'cloudkitty-status'
#: Exit status of an upgrade check that could not be made, and where the options cannot be read.
UNEXPECTED = 255


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Run the command with *argv*, default that of this process.

    :returns: 0 all fine, 1 a warning, 2 a failure, or a wrong command line, 255 an unexpected error, or a file of
        options that cannot be read; of what only shows something else 0, or 1 for any other error.
    """
    conf = cfg.CONF if conf is None else conf
    # What has to be said stands in the results.
    logging.getLogger().addHandler(logging.NullHandler())
    log.register_options(conf)
    arguments = sys.argv[1:] if argv is None else list(argv)
    conf.register_cli_opt(cfg.SubCommandOpt('command', title='Commands', handler=add_parsers))
    try:
        service.parse(conf, arguments, PROGRAM)
    except errors.ConfigurationError as error:
        print('%s: %s' % (PROGRAM, error), file=sys.stderr)
        return UNEXPECTED
    if conf.command.name == 'upgrade':
        return check(conf, arguments)
    return failing.guard(PROGRAM, functools.partial(show, conf), arguments)


def add_parsers(subparsers: Any) -> None:
    """Add the sub-commands."""
    parser = subparsers.add_parser('upgrade', help='Look whether everything is in its place for this release.')
    parser.add_argument('check', choices=['check'], help='What there is to do.')
    parser.add_argument('--json', action='store_true', help='Print JSON; default: a table.')

    parser = subparsers.add_parser('scopes', help='List the scopes: how far each is rated, and what holds it.')
    parser.add_argument('--scope-id', action='append', help='One of those to list; default: all.')
    tables.add_argument(parser)

    parser = subparsers.add_parser('coverage', help='Tell how complete a month is, by scope and metric.')
    parser.add_argument('--month', metavar='YYYY-MM', help='In [collect] timezone; default: the present one.')
    parser.add_argument('--scope-id', action='append', help='One of those to look at; default: all.')
    parser.add_argument('--incomplete', action='store_true', help='Only what something is missing of.')
    tables.add_argument(parser)


def check(conf: Any, arguments: Sequence[str]) -> int:
    """Run the upgrade check; return its status."""
    # Here, for --help and --version need none of it.
    from oslo_upgradecheck import upgradecheck

    from cloudkitty.cli import checks

    service.register(conf)
    # Its way to hand the answer to --json to whoever prints.
    upgradecheck.CONF = conf
    return checks.leave(failing.guard(PROGRAM, lambda: int(checks.Checks(conf).check()), arguments, UNEXPECTED))


def show(conf: Any) -> int:
    """Run a sub-command that only shows something."""
    # As above.
    from cloudkitty.cli import months
    from cloudkitty.cli import scopes
    from cloudkitty.conf import legacy
    from cloudkitty.db import engine

    service.register(conf)
    service.check_values(conf)
    legacy.apply(conf)
    database = engine.from_options(conf)
    try:
        {'scopes': scopes.show, 'coverage': months.show}[conf.command.name](conf, database)
        sys.stdout.flush()
    finally:
        database.dispose()
    return 0


if __name__ == '__main__':
    sys.exit(main())
