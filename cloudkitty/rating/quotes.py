# SPDX-License-Identifier: Apache-2.0
"""What usage that has not happened would cost.

Source: rating contract, section 3.5.
"""

from collections.abc import Iterable
from collections.abc import Mapping
import dataclasses
import datetime
from decimal import Decimal
from typing import Any

from cloudkitty import amount
from cloudkitty import dataframe
from cloudkitty import period
from cloudkitty import series
from cloudkitty.rating import chain as chains

#: The unit of all quantities: a quote knows none.
UNIT = 'undef'


@dataclasses.dataclass(frozen=True)
class Resource:
    """Something to be priced.

    :ivar service: metric type.
    :ivar volume: quantity.
    :ivar desc: attributes; see :func:`split`.
    """

    service: str
    volume: Decimal
    desc: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def split(desc: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return groupby and metadata of *desc*: its members of these names, if any is an object, else all as metadata."""
    groupby, metadata = desc.get('groupby'), desc.get('metadata')
    if isinstance(groupby, Mapping) or isinstance(metadata, Mapping):
        return (
            dict(groupby) if isinstance(groupby, Mapping) else {},
            dict(metadata) if isinstance(metadata, Mapping) else {},
        )
    return {}, dict(desc)


def quote(chain: chains.Chain, resources: Iterable[Resource], now: datetime.datetime, length: int) -> Decimal:
    """Return the price of *resources* in a period that begins *now*, by the rules of nobody in particular.

    :param length: of a period, in seconds.
    :raises ModuleFailed: a module or a script did.
    :raises AmountTooLarge: a quantity or the price is too large.
    """
    begin = period.from_epoch(period.to_epoch(now))
    words = series.calendar(begin, chain.zone)
    frame = dataframe.DataFrame(begin, begin + datetime.timedelta(seconds=length))
    for resource in resources:
        groupby, metadata = split(resource.desc)
        quantity = amount.quantise(resource.volume)
        point = dataframe.DataPoint(UNIT, quantity, amount.ZERO, {**groupby, **words}, metadata)
        frame.add_point(point, resource.service)
    return chain.quote(frame)
