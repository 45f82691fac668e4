# SPDX-License-Identifier: Apache-2.0
"""Puts the daemon together: options in, workers out. Nothing is opened before the fork."""

from collections.abc import Callable
from collections.abc import Sequence
import datetime
from decimal import Decimal
import gc
import mmap
import os
import signal
import socket
import threading
import time
from typing import Any

from oslo_db import exception as db_exc
from oslo_log import log
from oslo_service.backend import base as oslo_base
import sqlalchemy

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
from cloudkitty.db import history
from cloudkitty.db import scopes
from cloudkitty.db import seen_rules
from cloudkitty.processor import closing
from cloudkitty.processor import endpoint
from cloudkitty.processor import loop
from cloudkitty.processor import mend
from cloudkitty.processor import partition
from cloudkitty.processor import pipeline
from cloudkitty.processor import planner
from cloudkitty.processor import repair
from cloudkitty.processor import reprocess
from cloudkitty.processor import reprocessor
from cloudkitty.processor import rpc
from cloudkitty.processor import settling
from cloudkitty.processor import tidy
from cloudkitty.processor import worker
from cloudkitty.rating import chain
from cloudkitty.rating import quotes
from cloudkitty.rating import skips

LOG = log.getLogger(__name__)

#: Resources a scope is taken to have per metric, to size batches before anything is known: where a collector answers
#: for as much as its memory holds, few.
RESOURCES, FEWEST_RESOURCES = 10, 1


def now() -> datetime.datetime:
    """Return the present instant."""
    return datetime.datetime.now(period.UTC)


