# SPDX-License-Identifier: Apache-2.0
"""Find the scopes: whom to rate."""

import logging
from typing import Any

from cloudkitty import errors
from cloudkitty import plugins
from cloudkitty.fetcher import base

LOG = logging.getLogger(__name__)
NAMESPACE = 'cloudkitty.fetchers'

BaseFetcher = base.BaseFetcher


def load(conf: Any) -> base.BaseFetcher:
    """Return the fetcher that [fetcher] backend names.

    A plugin of the field takes no argument and need not derive from :class:`BaseFetcher`; its answers are put in
    order here. Raises ConfigurationError.
    """
    plugin = plugins.load_class(NAMESPACE, conf.fetcher.backend)
    if hasattr(plugin, 'from_options'):
        fetcher: base.BaseFetcher = plugin.from_options(conf)
        return fetcher
    return _Classic(plugin(), conf.fetcher.backend)


class _Classic(base.BaseFetcher):
    """A fetcher of the classic contract: no promise about order, duplicates and errors."""

    def __init__(self, plugin: Any, name: str) -> None:
        self._plugin = plugin
        self.name = getattr(plugin, 'name', None) or name

    def get_tenants(self) -> list[str]:
        try:
            # What is no text is the caller's to leave out, and no reason to have no list at all.
            return sorted(set(self._plugin.get_tenants()), key=str)
        except Exception as error:
            raise errors.TransientSourceError('Fetcher %s: %r' % (self.name, error)) from error
