# SPDX-License-Identifier: Apache-2.0
"""Prices by scripts of operators."""

from cloudkitty.rating.pyscripts.module import PyScripts

__all__ = ['PyScripts']
