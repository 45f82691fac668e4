# SPDX-License-Identifier: Apache-2.0
"""Which scopes this worker works on. It avoids double work; nothing is wrong, only slower, when it fails.

Scopes hash to 1,024 buckets. Coordination drivers with groups give buckets to workers by a hash ring; for the others
a lock per bucket, taken without waiting and kept for a pass, does.
"""

from collections.abc import Collection
from collections.abc import Iterator
import contextlib
import hashlib
import random
import time
from typing import Any

from oslo_log import log
import tooz
from tooz import coordination

LOG = log.getLogger(__name__)

BUCKETS = 1024
PARTITIONS = 256
GROUP = b'cloudkitty-processor'


def bucket_of(scope_id: str) -> int:
    """Return the bucket of a scope: 0 to 1023, the same in every release."""
    return int.from_bytes(hashlib.blake2b(scope_id.encode(), digest_size=4).digest(), 'big') % BUCKETS


class Everything:
    """No coordination: one worker does all."""

    def start(self) -> None:
        """Nothing to join."""

    def stop(self) -> None:
        """Nothing to leave."""

    @contextlib.contextmanager
    def claim(self, scope_ids: Collection[str]) -> Iterator[frozenset[str]]:
        """Give the scopes of *scope_ids* that are this worker's for the length of the block."""
        yield frozenset(scope_ids)


class Partition(Everything):
    """The share of one worker.

    :param url: of tooz.
    :param member: name of this worker, unique among all.
    :param local_workers: workers on this host, among which buckets are spread where the driver knows no groups.
    """

    #: Seconds a worker that joins waits, so that those before it notice; some jitter is added.
    SETTLE = 1.0

    def __init__(self, url: str, member: str, local_workers: int = 1) -> None:
        self._url = url
        self._member = member
        self._local_workers = max(1, local_workers)
        self._coordinator: coordination.CoordinationDriver | None = None
        self._ring: Any = None

    def start(self) -> None:
        """Join the others; raises nothing: a coordination service that is away is joined later."""
        try:
            # Heartbeats by tooz's own thread; a long batch does not lose the membership.
            coordinator = coordination.get_coordinator(self._url, self._member.encode())
            coordinator.start(start_heart=True)
            self._coordinator = coordinator
            if _has_groups(coordinator):
                self._ring = coordinator.join_partitioned_group(GROUP, partitions=PARTITIONS)
                time.sleep(self.SETTLE + random.uniform(0, self.SETTLE))
        except (tooz.ToozError, OSError) as error:
            LOG.warning(
                'The coordination service is away (%s): scopes may be worked on twice, never billed twice.', error
            )
            self._leave()

    def stop(self) -> None:
        self._leave()

    def _leave(self) -> None:
        coordinator, self._coordinator, self._ring = self._coordinator, None, None
        if coordinator is not None:
            try:
                coordinator.stop()
            except (tooz.ToozError, OSError) as error:
                LOG.debug('The coordination service was not left in order: %s', error)

    @contextlib.contextmanager
    def claim(self, scope_ids: Collection[str]) -> Iterator[frozenset[str]]:
        if self._coordinator is None:
            self.start()
        locks: list[Any] = []
        try:
            if self._coordinator is None:
                mine = frozenset(scope_ids)
            elif self._ring is not None:
                self._coordinator.run_watchers()
                mine = frozenset(
                    scope_id for scope_id in scope_ids if self._ring.belongs_to_self(b'%d' % bucket_of(scope_id))
                )
            else:
                mine, locks = self._lock(scope_ids)
        except (tooz.ToozError, OSError) as error:
            LOG.warning(
                'The coordination service is away (%s): scopes may be worked on twice, never billed twice.', error
            )
            self._leave()
            mine = frozenset(scope_ids)
        try:
            yield mine
        finally:
            for lock in locks:
                with contextlib.suppress(tooz.ToozError, OSError):
                    lock.release()

    def _lock(self, scope_ids: Collection[str]) -> tuple[frozenset[str], list[Any]]:
        """Lock free buckets, up to this worker's share of those in use."""
        assert self._coordinator is not None
        buckets: dict[int, list[str]] = {}
        for scope_id in scope_ids:
            buckets.setdefault(bucket_of(scope_id), []).append(scope_id)
        share = -(-len(buckets) // self._local_workers)
        order = list(buckets)
        random.shuffle(order)
        mine: list[str] = []
        locks: list[Any] = []
        for bucket in order:
            if len(locks) == share:
                break
            lock = self._coordinator.get_lock(b'cloudkitty-bucket-%d' % bucket)
            if lock.acquire(blocking=False):
                locks.append(lock)
                mine += buckets[bucket]
        return frozenset(mine), locks


def _has_groups(coordinator: coordination.CoordinationDriver) -> bool:
    """Return whether workers on other hosts are seen: the file driver only claims so."""
    if type(coordinator).__module__.endswith(('.file', '.ipc')):
        return False
    return hasattr(coordinator, 'join_partitioned_group') and type(coordinator).join_group is not (
        coordination.CoordinationDriver.join_group
    )
