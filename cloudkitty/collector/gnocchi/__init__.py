# SPDX-License-Identifier: Apache-2.0
"""The collector for Gnocchi."""

from cloudkitty.collector.gnocchi import batches

GnocchiCollector = batches.GnocchiCollector
