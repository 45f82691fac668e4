# SPDX-License-Identifier: Apache-2.0
"""Options of group [collect]."""

import datetime
import os
from typing import Any
import zoneinfo

from dateutil import tz
from oslo_config import cfg

from cloudkitty import errors
from cloudkitty import period

GROUP = 'collect'
OPTS = [
    cfg.StrOpt('collector', default='gnocchi', help='Name of the collector to use.'),
    cfg.IntOpt(
        'period',
        default=3600,
        min=1,
        max=31622400,
        help='Length of a rated period, in seconds. Change it only after all scopes have been reset.',
    ),
    cfg.IntOpt(
        'wait_periods',
        default=2,
        min=0,
        max=1000,
        help='How many periods to wait before one is rated, counted from its begin.',
    ),
    cfg.IntOpt(
        'settle_periods',
        default=2,
        min=0,
        max=1000,
        help='How many of the periods before it are asked for again with each period that is rated. What the source '
        'gives otherwise by then takes the place of what was stored. 0: no period is asked for again.',
    ),
    cfg.StrOpt(
        'closed_until',
        default='',
        sample_default='2026-11-01T00:00:00+00:00',
        help='Instant before which nothing that is rated is changed by itself, as its bills are written: what late '
        'data or a repair would change waits as an adjustment, to be applied or dropped. Without an offset it is in '
        '[collect] timezone. A scope may be closed further by the API. Empty: nothing is closed.',
    ),
    cfg.StrOpt('metrics_conf', default='/etc/cloudkitty/metrics.yml', help='File with the metric definitions.'),
    cfg.StrOpt('scope_key', default='project_id', help='Attribute whose value names a scope.'),
    cfg.StrOpt(
        'timezone',
        default='',
        sample_default='Europe/Paris',
        help='Zone of the calendar: month starts of new scopes, dates of rules, calendar attributes. '
        'Empty: the zone of the machine. All machines of a deployment must agree on it.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)


def zone(conf: Any) -> datetime.tzinfo:
    """Return the deployment's time zone as a tzinfo.

    Raises ConfigurationError for a name that the zone database does not hold.
    """
    name = conf.collect.timezone or _machine_zone_name()
    if not name:
        return tz.tzlocal()
    try:
        return datetime.timezone.utc if name == 'UTC' else zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
        raise errors.ConfigurationError('[collect] timezone: there is no zone %s.' % name) from error


def closed_until(conf: Any) -> int | None:
    """Return the epoch second before which every scope is closed; None if none is.

    Raises ConfigurationError for what is no instant.
    """
    text = conf.collect.closed_until
    if not text:
        return None
    try:
        instant = datetime.datetime.fromisoformat(text.strip())
        return period.to_epoch(instant if instant.tzinfo else instant.replace(tzinfo=zone(conf)))
    except (ValueError, OverflowError) as error:
        raise errors.ConfigurationError(
            '[collect] closed_until: %s is no instant; expected one like 2026-11-01T00:00:00+00:00.' % text
        ) from error


def _machine_zone_name():
    """Return the name of the machine's zone, or '' when only its offset is known."""
    name = os.environ.get('TZ', '').lstrip(':')
    if not name:
        _, found, name = os.path.realpath('/etc/localtime').partition('zoneinfo/')
        name = name if found else ''
    name = name.removeprefix('posix/').removeprefix('right/')
    if name in ('Etc/UTC', 'UTC', 'Etc/Universal', 'Universal', 'Zulu', 'Etc/UCT', 'UCT'):
        return 'UTC'
    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return ''
    return name
