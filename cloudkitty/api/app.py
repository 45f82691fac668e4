# SPDX-License-Identifier: Apache-2.0
"""Puts the API together: options in, a WSGI application out.

Under somebody else's server it is made once, at import of :mod:`cloudkitty.wsgi.api`.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import configparser
import contextlib
import logging
import os
import pathlib
import sys
import tempfile
from typing import Any

from oslo_config import cfg
from oslo_middleware import cors
from oslo_middleware import http_proxy_to_wsgi
from paste.deploy import loadwsgi
import pecan

from cloudkitty import conf as options
from cloudkitty import errors
from cloudkitty import messaging
from cloudkitty import service
from cloudkitty import storage
from cloudkitty.api import context
from cloudkitty.api import hooks
from cloudkitty.api import middleware
from cloudkitty.api import policy
from cloudkitty.api import root
from cloudkitty.api.v1 import rating
from cloudkitty.conf import legacy
from cloudkitty.db import engine
from cloudkitty.rating import chain

PROGRAM = 'cloudkitty-api'


def build_wsgi_app(
    argv: Sequence[str] | None = None, conf: Any = None, config_files: Sequence[str] | None = None
) -> Any:
    """Return the application of the paste file of the configuration, its filters included.

    :param argv: options of the command line; None: none, for the one of this process belongs to whoever hosts us.
    :param conf: oslo.config object to read them into; None: the global one, as libraries expect of a process.
    :param config_files: in place of those in the usual places.
    :raises ConfigurationError: an option, the paste file or a plugin name is wrong.
    """
    conf = cfg.CONF if conf is None else conf
    service.prepare_service(list(argv or ()), config_files=config_files, conf=conf, program=PROGRAM)
    return load_app(conf)


def load_app(conf: Any) -> Any:
    """Return the application for *conf*, which is read already; see :func:`build_wsgi_app`."""
    conf.register_opts(cors.CORS_OPTS, 'cors')
    conf.register_opts(http_proxy_to_wsgi.OPTS, 'oslo_middleware')
    service.check_values(conf)
    path = find_paste_file(conf)
    name = 'cloudkitty+%s' % conf.auth_strategy
    try:
        # Not loadapp(): it would put the options through a text file's substitution.
        loader = loadwsgi.ConfigLoader(path)
        with _filter_options(conf) as found:
            application = loader.get_app(name, global_conf={middleware.CONF: conf, **found})
    except (LookupError, ImportError, OSError, configparser.Error, cfg.Error) as error:
        raise errors.ConfigurationError('%s: %s' % (path, ' '.join(str(error).split()))) from error
    # Now those of the token filter are known.
    service.check_values(conf)
    if conf.metrics.enabled:
        application = middleware.Telemetry(application, conf)
    # Before paste's URL map sees it, too: that breaks at a path without a slash, such as the asterisk of OPTIONS.
    return middleware.CleanPath(application)


@contextlib.contextmanager
def _filter_options(conf: Any) -> Iterator[dict[str, str]]:
    """Give what tells filters of libraries where to read their options: they do it themselves.

    They look in the usual places, or into one file. Where others are named, that is one with all that these hold: other
    filters have other sections.
    """
    result = {'oslo_config_program': PROGRAM}
    usual = (cfg.find_config_files('cloudkitty', PROGRAM), cfg.find_config_dirs('cloudkitty', PROGRAM))
    if (list(conf.config_file or ()), list(conf.config_dir or ())) == usual:
        yield result
        return
    # It holds passwords; nobody else can read it, and it is gone when the filters are made.
    with tempfile.NamedTemporaryFile(prefix='cloudkitty-api-', suffix='.conf') as file:
        for path in legacy.list_files(conf):
            file.write(pathlib.Path(path).read_bytes() + b'\n')
        file.flush()
        yield {**result, 'oslo_config_file': file.name}


def find_paste_file(conf: Any) -> str:
    """Return the path of the paste file; raise ConfigurationError if there is none.

    A relative name is looked up next to the configuration files, in the places they may be in, then where the package
    was installed with its data.
    """
    name = conf.api_paste_config
    if os.path.isabs(name):
        found = name if os.path.exists(name) else None
    else:
        installed = os.path.join(sys.prefix, 'etc', 'cloudkitty', name)
        found = conf.find_file(name) or (installed if os.path.exists(installed) else None)
    if found is None:
        raise errors.ConfigurationError(
            'The paste file %s is not there. Copy etc/cloudkitty/api_paste.ini to /etc/cloudkitty, or name another one '
            'by [DEFAULT] api_paste_config.' % name
        )
    return os.path.abspath(found)


def app_factory(global_conf: dict[str, Any], **local_conf: str) -> Any:
    """Return the application without filters, for paste."""
    conf = global_conf.get(middleware.CONF)
    if conf is None:
        # Somebody else loads the paste file.
        conf = service.prepare_service([], conf=cfg.CONF, program=PROGRAM)
    return make_app(make_deployment(conf))


def make_deployment(conf: Any) -> context.Deployment:
    """Return what the service works with, by *conf*; nothing is connected yet."""
    storage.warn(conf)
    database = engine.from_options(conf)
    enforcer = policy.make_enforcer(conf) if conf.auth_strategy == 'keystone' else None
    if enforcer is not None:
        policy.check(enforcer)
    return context.Deployment(
        conf=conf,
        database=database,
        storage=storage.from_options(conf, database),
        notifier=messaging.Notifier(conf),
        chains=chain.Cache(database, conf, write=False),
        metrics=context.Metrics(conf.collect.metrics_conf, conf.collect.scope_key),
        enforcer=enforcer,
        zone=options.zone(conf),
    )


def make_app(deployment: context.Deployment) -> Any:
    """Return the application without filters for *deployment*."""
    rating.load_controllers()
    # What it logs as an ERROR is the caller's: types that it cannot accept, text that is not UTF-8.
    logging.getLogger('pecan.core').setLevel(logging.CRITICAL)
    application = pecan.Pecan(
        root.RootController(has_v2=deployment.conf.storage.version == 2),
        default_renderer='json',
        hooks=[hooks.ContextHook(deployment), hooks.FaultHook(deployment.conf.api.pecan_debug)],
        force_canonical=False,
        guess_content_type_from_ext=False,
    )
    return middleware.CleanPath(application)
