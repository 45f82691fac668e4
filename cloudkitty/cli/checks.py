# SPDX-License-Identifier: Apache-2.0
"""What ``cloudkitty-status upgrade check`` looks at. Nothing is changed by looking, and nobody is waited for long."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import os
import queue
import re
import sys
import threading
import time
from typing import Any
import urllib.parse

from oslo_db import exception as db_exc
from oslo_upgradecheck import common_checks
from oslo_upgradecheck import upgradecheck
import sqlalchemy
from tooz import coordination

from cloudkitty import collector
from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import messaging
from cloudkitty import service
from cloudkitty import usage
from cloudkitty.cli import chains
from cloudkitty.cli import migrations
from cloudkitty.cli import old_options
from cloudkitty.conf import legacy
from cloudkitty.db import engine
from cloudkitty.db import history
from cloudkitty.processor import partition
from cloudkitty.processor import service as processor_service
from cloudkitty.rating import skips

#: Seconds that a check, and the broker, may take.
PATIENCE = 10
BROKER_PATIENCE = 5
#: A scope that no cloud has: the collector is asked for what it used.
_SCOPE = 'cloudkitty-status'

Result = upgradecheck.Result
Code = upgradecheck.Code

_THREAD = 'upgrade check'


def run(check: Callable[[Any], Result], conf: Any, option: str, patience: float = PATIENCE) -> Result:
    """Return what *check(conf)* finds; one that raises, or takes longer than *patience* seconds, is a warning.

    :param option: that names whom it waits for.
    """
    found: queue.SimpleQueue[Result] = queue.SimpleQueue()

    def work() -> None:
        try:
            found.put(check(conf))
        except Exception as error:
            # Drivers and plugins let through whatever their libraries raise; its text may hold anything.
            found.put(Result(Code.WARNING, '%s: it could not be looked at: %s.' % (option, type(error).__name__)))

    # The answer has stdout for itself, whatever a plugin prints.
    with contextlib.redirect_stdout(sys.stderr):
        threading.Thread(target=work, name=_THREAD, daemon=True).start()
        try:
            return found.get(timeout=patience)
        except queue.Empty:
            return Result(Code.WARNING, '%s: no answer within %d s.' % (option, patience))


def leave(status: int) -> int:
    """Return *status*; where a check still waits for somebody, end the process with it instead.

    Libraries wait for threads of their own before the interpreter may end.
    """
    if any(thread.name == _THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


def check_history(conf: Any) -> Result:
    """Is rated data of an older release in use, or found elsewhere?"""
    with _looking(conf) as database:
        try:
            history.require_backend(conf, database)
            found = history.describe_frames(conf, database)
        except errors.ConfigurationError as error:
            return Result(Code.FAILURE, str(error))
        except (db_exc.DBError, sqlalchemy.exc.SQLAlchemyError) as error:
            return Result(Code.WARNING, 'It could not be looked at. %s' % engine.describe(error))
    return Result(Code.WARNING if found else Code.SUCCESS, found or None)


def check_schema(conf: Any) -> Result:
    """Is every chain of migrations at its head?"""
    with _looking(conf) as database:
        try:
            trouble = chains.describe_trouble(chains.list_chains(database, migrations.list_modules(database)))
        except errors.ConfigurationError as error:
            return Result(Code.FAILURE, str(error))
        except (db_exc.DBError, sqlalchemy.exc.SQLAlchemyError) as error:
            return Result(Code.WARNING, 'It could not be looked at. %s' % engine.describe(error))
    return Result(Code.FAILURE if trouble else Code.SUCCESS, trouble or None)


@contextlib.contextmanager
def _looking(conf: Any) -> Iterator[engine.Database]:
    """Give the database of *conf*. An SQLite file that is not there is an empty one, and opening would make it."""
    database = engine.from_options(conf)
    url = sqlalchemy.make_url(engine.normalise_url(conf.database.connection or 'sqlite://'))
    directory, name = os.path.split(url.database or '')
    if (
        url.get_backend_name() == 'sqlite'
        and os.path.isdir(directory or '.')
        and not os.path.exists(url.database or '')
    ):
        database = engine.Database('sqlite://')
    try:
        yield database
    finally:
        database.dispose()


def check_options(conf: Any) -> Result:
    """Do the configuration files set what has another name by now, or none? Ask before anybody reads *conf*."""
    found = old_options.list_uses(conf)
    return Result(Code.WARNING, '. '.join(found) + '.') if found else Result(Code.SUCCESS)


def check_coordination(conf: Any) -> Result:
    """Does the service answer that spreads scopes over workers?"""
    url = conf.orchestrator.coordination_url
    try:
        partition.check(url)
    except errors.ConfigurationError as error:
        return Result(Code.FAILURE, str(error))
    coordinator = coordination.get_coordinator(url, b'cloudkitty-status')
    problem = ''
    if type(coordinator).__module__.endswith('.file'):
        # Starting makes the directory, for whoever runs this.
        problem = _find_trouble(urllib.parse.urlsplit(url).path)
    else:
        try:
            coordinator.start()
            coordinator.stop()
        except Exception as error:
            # Drivers let through what their libraries raise.
            problem = _hide('%s does not answer: %s' % (_where(url), error), url)
    if not problem:
        return Result(Code.SUCCESS)
    text = '[orchestrator] coordination_url: %s. Scopes may be worked on twice, never billed twice.'
    return Result(Code.WARNING, text % problem.rstrip('.'))


def _find_trouble(directory: str) -> str:
    """Return why locks cannot be kept in *directory*, which need not be there yet; '' if they can."""
    place = directory
    while not os.path.exists(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    if not os.path.isdir(place):
        return '%s is not a directory' % place
    return '' if os.access(place, os.W_OK | os.X_OK) else 'this user may not write to %s' % place


def check_broker(conf: Any) -> Result:
    """Does the broker let us in?"""
    url = conf.transport_url
    try:
        messaging.check(conf)
    except errors.ConfigurationError as error:
        return Result(Code.FAILURE, str(error))
    transport = messaging.make_transport(conf)
    # Nothing public connects without making a queue.
    connect = getattr(transport._driver, '_get_connection', None)
    problem = ''
    try:
        if connect is not None:
            with connect('send', retry=1):
                pass
        transport.cleanup()
    except Exception as error:
        # Brokers and drivers raise what they like.
        problem = _hide('%s does not let us in: %s' % (_where(url), error), url)
    if not problem:
        return Result(Code.SUCCESS)
    text = '[DEFAULT] transport_url: %s. Everything works without a broker; changed rules are seen later.'
    return Result(Code.WARNING, text % problem.rstrip('.'))


def check_collector(conf: Any) -> Result:
    """Is the metrics file right, and does the source answer us?"""
    try:
        metrics = processor_service.load_metrics(conf)
        skips.from_options(conf, metrics.metrics)
        source = collector.load(conf, metrics, None)
    except errors.ConfigurationError as error:
        return Result(Code.FAILURE, str(error))
    length = conf.collect.period
    begin = (int(time.time()) // length - 1) * length
    found = source.collect(usage.Batch((_SCOPE,), metrics.metrics, begin, length, 1))
    troubles = {item.error: None for item in found.troubles if item.status is coverage.Status.FAILED}
    if not troubles and not found.source_down:
        return Result(Code.SUCCESS)
    return Result(Code.WARNING, '[collect] collector = %s: %s' % (conf.collect.collector, ' '.join(troubles)))


def _where(url: str) -> str:
    """Return scheme and hosts of *url*, which may name several of them."""
    parts = urllib.parse.urlsplit(url)
    hosts = ','.join(place.rpartition('@')[2] for place in parts.netloc.split(','))
    return '%s at %s' % (parts.scheme, hosts or 'its usual place')


def _hide(text: str, url: str) -> str:
    """Return *text* without what *url* says of users and passwords."""
    text = re.sub(r'//[^/\s]*@', '//***@', text)
    for place in urllib.parse.urlsplit(url).netloc.split(','):
        password = place.rpartition('@')[0].partition(':')[2]
        for secret in {password, urllib.parse.unquote(password)} - {''}:
            text = text.replace(secret, '***')
    return ' '.join(text.split())


class Checks(upgradecheck.UpgradeCommands):
    """The checks in their order."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._old_options = Result(Code.SUCCESS)

    def check(self) -> Code:
        """Return the status of all checks; wrong options are one line and the status of an unexpected error."""
        try:
            # First of all: libraries tell of an old name once.
            self._old_options = run(check_options, self._conf, 'The configuration files')
            service.check_values(self._conf)
            engine.from_options(self._conf)
            legacy.apply(self._conf)
        except errors.ConfigurationError as error:
            print('cloudkitty-status: %s' % error, file=sys.stderr)
            # The library would print a traceback of anything less.
            raise SystemExit(255) from error
        return super().check()

    def _check_storage_version(self) -> Result:
        if self._conf.storage.version < 2:
            return Result(
                Code.WARNING,
                '[storage] version is %d; version 2 is recommended.' % self._conf.storage.version,
            )
        return Result(Code.SUCCESS)

    def _check_policy_file(self) -> Result:
        found: Result = common_checks.check_policy_json(self, self._conf)
        effective = self._conf.find_file(self._conf.oslo_policy.policy_file)
        forgotten = None if effective else self._conf.find_file('policy.json')
        if not forgotten:
            return found
        return Result(
            Code.FAILURE,
            '%s is not read any more: the policy file is %s. Convert it with oslopolicy-convert-json-to-yaml.'
            % (forgotten, self._conf.oslo_policy.policy_file),
        )

    def _show_old_options(self) -> Result:
        return self._old_options

    def _run(self, **arguments: Any) -> Result:
        return run(conf=self._conf, **arguments)

    _upgrade_checks = (
        ('Storage version', _check_storage_version),
        ('Policy File JSON to YAML Migration', _check_policy_file),
        ('Rated data of older releases', (_run, {'check': check_history, 'option': '[database] connection'})),
        ('Schema', (_run, {'check': check_schema, 'option': '[database] connection'})),
        ('Deprecated options', _show_old_options),
        ('Coordination', (_run, {'check': check_coordination, 'option': '[orchestrator] coordination_url'})),
        (
            'Broker',
            (
                _run,
                {
                    'check': check_broker,
                    'option': '[DEFAULT] transport_url',
                    'patience': BROKER_PATIENCE,
                },
            ),
        ),
        ('Collector', (_run, {'check': check_collector, 'option': '[collect] collector'})),
    )
