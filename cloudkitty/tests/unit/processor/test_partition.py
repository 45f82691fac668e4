# SPDX-License-Identifier: Apache-2.0

import collections

import pytest

from cloudkitty import errors
from cloudkitty.processor import partition


def test_buckets_never_change():
    assert [partition.bucket_of(text) for text in ('', 'a', 'project', 'größe')] == [805, 85, 559, 88]


def test_scopes_spread_over_all_buckets():
    found = collections.Counter(partition.bucket_of('scope-%d' % number) for number in range(100000))
    assert set(found) == set(range(partition.BUCKETS))
    assert max(found.values()) < 200


def test_without_coordination_everything_is_ours():
    share = partition.Everything()
    share.start()
    with share.claim(['a', 'b']) as mine:
        assert mine == {'a', 'b'}
    assert not share.has_changed()
    share.stop()


@pytest.mark.parametrize('url', ['', 'nonsense://user:secret@host/', 'redis://host/?timeout=soon'])
def test_url_that_cannot_work_is_refused_without_repeating_it(url):
    with pytest.raises(errors.ConfigurationError, match='coordination_url') as caught:
        partition.check(url)
    assert 'secret' not in str(caught.value)


def test_driver_that_needs_a_package_says_which(monkeypatch):
    with pytest.raises(errors.ConfigurationError, match='a package that is not installed: kazoo'):
        partition.check('zookeeper://127.0.0.1/')


@pytest.mark.parametrize('url', ['file:///tmp/locks', 'redis://127.0.0.1:1/'])
def test_url_is_checked_without_asking_the_service(url):
    partition.check(url)


def test_stopping_what_never_started_is_fine():
    share = partition.Partition('redis://127.0.0.1:1/', 'me')
    share.stop()
    share.stop()
