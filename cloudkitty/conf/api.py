# SPDX-License-Identifier: Apache-2.0
"""Options of group [api]."""

from oslo_config import cfg

GROUP = 'api'
OPTS = [
    cfg.HostAddressOpt(
        'host_ip',
        default='0.0.0.0',  # nosec B104
        help='Address that cloudkitty-api listens on by itself.',
    ),
    cfg.PortOpt('port', default=8889, help='Port that cloudkitty-api listens on by itself.'),
    cfg.IntOpt(
        'max_body_size',
        default=64 * 2**20,
        min=1024,
        help='How many bytes the body of a request may have, such as dataframes that are pushed; others get 413.',
    ),
    cfg.IntOpt(
        'idempotency_days',
        default=30,
        min=1,
        help='For how many days at least a push of dataframes is known by its Idempotency-Key, so that repeating it '
        'changes nothing. Older keys are deleted by later pushes.',
    ),
    cfg.BoolOpt('pecan_debug', default=False, help='Show tracebacks of the API to its callers. For development only.'),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
