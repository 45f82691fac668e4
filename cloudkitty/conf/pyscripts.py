# SPDX-License-Identifier: Apache-2.0
"""Options of group [pyscripts]: what scripts of operators, and expressions that skip points, may use up."""

from oslo_config import cfg

GROUP = 'pyscripts'
OPTS = [
    cfg.IntOpt(
        'timeout',
        default=10,
        min=1,
        max=3600,
        help='Seconds that a script may take for one scope and period, or an expression for the points of one '
        'resource. What takes longer is ended, and what it was to rate stays unrated.',
    ),
    cfg.IntOpt(
        'memory_mib',
        default=512,
        min=64,
        help='MiB of address space that a process which runs scripts may use.',
    ),
    cfg.IntOpt(
        'max_processes',
        default=16,
        min=0,
        help='How many processes and threads scripts may start at a time, over those that the user of the service has '
        'when they begin. The kernel does not hold root to it.',
    ),
    cfg.BoolOpt(
        'network',
        default=True,
        help='Whether scripts may use the network. Where it is false and the kernel has no means to keep them from it, '
        'no script is run, and what scripts are for is not rated.',
    ),
    cfg.ListOpt(
        'environment',
        default=[],
        help='Names of environment variables of the service that scripts see besides LANG, LC_ALL and TZ, such as '
        'https_proxy. They see no others.',
    ),
    cfg.IntOpt(
        'max_children',
        default=4,
        min=1,
        advanced=True,
        help='How many processes run scripts at a time for each process of the service.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
