# SPDX-License-Identifier: Apache-2.0
"""The command ``cloudkitty-status``: may this deployment be upgraded?"""

from collections.abc import Sequence
import logging
import sys
from typing import Any

from oslo_config import cfg
from oslo_db import options as db_options
from oslo_upgradecheck import common_checks
from oslo_upgradecheck import upgradecheck

from cloudkitty import conf as options
from cloudkitty import errors
from cloudkitty import messaging
from cloudkitty import service
from cloudkitty.cli import checks
from cloudkitty.conf import legacy
from cloudkitty.db import engine


class Checks(upgradecheck.UpgradeCommands):
    """What ``cloudkitty-status upgrade check`` looks at."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._old_options = upgradecheck.Result(upgradecheck.Code.SUCCESS)

    def check(self) -> upgradecheck.Code:
        """Return the status of all checks; wrong options are one line and the status of an unexpected error."""
        try:
            # First of all: libraries tell of an old name once.
            self._old_options = checks.run(checks.check_options, self._conf, 'The configuration files')
            service.check_values(self._conf)
            engine.from_options(self._conf)
            legacy.apply(self._conf)
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

    def _show_old_options(self) -> upgradecheck.Result:
        return self._old_options

    def _run(self, **arguments: Any) -> upgradecheck.Result:
        return checks.run(conf=self._conf, **arguments)

    _upgrade_checks = (
        ('Storage version', _check_storage_version),
        ('Policy File JSON to YAML Migration', _check_policy_file),
        ('Rated data of older releases', (_run, {'check': checks.check_history, 'option': '[database] connection'})),
        ('Schema', (_run, {'check': checks.check_schema, 'option': '[database] connection'})),
        ('Deprecated options', _show_old_options),
        ('Coordination', (_run, {'check': checks.check_coordination, 'option': '[orchestrator] coordination_url'})),
        (
            'Broker',
            (
                _run,
                {
                    'check': checks.check_broker,
                    'option': '[DEFAULT] transport_url',
                    'patience': checks.BROKER_PATIENCE,
                },
            ),
        ),
        ('Collector', (_run, {'check': checks.check_collector, 'option': '[collect] collector'})),
    )


def main(argv: Sequence[str] | None = None, conf: Any = None) -> int:
    """Run the command with *argv*, default that of this process.

    :returns: 0 all fine, 1 a warning, 2 a failure, 255 an unexpected error.
    """
    conf = cfg.CONF if conf is None else conf
    # What has to be said stands in the results.
    logging.getLogger().addHandler(logging.NullHandler())
    options.register(conf)
    messaging.register(conf)
    db_options.set_defaults(conf, connection=service.DEFAULT_CONNECTION)
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        return checks.leave(int(upgradecheck.main(conf, 'cloudkitty', Checks(conf), arguments)))
    except cfg.Error as error:
        print('cloudkitty-status: %s' % error, file=sys.stderr)
        return 255


if __name__ == '__main__':
    sys.exit(main())
