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
        'max_document_size',
        default=4 * 2**20,
        min=1024,
        help='How many bytes the body of any request but a push of dataframes may have, within max_body_size; others '
        'get 413.',
    ),
    cfg.IntOpt(
        'max_url_size',
        default=64 * 2**10,
        min=1024,
        help='How many characters path and query of a request may have together; others get 414. Servers in front have '
        'limits of their own, often 8190.',
    ),
    cfg.IntOpt(
        'max_page_size',
        default=100_000,
        min=100,
        help='The largest limit that lists of the v2 API take; others get 400.',
    ),
    cfg.IntOpt(
        'max_filter_values',
        default=1000,
        min=1,
        help='How many values a parameter of a query may have, repeated or split at commas; others get 400.',
    ),
    cfg.IntOpt(
        'max_filter_length',
        default=4096,
        min=64,
        help='How many characters a value of a query may have; others get 400.',
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
