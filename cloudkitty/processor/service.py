# SPDX-License-Identifier: Apache-2.0
"""Puts the daemon together: options in, workers out. Nothing is opened before the fork."""

import datetime
import os
import socket
import threading
import time

from oslo_log import log
from oslo_service import service

from cloudkitty import collector
from cloudkitty import conf as options
from cloudkitty import errors
from cloudkitty import fetcher
from cloudkitty import messaging
from cloudkitty import period
from cloudkitty import plugins
from cloudkitty import storage
from cloudkitty.conf import metrics as metrics_file
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.processor import partition
from cloudkitty.processor import pipeline
from cloudkitty.processor import planner
from cloudkitty.processor import repair
from cloudkitty.processor import rpc
from cloudkitty.processor import worker
from cloudkitty.rating import chain

LOG = log.getLogger(__name__)

#: Resources a scope is taken to have per metric, to size batches before anything is known.
RESOURCES = 10


def now() -> datetime.datetime:
    """Return the present instant."""
    return datetime.datetime.now(period.UTC)


def load_metrics(conf):
    """Return the metrics file of *conf*; raise ConfigurationError."""
    check_extra_args = getattr(collector.load_class(conf), 'check_extra_args', None)
    found = metrics_file.load(conf.collect.metrics_conf, conf.collect.scope_key, check_extra_args)
    for metric in found.metrics:
        if metric.skip_expression is not None:
            raise errors.ConfigurationError(
                '%s: metric %s: skip_datapoints_expression: this release does not have it yet'
                % (conf.collect.metrics_conf, metric.key)
            )
    return found


def check(conf):
    """Refuse what cannot work, before anything starts: unknown plugins, a bad metrics file, a zone that is none.

    :returns: the metrics file.
    """
    options.zone(conf)
    if conf.orchestrator.skip_datapoints_expression != 'False':
        raise errors.ConfigurationError(
            '[orchestrator] skip_datapoints_expression: this release does not have it yet; expected False'
        )
    storage.load_class(conf)
    plugins.load_class(fetcher.NAMESPACE, conf.fetcher.backend)
    return load_metrics(conf)


def make_worker(conf, database, metrics, executor, clock=now, share=None, chains=None):
    """Return a worker and the cache of its rating chain.

    :param executor: takes what waits for the source.
    :param share: which scopes are the worker's; all, by default.
    """
    length = conf.collect.period
    schedule = planner.Schedule(length, conf.collect.wait_periods)
    limits = planner.Limits(
        scopes=conf.orchestrator.batch_scopes,
        cells=max(1, conf.orchestrator.max_granules // (max(1, len(metrics.metrics)) * RESOURCES)),
    )
    store = storage.from_options(conf, database)
    chains = chains or chain.Cache(database, conf)
    line = pipeline.Pipeline(
        database,
        collector.load(conf, metrics, executor),
        chains,
        store,
        metrics.metrics,
        schedule,
        pipeline.Patience(hold=conf.orchestrator.hold_max * length),
        clock,
    )
    made = worker.Worker(
        database,
        fetcher.load(conf),
        line,
        repair.Repair(database, line, store, schedule, conf.orchestrator.repair_window_days * period.DAY),
        share or partition.Everything(),
        scopes.Identity(conf.collect.scope_key, conf.fetcher.backend, conf.collect.collector),
        schedule,
        limits,
        options.zone(conf),
        clock,
    )
    return made, chains


class RatingService(service.ServiceBase):
    """One child of the processor.

    :param make_executor: called after the fork, with the count of threads; returns a futurist executor.
    :param rpc_executor: ``eventlet`` or ``threading``.
    """

    #: Seconds that stopping waits for the batch in hand.
    DRAIN = 60

    def __init__(self, conf, metrics, make_executor, rpc_executor):
        self._conf = conf
        self._metrics = metrics
        self._make_executor = make_executor
        self._rpc_executor = rpc_executor
        self._worker = None
        self._thread = None
        self._database = None
        self._server = None

    def start(self):
        """Open what a child needs and begin to work."""
        conf = self._conf
        self._database = engine.from_options(conf)
        name = '%s.%d.%d' % (socket.gethostname(), os.getpid(), time.monotonic_ns())
        share = partition.Partition(conf.orchestrator.coordination_url, name, conf.orchestrator.max_workers)
        self._worker, chains = make_worker(
            conf, self._database, self._metrics, self._make_executor(conf.orchestrator.max_threads), share=share
        )
        self._thread = threading.Thread(target=self._worker.run, name='rating', daemon=True)
        self._thread.start()
        self._start_rpc(chains)

    def _start_rpc(self, chains):
        made = self._worker

        def reload():
            chains.invalidate()
            made.wake()

        def serve():
            # A broker that is away must not keep the worker from working: connecting takes its time elsewhere.
            try:
                transport = messaging.make_transport(self._conf)
                self._server = messaging.make_server(
                    transport, self._conf.host or socket.getfqdn(), [rpc.RatingEndpoint(reload)], self._rpc_executor
                )
                self._server.start()
            except Exception as error:
                LOG.warning('The broker is away (%s): changed rules are seen at the next batch.', error)

        threading.Thread(target=serve, name='rpc', daemon=True).start()

    def stop(self, graceful=True):
        """End after the batch in hand, however gracefully it is asked for; again, or before the start, is fine."""
        made, self._worker = self._worker, None
        if made is None:
            return
        made.stop()
        thread = self._thread
        if thread is not None:
            thread.join(self.DRAIN)
            if thread.is_alive():
                LOG.warning('The batch in hand did not end in %d s; it is left, and nothing of it is kept.', self.DRAIN)
        if self._server is not None:
            try:
                self._server.stop()
            except Exception as error:
                LOG.debug('The RPC server did not stop in order: %s', error)
        if self._database is not None:
            self._database.dispose()

    def wait(self):
        """Wait until the work has ended."""
        thread = self._thread
        while thread is not None and thread.is_alive() and self._worker is not None:
            thread.join(1)

    def reset(self):
        """Read the metrics file again, in the parent; keep the old one if it is wrong."""
        try:
            self._metrics = load_metrics(self._conf)
        except errors.ConfigurationError as error:
            LOG.error('%s. The metrics read before are used on.', error)
