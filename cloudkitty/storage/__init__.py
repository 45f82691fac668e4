# SPDX-License-Identifier: Apache-2.0
"""Storage drivers and how the configured one is found."""

from typing import Any

from oslo_log import log

from cloudkitty import conf as options
from cloudkitty import plugins
from cloudkitty.db import engine
from cloudkitty.storage import base

LOG = log.getLogger(__name__)

BaseStorage = base.BaseStorage

NAMESPACE = 'cloudkitty.storage.v%d.backends'


def load_class(conf: Any) -> type[base.BaseStorage]:
    """Return the class of the configured driver; raise ConfigurationError for one that is not built."""
    found: type[base.BaseStorage] = plugins.load_class(NAMESPACE % conf.storage.version, conf.storage.backend)
    return found


def warn(conf: Any) -> None:
    """Say what the configured storage cannot keep."""
    if conf.storage.version == 1:
        LOG.warning(
            '[storage] version = 1: rated_data_frames keeps 5 digits after the point of a quantity, and a price as a '
            'floating-point number, which on MySQL and MariaDB has 6 to 7 digits. Version 2 keeps both exactly.'
        )


def from_options(conf: Any, database: engine.Database) -> base.BaseStorage:
    """Return the configured driver on *database*."""
    driver: Any = load_class(conf)
    arguments: dict[str, Any] = {'period': conf.collect.period, 'scope_key': conf.collect.scope_key}
    if getattr(driver, 'in_database', False):
        arguments.update(
            database=database,
            zone=options.zone(conf),
            point_limit=conf.storage.report_point_limit,
            keeps_history=conf.storage.history_days != 0,
        )
    made: base.BaseStorage = driver(**arguments)
    return made
