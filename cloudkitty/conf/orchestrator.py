# SPDX-License-Identifier: Apache-2.0
"""Options of group [orchestrator]."""

import os

from oslo_config import cfg

GROUP = 'orchestrator'
OPTS = [
    cfg.StrOpt(
        'coordination_url',
        default='file:///var/lib/cloudkitty/locks',
        secret=True,
        help='tooz URL of what spreads scopes over workers. The file driver knows the workers of one host only.',
    ),
    cfg.IntOpt(
        'max_workers',
        default=os.cpu_count() or 1,
        sample_default=4,
        min=0,
        help='Number of worker processes that rate. 0: none.',
    ),
    cfg.IntOpt(
        'max_workers_reprocessing',
        default=os.cpu_count() or 1,
        sample_default=4,
        min=0,
        help='Number of worker processes that rate past periods once more. 0: none.',
    ),
    cfg.IntOpt(
        'max_threads',
        default=16,
        min=1,
        deprecated_name='max_greenthreads',
        advanced=True,
        help='How many requests a worker waits for at a time.',
    ),
    cfg.StrOpt(
        'skip_datapoints_expression',
        default='False',
        advanced=True,
        help='Python expression that says which rated points are not stored, for metrics without one of their own. It '
        'knows datapoint, such as in datapoint["rating"]["price"] == 0, and runs where scripts do: see [pyscripts].',
    ),
    cfg.IntOpt(
        'collector_request_timeout',
        default=300,
        min=30,
        advanced=True,
        help='Seconds after which an unfinished collection of a batch is given up.',
    ),
    cfg.IntOpt(
        'hold_max',
        default=6,
        min=0,
        max=1000,
        advanced=True,
        help='How many periods of wall time a scope waits for a source that fails, before it goes on and leaves the '
        'cell to repair.',
    ),
    cfg.IntOpt(
        'repair_window_days',
        default=30,
        min=1,
        max=36500,
        advanced=True,
        help='Days after which a cell that still could not be repaired counts as lost.',
    ),
    cfg.IntOpt(
        'max_granules',
        default=150000,
        min=1000,
        advanced=True,
        help='How many granules of a source a worker holds in memory at a time, over all its requests.',
    ),
    cfg.IntOpt(
        'batch_scopes',
        default=1000,
        min=1,
        advanced=True,
        help='How many scopes a batch holds at most.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
