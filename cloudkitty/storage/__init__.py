# SPDX-License-Identifier: Apache-2.0
"""Storage drivers and how the configured one is found."""

from typing import Any

from cloudkitty import conf as options
from cloudkitty import errors
from cloudkitty import plugins
from cloudkitty.db import engine
from cloudkitty.storage import base

BaseStorage = base.BaseStorage

NAMESPACE = 'cloudkitty.storage.v%d.backends'


def load_class(conf: Any) -> type[base.BaseStorage]:
    """Return the class of the configured driver; raise ConfigurationError for one that is not built."""
    group = conf.storage
    if group.version == 1:
        raise errors.ConfigurationError(
            '[storage] version = 1: this release does not have it yet. Use version = 2 with backend = sqlalchemy.'
        )
    found: type[base.BaseStorage] = plugins.load_class(NAMESPACE % group.version, group.backend)
    return found


def from_options(conf: Any, database: engine.Database) -> base.BaseStorage:
    """Return the configured driver on *database*."""
    driver: Any = load_class(conf)
    arguments: dict[str, Any] = {'period': conf.collect.period, 'scope_key': conf.collect.scope_key}
    if getattr(driver, 'in_database', False):
        arguments.update(database=database, zone=options.zone(conf))
    made: base.BaseStorage = driver(**arguments)
    return made
