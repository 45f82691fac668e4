# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402
"""The command ``cloudkitty-processor``.

Workers run in green threads. ``CLOUDKITTY_NATIVE_THREADS=1`` in the environment makes them native ones.
"""

import os

NATIVE = os.environ.get('CLOUDKITTY_NATIVE_THREADS', '').lower() in ('1', 'true', 'yes')

if not NATIVE:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        import eventlet

        eventlet.monkey_patch()

import sys

import futurist
from oslo_config import cfg
from oslo_log import log
from oslo_service import backend
from oslo_service import service

from cloudkitty import errors
from cloudkitty import service as cloudkitty_service
from cloudkitty.processor import service as processor_service

LOG = log.getLogger(__name__)


def main() -> int:
    """Run the processor until it is told to stop; return the exit status."""
    try:
        conf = cloudkitty_service.prepare_service()
        metrics = processor_service.check(conf)
        processor_service.check_history(conf)
    except errors.CloudKittyError as error:
        print('cloudkitty-processor: %s' % error, file=sys.stderr)
        return 1
    if not conf.orchestrator.max_workers:
        LOG.info('[orchestrator] max_workers is 0: nothing is rated here.')
    run(conf, metrics)
    return 0


def run(conf: cfg.ConfigOpts, metrics) -> None:
    """Start the workers and wait for them."""
    backend.init_backend(backend.BackendType.THREADING if NATIVE else backend.BackendType.EVENTLET)
    make_executor = futurist.ThreadPoolExecutor if NATIVE else futurist.GreenThreadPoolExecutor
    made = processor_service.RatingService(conf, metrics, make_executor, 'threading' if NATIVE else 'eventlet')
    launcher = service.ProcessLauncher(conf)
    launcher.launch_service(made, workers=conf.orchestrator.max_workers)
    launcher.wait()


if __name__ == '__main__':
    sys.exit(main())
