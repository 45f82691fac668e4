# SPDX-License-Identifier: Apache-2.0
"""Prices: the rating modules and the chain they form. Third-party modules find their base class here."""

from cloudkitty.rating.base import RatingProcessorBase

__all__ = ['RatingProcessorBase']
