# SPDX-License-Identifier: Apache-2.0
"""Options of group [fetcher_gnocchi]."""

from keystoneauth1 import loading
from oslo_config import cfg
from requests import adapters

GROUP = 'fetcher_gnocchi'
OPTS = [
    cfg.StrOpt(
        'scope_attribute', default='project_id', help='Attribute of resources that holds the id of their scope.'
    ),
    cfg.ListOpt('resource_types', default=['generic'], help='Types of the resources to look at.'),
    cfg.StrOpt(
        'gnocchi_auth_type',
        default='keystone',
        choices=['keystone', 'basic'],
        help='How to authenticate to Gnocchi.',
    ),
    cfg.StrOpt('gnocchi_user', default='', help='User name, for basic authentication.'),
    cfg.StrOpt('gnocchi_endpoint', default='', help='URL of Gnocchi, for basic authentication.'),
    cfg.StrOpt(
        'interface',
        default='internalURL',
        help='Endpoint interface of Gnocchi in the catalogue, for Keystone authentication.',
    ),
    cfg.StrOpt(
        'region_name',
        default='RegionOne',
        help='Region of Gnocchi in the catalogue, for Keystone authentication.',
    ),
    cfg.IntOpt('http_pool_maxsize', default=adapters.DEFAULT_POOLSIZE, min=1, help='Connections kept open to Gnocchi.'),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
    loading.register_session_conf_options(conf, GROUP)
    loading.register_auth_conf_options(conf, GROUP)
