# SPDX-License-Identifier: Apache-2.0
"""Options of group [storage_influxdb]: where the history of a cloud of old is read from."""

from oslo_config import cfg

GROUP = 'storage_influxdb'
_V1 = 'Version 1 only. '
_V2 = 'Version 2 only. '
OPTS = [
    cfg.IntOpt(
        'version',
        default=1,
        min=1,
        max=2,
        help='Version of the API of InfluxDB: 1 has databases and InfluxQL, 2 has buckets and Flux. '
        'cloudkitty-storage-import --from influxdb is what reads this section.',
    ),
    cfg.StrOpt('username', help=_V1 + 'Without it nobody is named.'),
    cfg.StrOpt('password', secret=True, help=_V1 + 'Of the user.'),
    cfg.StrOpt('database', help=_V1 + 'Name of the database.'),
    cfg.StrOpt('retention_policy', default='autogen', help=_V1 + 'Retention policy in which the points are.'),
    cfg.StrOpt('host', default='localhost', help=_V1 + 'Host of InfluxDB.'),
    cfg.PortOpt('port', default=8086, help=_V1 + 'Its port.'),
    cfg.BoolOpt('use_ssl', default=False, help=_V1 + 'Speak HTTPS.'),
    cfg.BoolOpt('insecure', default=False, help='Do not check the certificate of the server.'),
    cfg.StrOpt('cafile', help='File of the authorities that may have signed the certificate of the server.'),
    cfg.StrOpt('url', help=_V2 + 'URL of InfluxDB.'),
    cfg.StrOpt('token', secret=True, help=_V2 + 'Token that may read the bucket.'),
    cfg.StrOpt('org', default='openstack', help=_V2 + 'Name of the organisation.'),
    cfg.StrOpt('bucket', default='cloudkitty', help=_V2 + 'Bucket in which the points are.'),
    cfg.FloatOpt('timeout', default=60, min=0, help='Seconds that connecting may take; 0: as long as it takes.'),
    cfg.IntOpt(
        'query_timeout',
        default=3600000,
        min=0,
        help='Milliseconds for which InfluxDB may be silent while it works on a query; 0: as long as it takes.',
    ),
]


def register(conf):
    conf.register_opts(OPTS, GROUP)
