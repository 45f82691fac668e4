# SPDX-License-Identifier: Apache-2.0
"""Options of group [storage]."""

from oslo_config import cfg

GROUP = 'storage'
OPTS = [
    cfg.IntOpt('version', default=2, min=1, max=2, help='Version of the storage interface.'),
    cfg.StrOpt('backend', default='sqlalchemy', help='Name of the storage driver.'),
    cfg.IntOpt(
        'retention_period',
        default=2400,
        deprecated_for_removal=True,
        deprecated_reason='It deletes nothing.',
        help='Accepted for old files; nothing is deleted by age.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
