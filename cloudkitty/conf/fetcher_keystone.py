# SPDX-License-Identifier: Apache-2.0
"""Options of group [fetcher_keystone]."""

from keystoneauth1 import loading
from oslo_config import cfg

GROUP = 'fetcher_keystone'
OLD_GROUP = 'keystone_fetcher'
OPTS = [
    cfg.StrOpt(
        'keystone_version',
        default='3',
        choices=['2', '3'],
        deprecated_opts=[cfg.DeprecatedOpt('keystone_version', group=OLD_GROUP)],
        help='Version of the Keystone API. Version 2 is gone: 3 is used in its place, with a warning.',
    ),
    cfg.BoolOpt(
        'ignore_rating_role',
        default=False,
        help='Rate all projects the service user may list, whether or not it has the role rating there.',
    ),
    cfg.BoolOpt('ignore_disabled_tenants', default=False, help='Do not rate disabled projects.'),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
    loading.register_session_conf_options(conf, GROUP)
    loading.register_auth_conf_options(conf, GROUP)
