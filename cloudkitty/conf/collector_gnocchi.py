# SPDX-License-Identifier: Apache-2.0
"""Options of group [collector_gnocchi]."""

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = 'collector_gnocchi'
OLD_GROUP = 'gnocchi_collector'


def _old(name):
    return [cfg.DeprecatedOpt(name, group=OLD_GROUP)]


OPTS = [
    cfg.StrOpt(
        'gnocchi_auth_type',
        default='keystone',
        choices=['keystone', 'basic'],
        deprecated_opts=_old('gnocchi_auth_type'),
        help='How to authenticate to Gnocchi.',
    ),
    cfg.StrOpt(
        'gnocchi_user',
        default='',
        deprecated_opts=_old('gnocchi_user'),
        help='User name, for basic authentication.',
    ),
    cfg.StrOpt(
        'gnocchi_endpoint',
        default='',
        deprecated_opts=_old('gnocchi_endpoint'),
        help='URL of Gnocchi, for basic authentication.',
    ),
    cfg.StrOpt(
        'interface',
        default='internalURL',
        deprecated_opts=_old('interface'),
        help='Endpoint interface of Gnocchi in the catalogue, for Keystone authentication.',
    ),
    cfg.StrOpt(
        'region_name',
        default='RegionOne',
        deprecated_opts=_old('region_name'),
        help='Region of Gnocchi in the catalogue, for Keystone authentication.',
    ),
    cfg.IntOpt('http_pool_maxsize', default=10, min=1, help='Connections kept open to Gnocchi by one worker.'),
    cfg.IntOpt(
        'max_requests',
        default=4,
        min=1,
        max=64,
        help='How many requests a worker has under way at Gnocchi at a time, for live periods and backlog together. '
        'All workers have that many each: keep the sum below what the API of Gnocchi serves at a time. What takes long '
        'is asked for by as many requests at once.',
    ),
    cfg.IntOpt(
        'max_resources',
        default=50000,
        min=0,
        advanced=True,
        help='How many resources of Gnocchi, and series of points of them, a worker remembers, so that it has only to '
        'ask what changed since the last batch. A resource counts once for itself and once for each metric that it has '
        'of its type in metrics.yml; each takes about 1.5 KiB. 0 remembers none: all resources are listed for every '
        'batch.',
    ),
    cfg.IntOpt(
        'deep_backlog',
        default=12,
        min=1,
        advanced=True,
        help='What Gnocchi has not aggregated yet is missing in its answers. While it has anything to aggregate, the '
        'newest periods are provisional until they are asked for again for the last time ([collect] settle_periods). '
        'If more than so many measures wait for each metric that has any waiting, periods of the last day are '
        'provisional until that is worked off.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
    loading.register_session_conf_options(conf, GROUP)
    loading.register_auth_conf_options(conf, GROUP)
