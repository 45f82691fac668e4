# SPDX-License-Identifier: Apache-2.0
"""The rules of a service as scopes see them: one view for all, one more for each that has rules of its own.

A view is split at the instants at which its rules change. What a scope has of its own is all that its view costs: the
rest is that of everybody.
"""

import bisect
from collections.abc import Callable
from collections.abc import Container
from collections.abc import Sequence
import sys
from typing import Any

from cloudkitty import series
from cloudkitty.rating.hashmap import classes
from cloudkitty.rating.hashmap import formulas
from cloudkitty.rating.hashmap import pricing

#: How many layers a service keeps, over all views.
CACHE = 20000


class Layer:
    """The rules of a view for periods that begin in ``[begin, end)``, epoch seconds.

    :ivar fields: of those that rules look at, in the order of their rows, the name, the classes of values that came
        before, and the function that gives that of any.
    :ivar formulas: of the service.
    """

    __slots__ = ('begin', 'end', 'head', 'fields', 'has_calendar', 'formulas')

    def __init__(
        self, begin: int, end: int, head: classes.Head, tables: Sequence[classes.Table], made: formulas.Formulas
    ) -> None:
        self.begin = begin
        self.end = end
        self.head = head
        self.fields = tuple([(table.name, table.known, table.classify) for table in tables])
        self.has_calendar = any(table.name in series.CALENDAR for table in tables)
        self.formulas = made


class View:
    """The rules of a service for one tenant.

    :ivar latest: the layer that was asked for last.
    """

    __slots__ = ('latest', 'layers', '_service', '_tenant', '_dates')

    def __init__(self, service: 'Service', tenant: str | None) -> None:
        """Set up the view; None as *tenant*: of all that have no rules of their own."""
        self.latest = service.none
        self.layers: dict[tuple[int, int], Layer] = {}
        self._service = service
        self._tenant = tenant
        self._dates = [] if tenant is None else service.dates(tenant)

    def at(self, begin: int) -> Layer:
        """Return the layer for periods that begin at epoch second *begin*."""
        latest = self.latest
        if latest.begin <= begin < latest.end:
            return latest
        common = self._service.common_dates
        key = bisect.bisect_right(common, begin), bisect.bisect_right(self._dates, begin)
        layer = self.layers.get(key)
        if layer is None:
            spans = [_span(dates, window) for dates, window in zip((common, self._dates), key, strict=True)]
            layer = self._service.make_layer(
                self._tenant, max(first for first, _ in spans), min(last for _, last in spans), begin
            )
            self.layers[key] = layer
        self.latest = layer
        return layer


def _span(dates: Sequence[int], window: int) -> tuple[int, int]:
    first = dates[window - 1] if window else -sys.maxsize
    return first, dates[window] if window < len(dates) else sys.maxsize


class Service:
    """The compiled rules of a service.

    :ivar views: by tenant, of those that have rules of their own.
    :ivar common: the view of all others.
    :ivar common_dates: epoch seconds at which the rules of everybody change, ascending.
    :ivar none: a layer for no instant.
    """

    def __init__(self, service: pricing.Service, warn: Callable[[str], None]) -> None:
        """Set up the service.

        :param warn: is called with the name of a field whose value is no number where thresholds want one.
        """
        self._head = classes.Part(None, service.mappings, service.thresholds)
        self._fields = [classes.Part(field.name, field.mappings, field.thresholds) for field in service.fields]
        self._warn = warn
        self._formulas = formulas.Formulas()
        self._pool = classes.Pool()
        self._heads: dict[Any, classes.Head] = {}
        self._tables: dict[Any, classes.Table | None] = {}
        self._layers = 0
        self.none = Layer(
            sys.maxsize, -sys.maxsize, classes.Head((), classes.Ladder(()), self._pool), (), self._formulas
        )
        self.common_dates = self.dates(None)
        self.common = View(self, None)
        tenants = {tenant for part in (self._head, *self._fields) for tenant in part.tenants}
        self.views = {tenant: View(self, tenant) for tenant in tenants}

    def dates(self, tenant: str | None) -> list[int]:
        """Return the epoch seconds at which the rules for *tenant* alone change, ascending."""
        parts = (self._head, *self._fields)
        return sorted({date for part in parts for date in part.dates.get(tenant, ())})

    def view(self, scope_id: str | None) -> View:
        """Return the view of *scope_id*; None: of nobody."""
        return self.common if scope_id is None else self.views.get(scope_id, self.common)

    def make_layer(self, tenant: str | None, first: int, last: int, begin: int) -> Layer:
        """Return a new layer for ``[first, last)``, which has *begin*."""
        if self._layers >= CACHE:
            self._forget()
        self._layers += 1
        tables = [self._table(place, tenant, begin) for place in range(len(self._fields))]
        return Layer(
            first,
            last,
            self._make_head(tenant, begin),
            [table for table in tables if table is not None],
            self._formulas,
        )

    def _forget(self) -> None:
        """Forget what is in layers; those that are in use stay good."""
        self._layers = 0
        for view in (self.common, *self.views.values()):
            view.layers.clear()
            view.latest = self.none
        self._heads.clear()
        self._tables.clear()
        self._formulas.forget()

    def _make_head(self, tenant: str | None, begin: int) -> classes.Head:
        mappings = self._head.finder(tenant, begin)('')
        # Dates are those of mappings only.
        key = (
            frozenset([(mapping.group, mapping.kind.value, mapping.cost) for mapping in mappings]),
            tenant if tenant in self._head.thresholds else None,
        )
        found = self._heads.get(key)
        if found is None:
            found = self._heads[key] = classes.Head(mappings, self._head.ladder(tenant), self._pool)
        return found

    def _table(self, place: int, tenant: str | None, begin: int) -> classes.Table | None:
        """Return the table of field *place*; None: no rule looks at it."""
        part = self._fields[place]
        mine = tenant if part.has_any(tenant) else None
        key = place, mine, part.window(None, begin), None if mine is None else part.window(mine, begin)
        try:
            return self._tables[key]
        except KeyError:
            made = self._tables[key] = self._make_table(place, mine, begin)
            return made

    def _make_table(self, place: int, mine: str | None, begin: int) -> classes.Table | None:
        part = self._fields[place]
        common: classes.Table | None = None
        own: Container[str] = ()
        if mine is None:
            if not part.has_active(None, begin):
                return None
        else:
            common, own = self._table(place, None, begin), part.mappings.get(mine, ())
            if not part.has_active(mine, begin):
                return common
            if mine in part.thresholds:
                common = None
        return classes.Table(
            part.name, part.finder(mine, begin), part.ladder(mine), self._pool, self._warn, common, own
        )
