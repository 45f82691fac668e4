# SPDX-License-Identifier: Apache-2.0
"""Configuration of old: sections and options whose new place cannot be told by a deprecated name.

oslo.config knows one old name per option that we register ourselves. The options of authentication plugins are only
known when the plugin is loaded, and those of the broker were folded into one URL: these are read from the files
again, and become the *defaults* of the new options, so that a value under a new name always wins.
"""

import collections
import glob
import os
import urllib.parse

from keystoneauth1 import exceptions
from keystoneauth1 import loading
from oslo_config import cfg
from oslo_log import log

LOG = log.getLogger(__name__)

#: Old section of keystoneauth options: the new one.
SECTIONS = {'keystone_fetcher': 'fetcher_keystone', 'gnocchi_collector': 'collector_gnocchi'}
#: Names from before keystoneauth, in any of its sections.
NAMES = {'auth_plugin': 'auth_type', 'tenant_name': 'project_name', 'tenant_id': 'project_id', 'user_name': 'username'}
#: Names of the style of 2015, recognised by a section that names no authentication plugin.
FLAT_NAMES = {'tenant': 'project_name', 'region': 'region_name', 'url': 'auth_url'}


def apply(conf):
    """Give *conf*, already parsed, the defaults that old sections of its files imply."""
    sections = read_files(conf)
    for old, new in SECTIONS.items():
        if sections.get(old):
            _apply_keystoneauth(conf, sections[old], old, new)
    _apply_last_resort(conf, sections)
    _apply_rabbit(conf, sections)
    _repair_authtoken(conf, sections)


def read_files(conf):
    """Return {section: {option: last value}} of the configuration files of *conf*."""
    result: dict[str, dict[str, str]] = collections.defaultdict(dict)
    for path in list_files(conf):
        sections: dict[str, dict[str, list[str]]] = {}
        try:
            cfg.ConfigParser(path, sections).parse()
        except (OSError, cfg.ParseError):
            continue  # oslo.config has read it or complained already
        for section, values in sections.items():
            for name, lines in values.items():
                result[section.strip()][name] = lines[-1] if isinstance(lines, list) else lines
    return result


def list_files(conf):
    """Return the paths of the configuration files of *conf*; of two values the last counts."""
    patterns = [os.path.join(os.path.expanduser(directory), '*.conf') for directory in list_directories(conf)]
    return [*(conf.config_file or ()), *(path for pattern in patterns for path in sorted(glob.glob(pattern)))]


def list_directories(conf):
    """Return the directories of *conf*: those of the command line, or else those of the usual places."""
    # The second would have the last of the command line alone, and the first has only those.
    return list(conf.config_dirs or conf.config_dir or ())


def _apply_keystoneauth(conf, values, old, new):
    values = {NAMES.get(name, name): value for name, value in values.items()}
    if 'auth_type' not in values and 'auth_section' not in values and 'username' in values:
        values = {FLAT_NAMES.get(name, name): value for name, value in values.items()}
        values['auth_type'] = 'password'
    if conf[new].auth_type or conf[new].auth_section:
        return  # the new section is complete by itself
    LOG.warning('Section [%s] is deprecated; its authentication options belong into [%s].', old, new)
    _set_defaults(conf, new, values)


def _apply_last_resort(conf, sections):
    """Let the Gnocchi collector use credentials of the Ceilometer collector, which is gone."""
    group = conf.collector_gnocchi
    values = sections.get('ceilometer_collector')
    if not values or group.auth_type or group.auth_section or group.gnocchi_auth_type != 'keystone':
        return
    LOG.warning(
        'Section [ceilometer_collector]: there is no such collector any more; its credentials are used for '
        '[collector_gnocchi], which names none.'
    )
    values = {FLAT_NAMES.get(name, name): value for name, value in values.items()}
    values = {NAMES.get(name, name): value for name, value in values.items()}
    values.setdefault('auth_type', 'password')
    _set_defaults(conf, 'collector_gnocchi', values)


def _set_defaults(conf, group, values):
    """Make *values* the defaults of the options of *group* and of its authentication plugin."""
    if values.get('auth_type'):
        try:
            conf.register_opts(loading.get_auth_plugin_conf_options(values['auth_type']), group)
        except exceptions.NoMatchingPlugin:
            LOG.warning('[%s] auth_type: there is no authentication plugin %s.', group, values['auth_type'])
    if values.get('auth_type') == 'password':
        values.setdefault('user_domain_id', 'default' if 'user_domain_name' not in values else None)
        values.setdefault('project_domain_id', 'default' if 'project_domain_name' not in values else None)
        if 'auth_url' in values:
            values['auth_url'] = _unversioned(values['auth_url'], group)
    for name, value in values.items():
        try:
            if value is not None:
                conf.set_default(name.replace('-', '_'), value, group)
        except (cfg.NoSuchOptError, ValueError):
            continue  # options nobody reads any more


def _unversioned(url, group):
    """Return *url* without Keystone's version 2.0, which is gone; discovery finds version 3 from there."""
    stripped = url.rstrip('/')
    if not stripped.endswith('/v2.0'):
        return url
    LOG.warning('[%s] auth_url names version 2.0 of the Keystone API, which is gone; version 3 is used.', group)
    return stripped.removesuffix('/v2.0') + '/'


def _apply_rabbit(conf, sections):
    """Compose ``transport_url`` from the broker options of old when it is not set."""
    default = sections.get('DEFAULT', {})
    if 'transport_url' in default:
        return
    names = ('rabbit_hosts', 'rabbit_host', 'rabbit_port', 'rabbit_userid', 'rabbit_password', 'rabbit_virtual_host')
    values = {name: default[name] for name in names if name in default}
    values |= {
        name: sections['oslo_messaging_rabbit'][name]
        for name in names
        if name in sections.get('oslo_messaging_rabbit', {})
    }
    if not values:
        return
    LOG.warning('The rabbit_* options are deprecated; use [DEFAULT] transport_url.')
    conf.set_default('transport_url', compose_rabbit_url(values))


def compose_rabbit_url(values):
    """Return the ``rabbit://`` URL of the broker options of old in *values*."""
    user = urllib.parse.quote(values.get('rabbit_userid', 'guest'), safe='')
    password = urllib.parse.quote(values.get('rabbit_password', 'guest'), safe='')
    port = values.get('rabbit_port', '5672')
    hosts = values.get('rabbit_hosts') or values.get('rabbit_host', 'localhost')
    places = [host.strip() if ':' in host else '%s:%s' % (host.strip(), port) for host in hosts.split(',')]
    virtual_host = urllib.parse.quote(values.get('rabbit_virtual_host', '/').removeprefix('/'), safe='')
    return 'rabbit://%s/%s' % (','.join('%s:%s@%s' % (user, password, place) for place in places), virtual_host)


def _repair_authtoken(conf, sections):
    """Make ``[keystone_authtoken]`` as guides of old have it work with Keystone's version 3."""
    values = {NAMES.get(name, name): value for name, value in sections.get('keystone_authtoken', {}).items()}
    if values.get('auth_type') != 'password':
        return
    conf.register_opts(loading.get_auth_plugin_conf_options('password'), 'keystone_authtoken')
    for kind in ('user', 'project'):
        if not {'%s_domain_id' % kind, '%s_domain_name' % kind} & set(values):
            conf.set_default('%s_domain_id' % kind, 'default', 'keystone_authtoken')
    url = values.get('auth_url', '')
    unversioned = _unversioned(url, 'keystone_authtoken')
    if unversioned != url:
        conf.set_override('auth_url', unversioned, 'keystone_authtoken')
