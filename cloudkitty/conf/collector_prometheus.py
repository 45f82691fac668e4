# SPDX-License-Identifier: Apache-2.0
"""Options of group [collector_prometheus]."""

from oslo_config import cfg

GROUP = 'collector_prometheus'
OLD_GROUP = 'prometheus_collector'

OPTS = [
    cfg.StrOpt(
        'prometheus_url',
        default='',
        deprecated_opts=[cfg.DeprecatedOpt('prometheus_url', group=OLD_GROUP)],
        help='URL of the API of Prometheus, or of what speaks it: /api/v1 included, as in '
        'http://localhost:9090/api/v1.',
    ),
    cfg.StrOpt('prometheus_user', help='User name, for basic authentication; only used with a password.'),
    cfg.StrOpt('prometheus_password', secret=True, help='Password, for basic authentication; only used with a name.'),
    cfg.StrOpt('cafile', help='File of the certification authorities that certify Prometheus. Wins over insecure.'),
    cfg.BoolOpt('insecure', default=False, help='Do not check the certificate of Prometheus.'),
    cfg.FloatOpt(
        'timeout',
        default=60,
        min=0,
        help='Seconds that a request may take, from its first byte to the last of its answer; 0 is 60.',
    ),
    cfg.IntOpt(
        'max_requests',
        default=4,
        min=1,
        max=64,
        help='How many requests a worker has under way at Prometheus at a time, for live periods and backlog together.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
