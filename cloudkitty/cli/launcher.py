# SPDX-License-Identifier: Apache-2.0
"""Starts the children of ``cloudkitty-processor`` and waits for them, green or native."""

from collections.abc import Callable
import logging
from typing import Any

import cotyledon
import futurist
from oslo_config import cfg
from oslo_log import log
from oslo_service import opts as service_opts
from oslo_service import service

from cloudkitty import service as cloudkitty_service
from cloudkitty import telemetry
from cloudkitty.processor import endpoint
from cloudkitty.processor import service as processor_service

LOG = log.getLogger(__name__)

#: Services and how many children each has.
Services = list[tuple[processor_service.RatingService | endpoint.Endpoint, int]]


def launch(conf: cfg.ConfigOpts, is_native: bool, pause: Callable[[], None] | None) -> None:
    """Start what *conf* asks for and wait until it is told to stop.

    :param pause: what long computing calls now and then, so that others get a turn.
    :raises ConfigurationError: something cannot work; nothing has started.
    """
    metrics = processor_service.check(conf)
    is_checked = processor_service.check_history(conf)
    if conf.log_options:
        conf.log_opt_values(LOG, logging.DEBUG)
    run = run_native if is_native else run_green
    services = []
    for kind in (processor_service.RatingService, processor_service.ReprocessingService):
        count = conf.orchestrator[kind.workers_option]
        if not count:
            LOG.info('[orchestrator] %s is 0: no %s here.', kind.workers_option, kind.name)
        made = kind(
            conf,
            metrics,
            futurist.ThreadPoolExecutor if is_native else futurist.GreenThreadPoolExecutor,
            'threading' if is_native else 'eventlet',
            pause=pause,
            # An object of its own: the one in use stays as it is if the files are wrong.
            read=lambda: cloudkitty_service.prepare_service(conf=cfg.ConfigOpts()),
            is_checked=is_checked,
        )
        services.append((made, count))
    if not conf.metrics.enabled:
        run(conf, services)
        return
    with endpoint.directory() as directory:
        # What is forked counts into it, too.
        telemetry.start(directory, telemetry.PROCESSOR)
        run(conf, [*services, (processor_service.make_endpoint(conf, directory), 1)])


def run_green(conf: cfg.ConfigOpts, services: Services) -> None:
    """Start the workers and wait for them."""
    # The launcher reads its options again before anybody could look whether they are right: it gets a copy.
    own = cfg.ConfigOpts()
    service_opts.register_service_opts(own)
    own([], default_config_files=[], default_config_dirs=[])
    own.set_override('graceful_shutdown_timeout', conf.graceful_shutdown_timeout)
    own.set_override('log_options', False)
    launcher = service.ProcessLauncher(own)
    for made, count in services:
        launcher.launch_service(made, workers=count)
    launcher.wait()


def run_native(conf: cfg.ConfigOpts, services: Services) -> None:
    """Do the same with what oslo.service itself uses for native threads, which lets the parent read options again."""
    manager = cotyledon.ServiceManager(graceful_shutdown_timeout=conf.graceful_shutdown_timeout)
    for made, count in services:
        manager.register_hooks(on_reload=made.reset)
        if count:
            manager.add(NATIVE_WORKERS[made.name], count, (made,))
    manager.run()


class NativeWorker(cotyledon.Service):
    """A child with native threads: on SIGHUP it ends after the batch in hand, and another takes its place."""

    name = 'rating'

    def __init__(self, worker_id: Any, made: processor_service.RatingService | endpoint.Endpoint) -> None:
        super().__init__(worker_id)
        self._made = made

    def run(self) -> None:
        self._made.start()
        self._made.wait()

    def terminate(self) -> None:
        self._made.stop()


class NativeReprocessor(NativeWorker):
    """The same for reprocessing."""

    name = 'reprocessing'


class NativeEndpoint(NativeWorker):
    """The same for what answers Prometheus."""

    name = 'metrics'


NATIVE_WORKERS = {cls.name: cls for cls in (NativeWorker, NativeReprocessor, NativeEndpoint)}
