# SPDX-License-Identifier: Apache-2.0
"""The driver: what the processor, the API and plugins call."""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import datetime
from typing import Any

from sqlalchemy import orm

from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period as periods
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.db import migration
from cloudkitty.db import pushes
from cloudkitty.db import scopes
from cloudkitty.db import types
from cloudkitty.storage import base
from cloudkitty.storage import fields
from cloudkitty.storage.sqlalchemy import commit as writing
from cloudkitty.storage.sqlalchemy import counts
from cloudkitty.storage.sqlalchemy import history
from cloudkitty.storage.sqlalchemy import reading
from cloudkitty.storage.sqlalchemy import reports
from cloudkitty.storage.sqlalchemy import windows


class SQLAlchemyStorage(base.BaseStorage):
    """Rated data in the SQL database.

    :param period: length of a period, in seconds.
    :param scope_key: attribute that holds the scope's id.
    :param zone: of calendar attributes and default windows.
    :param point_limit: how many points a report may look at one by one.
    :param keeps_history: what a correction replaces goes to the history.
    """

    in_database = True

    tells_origins = True

    def __init__(
        self,
        database: engine.Database,
        period: int = 3600,
        scope_key: str = 'project_id',
        zone: datetime.tzinfo = periods.UTC,
        point_limit: int = 1_000_000,
        keeps_history: bool = True,
    ) -> None:
        self._database = database
        self._keeps_history = keeps_history
        self._point_limit = point_limit
        self._period = period
        self._scope_key = scope_key
        self._zone = zone
        self._memory = writing.Memory()
        self.reports = reports.Reports(database, scope_key, zone)

    def init(self) -> None:
        migration.init_storage(self._database)

    def commit(self, commit: base.Commit) -> base.CommitResult:
        return writing.write(self._database, self._memory, commit, self._keeps_history)

    def quantities(
        self,
        scope_ids: Collection[str],
        metric_types: Collection[str] | None,
        begin: int,
        end: int,
        priced: bool = False,
    ) -> list[series.Columns]:
        window = windows.Window(begin, end)
        return self.reports.quantities(windows.Selection(window, scope_ids, metric_types), priced)

    def points_at(self, scope_id: str, metric_type: str, begin: int, filters: base.Filters) -> list[series.Columns]:
        attributes = tuple(sorted((name, frozenset(_texts(value))) for name, value in filters.items()))
        window = windows.Window(begin, begin + 1)
        return self.reports.points(windows.Selection(window, _names(scope_id), _names(metric_type), attributes))

    def push(
        self,
        dataframes: Iterable[dataframe.DataFrame],
        scope_id: str | None = None,
        key: pushes.Key | None = None,
    ) -> None:
        writing.push(self._database, self._read_frames(dataframes, scope_id), key)

    def _read_frames(self, dataframes: Iterable[dataframe.DataFrame], scope_id: str | None) -> list[series.Columns]:
        """Return the points of *dataframes*; raise BadRequest for what cannot be stored."""
        reader = reading.Reader(self._scope_key, self._zone, scope_id)
        for frame in dataframes:
            reader.add(frame)
        return reader.finish()

    def retrieve(
        self,
        begin: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        filters: base.Filters | None = None,
        metric_types: str | Sequence[str] | None = None,
        offset: int = 0,
        limit: int | None = 1000,
        paginate: bool = True,
        whole: bool = False,
    ) -> dict[str, Any]:
        selection = self._select(begin, end, filters, metric_types, whole)
        if not paginate:
            frames = self.reports.frames(selection)
            return {'total': sum(1 for frame in frames for _ in frame.iterpoints()), 'dataframes': frames}
        total, frames = self.reports.page(selection, offset, limit)
        return {'total': total, 'dataframes': frames}

    def delete(
        self,
        begin: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        filters: base.Filters | None = None,
    ) -> None:
        filters = dict(filters or {})
        wanted = filters.pop(self._scope_key, None)
        if filters:
            raise errors.BadRequest('Data is deleted by %s only, not by %s.' % (self._scope_key, sorted(filters)[0]))
        self._erase(None if wanted is None else _names(wanted), *self._open_window(begin, end))

    def erase(self, session: orm.Session, guards: Mapping[str, int], begin: int, end: int, who: str | None) -> None:
        writing.erase(session, guards, begin, end, who, self._keeps_history)

    def forget_history(self, before: datetime.datetime) -> int:
        return history.forget(self._database, before)

    def _erase(self, scope_ids: Collection[str] | None, begin: int, end: int) -> None:
        chosen = scopes.list_ids(self._database) if scope_ids is None else scope_ids
        writing.delete(self._database, chosen, begin, end, self._keeps_history)

    def _open_window(self, begin: datetime.datetime | None, end: datetime.datetime | None) -> tuple[int, int]:
        """Return epoch seconds for a window that may be open on either side."""
        return (
            0 if begin is None else periods.to_epoch(begin),
            base.END_OF_TIME if end is None else periods.to_epoch(end),
        )

    def total(
        self,
        groupby: str | Sequence[str] | None = None,
        begin: datetime.datetime | None = None,
        end: datetime.datetime | None = None,
        metric_types: str | Sequence[str] | None = None,
        filters: base.Filters | None = None,
        custom_fields: str | None = None,
        offset: int = 0,
        limit: int | None = 1000,
        paginate: bool = True,
        whole: bool = False,
    ) -> dict[str, Any]:
        begin, end = self._window(begin, end)
        words = [groupby] if isinstance(groupby, str) else list(groupby or [])
        by_period = base.BY_PERIOD in words
        words = [word for word in self.parse_groupby_syntax_to_groupby_elements(words) if word != base.BY_PERIOD]
        columns = fields.parse(custom_fields)
        found = self.reports.aggregate(
            self._select(begin, end, filters, metric_types, whole), words, columns, by_period, self._point_limit
        )
        total = len(found)
        if paginate:
            found = found[offset : None if limit is None else offset + limit]
        names = ('begin', 'end', *(column.alias for column in columns), *words)
        window = begin, end
        results = [
            dict(
                zip(
                    names,
                    (*(map(periods.from_epoch, when) if when else window), *amounts, *values),
                    strict=True,
                )
            )
            for values, amounts, when in found
        ]
        return {'total': total, 'results': results}

    def count(self, session: orm.Session, spans: Sequence[base.Span]) -> list[base.Counts | None]:
        return list(counts.read(session, spans))

    def get_tenants(
        self, begin: datetime.datetime | None = None, end: datetime.datetime | None = None, whole: bool = False
    ) -> list[str]:
        begin, end = self._window(begin, end)
        return self.reports.scopes(windows.Window(periods.to_epoch(begin), periods.to_epoch(end), whole))

    def _window(
        self, begin: datetime.datetime | None, end: datetime.datetime | None
    ) -> tuple[datetime.datetime, datetime.datetime]:
        """Return the window asked for; what is missing is that of the current month."""
        if begin is None or end is None:
            return periods.window(begin, end, datetime.datetime.now(periods.UTC), self._zone)
        return begin, end

    def _select(
        self,
        begin: datetime.datetime | None,
        end: datetime.datetime | None,
        filters: Mapping[str, Any] | None,
        metric_types: str | Sequence[str] | None,
        whole: bool,
    ) -> windows.Selection:
        begin, end = self._window(begin, end)
        filters = dict(filters or {})
        owners = filters.pop(self._scope_key, None)
        metric_types = filters.pop('type', None) if metric_types is None else metric_types
        return windows.Selection(
            window=windows.Window(periods.to_epoch(begin), periods.to_epoch(end), whole),
            scope_ids=None if owners is None else _names(owners),
            metrics=None if metric_types is None else _names(metric_types),
            attributes=tuple(sorted((name, frozenset(_texts(value))) for name, value in filters.items())),
        )


def _texts(value: Any) -> list[str]:
    """Return a value, or each of a list of values, as text."""
    return [str(item) for item in value] if isinstance(value, list | tuple | set | frozenset) else [str(value)]


def _names(value: Any) -> list[str]:
    """Return those of :func:`_texts` that can be in the database."""
    return [text for text in _texts(value) if types.is_name(text)]
