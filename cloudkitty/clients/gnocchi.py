# SPDX-License-Identifier: Apache-2.0
"""Connections to Gnocchi, with Keystone or basic authentication."""

from typing import Any

from keystoneauth1 import adapter
from keystoneauth1 import http_basic

from cloudkitty import errors
from cloudkitty.clients import keystone

SERVICE_TYPE = 'metric'


def from_options(conf: Any, group: str) -> adapter.Adapter:
    """Return an adapter to the Gnocchi that option group *group* describes.

    Raises ConfigurationError naming the option that is missing.
    """
    options = conf[group]
    if options.gnocchi_auth_type == 'basic':
        for name in ('gnocchi_user', 'gnocchi_endpoint'):
            if not options[name]:
                raise errors.ConfigurationError('[%s] %s is needed with gnocchi_auth_type = basic.' % (group, name))
        auth = basic_auth(options.gnocchi_user, options.gnocchi_endpoint)
    else:
        auth = keystone.load_auth(conf, group)
    session = keystone.make_session(conf, group, auth, options.http_pool_maxsize)
    return keystone.make_adapter(session, SERVICE_TYPE, options.interface, options.region_name)


def basic_auth(user: str, endpoint: str) -> http_basic.HTTPBasicAuth:
    """Return the authentication of a Gnocchi in basic mode: it looks at the user's name only."""
    return http_basic.HTTPBasicAuth(endpoint=endpoint.rstrip('/'), username=user, password='')  # nosec B106
