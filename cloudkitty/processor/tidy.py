# SPDX-License-Identifier: Apache-2.0
"""Deleting the history of corrections that is older than the operator wants it."""

from collections.abc import Callable
import datetime

from oslo_log import log

from cloudkitty import period
from cloudkitty.storage import base as storage_base

LOG = log.getLogger(__name__)


class Tidy:
    """Called as often as one likes, it looks now and then.

    :param keep: seconds for which the history is kept; None: for ever.
    :param clock: returns the present instant.
    """

    #: Seconds between two looks.
    PAUSE = 3600

    def __init__(
        self, storage: storage_base.BaseStorage, keep: int | None, clock: Callable[[], datetime.datetime]
    ) -> None:
        self._storage = storage
        self._keep = keep
        self._clock = clock
        self._looked_at: int | None = None

    def __call__(self) -> None:
        now = period.to_epoch(self._clock())
        if self._keep is None or (self._looked_at is not None and 0 <= now - self._looked_at < self.PAUSE):
            return
        self._looked_at = now
        count = self._storage.forget_history(period.from_epoch(now - self._keep))
        if count:
            LOG.info('%d entries of the history are older than [storage] history_days and gone.', count)
