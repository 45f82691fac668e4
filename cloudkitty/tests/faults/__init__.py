# SPDX-License-Identifier: Apache-2.0
"""The fault laboratory: a fleet of processors and clients at work while everything around them fails, and an oracle."""
