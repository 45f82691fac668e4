# SPDX-License-Identifier: Apache-2.0
"""Make a program ready: read options, set up logging."""

import contextlib
import io
import os
import sys

from oslo_config import cfg
from oslo_log import log

from cloudkitty import errors
from cloudkitty import version

DEFAULT_CONNECTION = 'sqlite:////var/lib/cloudkitty/cloudkitty.sqlite'


def prepare_service(argv=None, config_files=None, conf=cfg.CONF, program=None):
    """Parse *argv* and the configuration files into *conf*, set up logging and return *conf*.

    :param argv: list of arguments without the program's name; None means those of this process. A program that is
        hosted by somebody else's server gives ``[]``.
    :param config_files: paths to read in place of those found in the usual places.
    :param program: name that decides on ``<program>.conf`` and the log file; None means that of this process.
    :raises ConfigurationError: an option cannot be read.
    """
    # Alembic tells at every start which parts it has.
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), 'alembic.runtime.plugins=WARN'])
    log.register_options(conf)
    if program is None:
        program = os.path.basename(sys.argv[0])
    parse(conf, argv, program, config_files)
    register(conf)
    _set_up_logging(conf)
    check_values(conf)
    _apply_legacy(conf)
    return conf


def parse(conf, argv=None, program=None, config_files=None):
    """Read arguments and configuration files into *conf*, whose options are registered.

    :raises ConfigurationError: an option cannot be read.
    :raises SystemExit: the command line is wrong, which is said in one line, or asked for help.
    """
    said = io.StringIO()
    try:
        # The library would show how to use it, which is many lines with many options.
        with contextlib.redirect_stderr(said):
            conf(
                sys.argv[1:] if argv is None else argv,
                project='cloudkitty',
                prog=program,
                version=version.version_string(),
                default_config_files=config_files,
                validate_default_values=True,
            )
    except SystemExit as error:
        if error.code:
            lines = said.getvalue().strip().splitlines() or ['wrong arguments']
            text = lines[-1].rstrip('.').removeprefix('%s: ' % program)
            print('%s: %s; --help tells what there is.' % (program, text), file=sys.stderr)
            # It has 1 for a wrong value, and 2 for a wrong word.
            raise SystemExit(2) from error
        raise
    except cfg.ConfigFilesNotFoundError as error:
        raise errors.ConfigurationError('No such configuration file: %s.' % ', '.join(error.config_files)) from error
    except cfg.Error as error:
        raise errors.ConfigurationError(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise errors.ConfigurationError('A configuration file cannot be read: %s.' % error) from error
    sys.stderr.write(said.getvalue())


def register(conf):
    """Register with *conf* what only files set: our options and those of libraries, with the defaults we want.

    After the command line is read, and imported here: libraries bring all they serve, and ``--help`` needs none of it.
    """
    from oslo_db import options as db_options
    from oslo_service import opts as service_opts

    from cloudkitty import conf as options
    from cloudkitty import messaging
    from cloudkitty.conf import opts

    opts.set_defaults()
    options.register(conf)
    messaging.register(conf)
    service_opts.register_service_opts(conf)
    db_options.set_defaults(conf, connection=DEFAULT_CONNECTION)


def _apply_legacy(conf):
    from cloudkitty.conf import legacy

    legacy.apply(conf)


def check_values(conf):
    """Read every option once: oslo.config finds a wrong value only when somebody asks for it, which may be at night.

    :raises ConfigurationError: naming the first wrong one.
    """
    for name in conf:
        group = _read(conf, name, 'DEFAULT')
        if isinstance(group, cfg.ConfigOpts.GroupAttr):
            for option in group:
                _read(group, option, name)


def _read(values, name, group):
    try:
        return values[name]
    except cfg.NoSuchOptError:
        return None  # it refers to an option of a library that is not in use
    except ValueError as error:
        raise errors.ConfigurationError('[%s] %s: %s' % (group, name, error)) from error


def _set_up_logging(conf):
    if conf.log_dir and not os.path.isdir(conf.log_dir):
        raise errors.ConfigurationError('[DEFAULT] log_dir: there is no directory %s.' % conf.log_dir)
    try:
        log.setup(conf, 'cloudkitty')
    except log.LogConfigError as error:
        raise errors.ConfigurationError('[DEFAULT] log_config_append: %s' % ' '.join(str(error).split())) from error
    except RuntimeError as error:
        raise errors.ConfigurationError('[DEFAULT] use_journal: %s.' % error) from error
    except (TypeError, ValueError) as error:
        raise errors.ConfigurationError('[DEFAULT] %s' % error) from error
    except OSError as error:
        raise errors.ConfigurationError('The log file cannot be opened: %s.' % error) from error
