# SPDX-License-Identifier: Apache-2.0
"""Plugins by name: the only place that speaks to stevedore."""

from typing import Any

import stevedore
from stevedore import exception

from cloudkitty import errors

#: Names of the field that come to this service later, or never will; each with what to say about it.
_LATER = 'This release does not have it yet.'
_GONE = 'It was removed long ago; use gnocchi or prometheus and see the upgrade guide.'
_NOT_BUILT = {
    'cloudkitty.collector.backends': {
        'aetos': 'It is not built; use prometheus.',
        'ceilometer': _GONE,
        'meta': _GONE,
        'fake': _GONE,
        'monasca': _GONE,
    },
    'cloudkitty.storage.v1.backends': {'hybrid': 'It is not built; use sqlalchemy.'},
    'cloudkitty.fetchers': {'fake': 'It was removed; use source.'},
}


def load_class(namespace: str, name: str) -> Any:
    """Return what entry point *name* of *namespace* names.

    Raises ConfigurationError that names the alternatives for an unknown name, and the cause for one that cannot be
    imported.
    """
    try:
        return stevedore.DriverManager(namespace, name, warn_on_missing_entrypoint=False).driver
    except exception.NoMatches:
        known = sorted(stevedore.ExtensionManager(namespace, on_load_failure_callback=_ignore).names())
        remark = _NOT_BUILT.get(namespace, {}).get(name, 'There is no such plugin.')
        raise errors.ConfigurationError(
            'Cannot use "%s" of %s. %s Installed: %s.' % (name, namespace, remark, ', '.join(known) or 'none')
        ) from None
    except Exception as error:
        raise errors.ConfigurationError('Plugin "%s" of %s cannot be loaded: %s' % (name, namespace, error)) from error


def load_all(namespace: str) -> dict[str, Any]:
    """Return everything installed under *namespace*, by entry point name, sorted.

    Raises ConfigurationError naming a plugin that cannot be imported: one that is silently missing would change
    what people pay.
    """
    manager: stevedore.ExtensionManager[Any] = stevedore.ExtensionManager(namespace, on_load_failure_callback=_raise)
    return {extension.name: extension.plugin for extension in sorted(manager, key=lambda found: found.name)}


def _ignore(manager: Any, entry_point: Any, error: BaseException) -> None:
    """Leave a broken plugin out of a list that is only shown."""


def _raise(manager: Any, entry_point: Any, error: BaseException) -> None:
    raise errors.ConfigurationError('Plugin "%s" cannot be loaded: %s' % (entry_point.name, error)) from error