def spare_collector() -> None:
    """Have Python look for garbage seldom, and never again in what is there by now.

    What a batch makes is millions of objects without a cycle among them, which go by themselves; looking at them took
    a third of the time of a batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def load_metrics(conf):
    """Return the metrics file of *conf*; raise ConfigurationError."""
    check_extra_args = getattr(collector.load_class(conf), 'check_extra_args', None)
    return metrics_file.load(conf.collect.metrics_conf, conf.collect.scope_key, check_extra_args)


def check(conf):
    """Refuse what cannot work, before anything starts: unknown plugins, a bad metrics file, a zone that is none.

    :returns: the metrics file.
    """
    options.zone(conf)
    options.closed_until(conf)
    storage.load_class(conf)
    engine.normalise_url(conf.database.connection or 'sqlite://')
    partition.check(conf.orchestrator.coordination_url)
    messaging.check(conf)
    metrics = load_metrics(conf)
    skips.from_options(conf, metrics.metrics)
    # Ours are made, which connects to nothing: credentials that miss something are told here, not by every child. Those
    # of others are only imported.
    if hasattr(plugins.load_class(fetcher.NAMESPACE, conf.fetcher.backend), 'from_options'):
        fetcher.load(conf)
    if hasattr(collector.load_class(conf), 'from_options'):
        collector.load(conf, metrics, None)
    return metrics


def check_history(conf) -> bool:
    """Refuse to start where a default could hide a cloud's history; return whether the database could be asked.

    It is opened and closed again: the workers are forked after it.
    """
    storage.warn(conf)
    database = engine.from_options(conf)
    problem = ''
    try:
        _look_at_database(conf, database)
    except (db_exc.DBError, sqlalchemy.exc.SQLAlchemyError) as error:
        problem = engine.describe(error)
    finally:
        database.dispose()
    if problem:
        LOG.warning('The database is away; the workers wait for it. %s', problem)
    return not problem


def _look_at_database(conf, database) -> None:
    """Look at what others left: rated rows of old, and rules that another release wrote."""
    history.check(conf, database)
    seen_rules.look(database)


def _identity(conf) -> scopes.Identity:
    return scopes.Identity(conf.collect.scope_key, conf.fetcher.backend, conf.collect.collector)


def _describe(conf) -> str:
    """Return what all workers on the same states have in common: the database, and whose states they are."""
    url = sqlalchemy.make_url(engine.normalise_url(conf.database.connection or 'sqlite://'))
    return repr((url.get_backend_name(), url.host, url.port, url.database, _identity(conf)))


def make_worker(conf, database, metrics, executor, clock=now, share=None, chains=None, pause=None, check=None):
    """Return a worker and the cache of its rating chain.

    :param executor: takes what waits for the source.
    :param share: which scopes are the worker's; all, by default.
    :param pause: called now and then during long computing.
    :param check: called before the first pass until it raises nothing.
    """
    length = conf.collect.period
    schedule = planner.Schedule(length, conf.collect.wait_periods)
    store = storage.from_options(conf, database)
    chains = chains or chain.Cache(database, conf, skips=skips.from_options(conf, metrics.metrics))
    source = collector.load(conf, metrics, executor)
    limits = _limits(conf, metrics, source)
    patience = pipeline.Patience(hold=conf.orchestrator.hold_max * length)
    causes = pipeline.Causes()
    made = worker.Worker(
        database,
        fetcher.load(conf),
        pipeline.Pipeline(
            database,
            source,
            chains,
            store,
            metrics.metrics,
            schedule,
            patience,
            clock,
            pause,
            causes,
            settling.Settler(database, store, length, _count_settling(conf, source, store)),
        ),
        repair.Repair(
            database,
            mend.Mender(
                database,
                source,
                store,
                metrics.metrics,
                length,
                patience,
                clock,
                pause,
                causes,
                closing.Closed(database, store, length, clock, options.closed_until(conf)),
            ),
            store,
            chains,
            length,
            patience,
            conf.orchestrator.repair_window_days * period.DAY,
            limits.scopes,
            _count_settling(conf, source, store),
        ),
        share or partition.Everything(),
        _identity(conf),
        schedule,
        limits,
        options.zone(conf),
        clock,
        check,
        store.longest_scope_id,
        _make_chore(conf, store, clock),
        conf.fetcher.empty_list_hold,
    )
    return made, chains


def _count_settling(conf, source, store) -> int:
    """Return how many periods are asked for again: none where that costs a lot, or would take what was pushed."""
    can_look = getattr(source, 'asks_again', False) and getattr(store, 'tells_origins', False)
    return conf.collect.settle_periods if can_look else 0


def _make_chore(conf, store, clock) -> tidy.Tidy:
    days = conf.storage.history_days
    return tidy.Tidy(store, None if days is None else days * period.DAY, clock)


def make_endpoint(conf, directory: str) -> endpoint.Endpoint:
    """Return what answers Prometheus; *directory* is where the children keep their figures."""
    schedule = planner.Schedule(conf.collect.period, conf.collect.wait_periods)
    return endpoint.Endpoint(conf, directory, _identity(conf), schedule, now)


def make_reprocessor(conf, database, metrics, executor, clock=now, share=None, pause=None, check=None):
    """Return a worker that reprocesses; the parameters are those of :func:`make_worker`."""
    length = conf.collect.period
    store = storage.from_options(conf, database)
    chains = chain.Cache(database, conf, skips=skips.from_options(conf, metrics.metrics))
    source = collector.load(conf, metrics, executor)
    patience = pipeline.Patience(hold=conf.orchestrator.hold_max * length)
    return reprocessor.Reprocessor(
        database,
        reprocess.Line(
            database,
            source,
            chains,
            store,
            metrics.metrics,
            length,
            patience,
            clock,
            pause,
            most_points=conf.orchestrator.max_granules,
        ),
        share or partition.Everything(),
        _identity(conf),
        planner.Schedule(length, conf.collect.wait_periods),
        _limits(conf, metrics, source),
        patience,
        clock,
        check,
        _make_chore(conf, store, clock),
    )


def _limits(conf, metrics, source) -> planner.Limits:
    resources = FEWEST_RESOURCES if getattr(source, 'answers_in_parts', False) else RESOURCES
    return planner.Limits(
        scopes=conf.orchestrator.batch_scopes,
        cells=max(1, conf.orchestrator.max_granules // (max(1, len(metrics.metrics)) * resources)),
    )


class RatingService(oslo_base.ServiceBase):
    """One child of the processor; in the parent, what its children are made from.

    :param conf: options, as read.
    :param metrics: the metrics file.
    :param make_executor: called after the fork, with the count of threads; returns a futurist executor.
    :param rpc_executor: ``eventlet`` or ``threading``.
    :param pause: called now and then during long computing.
    :param read: returns the options as they are in the files now; raises ConfigurationError.
    :param is_checked: the database was looked at already, and may be used.
    """

    #: What it does, and the option that says how many children do it.
    name = 'rating'
    workers_option = 'max_workers'

    #: Seconds of the time to shut down that are left for all but the batch in hand.
    MARGIN = 5
    #: Seconds after which a child that should have been told to end tells itself.
    DEAF = 3

    def __init__(
        self,
        conf,
        metrics: metrics_file.MetricsFile,
        make_executor: Callable[[int], Any],
        rpc_executor: str,
        pause: Callable[[], None] | None = None,
        read: Callable[[], Any] | None = None,
        is_checked: bool = True,
    ) -> None:
        self._conf = conf
        self._metrics = metrics
        self._make_executor = make_executor
        self._rpc_executor = rpc_executor
        self._pause = pause
        self._read = read
        self._is_checked = is_checked
        # A signal that comes while a child is being forked is lost on it. So the parent counts in memory that all share
        # how often it told its children to end, and a child that was not there the last time notices.
        self._told = mmap.mmap(-1, 1)
        self._told_before = 0
        self._parent = os.getpid()
        self._ended = threading.Event()
        self._worker: loop.Loop | None = None
        self._thread: threading.Thread | None = None
        self._database: engine.Database | None = None
        self._listener: messaging.Listener | None = None
        self._executor: Any = None

    def start(self) -> None:
        """Open what a child needs and begin to work, unless it was told to end already."""
        if self._ended.is_set():
            return
        conf = self._conf
        database = self._database = engine.from_options(conf)
        self._executor = self._make_executor(conf.orchestrator.max_threads)
        made = self._worker = self._make_worker(conf, database)
        spare_collector()
        thread = threading.Thread(target=made.run, name=self.name, daemon=True)
        thread.start()
        self._thread = thread
        if self._listener is not None:
            self._listener.start()
        if self._ended.is_set():
            # Starting takes a while, and others have their turn meanwhile.
            self._shut()

    def _make_worker(self, conf, database: engine.Database) -> loop.Loop:
        """Return the worker, and have what listens for it made."""
        made, chains = make_worker(
            conf,
            database,
            self._metrics,
            self._executor,
            share=self._make_share(conf),
            pause=self._pause,
            check=self._make_check(conf, database),
        )

        def reload() -> None:
            chains.invalidate()
            made.wake()

        def price(resources: Sequence[quotes.Resource]) -> Decimal:
            return quotes.quote(chains.get(), resources, now(), conf.collect.period)

        self._listener = messaging.Listener(
            conf, conf.host or socket.getfqdn(), [rpc.RatingEndpoint(reload, price)], self._rpc_executor
        )
        return made

    def _make_check(self, conf, database: engine.Database) -> Callable[[], None] | None:
        """Return what a worker has to do first; None where the parent did it."""
        return None if self._is_checked else lambda: _look_at_database(conf, database)

    def _make_share(self, conf) -> partition.Partition:
        """Return what spreads scopes over all workers that do the same."""
        return partition.Partition(
            conf.orchestrator.coordination_url,
            '%s.%d.%d' % (socket.gethostname(), os.getpid(), time.monotonic_ns()),
            conf.orchestrator[self.workers_option],
            self.name + _describe(conf),
        )

    def stop(self, graceful: bool = True) -> None:
        """End after the batch in hand, however gracefully it is asked for; again, or before the start, is fine."""
        if os.getpid() == self._parent:
            self._tell()
        self._ended.set()
        self._shut()

    def _shut(self) -> None:
        made, self._worker = self._worker, None
        if made is None:
            return
        made.stop()
        if self._thread is not None:
            timeout = self._conf.graceful_shutdown_timeout
            self._thread.join(max(1, timeout - self.MARGIN) if timeout else None)
            if self._thread.is_alive():
                LOG.warning('The batch in hand did not end in time; it is left, and nothing of it is kept.')
        if self._listener is not None:
            self._listener.stop()
        if self._executor is not None:
            self._executor.shutdown(wait=False)
        if self._database is not None:
            self._database.dispose()

    def wait(self) -> None:
        """Wait until it is told to end, or the work has ended by itself."""
        deaf = 0
        while not self._ended.wait(1) and (self._thread is None or self._thread.is_alive()):
            deaf = deaf + 1 if self._told[0] != self._told_before else 0
            if deaf == self.DEAF:
                os.kill(os.getpid(), signal.SIGTERM)

    def _tell(self) -> None:
        self._told_before = self._told[0] = (self._told[0] + 1) % 256

    def reset(self) -> None:
        """Read options and metrics again, in the parent, for the children to come; keep the old if they are wrong."""
        problem = ''
        try:
            conf = self._read() if self._read else self._conf
            metrics = check(conf)
        except errors.CloudKittyError as error:
            problem = str(error).rstrip('.')
        else:
            self._conf, self._metrics = conf, metrics
        # The launcher ends the children now.
        self._tell()
        # Not while it is handled: oslo.log would append the exception to the line once more.
        if problem:
            LOG.error('%s. The options and metrics read before are used on.', problem)


class ReprocessingService(RatingService):
    """A child that works on tasks of reprocessing."""

    name = 'reprocessing'
    workers_option = 'max_workers_reprocessing'

    def _make_worker(self, conf, database: engine.Database) -> loop.Loop:
        return make_reprocessor(
            conf,
            database,
            self._metrics,
            self._executor,
            share=self._make_share(conf),
            pause=self._pause,
            check=self._make_check(conf, database),
        )
