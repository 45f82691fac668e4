# SPDX-License-Identifier: Apache-2.0
"""Short words for rules in tests."""

from decimal import Decimal
import itertools

from cloudkitty import period
from cloudkitty import series
from cloudkitty.rating import rounding
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import rulebook

HOUR = 3600
BEGIN = 1_900_000_800


class Rules:
    """Rules of service ``srv``, numbered in the order in which they are given."""

    def __init__(self):
        self.ids = itertools.count(1)
        self.mappings, self.thresholds, self.fields = [], [], {}

    def _parent(self, field):
        return self if field is None else self.fields.setdefault(field, Rules())

    def field(self, name):
        """Make field *name* known, in its place."""
        self._parent(name)
        return self

    def mapping(self, kind, cost, field=None, value=None, group=None, tenant=None, start=0, end=None):
        self._parent(field).mappings.append(
            pricing.Mapping(
                id=next(self.ids),
                kind=pricing.Kind(kind),
                cost=Decimal(cost),
                value=value,
                group=group or pricing.DEFAULT_GROUP,
                tenant=tenant,
                start=start,
                end=end,
            )
        )
        return self

    def flat(self, cost, **where):
        return self.mapping('flat', cost, **where)

    def rate(self, cost, **where):
        return self.mapping('rate', cost, **where)

    def threshold(self, kind, level, cost, field=None, group=None, tenant=None):
        self._parent(field).thresholds.append(
            pricing.Threshold(
                id=next(self.ids),
                level=Decimal(level),
                kind=pricing.Kind(kind),
                cost=Decimal(cost),
                group=group or pricing.DEFAULT_GROUP,
                tenant=tenant,
            )
        )
        return self

    def service(self, name='srv'):
        fields = tuple(
            pricing.Field(field, tuple(rules.mappings), tuple(rules.thresholds)) for field, rules in self.fields.items()
        )
        return pricing.Service(name, tuple(self.mappings), tuple(self.thresholds), fields)


def make_columns(*quantities, scope='other', metric='srv', begin=BEGIN, metadata=None, **groupby):
    """Return columns of hourly points."""
    return series.Columns(
        series.Series(scope, metric, 'unit', groupby, metadata or {}),
        HOUR,
        tuple(begin + HOUR * index for index in range(len(quantities))),
        tuple(Decimal(quantity) for quantity in quantities),
    )


def price(book, columns):
    """Return the prices of *columns*, quantised."""
    with rounding.local():
        added = book.price(columns)
        return None if added is None else list(rounding.quantise_all(added[0]))


def make_book(*services, zone=None):
    return rulebook.RuleBook(services, zone or period.UTC)
