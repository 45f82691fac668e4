# SPDX-License-Identifier: Apache-2.0
"""InfluxDB, of which we only read."""

from typing import Any
import urllib.parse

from cloudkitty import errors
from cloudkitty.clients.influxdb import flux
from cloudkitty.clients.influxdb import influxql
from cloudkitty.clients.influxdb import points
from cloudkitty.clients.influxdb import server as servers

GROUP = 'storage_influxdb'


def from_options(conf: Any) -> points.Reader:
    """Return the reader that [storage_influxdb] describes; raises ConfigurationError."""
    options = conf[GROUP]
    patience = options.timeout or None, options.query_timeout / 1000 or None
    verify = not options.insecure and (options.cafile or True)
    needed = ('database',) if options.version == 1 else ('url', 'token', 'org', 'bucket')
    for name in needed:
        if not options[name]:
            raise errors.ConfigurationError('[%s] %s is needed with version = %d.' % (GROUP, name, options.version))
    if options.version == 1:
        url = '%s://%s:%d' % ('https' if options.use_ssl else 'http', options.host, options.port)
        auth = (options.username, options.password or '') if options.username else None
        return influxql.Reader(servers.Server(url, patience, verify, auth), options.database, options.retention_policy)
    if urllib.parse.urlsplit(options.url).scheme not in ('http', 'https'):
        raise errors.ConfigurationError('[%s] url must begin with http:// or https://.' % GROUP)
    server = servers.Server(options.url, patience, verify, headers={'Authorization': 'Token %s' % options.token})
    return flux.Reader(server, options.org, options.bucket)
