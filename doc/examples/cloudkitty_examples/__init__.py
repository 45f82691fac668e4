# SPDX-License-Identifier: Apache-2.0
"""Plugins for cloudkitty, one of each kind; the contributor guide explains them."""
