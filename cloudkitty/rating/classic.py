# SPDX-License-Identifier: Apache-2.0
"""Third-party modules of either era, made to look alike: a frame in, a frame out.

Modules of old get a list of dictionaries, one a metric, and change them in place; later ones get a frame and return
one. :class:`Frame` is both.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import datetime
import inspect
from typing import Any

from cloudkitty import dataframe
from cloudkitty import period

#: How many scopes' instances of a module are kept.
_INSTANCES = 1000


class Frame(dataframe.DataFrame):
    """A dataframe that is also the list of period dictionaries that modules of old expect."""

    _items: list[dict[str, Any]] | None = None
    #: Point by the identity of the dictionary made of it, which is kept alive beside it.
    _before: dict[int, tuple[dict[str, Any], dataframe.DataPoint]]

    @classmethod
    def of(cls, frame: dataframe.DataFrame) -> 'Frame':
        """Return a fresh copy of *frame*."""
        result = cls(frame.start, frame.end)
        for metric in frame.itertypes():
            result.add_points((), metric)
        for metric, point in frame.iterpoints():
            result.add_point(point, metric)
        return result

    @property
    def legacy(self) -> list[dict[str, Any]]:
        """One dictionary a metric, made at the first use; whoever changes them changes the frame."""
        if self._items is None:
            self._before = {}
            usage: dict[str, list[dict[str, Any]]] = {metric: [] for metric in self.itertypes()}
            for metric, point in self.iterpoints():
                item = point.as_dict(mutable=True)
                if not point.price:
                    # There, the first module that rates a point puts the key in.
                    del item['rating']
                item['desc'] = {**item['groupby'], **item['metadata']}
                usage[metric].append(item)
                self._before[id(item)] = (item, point)
            seconds = {'begin': period.to_epoch(self.start), 'end': period.to_epoch(self.end)}
            self._items = [{'period': dict(seconds), 'usage': {metric: items}} for metric, items in usage.items()]
        return self._items

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.legacy)

    def __len__(self) -> int:
        return len(self.legacy)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: Any) -> Any:
        return self.legacy[index]

    def settled(self) -> dataframe.DataFrame:
        """Return the frame with what was changed through the dictionaries.

        Raises ValueError for dictionaries that hold no points any more.
        """
        if self._items is None:
            return self
        result = dataframe.DataFrame(self.start, self.end)
        for item in self._items:
            for metric, entries in item['usage'].items():
                result.add_points([self._to_point(entry) for entry in entries], metric)
        return result

    def _to_point(self, entry: Mapping[str, Any]) -> dataframe.DataPoint:
        point = dataframe.DataPoint.from_dict({key: value for key, value in entry.items() if key != 'desc'})
        # The dictionaries do not carry a description.
        before = self._before.get(id(entry))
        if before is None or before[1].description is None:
            return point
        return dataframe.DataPoint(
            point.unit, point.qty, point.price, point.groupby, point.metadata, before[1].description
        )


class Adapter:
    """A third-party module: one instance a scope, as its constructor expects.

    :param name: of its entry point.
    :param plugin: what the entry point names.
    :param prepare: called with every instance made.
    """

    def __init__(self, name: str, plugin: Any, prepare: Callable[[Any], None]) -> None:
        self.name = name
        self._plugin = plugin
        self._prepare = prepare
        self._instances: dict[str | None, Any] = {}

    def instance(self, scope_id: str | None) -> Any:
        """Return the module for *scope_id* (None: for no scope, as quotes are)."""
        found = self._instances.get(scope_id)
        if found is None:
            if len(self._instances) >= _INSTANCES:
                self._instances.clear()
            found = construct(self._plugin, scope_id)
            self._prepare(found)
            self._instances[scope_id] = found
        return found

    def reload(self, scope_id: str | None, start: datetime.datetime) -> None:
        """Have the module read its configuration as of *start*, in its way."""
        reload_config = getattr(self.instance(scope_id), 'reload_config', None)
        if reload_config is not None:
            reload_config(*((start,) if _takes(reload_config, start) else ()))

    def process(self, scope_id: str | None, frame: dataframe.DataFrame, quote: bool = False) -> dataframe.DataFrame:
        """Return *frame* as the module leaves it, returned or changed in place.

        Raises what the module raises, and TypeError for an answer that is no frame.
        """
        module = self.instance(scope_id)
        function = module.quote if quote and hasattr(module, 'quote') else module.process
        given = Frame.of(frame)
        result = function(given)
        if given._items is not None:
            return given.settled()
        if result is None:
            return given
        if not isinstance(result, dataframe.DataFrame):
            raise TypeError('module %s returned %s instead of a DataFrame' % (self.name, type(result).__name__))
        return result.settled() if isinstance(result, Frame) else result


def construct(plugin: Any, scope_id: str | None) -> Any:
    """Return an instance of *plugin*, which takes ``tenant_id``, one argument or none."""
    try:
        signature = inspect.signature(plugin)
    except (TypeError, ValueError):
        return plugin(tenant_id=scope_id)
    for args, kwargs in (((), {'tenant_id': scope_id}), ((scope_id,), {})):
        try:
            signature.bind(*args, **kwargs)
        except TypeError:
            continue
        return plugin(*args, **kwargs)
    return plugin()


def _takes(function: Any, argument: object) -> bool:
    try:
        inspect.signature(function).bind(argument)
    except TypeError:
        return False
    except ValueError:
        return True
    return True
