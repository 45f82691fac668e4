# SPDX-License-Identifier: Apache-2.0
"""Serves Keystone or Gnocchi; runs in the environment that ``tools/cloud install`` makes.

usage: python -m cloudkitty.tests.cloud_server keystone|gnocchi CONFIG SOCKET

SOCKET is the descriptor of a listening socket.
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


LOADERS = {'keystone': _load_keystone, 'gnocchi': _load_gnocchi}


def main(kind, config, descriptor):
    waitress.serve(LOADERS[kind](config), sockets=[socket.socket(fileno=int(descriptor))], threads=8, ident=None)


if __name__ == '__main__':
    main(*sys.argv[1:])
