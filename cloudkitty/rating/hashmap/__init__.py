# SPDX-License-Identifier: Apache-2.0
"""Prices by the values of a point's attributes."""
