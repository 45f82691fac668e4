# SPDX-License-Identifier: Apache-2.0
"""What others may tell a worker, that rules or modules changed, or ask it: a quote.

It would see changes anyway, at its next batch; and the API works out quotes by itself.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from oslo_log import log

from cloudkitty import amount
from cloudkitty import messaging
from cloudkitty.rating import quotes

LOG = log.getLogger(__name__)


class RatingEndpoint:
    """Namespace ``rating``, version 1.1, which takes what was sent for 1.0 too.

    :param reload: makes the worker look at the rules now.
    :param price: returns the price of resources.
    """

    target = messaging.make_target(namespace='rating', version='1.1')

    def __init__(self, reload: Callable[[], None], price: Callable[[Sequence[quotes.Resource]], Decimal]) -> None:
        self._reload = reload
        self._price = price

    def quote(self, ctxt, res_data):
        """Return the price, as text, of a frame (or frames) as clients of every release send it."""
        return amount.to_text(self._price(read_resources(res_data)))

    def reload_modules(self, ctxt):
        LOG.info('The rating modules are read again.')
        self._reload()

    def reload_module(self, ctxt, name):
        LOG.info('Rating module %s is read again.', name)
        self._reload()

    def enable_module(self, ctxt, name):
        LOG.info('Rating module %s was enabled.', name)
        self._reload()

    def disable_module(self, ctxt, name):
        LOG.info('Rating module %s was disabled.', name)
        self._reload()


def read_resources(data: Any) -> list[quotes.Resource]:
    """Return the resources of a frame, or a list of frames, as :meth:`DataFrame.as_dict` or releases of old have it.

    Raises ValueError for what is none.
    """
    result = []
    try:
        for frame in [data] if isinstance(data, Mapping) else data:
            for metric, points in frame['usage'].items():
                for point in points:
                    desc = point.get('desc')
                    if desc is None or 'groupby' in point:
                        desc = {'groupby': point.get('groupby', {}), 'metadata': point.get('metadata', {})}
                    quantity = amount.from_number(point['vol']['qty'])
                    result.append(quotes.Resource(str(metric), quantity, desc))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError('res_data is no frame: %s.' % error) from error
    return result
