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
    cfg.IntOpt(
        'empty_list_hold',
        default=86400,
        min=0,
        help='Seconds for which a list of scopes that has become empty is not believed: those of the last list are '
        'rated on, with a warning each time. Afterwards they count as gone since the list became empty. 0: an empty '
        'list is believed at once.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
