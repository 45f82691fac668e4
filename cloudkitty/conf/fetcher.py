# SPDX-License-Identifier: Apache-2.0
"""Options of group [fetcher]."""

from oslo_config import cfg

GROUP = 'fetcher'
OPTS = [
    cfg.StrOpt(
        'backend',
        default='keystone',
        deprecated_opts=[cfg.DeprecatedOpt('backend', group='tenant_fetcher')],
        help='Name of the fetcher, which says whom to rate.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
