# SPDX-License-Identifier: Apache-2.0
"""Options of group [DEFAULT]."""

from oslo_config import cfg

OPTS = [
    cfg.StrOpt(
        'api_paste_config',
        default='api_paste.ini',
        help='Paste file of the API. A relative name is looked up next to the configuration files.',
    ),
    cfg.StrOpt(
        'auth_strategy',
        default='keystone',
        choices=[
            ('keystone', 'tokens are validated and policy rules are checked'),
            ('noauth', 'everybody may do everything'),
        ],
        help='How requests to the API are authenticated.',
    ),
    cfg.StrOpt(
        'host',
        default='',
        sample_default='<server-hostname.example.com>',
        help='Name of this node; the RPC server listens under it. Empty: the name of the machine.',
    ),
]


def register(conf):
    conf.register_opts(OPTS)
