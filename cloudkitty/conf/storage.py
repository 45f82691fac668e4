# SPDX-License-Identifier: Apache-2.0
"""Options of group [storage]."""

from oslo_config import cfg

GROUP = 'storage'
OPTS = [
    cfg.IntOpt(
        'version',
        default=2,
        min=1,
        max=2,
        help='Version of the storage interface. 2 keeps every amount exactly. 1 is the table rated_data_frames of '
        'older releases: quantities have 5 digits after the point, prices are floating-point numbers, ids of scopes '
        'have at most 32 characters, and there is no v2 API.',
    ),
    cfg.StrOpt(
        'backend',
        default='sqlalchemy',
        help='Name of the storage driver in the namespace cloudkitty.storage.v<version>.backends. sqlalchemy, of '
        'either version, is the SQL database.',
    ),
    cfg.IntOpt(
        'report_point_limit',
        default=1_000_000,
        min=1,
        help='How many points a summary may look at one by one, for custom fields such as MEDIAN and FIRST. One that '
        'would need more is refused; sums, counts and means never look at points.',
    ),
    cfg.IntOpt(
        'history_days',
        min=0,
        max=36500,
        help='Days for which rated_history keeps what corrections (reprocessing, repair, resets) replaced. 0: nothing '
        'is kept. Without a value it is kept for ever.',
    ),
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
