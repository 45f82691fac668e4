# SPDX-License-Identifier: Apache-2.0
"""Which options of the configuration files have another name by now, or none."""

from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import logging
from typing import Any

from keystoneauth1 import exceptions
from keystoneauth1 import loading
from keystonemiddleware import opts as middleware_opts
from oslo_config import cfg
from oslo_db import options as db_options
from oslo_log import log
from oslo_middleware import opts as oslo_middleware_opts
from oslo_policy import opts as policy_opts
from oslo_service import opts as service_opts

from cloudkitty import conf as options
from cloudkitty import messaging
from cloudkitty.conf import collector_gnocchi
from cloudkitty.conf import fetcher_gnocchi
from cloudkitty.conf import fetcher_keystone
from cloudkitty.conf import legacy

#: Sections that nothing reads under this name: what to do about it.
_SECTIONS = {
    'auth': 'credentials belong into [fetcher_keystone] and [collector_gnocchi]',
    'ceilometer_collector': 'use [collector_gnocchi]',
    'collector_aetos': 'there is no such collector; use [collector_prometheus]',
    'collector_monasca': 'there is no such collector any more; use [collector_gnocchi]',
    'fake_collector': 'there is no such collector any more',
    'fake_fetcher': 'there is no such fetcher any more; use [fetcher_source]',
    'fetcher_monasca': 'there is no such fetcher any more; use [fetcher_keystone]',
    'hybrid_storage': 'this storage is gone; use [storage] backend = sqlalchemy',
    'monasca_collector': 'there is no such collector any more; use [collector_gnocchi]',
    'output': 'the report writer is gone; the API gives reports, as CSV too',
    'state': 'nothing needs it any more; remove it',
    'storage_elasticsearch': 'there is no such storage; use [storage] backend = sqlalchemy',
    'storage_gnocchi': 'this storage is gone; use [storage] backend = sqlalchemy',
    'storage_hybrid': 'this storage is gone; use [storage] backend = sqlalchemy',
    'storage_influxdb': 'there is no such storage; use [storage] backend = sqlalchemy. The section is read by '
    'cloudkitty-storage-import --from influxdb',
    'storage_loki': 'there is no such storage; use [storage] backend = sqlalchemy',
    'storage_opensearch': 'there is no such storage; use [storage] backend = sqlalchemy',
}
#: The same for options of sections that are read.
_OPTIONS = {
    ('DEFAULT', 'verbose'): 'nothing reads it; [DEFAULT] debug says more',
    ('collect', 'services'): 'nothing reads it; the metrics file says what is collected',
    ('collect', 'window'): 'nothing reads it; see [collect] period',
    ('ks_auth', 'auth_protocol'): 'nothing reads it; see auth_url',
    ('ks_auth', 'debug'): 'nothing reads it; see [DEFAULT] debug',
    ('ks_auth', 'identity_uri'): 'nothing reads it; see auth_url',
} | {
    (section, 'rabbit_%s' % name): 'use [DEFAULT] transport_url'
    for section in ('DEFAULT', 'oslo_messaging_rabbit')
    for name in ('hosts', 'host', 'port', 'userid', 'password', 'virtual_host')
}


def list_uses(conf: Any) -> list[str]:
    """Return a line an option or section of old that the files of *conf* set, without a stop at its end.

    Ask before anybody reads *conf*: a library tells of an old name once in a process.
    """
    sections = legacy.read_files(conf)
    result = []
    for section, values in sections.items():
        if section in legacy.SECTIONS:
            result += [
                '[%s] %s: use [%s] %s' % (section, name, legacy.SECTIONS[section], _name_now(name, values))
                for name in values
            ]
        elif section in _SECTIONS:
            result.append('[%s] %s: %s' % (section, ', '.join(values), _SECTIONS[section]))
        result += [
            '[%s] %s: %s' % (section, name, _OPTIONS[section, name]) for name in values if (section, name) in _OPTIONS
        ]
    return result + [line for section, line in _list_heard(conf) if section not in legacy.SECTIONS]


def _name_now(name: str, values: Mapping[str, str]) -> str:
    """Return what option *name* of an old section of keystoneauth options is called now."""
    found = legacy.NAMES.get(name, name)
    if not {'auth_type', 'auth_plugin', 'auth_section'} & set(values) and 'username' in values:
        found = legacy.FLAT_NAMES.get(found, found)
    return found


def _list_heard(conf: Any) -> list[tuple[str, str]]:
    """Return (section, line) of what oslo.config tells while every option it can know is read."""
    own = cfg.ConfigOpts()
    log.register_options(own)
    own([], default_config_files=list(conf.config_file or ()), default_config_dirs=legacy.list_directories(conf))
    _register(own)
    with _listening('oslo_config.cfg') as records:
        _register_credentials(own)
        for name in own:
            group = _read(own, name)
            if isinstance(group, cfg.ConfigOpts.GroupAttr):
                for option in group:
                    _read(group, option)
    return [_describe(record) for record in records]


def _register(own: cfg.ConfigOpts) -> None:
    options.register(own)
    messaging.register(own)
    service_opts.register_service_opts(own)
    for listed in (
        messaging.opts.list_opts(),
        db_options.list_opts(),
        policy_opts.list_opts(),
        oslo_middleware_opts.list_opts(),
        middleware_opts.list_auth_token_opts(),
    ):
        for group, found in listed:
            own.register_opts(found, group=None if group == 'DEFAULT' else group)


def _register_credentials(own: cfg.ConfigOpts) -> None:
    """Register what the authentication plugins take that the files name."""
    for group in (collector_gnocchi.GROUP, fetcher_gnocchi.GROUP, fetcher_keystone.GROUP, 'keystone_authtoken'):
        loading.register_auth_conf_options(own, group)
        section = own[group].auth_section or group
        loading.register_auth_conf_options(own, section)
        with contextlib.suppress(exceptions.NoMatchingPlugin):
            own.register_opts(loading.get_auth_plugin_conf_options(own[section].auth_type or 'password'), section)


def _read(values: Any, name: str) -> Any:
    try:
        return values[name]
    except (cfg.NoSuchOptError, ValueError):
        return None  # what is wrong is told elsewhere


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextlib.contextmanager
def _listening(name: str) -> Iterator[list[logging.LogRecord]]:
    """Give the list of records that logger *name* gets in the block; they go nowhere else."""
    handler = _Keeper()
    logger = logging.getLogger(name)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler.records
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def _describe(record: logging.LogRecord) -> tuple[str, str]:
    values = record.args
    if isinstance(values, Mapping) and 'dep_option' in values:
        section, name = str(values['dep_group']), str(values['option']).replace('-', '_')
        return section, '[%s] %s: use [%s] %s' % (section, values['dep_option'], values['group'], name)
    if isinstance(values, Mapping) and 'reason' in values:
        section = str(values['group'])
        return section, '[%s] %s: deprecated%s' % (section, values['option'], values['reason'])
    return '', record.getMessage().rstrip('.')
