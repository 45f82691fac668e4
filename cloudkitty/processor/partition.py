# SPDX-License-Identifier: Apache-2.0
"""Which scopes this worker works on. It avoids double work; nothing is wrong, only slower, when it fails.

Scopes hash to 1,024 buckets. Coordination drivers with groups give buckets to workers by a hash ring; for the others
a lock per bucket, taken without waiting and kept for a round of batches, does.
"""

from collections.abc import Collection
from collections.abc import Iterator
import contextlib
import hashlib
import random
import threading
import time
from typing import Any

from oslo_log import log
import tooz
from tooz import coordination

from cloudkitty import errors

LOG = log.getLogger(__name__)

BUCKETS = 1024
PARTITIONS = 256
#: Seconds without a heartbeat after which a worker counts as gone. A batch yields to the heart often, and whoever is
#: taken for gone by mistake only sees its work done twice and thrown away once: so a dead host's scopes wait seconds.
MEMBER_TIMEOUT = 12
#: Seconds without a heartbeat after which a lock is free, for drivers whose locks are not free by themselves.
LOCK_TIMEOUT = 60


def bucket_of(scope_id: str) -> int:
    """Return the bucket of a scope: 0 to 1023, the same in every release."""
    return int.from_bytes(hashlib.blake2b(scope_id.encode(), digest_size=4).digest(), 'big') % BUCKETS


def check(url: str) -> None:
    """Raise ConfigurationError for a coordination URL whose driver does not exist or cannot be used here."""
    try:
        coordination.get_coordinator(url, b'check')
    except ImportError as error:
        raise errors.ConfigurationError(
            '[orchestrator] coordination_url: its driver needs a package that is not installed: %s.' % error.name
        ) from error
    except (RuntimeError, ValueError, tooz.ToozError, OSError) as error:
        # The URL may hold a password: it is not repeated.
        raise errors.ConfigurationError(
            '[orchestrator] coordination_url: there is no such driver, or it does not take these options.'
        ) from error


class _TakenForGoneError(tooz.ToozError):
    """The others do not count on this worker any more, though it lives."""


class Everything:
    """No coordination: one worker does all.

    :ivar generation: a number that changes whenever workers came or went, as far as is known.
    """

    generation = 0

    def start(self) -> None:
        """Nothing to join."""

    def stop(self) -> None:
        """Nothing to leave."""

    @contextlib.contextmanager
    def claim(self, scope_ids: Collection[str]) -> Iterator[frozenset[str]]:
        """Give the scopes of *scope_ids* that are this worker's for the length of the block."""
        yield frozenset(scope_ids)

    def has_changed(self) -> bool:
        """Return whether workers came or went since the last claim, or the last time this was asked."""
        return False

    def tells_changes(self) -> bool:
        """Return whether scopes of others never become this worker's without :meth:`has_changed` telling so."""
        return False


