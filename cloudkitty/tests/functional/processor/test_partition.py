# SPDX-License-Identifier: Apache-2.0
"""Spreading scopes over workers: a hash ring on a service of the test's own, and lock files."""

import logging
import subprocess
import sys
import time

import pytest

from cloudkitty.processor import partition
from cloudkitty.tests import coordination
from cloudkitty.tests import samples
from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional.processor import deployment

SCOPES = ['scope-%d' % number for number in range(200)]


def wait_until(condition, seconds=30):
    """Wait until *condition()* is true; fail when it never is."""
    for _ in range(seconds * 20):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail('It did not happen.')


@pytest.fixture
def redis(tmp_path):
    yield from conftest.start_coordination('redis', tmp_path)


@pytest.fixture(params=sorted(coordination.SERVICES))
def service(request, tmp_path):
    """Each service that knows who is there."""
    yield from conftest.start_coordination(request.param, tmp_path)


@pytest.fixture
def join(request, monkeypatch):
    """Return a function that makes a worker's share and joins the others."""
    monkeypatch.setattr(partition.Partition, 'SETTLE', 0)
    monkeypatch.setattr(partition.Partition, 'RETRY', 0)

    def make(url, member):
        share = partition.Partition(url, member)
        share.start()
        request.addfinalizer(share.stop)
        return share

    return make


def claim(share, scope_ids=SCOPES):
    with share.claim(scope_ids) as mine:
        return mine


def test_ring_gives_every_scope_to_exactly_one_worker(service, join):
    shares = [join(service.url, 'worker-%d' % number) for number in range(3)]
    claims = [claim(share) for share in shares]
    assert sorted(scope_id for mine in claims for scope_id in mine) == sorted(SCOPES)
    assert all(20 < len(mine) < 120 for mine in claims)


def test_scopes_stay_where_they_are_while_nobody_comes_or_goes(redis, join):
    one, two = join(redis.url, 'one'), join(redis.url, 'two')
    before = claim(one)
    assert not one.has_changed()
    assert (claim(one), claim(two)) == (before, frozenset(SCOPES) - before)


def test_worker_notices_between_batches_that_another_joined(service, join):
    one = join(service.url, 'one')
    assert claim(one) == frozenset(SCOPES)
    assert not one.has_changed()
    two = join(service.url, 'two')
    assert one.has_changed()
    assert claim(one) | claim(two) == frozenset(SCOPES)
    assert not claim(one) & claim(two)


def test_workers_of_another_deployment_take_nothing_away(redis, join):
    other = partition.Partition(redis.url, 'other', deployment='elsewhere')
    other.start()
    one = join(redis.url, 'one')
    assert claim(one) == claim(other) == frozenset(SCOPES)
    other.stop()


def test_share_of_a_worker_that_left_goes_to_the_others(service, join):
    one, two = join(service.url, 'one'), join(service.url, 'two')
    assert claim(one) != frozenset(SCOPES)
    two.stop()
    assert claim(one) == frozenset(SCOPES)


def test_worker_that_the_others_took_for_gone_joins_again(redis, join):
    one, two = join(redis.url, 'one'), join(redis.url, 'two')
    before = claim(one)
    coordinator = one._coordinator
    coordinator._client.hdel(coordinator._encode_group_id(one._group), b'one')
    assert claim(two) == frozenset(SCOPES)
    assert one.has_changed()
    # It keeps to its share until it is back.
    assert claim(one) == before
    wait_until(lambda: claim(two) != frozenset(SCOPES))
    wait_until(lambda: claim(one) == before and one.tells_changes())
    assert claim(one) | claim(two) == frozenset(SCOPES)


def test_worker_keeps_to_its_share_for_a_while_when_the_service_goes_away(service, join, monkeypatch):
    one, two = join(service.url, 'one'), join(service.url, 'two')
    # Those before it learn of it by themselves.
    assert one.has_changed() or claim(one)
    before = claim(one), claim(two)
    service.stop()
    assert one.has_changed()
    assert not one.tells_changes()
    assert (claim(one), claim(two)) == before
    monkeypatch.setattr(partition.Partition, 'MEMORY', 0)
    assert claim(one) == claim(two) == frozenset(SCOPES)


def test_dead_workers_share_moves_within_seconds(service, join, monkeypatch):
    monkeypatch.setattr(partition, 'MEMBER_TIMEOUT', 2)
    one, two = join(service.url, 'one'), join(service.url, 'two')
    assert claim(one) != frozenset(SCOPES)
    two._coordinator.heart.stop()
    wait_until(one.has_changed, 10)
    assert claim(one) == frozenset(SCOPES)


def test_service_that_is_away_is_warned_of_once_and_joined_when_it_is_back(redis, join, caplog):
    redis.stop()
    share = partition.Partition(redis.url, 'one')
    share.START = 0
    share.start()
    assert [claim(share) for _ in range(3)] == [frozenset(SCOPES)] * 3
    redis.start()
    # The library may have paused for some seconds.
    wait_until(lambda: claim(share) is not None and share._ring is not None, 90)
    other = join(redis.url, 'two')
    wait_until(lambda: not claim(share) & claim(other))
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) <= 1
    share.stop()


