# SPDX-License-Identifier: Apache-2.0
"""Datapoints and dataframes: the form plugins and the API see."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from cloudkitty import amount
from cloudkitty import period


class DataPoint:
    """One thing in one period: immutable; equal when all six members are equal.

    :ivar unit: text; an empty one becomes ``undefined``.
    :ivar qty, price: Decimal, made from text, int, float (by its shortest text) or Decimal.
    :ivar groupby, metadata: immutable mappings.
    """

    __slots__ = ('unit', 'qty', 'price', 'groupby', 'metadata', 'description')

    unit: str
    qty: Decimal
    price: Decimal
    groupby: Mapping[str, Any]
    metadata: Mapping[str, Any]
    description: str | None

    def __init__(
        self,
        unit: str | None,
        qty: object,
        price: object,
        groupby: Mapping[str, Any] | Iterable[tuple[str, Any]],
        metadata: Mapping[str, Any] | Iterable[tuple[str, Any]],
        description: str | None = None,
    ) -> None:
        self._set('unit', unit or 'undefined')
        self._set('qty', amount.from_number(qty))
        self._set('price', amount.from_number(price))
        self._set('groupby', MappingProxyType(dict(groupby)))
        self._set('metadata', MappingProxyType(dict(metadata)))
        self._set('description', description)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError('A DataPoint cannot be changed; use set_price().')

    __delattr__ = None  # type: ignore[assignment]

    def _key(self) -> tuple[Any, ...]:
        return (self.unit, self.qty, self.price, dict(self.groupby), dict(self.metadata), self.description)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataPoint) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((self.unit, self.qty, self.price, frozenset(self.groupby), frozenset(self.metadata)))

    def __repr__(self) -> str:
        return 'DataPoint(unit=%r, qty=%r, price=%r, groupby=%r, metadata=%r, description=%r)' % self._key()

    def set_price(self, price: object) -> 'DataPoint':
        """Return the same point with another *price*."""
        # Much faster than to check and copy again what cannot have changed.
        twin = object.__new__(DataPoint)
        for name in ('unit', 'qty', 'groupby', 'metadata', 'description'):
            twin._set(name, getattr(self, name))
        twin._set('price', amount.from_number(price))
        return twin

    @property
    def desc(self) -> dict[str, Any]:
        """Metadata and groupby in one dictionary; groupby wins."""
        return {**self.metadata, **self.groupby}

    def as_dict(self, legacy: bool = False, mutable: bool = False) -> Any:
        """Return the v2 dictionary of the point, or the v1 one (*legacy*), Decimals kept."""
        result: dict[str, Any] = {
            'vol': {'unit': self.unit, 'qty': self.qty},
            'rating': {'price': self.price},
        }
        if legacy:
            result['desc'] = self.desc
        else:
            result['groupby'] = dict(self.groupby)
            result['metadata'] = dict(self.metadata)
        return result if mutable else MappingProxyType(result)

    def json(self, legacy: bool = False) -> dict[str, Any]:
        """Return :meth:`as_dict` with amounts as JSON numbers."""
        result: dict[str, Any] = _floats(self.as_dict(legacy, mutable=True))
        return result

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], legacy: bool = False) -> 'DataPoint':
        """Return the point of a dictionary as :meth:`as_dict` gives it.

        A legacy ``desc`` becomes the groupby. Raises ValueError naming the input and what is wrong with it.
        """
        try:
            attributes = {'desc'} if legacy else {'groupby', 'metadata'}
            unknown = set(value) - attributes - {'vol', 'rating'}
            if unknown:
                raise ValueError('unknown key %s' % sorted(unknown)[0])
            if set(value['vol']) != {'unit', 'qty'}:
                raise ValueError('vol must hold unit and qty')
            if not isinstance(value['vol']['unit'], str):
                raise ValueError('vol.unit must be text')
            rating = value.get('rating', {})
            if set(rating) - {'price'}:
                raise ValueError('rating may only hold price')
            return cls(
                value['vol']['unit'],
                amount.from_number(str(value['vol']['qty'])),
                amount.from_number(str(rating.get('price', 0))),
                dict(value['desc'] if legacy else value['groupby']),
                {} if legacy else dict(value['metadata']),
            )
        except KeyError as error:
            raise ValueError('%r is not a datapoint: %s is missing.' % (value, error)) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError('%r is not a datapoint: %s.' % (value, error)) from error


class DataFrame:
    """All datapoints of one scope in ``[start, end)``, by metric type."""

    def __init__(
        self,
        start: datetime.datetime,
        end: datetime.datetime,
        usage: Mapping[str, Iterable[DataPoint]] | None = None,
    ) -> None:
        for name, value in (('start', start), ('end', end)):
            if not isinstance(value, datetime.datetime):
                raise TypeError('"%s" must be a datetime, not %s.' % (name, type(value).__name__))
        if usage is not None and not isinstance(usage, Mapping):
            raise TypeError('"usage" must be a mapping, not %s.' % type(usage).__name__)
        self.start = start
        self.end = end
        self._usage: dict[str, list[DataPoint]] = {}
        for metric in sorted(usage or {}):
            self.add_points((usage or {})[metric], metric)

    def __repr__(self) -> str:
        return 'DataFrame(metrics=[%s])' % ','.join(self._usage)

    def add_point(self, point: DataPoint, type_: str) -> None:
        """Append *point* to the metric type *type_*."""
        self.add_points((point,), type_)

    def add_points(self, points: Iterable[DataPoint], type_: str) -> None:
        """Append *points* to the metric type *type_*; an empty list makes the type known."""
        self._usage.setdefault(type_, []).extend(points)

    def iterpoints(self) -> Iterator[tuple[str, DataPoint]]:
        """Yield (metric type, point), type by type."""
        for metric, points in self._usage.items():
            for point in points:
                yield metric, point

    def itertypes(self) -> Iterator[str]:
        """Yield the metric types."""
        return iter(self._usage)

    def as_dict(self, legacy: bool = False, mutable: bool = False) -> Any:
        """Return the dictionary of the frame, instants and Decimals kept."""
        result: dict[str, Any] = {
            'period': {'begin': self.start, 'end': self.end},
            'usage': {
                metric: [point.as_dict(legacy, mutable) for point in points] for metric, points in self._usage.items()
            },
        }
        return result if mutable else MappingProxyType(result)

    def json(self, legacy: bool = False) -> dict[str, Any]:
        """Return :meth:`as_dict` with amounts as JSON numbers and instants as ISO 8601 text."""
        result = self.as_dict(legacy, mutable=True)
        return {
            'period': {name: instant.isoformat() for name, instant in result['period'].items()},
            'usage': {metric: [_floats(point) for point in points] for metric, points in result['usage'].items()},
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any], legacy: bool = False) -> 'DataFrame':
        """Return the frame of a dictionary; its instants may be text, which without an offset means UTC.

        Raises ValueError naming the input and what is wrong with it.
        """
        try:
            if set(value) != {'period', 'usage'}:
                raise ValueError('it must hold period and usage and nothing else')
            begin, end = (_instant(value['period'][name]) for name in ('begin', 'end'))
            return cls(
                begin,
                end,
                {
                    metric: [DataPoint.from_dict(point, legacy) for point in points]
                    for metric, points in value['usage'].items()
                },
            )
        except KeyError as error:
            raise ValueError('%r is not a dataframe: %s is missing.' % (value, error)) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError('%r is not a dataframe: %s' % (value, error)) from error


def _instant(value: object) -> datetime.datetime:
    if isinstance(value, datetime.datetime):
        return value if value.tzinfo else value.replace(tzinfo=period.UTC)
    if isinstance(value, str):
        return period.parse(value)
    raise ValueError('%r is not an instant' % (value,))


def _floats(value: Any) -> Any:
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _floats(item) for key, item in value.items()}
    return value


__all__ = ['DataFrame', 'DataPoint']
