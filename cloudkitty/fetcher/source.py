# SPDX-License-Identifier: Apache-2.0
"""Scopes listed in the configuration."""

from collections.abc import Iterable
from typing import Any

from cloudkitty.fetcher import base


class SourceFetcher(base.BaseFetcher):
    """Rates the *sources*, whatever their key means."""

    name = 'source'

    def __init__(self, sources: Iterable[str] = ()) -> None:
        self._sources = sorted({source for source in sources if source})

    @classmethod
    def from_options(cls, conf: Any) -> 'SourceFetcher':
        """Return the fetcher that [fetcher_source] describes."""
        return cls(conf.fetcher_source.sources)

    def get_tenants(self) -> list[str]:
        return list(self._sources)