def test_two_workers_share_a_database_by_the_ring(redis, join, sqlite):
    cloud = deployment.Deployment(sqlite, *SCOPES[:20])
    cloud.worker = cloud.make_worker(join(redis.url, 'one'))
    other = cloud.make_worker(join(redis.url, 'two'))
    cloud.clock.advance(5 * samples.HOUR)
    # What is due is done or the other's, of which it would be told; its own are due next in an hour.
    assert cloud.worker.run_pass() == cloud.worker.LONGEST_SLEEP
    first = {scope_id for batch in cloud.source.batches for scope_id in batch.scope_ids}
    assert 0 < len(first) < 20
    cloud.source.batches.clear()
    other.run_pass()
    second = {scope_id for batch in cloud.source.batches for scope_id in batch.scope_ids}
    assert first | second == set(SCOPES[:20])
    assert not first & second
    assert cloud.total() == {(): 20 * 6 * 5}


class FakeRing:
    """A ring of two, of which one may die, in the place of a service."""

    def __init__(self):
        self.ring = self
        self.nodes = {b'one': 1, b'two': 1}

    def belongs_to_self(self, bucket):
        return len(self.nodes) == 1 or int(bucket) % 2 == 0

    def run_watchers(self):
        """Nothing is to be asked."""

    def stop(self):
        """Nothing is to be left."""


def test_worker_that_gets_more_while_it_mends_does_not_sleep_through_it(sqlite, monkeypatch):
    share = partition.Partition('redis://127.0.0.1:1/', 'one')
    share._coordinator = share._ring = ring = FakeRing()
    cloud = deployment.Deployment(sqlite, *SCOPES[:20])
    cloud.worker = cloud.make_worker(share)
    mine = [scope_id for scope_id in SCOPES[:20] if partition.bucket_of(scope_id) % 2 == 0]

    def find(states, now):
        # The other dies after scopes were claimed to be rated, and before they are claimed to be mended.
        ring.nodes.pop(b'two', None)
        return frozenset(mine[:1])

    monkeypatch.setattr(cloud.worker._mender, 'find', find)
    cloud.clock.advance(5 * samples.HOUR)
    assert cloud.worker.run_pass() == 1
    assert {scope_id for batch in cloud.source.batches for scope_id in batch.scope_ids} == set(mine)
    cloud.worker.run_pass()
    assert {scope_id for batch in cloud.source.batches for scope_id in batch.scope_ids} == set(SCOPES[:20])


def test_worker_joins_again_only_after_it_has_left(redis, join, monkeypatch):
    one, two = join(redis.url, 'one'), join(redis.url, 'two')
    before = claim(one)
    stop = partition._stop
    monkeypatch.setattr(partition, '_stop', lambda coordinator: (time.sleep(2), stop(coordinator)))
    coordinator = one._coordinator
    coordinator._client.hdel(coordinator._encode_group_id(one._group), b'one')
    assert one.has_changed()
    wait_until(one.tells_changes)
    assert claim(one) == before
    time.sleep(3)
    assert not one.has_changed()
    assert claim(one) | claim(two) == frozenset(SCOPES)
    monkeypatch.undo()


def holder(directory, scope_ids):
    """Start a process that claims scopes by lock files; it prints those it got, and keeps them until its input ends."""
    code = (
        'import sys\n'
        'from cloudkitty.processor import partition\n'
        'share = partition.Partition(sys.argv[1], "holder", 1)\n'
        'share.start()\n'
        'with share.claim(sys.argv[2:]) as mine:\n'
        '    print(*sorted(mine), flush=True)\n'
        '    sys.stdin.read()\n'
        'share.stop()\n'
    )
    return subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', code, 'file://%s' % directory, *scope_ids],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_lock_files_keep_others_away_until_they_are_released(tmp_path):
    share = partition.Partition('file://%s' % tmp_path, 'me')
    share.start()
    process = holder(tmp_path, SCOPES[:5])
    assert process.stdout.readline().split() == sorted(SCOPES[:5])
    assert claim(share, SCOPES[:8]) == frozenset(SCOPES[5:8])
    process.communicate()
    assert claim(share, SCOPES[:8]) == frozenset(SCOPES[:8])
    share.stop()


def test_lock_files_of_a_killed_worker_are_free(tmp_path):
    share = partition.Partition('file://%s' % tmp_path, 'me')
    share.start()
    process = holder(tmp_path, SCOPES[:5])
    process.stdout.readline()
    process.kill()
    process.wait()
    assert claim(share, SCOPES[:5]) == frozenset(SCOPES[:5])
    share.stop()


def test_worker_takes_no_more_lock_files_than_its_share(tmp_path):
    share = partition.Partition('file://%s' % tmp_path, 'me', local_workers=4)
    share.start()
    buckets = {partition.bucket_of(scope_id) for scope_id in SCOPES}
    mine = claim(share)
    assert len({partition.bucket_of(scope_id) for scope_id in mine}) == -(-len(buckets) // 4)
    share.stop()


def test_directory_that_cannot_be_written_is_as_good_as_no_coordination(tmp_path, caplog):
    (tmp_path / 'file').write_text('')
    share = partition.Partition('file://%s' % (tmp_path / 'file' / 'locks'), 'me')
    share.start()
    assert claim(share) == frozenset(SCOPES)
    assert 'never billed twice' in caplog.text
    share.stop()
