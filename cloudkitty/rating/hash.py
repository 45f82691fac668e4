# SPDX-License-Identifier: Apache-2.0
"""The path under which the hashmap module is known."""

from cloudkitty.rating.hashmap.module import HashMap

__all__ = ['HashMap']
