# SPDX-License-Identifier: Apache-2.0
"""Options of group [metrics]: what Prometheus may read of the service."""

from oslo_config import cfg

GROUP = 'metrics'
OPTS = [
    cfg.BoolOpt(
        'enabled',
        default=False,
        help='Tell Prometheus what the service does: the processor at an address of its own, the API at [metrics] path '
        'of its own address.',
    ),
    cfg.HostAddressOpt(
        'bind_host',
        default='127.0.0.1',
        help='Address at which the processor answers Prometheus. Whoever reaches it can read ids of projects.',
    ),
    cfg.PortOpt('port', default=9898, help='Port at which the processor answers Prometheus.'),
    cfg.StrOpt('path', default='/metrics', regex='^(/[!-.0-~]+)+$', help='Path at which both answer Prometheus.'),
    cfg.IntOpt(
        'max_scopes',
        default=1000,
        min=0,
        help='Up to how many scopes the processor tells the lag of each. With more it only tells the longest, and how '
        'many lag.',
    ),
    cfg.ListOpt(
        'api_clients',
        default=['127.0.0.0/8', '::1/128'],
        help='Networks from which the API answers Prometheus; for all others the path is not there.',
    ),
    cfg.StrOpt(
        'directory',
        help='Directory in which the API processes of a host keep their figures, so that each can tell those of all. '
        'Only their user may write there, and there has to be room: a process that cannot write its figures dies. '
        'Default: cloudkitty-metrics-<uid>, below the directory for temporary files.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
