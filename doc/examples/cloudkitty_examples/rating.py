# SPDX-License-Identifier: Apache-2.0
"""A minimum price for everything that costs anything."""

from decimal import Decimal

from cloudkitty import dataframe
from cloudkitty import rating

LEAST = Decimal('0.05')


class Minimum(rating.RatingProcessorBase):
    module_name = 'minimum'
    description = 'What costs anything costs 0.05 at least.'

    def reload_config(self, start=None):
        """It has no configuration of its own."""

    def process(self, data):
        result = dataframe.DataFrame(data.start, data.end)
        for metric, point in data.iterpoints():
            if 0 < point.price < LEAST:
                point = point.set_price(LEAST)
            result.add_point(point, metric)
        return result
