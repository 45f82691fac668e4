# SPDX-License-Identifier: Apache-2.0
"""Options of group [fetcher_source]."""

from oslo_config import cfg

GROUP = 'fetcher_source'
OPTS = [
    cfg.ListOpt(
        'sources',
        default=[],
        deprecated_opts=[cfg.DeprecatedOpt('sources', group='source_fetcher')],
        help='Ids of the scopes to rate.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
