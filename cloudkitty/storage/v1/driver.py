# SPDX-License-Identifier: Apache-2.0
"""The driver over ``rated_data_frames``, for those who want the table of old."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
import datetime

from sqlalchemy import orm

from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period as periods
from cloudkitty.db import engine
from cloudkitty.db import pushes
from cloudkitty.db import scopes
from cloudkitty.storage import base
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.storage.sqlalchemy import windows
from cloudkitty.storage.v1 import commit as writing
from cloudkitty.storage.v1 import reports
from cloudkitty.storage.v1 import table


class SQLAlchemyStorage(driver.SQLAlchemyStorage):
    """Rated data in the table of old: a row a point, as exact as its columns.

    The table does not tell pushed points from collected ones: reset and reprocessing take them all. It holds attributes
    in one, which all become the groupby.
    """

    longest_scope_id = table.LONGEST_SCOPE
    tells_origins = False

    def __init__(
        self,
        database: engine.Database,
        period: int = 3600,
        scope_key: str = 'project_id',
        zone: datetime.tzinfo = periods.UTC,
        point_limit: int = 1_000_000,
        keeps_history: bool = True,
    ) -> None:
        super().__init__(database, period, scope_key, zone, point_limit, keeps_history)
        self.reports = reports.Reports(database, scope_key, zone)

    def commit(self, commit: base.Commit) -> base.CommitResult:
        for change in commit.changes:
            _refuse_long(change.state.scope.id)
        return writing.write(self._database, self._memory.ids, commit)

    def push(
        self,
        dataframes: Iterable[dataframe.DataFrame],
        scope_id: str | None = None,
        key: pushes.Key | None = None,
    ) -> None:
        dataframes = list(dataframes)
        columns = self._read_frames(dataframes, scope_id)
        for item in columns:
            _refuse_long(item.series.scope_id)
        _refuse_long(scope_id or '')
        filled = {(frame.start, frame.end) for frame in dataframes if any(True for _ in frame.iterpoints())}
        empty = {(frame.start, frame.end) for frame in dataframes} - filled
        instants = sorted((periods.to_epoch(start), periods.to_epoch(end)) for start, end in empty)
        writing.push(self._database, columns, [(scope_id or '', start, end - start) for start, end in instants], key)

    def erase(self, session: orm.Session, guards: Mapping[str, int], begin: int, end: int, who: str | None) -> None:
        writing.erase(session, guards, begin, end)

    def _erase(self, scope_ids: Collection[str] | None, begin: int, end: int) -> None:
        if scope_ids is None:
            window = windows.Window(begin, end)
            scope_ids = {*scopes.list_ids(self._database), *self.reports.scopes(window)}
        writing.delete(self._database, scope_ids, begin, end)


def _refuse_long(scope_id: str) -> None:
    if len(scope_id) > table.LONGEST_SCOPE:
        raise errors.BadRequest(
            'The scope id %s has more than the %d characters that [storage] version = 1 has room for.'
            % (scope_id, table.LONGEST_SCOPE)
        )
