# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-status``: may this deployment be upgraded?"""

from collections.abc import Sequence
import logging
import sys
from typing import Any

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from cloudkitty import service
from cloudkitty import version

PROGRAM = 'cloudkitty-status'


class Command(upgradecheck.UpgradeCommands):
    """Runs the checks, which are imported once the command line asks for them."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf

    def check(self) -> upgradecheck.Code:
        from cloudkitty.cli import checks

        service.register(self._conf)
        return checks.Checks(self._conf).check()


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Run the command with *argv*, default that of this process.

    :returns: 0 all fine, 1 a warning, 2 a failure, 255 an unexpected error.
    """
    conf = cfg.CONF if conf is None else conf
    # What has to be said stands in the results.
    logging.getLogger().addHandler(logging.NullHandler())
    upgradecheck.register_cli_options(conf, Command(conf))
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        # As the library's main does, which knows no --version.
        conf(arguments, project='cloudkitty', prog=PROGRAM, version=version.version_string())
    except cfg.Error as error:
        print('%s: %s' % (PROGRAM, error), file=sys.stderr)
        return 255
    upgradecheck.CONF = conf
    status = int(upgradecheck.run(conf))

    from cloudkitty.cli import checks

    return checks.leave(status)


if __name__ == '__main__':
    sys.exit(main())
