# SPDX-License-Identifier: Apache-2.0
"""The collector for Prometheus."""

from cloudkitty.collector.prometheus import batches

PrometheusCollector = batches.PrometheusCollector
