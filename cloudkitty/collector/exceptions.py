# SPDX-License-Identifier: Apache-2.0
"""Errors that collectors of the classic contract raise."""

from cloudkitty import errors


class CollectError(errors.TransientSourceError):
    """The source did not give what it was asked for."""


class NoDataCollected(errors.CloudKittyError):
    """The source answered, and has nothing for this metric, scope and period."""

    def __init__(self, collector: str | None, resource: str) -> None:
        super().__init__('Collector %s: no data for resource %s' % (collector, resource))
        self.collector = collector
        self.resource = resource
