# SPDX-License-Identifier: Apache-2.0
"""What a fetcher is: it says whom to rate."""

import abc


class BaseFetcher(abc.ABC):
    """Source of scope ids."""

    #: Name under which its scopes are kept in the state table.
    name: str

    @abc.abstractmethod
    def get_tenants(self) -> list[str]:
        """Return the ids of all scopes to rate: sorted, unique, a list of the caller's own.

        Raises SourceError if they cannot be told just now.
        """
