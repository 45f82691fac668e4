# SPDX-License-Identifier: Apache-2.0
"""What a rating module is, and what ours can do besides: price whole columns."""

import abc
from collections.abc import Mapping
from collections.abc import Sequence
import datetime
from decimal import Decimal
from typing import Any
from typing import Protocol

from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty import series
from cloudkitty.db import engine
from cloudkitty.db import rating_modules
from cloudkitty.rating import jail as jails
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import reasons


class Notifier(Protocol):
    """What sends RPC casts; :class:`cloudkitty.messaging.Notifier` is one."""

    def cast(self, method: str, *, namespace: str = 'rating', version: str = '1.0', fanout: bool = False, **args: Any):  # type: ignore[no-untyped-def]
        """Send *method(args)*; never raises."""


class Pricer(Protocol):
    """Compiled rules of a built-in module; it never changes a price, it adds to it."""

    def price(self, columns: series.Columns) -> tuple[list[Decimal], bool | list[bool]] | None:
        """Return what it adds to each price, not rounded, and whether a rule took part; None: nothing anywhere.

        Called within :func:`cloudkitty.rating.rounding.local`; raises decimal.Overflow for a price too large.
        """

    def price_point(
        self, metric: str, scope_id: str | None, begin: int, quantity: Decimal, desc: Mapping[str, Any]
    ) -> tuple[Decimal, bool]:
        """Return the same for one point that begins at epoch second *begin* and has attributes *desc*."""

    def explain(
        self, metric: str, scope_id: str | None, begin: int, quantity: Decimal, desc: Mapping[str, Any]
    ) -> list[pricing.GroupPrice]:
        """Return what each group adds to the price of a point, and which rules made it so."""

    def find_reasons(
        self, metric: str, scope_id: str | None, begin: int, quantity: Decimal, desc: Mapping[str, Any]
    ) -> list[reasons.Reason]:
        """Return the same with every rule that matched."""


class RatingProcessorBase(abc.ABC):
    """A rating module: it puts prices on the points of a frame.

    A subclass names itself and overrides :meth:`process` and :meth:`reload_config`. Its state is in the database, so
    whoever makes one calls :meth:`bind` before asking for it.

    :cvar module_name: the key of its state; the same as its entry point's name.
    :cvar hot_config: whether its configuration can change without a restart; only shown.
    :cvar config_controller: ``module:Class`` of its REST controller (or the class), None: it has none.
    """

    module_name: str = ''
    description: str = ''
    hot_config: bool = False
    config_controller: Any = None

    _database: engine.Database | None = None
    _notifier: Notifier | None = None
    _zone: datetime.tzinfo = period.UTC
    _tenant_id: str | None = None
    _state: rating_modules.ModuleState | None = None

    def __init__(self, tenant_id: str | None = None) -> None:
        self._tenant_id = tenant_id

    def bind(
        self,
        database: engine.Database,
        notifier: Notifier | None = None,
        zone: datetime.tzinfo = period.UTC,
        state: rating_modules.ModuleState | None = None,
    ) -> None:
        """Say where its state and rules are.

        :param zone: of the naive dates of rules.
        :param state: what the database said a moment ago; None: it is asked whenever the state is wanted.
        """
        self._database = database
        self._notifier = notifier
        self._zone = zone
        self._state = state

    @property
    def module_info(self) -> dict[str, Any]:
        """Name, description, hot_config, enabled and priority."""
        return {
            'name': self.module_name,
            'description': self.description,
            'hot_config': self.hot_config,
            'enabled': self.enabled,
            'priority': self.priority,
        }

    @property
    def enabled(self) -> bool:
        """Whether it takes part in rating; not unless somebody enabled it."""
        return self._get_state().enabled

    @property
    def priority(self) -> int:
        """Modules of a higher one run first; 0 or none reads as 1."""
        return self._get_state().priority or 1

    def _get_state(self) -> rating_modules.ModuleState:
        if self._state is not None:
            return self._state
        return rating_modules.get_state(self._bound(), self.module_name)

    def _bound(self) -> engine.Database:
        if self._database is None:
            raise RuntimeError('Rating module %s was not bound to a database.' % self.module_name)
        return self._database

    def set_state(self, enabled: bool) -> bool:
        """Enable or disable the module, tell the processors, and return what is stored."""
        rating_modules.set_enabled(self._bound(), self.module_name, enabled)
        self._state = None
        self._notify('enable_module' if enabled else 'disable_module')
        return rating_modules.get_state(self._bound(), self.module_name).enabled

    def set_priority(self, priority: int) -> int:
        """Set the priority, tell the processors, and return what is stored."""
        rating_modules.set_priority(self._bound(), self.module_name, priority)
        self._state = None
        self.notify_reload()
        return rating_modules.get_state(self._bound(), self.module_name).priority

    def notify_reload(self) -> None:
        """Tell the processors to read the module's configuration anew."""
        self._notify('reload_module')

    def _notify(self, method: str) -> None:
        if self._notifier is not None:
            self._notifier.cast(method, namespace='rating', fanout=True, name=self.module_name)

    @abc.abstractmethod
    def process(self, data: dataframe.DataFrame) -> dataframe.DataFrame | None:
        """Return *data* with prices added to those that are there."""

    def quote(self, data: dataframe.DataFrame) -> dataframe.DataFrame | None:
        """Return *data*, usage that has not happened, with prices."""
        return self.process(data)

    @abc.abstractmethod
    def reload_config(self, start: datetime.datetime | None = None) -> None:
        """Read the configuration that holds at *start* (None: now)."""

    def nodata(self, begin: datetime.datetime, end: datetime.datetime) -> None:  # noqa: B027
        """Nobody calls it; old modules have it."""


class BuiltIn(RatingProcessorBase):
    """A module of ours: the chain prices columns by its :class:`Pricer` instead of frames by :meth:`process`."""

    #: Its compiled rules; None: it has none and prices nothing.
    pricer: Pricer | None = None

    def write(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the written form of its rules: (kind, content ready for JSON), in an order that is always the same."""
        return []

    def share(self, scope_id: str | None) -> 'BuiltIn':
        """Return a module with the same rules for *scope_id*; without reading anything."""
        twin = type(self)(tenant_id=scope_id)
        twin.__dict__ |= {**self.__dict__, '_tenant_id': scope_id}
        return twin


class FrameModule(RatingProcessorBase):
    """A module of ours that wants all points of a scope and period together, as many such frames at once as there are.

    :ivar jail: where it runs what is not ours; set by the chain.
    """

    jail: jails.Jail | None = None

    @abc.abstractmethod
    def is_active(self, begin: int, end: int) -> bool:
        """Return whether it does anything to periods that begin in ``[begin, end)``, epoch seconds."""

    @abc.abstractmethod
    def rate(self, entries: Sequence[tuple[str | None, dataframe.DataFrame]]) -> list[dataframe.DataFrame | str]:
        """Return what becomes of the frame of each (scope id, frame), or one line on why nothing does."""

    @abc.abstractmethod
    def write(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the written form of what it rates by: (kind, content ready for JSON), always in the same order."""
