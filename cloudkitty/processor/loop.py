# SPDX-License-Identifier: Apache-2.0
"""What keeps a worker working: pass after pass, whatever fails, until it is told to stop."""

import abc
from collections.abc import Callable
import threading
import time

from oslo_db import exception as db_exc
from oslo_log import log
import sqlalchemy

from cloudkitty import errors
from cloudkitty import telemetry
from cloudkitty.db import engine
from cloudkitty.processor import partition

LOG = log.getLogger(__name__)


class Loop(abc.ABC):
    """Runs passes.

    :param share: joined at the start, left at the end.
    :param check: called before the first pass until it raises nothing: what has to be known before anything is rated.
    :param chore: called between passes, now and then.
    """

    #: What it does, among the figures that are counted.
    work: str
    #: Seconds after a pass or a batch that failed altogether; doubled each time, up to the longest.
    FIRST_PAUSE = 5
    LONGEST_PAUSE = 60
    #: Seconds between two looks, between passes, whether other workers came or went.
    WATCH = 2.0

    def __init__(
        self,
        share: partition.Everything,
        check: Callable[[], None] | None = None,
        chore: Callable[[], None] | None = None,
    ) -> None:
        self._share = share
        self._check = check
        self._chore = chore
        self._stopping = threading.Event()
        self._wake = threading.Event()

    def _check_once(self) -> None:
        if self._check is not None:
            self._check()
            self._check = None

    def _do_chore(self) -> None:
        if self._chore is not None:
            self._chore()

    @abc.abstractmethod
    def run_pass(self) -> float:
        """Do what is due; return the seconds until something may be due next."""

    def run(self) -> None:
        """Work until :meth:`stop`; whatever fails is logged and tried again."""
        self._share.start()
        failed = 0
        try:
            while not self._stopping.is_set():
                problem: Exception | None = None
                try:
                    wait = self.run_pass()
                    failed = 0
                except Exception as error:
                    # The last resort: the processor lives on.
                    problem = error
                if problem is not None:
                    telemetry.count(telemetry.FAILED_PASSES, work=self.work)
                    wait = min(self.FIRST_PAUSE * 2**failed, self.LONGEST_PAUSE)
                    failed = min(failed + 1, 10)
                    self._log_failure(problem, wait)
                if not self._stopping.is_set():
                    self._sleep(wait)
                    self._wake.clear()
        finally:
            self._share.stop()

    def _sleep(self, seconds: float) -> None:
        """Wait until there is something to do; who takes over from a worker that died does not wait for a period."""
        end = time.monotonic() + seconds
        while True:
            self._wake.wait(max(0, min(end - time.monotonic(), self.WATCH)))
            if self._wake.is_set() or time.monotonic() >= end or self._has_changed():
                return

    def _has_changed(self) -> bool:
        try:
            return self._share.has_changed()
        except Exception:
            # The last resort; the pass that follows meets it, and says so.
            return True

    def _log_failure(self, error: Exception, pause: float) -> None:
        if isinstance(error, db_exc.DBError | sqlalchemy.exc.SQLAlchemyError):
            LOG.error('The database is away or refuses; trying again in %d s. %s', pause, engine.describe(error))
        elif isinstance(error, errors.CloudKittyError):
            LOG.error('Nothing can be rated; trying again in %d s. %s', pause, error)
        else:
            LOG.error('A pass failed; trying again in %d s.', pause, exc_info=error)

    def stop(self) -> None:
        """End after the batch in hand."""
        self._stopping.set()
        self._wake.set()

    def wake(self) -> None:
        """Look now whether there is something to do."""
        self._wake.set()
