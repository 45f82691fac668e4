# SPDX-License-Identifier: Apache-2.0
"""What others may tell a worker: that rules or modules changed. It would see it anyway, at its next batch."""

from collections.abc import Callable

from oslo_log import log

from cloudkitty import messaging

LOG = log.getLogger(__name__)


class RatingEndpoint:
    """Namespace ``rating``, version 1.1, which takes what was sent for 1.0 too.

    :param reload: makes the worker look at the rules now.
    """

    target = messaging.make_target(namespace='rating', version='1.1')

    def __init__(self, reload: Callable[[], None]) -> None:
        self._reload = reload

    def reload_modules(self, ctxt):
        LOG.info('The rating modules are read again.')
        self._reload()

    def reload_module(self, ctxt, name):
        LOG.info('Rating module %s is read again.', name)
        self._reload()

    def enable_module(self, ctxt, name):
        LOG.info('Rating module %s was enabled.', name)
        self._reload()

    def disable_module(self, ctxt, name):
        LOG.info('Rating module %s was disabled.', name)
        self._reload()
