# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-status``: may this deployment be upgraded?"""

from collections.abc import Sequence
import sys
from typing import Any

from oslo_config import cfg
from oslo_db import exception as db_exc
from oslo_db import options as db_options
from oslo_upgradecheck import common_checks
from oslo_upgradecheck import upgradecheck
import sqlalchemy

from cloudkitty import conf as options
from cloudkitty import errors
from cloudkitty import service
from cloudkitty.db import engine
from cloudkitty.db import history


class Checks(upgradecheck.UpgradeCommands):
    """What ``cloudkitty-status upgrade check`` looks at."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf

    def check(self) -> upgradecheck.Code:
        """Return the status of all checks; wrong options are one line and the status of an unexpected error."""
        try:
            service.check_values(self._conf)
            engine.from_options(self._conf)
        except errors.ConfigurationError as error:
            print('cloudkitty-status: %s' % error, file=sys.stderr)
            # The library would print a traceback of anything less.
            raise SystemExit(255) from error
        return super().check()

    def _check_storage_version(self) -> upgradecheck.Result:
        if self._conf.storage.version < 2:
            return upgradecheck.Result(
                upgradecheck.Code.WARNING,
                '[storage] version is %d; version 2 is recommended.' % self._conf.storage.version,
            )
        return upgradecheck.Result(upgradecheck.Code.SUCCESS)

    def _check_policy_file(self) -> upgradecheck.Result:
        found: upgradecheck.Result = common_checks.check_policy_json(self, self._conf)
        effective = self._conf.find_file(self._conf.oslo_policy.policy_file)
        forgotten = None if effective else self._conf.find_file('policy.json')
        if not forgotten:
            return found
        return upgradecheck.Result(
            upgradecheck.Code.FAILURE,
            '%s is not read any more: the policy file is %s. Convert it with oslopolicy-convert-json-to-yaml.'
            % (forgotten, self._conf.oslo_policy.policy_file),
        )

    def _check_history(self) -> upgradecheck.Result:
        database = engine.from_options(self._conf)
        try:
            history.require_backend(self._conf, database)
            found = history.describe_frames(database)
        except errors.ConfigurationError as error:
            return upgradecheck.Result(upgradecheck.Code.FAILURE, str(error))
        except (db_exc.DBError, sqlalchemy.exc.SQLAlchemyError) as error:
            return upgradecheck.Result(
                upgradecheck.Code.WARNING, 'It could not be looked at. %s' % engine.describe(error)
            )
        finally:
            database.dispose()
        return upgradecheck.Result(upgradecheck.Code.WARNING if found else upgradecheck.Code.SUCCESS, found or None)

    _upgrade_checks = (
        ('Storage version', _check_storage_version),
        ('Policy File JSON to YAML Migration', _check_policy_file),
        ('Rated data of older releases', _check_history),
    )


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Run the command with *argv*, default that of this process.

    :returns: 0 all fine, 1 a warning, 2 a failure, 255 an unexpected error.
    """
    conf = cfg.CONF if conf is None else conf
    options.register(conf)
    db_options.set_defaults(conf, connection=service.DEFAULT_CONNECTION)
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        return int(upgradecheck.main(conf, 'cloudkitty', Checks(conf), arguments))
    except cfg.Error as error:
        print('cloudkitty-status: %s' % error, file=sys.stderr)
        return 255


if __name__ == '__main__':
    sys.exit(main())
