# SPDX-License-Identifier: Apache-2.0
"""Options of group [fetcher_prometheus]."""

from oslo_config import cfg

GROUP = 'fetcher_prometheus'
OPTS = [
    cfg.StrOpt('metric', help='Metric whose series name the scopes, for example openstack_identity_project_info.'),
    cfg.StrOpt('scope_attribute', default='project_id', help='Label that holds the id of the scope.'),
    cfg.DictOpt('filters', default={}, help='Labels and the values they must have, as label:value.'),
    cfg.StrOpt('prometheus_url', help='URL of the API, for example http://localhost:9090/api/v1.'),
    cfg.StrOpt('prometheus_user', help='User name, for basic authentication.'),
    cfg.StrOpt('prometheus_password', secret=True, help='Password, for basic authentication.'),
    cfg.StrOpt('cafile', help='File of the authorities that may have signed the certificate of the server.'),
    cfg.BoolOpt('insecure', default=False, help='Do not check the certificate of the server.'),
    cfg.FloatOpt('timeout', default=60, min=0, help='Seconds a request may take; 0 is the default.'),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
