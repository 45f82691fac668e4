# SPDX-License-Identifier: Apache-2.0
"""What oslo-config-generator asks for: all options, and the defaults we set for libraries."""

import copy

from keystoneauth1 import loading
from oslo_middleware import cors

from cloudkitty import conf

#: Groups that also take keystoneauth's session and authentication options.
_KEYSTONEAUTH = ('collector_gnocchi', 'fetcher_gnocchi', 'fetcher_keystone')


def list_opts():
    """Return [(group name, [option, ...]), ...] of every option of ours."""
    result = []
    for module in conf.GROUPS:
        group = getattr(module, 'GROUP', None)
        options = copy.deepcopy(module.OPTS)
        if group in _KEYSTONEAUTH:
            options += loading.get_auth_common_conf_options()
            options += loading.get_session_conf_options()
            options += loading.get_auth_plugin_conf_options('password')
        result.append((group, options))
    return result


def set_defaults():
    """Set the defaults that differ from those of the libraries."""
    cors.set_defaults(
        allow_headers=[
            'X-Auth-Token',
            'X-Subject-Token',
            'X-Roles',
            'X-User-Id',
            'X-Domain-Id',
            'X-Project-Id',
            'X-Tenant-Id',
            'X-OpenStack-Request-ID',
        ],
        expose_headers=['X-Auth-Token', 'X-Subject-Token', 'X-Service-Token', 'X-OpenStack-Request-ID'],
        allow_methods=['GET', 'PUT', 'POST', 'DELETE', 'PATCH'],
    )