class Partition(Everything):
    """The share of one worker.

    A coordination service that is away may take a minute to say so. It is waited for in a thread; meanwhile the worker
    keeps to the share it had, for a while, and then works on everything.

    :param url: of tooz.
    :param member: name of this worker, unique among all.
    :param local_workers: workers on this host, among which buckets are spread where the driver knows no groups.
    :param deployment: what this worker has in common with those it shares scopes with. Workers of another deployment
        that use the same service would never work on ours.
    """

    #: Seconds a worker that joins waits, so that those before it notice; some jitter is added.
    SETTLE = 1.0
    #: Seconds that starting waits for the service.
    START = 10.0
    #: Seconds between two attempts to join.
    RETRY = 30.0
    #: Seconds for which a worker keeps to its share while the service is away. By then somebody who died meanwhile is
    #: missed more than the work saved is worth.
    MEMORY = 300.0

    def __init__(self, url: str, member: str, local_workers: int = 1, deployment: str = '') -> None:
        self._url = url
        self._member = member.encode()
        self._local_workers = max(1, local_workers)
        mark = hashlib.blake2b(deployment.encode(), digest_size=8).hexdigest()
        self._group = b'cloudkitty-%s' % mark.encode()
        self._coordinator: coordination.CoordinationDriver | None = None
        self._ring: Any = None
        # Who was there at the last look, which buckets that gave this worker, and when that was.
        self._members: frozenset[bytes] = frozenset()
        self._buckets: frozenset[int] | None = None
        self._looked_at = float('-inf')
        self._joining: threading.Thread | None = None
        self._leaving: threading.Thread | None = None
        self._tried_at = float('-inf')
        self._is_away = False
        self._is_stopped = False

    def start(self) -> None:
        """Join the others; raises nothing: a coordination service that is away is joined later."""
        self._is_stopped = False
        self._join_in_thread()
        if self._joining is not None:
            self._joining.join(self.START)

    def stop(self) -> None:
        """Leave the others; again, or before the start, is fine."""
        self._is_stopped = True
        leaving = self._leave()
        if leaving is not None:
            leaving.join(self.START / 2)

    def _join_in_thread(self) -> None:
        is_joining = self._joining is not None and self._joining.is_alive()
        if is_joining or self._is_stopped or time.monotonic() - self._tried_at < self.RETRY:
            return
        self._tried_at = time.monotonic()
        self._joining = threading.Thread(target=self._join, name='coordination', daemon=True)
        self._joining.start()

    def _join(self) -> None:
        coordinator: coordination.CoordinationDriver | None = None
        problem: Exception | None = None
        try:
            # Whoever still leaves by the same name would take the new membership with him.
            if self._leaving is not None:
                self._leaving.join(self.START)
                if self._leaving.is_alive():
                    raise tooz.ToozError('leaving takes long')
            # Heartbeats by tooz's own thread; a long batch does not lose the membership.
            coordinator = coordination.get_coordinator(
                self._url, self._member, membership_timeout=MEMBER_TIMEOUT, lock_timeout=LOCK_TIMEOUT
            )
            coordinator.start(start_heart=True)
            ring = None
            if _has_groups(coordinator):
                ring = coordinator.join_partitioned_group(self._group, partitions=PARTITIONS)
                time.sleep(self.SETTLE + random.uniform(0, self.SETTLE))
        except Exception as error:
            # Drivers let through what their libraries raise; without coordination everything works, twice at worst.
            problem = error
        if problem is not None:
            self._say_away(problem)
        if problem is not None or self._is_stopped:
            _stop(coordinator)
            return
        self._coordinator, self._ring = coordinator, ring
        if self._is_away:
            self._is_away = False
            LOG.info('The coordination service is back.')

    def _say_away(self, error: Exception) -> None:
        level = LOG.debug if self._is_away else LOG.warning
        level('The coordination service is away (%s): scopes may be worked on twice, never billed twice.', error)
        self._is_away = True

    def _leave(self) -> threading.Thread | None:
        coordinator, self._coordinator, self._ring = self._coordinator, None, None
        if coordinator is None:
            return None
        leaving = threading.Thread(target=_stop, args=(coordinator,), name='coordination', daemon=True)
        leaving.start()
        self._leaving = leaving
        return leaving

    @contextlib.contextmanager
    def claim(self, scope_ids: Collection[str]) -> Iterator[frozenset[str]]:
        if self._coordinator is None:
            self._join_in_thread()
        mine = frozenset(scope_ids)
        locks: list[Any] = []
        problem: Exception | None = None
        try:
            if self._ring is not None:
                self._look()
            elif self._coordinator is not None:
                mine = self._lock(scope_ids, locks)
        except Exception as error:
            # Drivers let through what their libraries raise.
            problem = error
        if problem is not None:
            self._lose(problem)
        buckets = self._known_buckets()
        if buckets is not None:
            mine = frozenset(scope_id for scope_id in scope_ids if bucket_of(scope_id) in buckets)
        try:
            yield mine
        finally:
            for lock in locks:
                # As above; a lock that is not given back ends by itself.
                with contextlib.suppress(Exception):
                    lock.release()

    def has_changed(self) -> bool:
        if self._coordinator is None:
            self._join_in_thread()
        if self._ring is None:
            return False
        before = self._members
        problem: Exception
        try:
            self._look()
        except Exception as error:
            # As above.
            problem = error
        else:
            return self._members != before
        self._lose(problem)
        return True

    def tells_changes(self) -> bool:
        return self._ring is not None

    def _look(self) -> None:
        """Learn who is there now, and which buckets that gives this worker."""
        ring, coordinator = self._ring, self._coordinator
        if ring is None or coordinator is None:
            return
        coordinator.run_watchers()
        members = frozenset(ring.ring.nodes)
        if self._member not in members:
            raise _TakenForGoneError('the others take this worker for gone')
        if members != self._members:
            self._members = members
            self.generation += 1
            self._buckets = frozenset(bucket for bucket in range(BUCKETS) if ring.belongs_to_self(b'%d' % bucket))
        self._looked_at = time.monotonic()

    def _known_buckets(self) -> frozenset[int] | None:
        """Return the buckets of this worker, as of the last look; None: nothing is known that still counts."""
        if self._buckets is None or self._looked_at + self.MEMORY < time.monotonic():
            return None
        return self._buckets

    def _lose(self, problem: Exception) -> None:
        """Leave what does not work any more, to join again."""
        self._leave()
        self._members = frozenset()
        if isinstance(problem, _TakenForGoneError):
            LOG.warning('The other workers took this one for gone; it joins them again.')
            self._tried_at = float('-inf')
            self._join_in_thread()
        else:
            self._say_away(problem)

    def _lock(self, scope_ids: Collection[str], locks: list[Any]) -> frozenset[str]:
        """Lock free buckets, up to this worker's share of those asked for; add the locks to *locks*."""
        assert self._coordinator is not None
        buckets: dict[int, list[str]] = {}
        for scope_id in scope_ids:
            buckets.setdefault(bucket_of(scope_id), []).append(scope_id)
        share = -(-len(buckets) // self._local_workers)
        order = list(buckets)
        random.shuffle(order)
        mine: list[str] = []
        for bucket in order:
            if len(locks) == share:
                break
            lock = self._coordinator.get_lock(b'%s-bucket-%d' % (self._group, bucket))
            if lock.acquire(blocking=False):
                locks.append(lock)
                mine += buckets[bucket]
        return frozenset(mine)


def _stop(coordinator: coordination.CoordinationDriver | None) -> None:
    if coordinator is None:
        return
    try:
        coordinator.stop()
    except Exception as error:
        # It may be half started, and its service away.
        LOG.debug('The coordination service was not left in order: %s', error)


def _has_groups(coordinator: coordination.CoordinationDriver) -> bool:
    """Return whether workers on other hosts are seen: the file driver only claims so."""
    if type(coordinator).__module__.endswith(('.file', '.ipc')):
        return False
    return hasattr(coordinator, 'join_partitioned_group') and type(coordinator).join_group is not (
        coordination.CoordinationDriver.join_group
    )
