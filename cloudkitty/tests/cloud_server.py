# SPDX-License-Identifier: Apache-2.0
"""Serves Keystone or Gnocchi, or runs metricd; runs in the environment that ``tools/cloud install`` makes.

usage: python -m cloudkitty.tests.cloud_server keystone|gnocchi|metricd CONFIG SOCKET PARENT

SOCKET is the descriptor of a listening socket (none for metricd). With the process id PARENT, other than 0, this
process ends when that one does.
"""

import ctypes
import os
import signal
import socket
import sys

#: Ends this process when the thread that started it ends (linux/prctl.h).
PR_SET_PDEATHSIG = 1


def main(kind, config, descriptor, parent):
    if int(parent):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit(1)
    if kind == 'metricd':
        program = os.path.join(os.path.dirname(sys.executable), 'gnocchi-metricd')
        os.execv(program, [program, '--config-file', config])
    import waitress

    waitress.serve(LOADERS[kind](config), sockets=[socket.socket(fileno=int(descriptor))], threads=8, ident=None)


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

if __name__ == '__main__':
    main(*sys.argv[1:])
