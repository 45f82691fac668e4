# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402
"""The command ``cloudkitty-processor``.

Workers run in green threads. ``CLOUDKITTY_NATIVE_THREADS=1`` in the environment makes them native ones.
"""

import os
import warnings

NATIVE = os.environ.get('CLOUDKITTY_NATIVE_THREADS', '').lower() in ('1', 'true', 'yes')

with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    if not NATIVE:
        import eventlet

        # A green psycopg2 cannot COPY.
        eventlet.monkey_patch(psycopg=False)

    from oslo_service import backend

    # Whoever imports oslo.service first, oslo.messaging for instance, would choose for us.
    backend.init_backend(backend.BackendType.THREADING if NATIVE else backend.BackendType.EVENTLET)

import functools
import sys

from cloudkitty import service
from cloudkitty.cli import failing


def main() -> int:
    """Run the processor until it is told to stop; return the exit status."""
    return failing.guard('cloudkitty-processor', work, None)


def work() -> int:
    """Do the same; raise what keeps it from starting."""
    conf = service.prepare_service()
    # Here, for --help and --version need none of it.
    from cloudkitty.cli import launcher

    launcher.launch(conf, NATIVE, None if NATIVE else functools.partial(eventlet.sleep, 0))
    return 0


if __name__ == '__main__':
    sys.exit(main())
