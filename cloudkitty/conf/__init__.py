# SPDX-License-Identifier: Apache-2.0
"""Options of the service, a module per group; nothing is registered by importing."""

from cloudkitty.conf import api
from cloudkitty.conf import collect
from cloudkitty.conf import collector_gnocchi
from cloudkitty.conf import collector_prometheus
from cloudkitty.conf import default
from cloudkitty.conf import fetcher
from cloudkitty.conf import fetcher_gnocchi
from cloudkitty.conf import fetcher_keystone
from cloudkitty.conf import fetcher_prometheus
from cloudkitty.conf import fetcher_source
from cloudkitty.conf import orchestrator
from cloudkitty.conf import pyscripts
from cloudkitty.conf import storage
from cloudkitty.conf import storage_influxdb
from cloudkitty.conf import telemetry

GROUPS = (
    default,
    api,
    collect,
    collector_gnocchi,
    collector_prometheus,
    fetcher,
    fetcher_gnocchi,
    fetcher_keystone,
    fetcher_prometheus,
    fetcher_source,
    orchestrator,
    pyscripts,
    storage,
    storage_influxdb,
    telemetry,
)

zone = collect.zone
closed_until = collect.closed_until


def register(conf):
    """Register every option of ours with *conf*."""
    for group in GROUPS:
        group.register(conf)
