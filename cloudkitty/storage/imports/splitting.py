# SPDX-License-Identifier: Apache-2.0
"""What a description of old says about a point: attributes of its groupby, and metadata."""

from collections.abc import Iterable
from collections.abc import Mapping
import datetime
import json
from typing import Any

from cloudkitty import errors
from cloudkitty import metric as metrics
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import types
from cloudkitty.storage.v1 import rows
from cloudkitty.storage.v1 import table


class Splitter:
    """Turns keys of rows into series.

    :param definitions: today's; what they group by is groupby, everything else is metadata.
    :param zone: of calendar attributes, which are not kept: each point's begin says the same.
    :ivar malformed: descriptions that are no JSON objects; they are kept whole, as the attribute ``desc``.
    """

    def __init__(self, definitions: Iterable[metrics.Metric], zone: datetime.tzinfo) -> None:
        self._zone = zone
        self._groupby: dict[str, set[str]] = {}
        for definition in definitions:
            self._groupby.setdefault(definition.type, set()).update(definition.groupby)
        self._calendars: dict[int, dict[str, str]] = {}
        self.malformed: dict[str, str] = {}

    def split(self, key: str, begin: int) -> series.Series:
        """Return the series of a row with *key* that begins at *begin*.

        :raises BadRequest: a name in it cannot be stored.
        """
        texts = rows.split_key(key)
        for name, text in (('scope', texts.scope_id), ('metric', texts.metric), ('unit', texts.unit)):
            if not types.is_name(text):
                raise errors.BadRequest('its %s %s cannot be stored' % (name, ascii(text[:300])))
        attributes = self._read(texts)
        if has_calendar(attributes):
            calendar = self._calendar(begin)
            attributes = {name: value for name, value in attributes.items() if calendar.get(name) != value}
        groupby = self._groupby.get(texts.metric, set())
        return series.Series(
            scope_id=texts.scope_id,
            metric=texts.metric,
            unit=texts.unit,
            groupby={name: value for name, value in attributes.items() if name in groupby},
            metadata={name: value for name, value in attributes.items() if name not in groupby},
        )

    def depends_on_begin(self, key: str) -> bool:
        """Return whether the series of *key* may be another one at another begin."""
        return has_calendar(self._read(rows.split_key(key)))

    def _read(self, texts: rows.Texts) -> Mapping[str, Any]:
        if texts.metric == table.NO_DATA:
            return {}
        try:
            found = json.loads(texts.desc)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict):
            return found
        if len(self.malformed) < 10:
            self.malformed['%s, %s' % (texts.scope_id, texts.metric)] = texts.desc[:100]
        return {'desc': texts.desc}

    def _calendar(self, begin: int) -> dict[str, str]:
        if begin not in self._calendars:
            if len(self._calendars) > 1000:
                self._calendars.clear()
            self._calendars[begin] = series.calendar(period.from_epoch(begin), self._zone)
        return self._calendars[begin]


def has_calendar(attributes: Mapping[str, Any]) -> bool:
    return any(name in attributes for name in series.CALENDAR)
