# SPDX-License-Identifier: Apache-2.0
"""How hard a worker may press a server: some requests at a time, and none while it is down."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import threading
import time


class Closed(Exception):
    """The source failed several times in a row and is left alone for some *seconds* more."""

    def __init__(self, seconds: float) -> None:
        super().__init__('%d s' % seconds)
        self.seconds = seconds


class Gate:
    """Lets requests through.

    After :data:`FAILURES` requests in a row that did not reach a working server it closes: for :data:`PAUSE` seconds,
    then one request tries, and for twice as long if that fails too. A server that works and refuses is not down.

    :param width: how many requests at a time.
    """

    FAILURES = 6
    PAUSE = 5.0
    LONGEST_PAUSE = 60.0

    def __init__(self, width: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = threading.BoundedSemaphore(width)
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause = self.PAUSE
        self._closed_until = 0.0
        self._is_trying = False

    @contextlib.contextmanager
    def passage(self) -> Iterator[None]:
        """Take a place for a request; raise :class:`Closed` while there is none to be made."""
        with self._places:
            with self._lock:
                left = self._closed_until - self._clock()
                if left > 0:
                    raise Closed(left)
                is_trial = self._failures >= self.FAILURES
                if is_trial and self._is_trying:
                    raise Closed(self.PAUSE)
                self._is_trying = self._is_trying or is_trial
            try:
                yield
            finally:
                if is_trial:
                    with self._lock:
                        self._is_trying = False

    def note_working(self) -> None:
        """Take note that the server answered, whatever it said."""
        with self._lock:
            self._failures = 0
            self._pause = self.PAUSE
            self._closed_until = 0.0

    def note_failing(self, wait: float = 0) -> None:
        """Take note that no working server was reached.

        :param wait: seconds that whoever answered in its place asks to wait; no more than the longest pause counts.
        """
        with self._lock:
            self._failures += 1
            now = self._clock()
            if self._failures >= self.FAILURES and self._closed_until <= now:
                self._closed_until = now + self._pause
                self._pause = min(2 * self._pause, self.LONGEST_PAUSE)
            if wait > 0:
                self._closed_until = max(self._closed_until, now + min(wait, self.LONGEST_PAUSE))
