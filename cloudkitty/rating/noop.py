# SPDX-License-Identifier: Apache-2.0
"""The module that prices nothing, so that no chain is empty."""

import datetime

from cloudkitty import dataframe
from cloudkitty.rating import base


class Noop(base.BuiltIn):
    """Always enabled, always of priority 1; what is stored about it is ignored."""

    module_name = 'noop'
    description = 'Dummy test module.'

    @property
    def enabled(self) -> bool:
        return True

    @property
    def priority(self) -> int:
        return 1

    def reload_config(self, start: datetime.datetime | None = None) -> None:
        """There is none."""

    def process(self, data: dataframe.DataFrame) -> dataframe.DataFrame:
        """Return *data*."""
        return data
