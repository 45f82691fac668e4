# SPDX-License-Identifier: Apache-2.0
"""Sessions of keystoneauth, made from an option group."""

from typing import Any

from keystoneauth1 import adapter
from keystoneauth1 import exceptions
from keystoneauth1 import loading
from keystoneauth1 import session as sessions
import requests
from requests import adapters

from cloudkitty import errors

#: Seconds a request may take where the group's ``timeout`` says nothing.
TIMEOUT = 60


def load_auth(conf: Any, group: str) -> Any:
    """Return the auth plugin that *group* (or the section its ``auth_section`` names) describes.

    Raises ConfigurationError naming the group: no ``auth_type``, an unknown one, or an option it misses.
    """
    # Only now is it known whether auth_section sends us to another section, whose options nobody may know yet.
    loading.register_auth_conf_options(conf, group)
    try:
        plugin = loading.load_auth_from_conf_options(conf, group)
    except exceptions.ClientException as error:
        raise errors.ConfigurationError('[%s]: %s' % (group, error)) from error
    if plugin is None:
        raise errors.ConfigurationError(
            '[%s] auth_type is not set: say how to authenticate, for example auth_type = password.' % group
        )
    return plugin


def make_session(conf: Any, group: str, auth: Any, pool_size: int = adapters.DEFAULT_POOLSIZE) -> sessions.Session:
    """Return a session with the TLS options and time-out of *group* and *pool_size* connections kept open."""
    options = conf[group]
    pool = requests.Session()
    for scheme in ('http://', 'https://'):
        pool.mount(scheme, adapters.HTTPAdapter(pool_connections=pool_size, pool_maxsize=pool_size))
    return sessions.Session(
        auth=auth,
        session=pool,
        # cafile wins over insecure, as it always has.
        verify=options.cafile or not options.insecure,
        cert=(options.certfile, options.keyfile) if options.certfile and options.keyfile else options.certfile,
        timeout=options.timeout or TIMEOUT,
    )


def make_adapter(session: sessions.Session, service_type: str, interface: str, region_name: str) -> adapter.Adapter:
    """Return an adapter that finds *service_type* in the catalogue of the session's token."""
    return adapter.Adapter(
        session=session, service_type=service_type, interface=interface, region_name=region_name or None
    )
