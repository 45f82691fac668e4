# SPDX-License-Identifier: Apache-2.0
"""Serves Keystone, Gnocchi or Horizon; runs in the environment that ``tools/cloud`` or ``tools/horizon`` makes.

usage: python -m cloudkitty.tests.cloud_server keystone|gnocchi CONFIG SOCKET
       python -m cloudkitty.tests.cloud_server horizon STATIC SOCKET

STATIC is the directory of what Horizon serves as it is; SOCKET is the descriptor of a listening socket.
"""

import os
import socket
import sys

import waitress


def _load_keystone(config):
    # It reads the command line of the server that hosts it.
    sys.argv = ['keystone']
    os.environ['OS_KEYSTONE_CONFIG_FILES'] = config
    from keystone.server import wsgi

    return wsgi.initialize_public_application()


def _load_gnocchi(config):
    sys.argv = ['gnocchi-api', '--config-file', config]
    from gnocchi.rest import wsgi

    return wsgi.application


def _load_horizon(static):
    os.environ['DJANGO_SETTINGS_MODULE'] = 'openstack_dashboard.settings'
    from openstack_dashboard import wsgi
    import whitenoise

    return whitenoise.WhiteNoise(wsgi.application, root=static, prefix='static/')


LOADERS = {'keystone': _load_keystone, 'gnocchi': _load_gnocchi, 'horizon': _load_horizon}


def main(kind, config, descriptor):
    waitress.serve(LOADERS[kind](config), sockets=[socket.socket(fileno=int(descriptor))], threads=8, ident=None)


if __name__ == '__main__':
    main(*sys.argv[1:])
