# SPDX-License-Identifier: Apache-2.0
"""Prices: the rating modules and the chain they form. Third-party modules find their base classes here."""

from typing import Any

from oslo_utils import importutils

from cloudkitty.rating.base import RatingProcessorBase

__all__ = ['RatingProcessorBase']


def __getattr__(name: str) -> Any:
    """Hand on the base of REST controllers to the modules that want it: nobody else here knows the web."""
    if name == 'RatingRestControllerBase':
        return importutils.import_class('cloudkitty.api.v1.rating.RatingRestControllerBase')
    raise AttributeError('module %s has no attribute %s' % (__name__, name))
