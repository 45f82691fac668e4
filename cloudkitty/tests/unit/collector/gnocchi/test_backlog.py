# SPDX-License-Identifier: Apache-2.0

import time

import pytest

from cloudkitty.collector.gnocchi import backlog
from cloudkitty.collector.gnocchi import requests


class Client:
    """Answers with *answer*, or raises it."""

    timeout = 60

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def get(self, path, query, deadline):
        self.asked.append((path, query))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def status(measures, metrics):
    return {'storage': {'summary': {'measures': measures, 'metrics': metrics}}, 'metricd': {}}


@pytest.fixture
def now():
    return int(time.time())


def test_nothing_waits(now):
    client = Client(status(0, 0))
    assert backlog.Watch(12).look(client, now) is None
    assert client.asked == [('/v1/status', [('details', 'false')])]


@pytest.mark.parametrize(('measures', 'metrics', 'is_deep'), [(1, 1, False), (120, 10, False), (121, 10, True)])
def test_it_is_deep_if_each_metric_that_waits_has_many_measures(now, measures, metrics, is_deep):
    found = backlog.Watch(12).look(Client(status(measures, metrics)), now)
    assert found.is_deep is is_deep
    assert now - 86400 <= found.since <= now - 86400 + 60
    assert str(measures) in found.text and str(metrics) in found.text


def test_what_the_server_said_is_believed_for_a_while(now):
    client = Client(status(5, 5))
    watch = backlog.Watch(12)
    assert watch.look(client, now) == watch.look(client, now)
    assert len(client.asked) == 1


def test_of_old_periods_nobody_asks(now):
    client = Client(status(5, 5))
    assert backlog.Watch(12).look(client, now - 90000) is None
    assert client.asked == []


@pytest.mark.parametrize(
    'answer',
    [
        requests.RequestFailed(requests.Refusal.TROUBLE, 'Gnocchi answered 403: no.'),
        [],
        {},
        {'storage': None},
        {'storage': {'summary': {'measures': 'many', 'metrics': 1}}},
        {'storage': {'summary': {'measures': 1}}},
    ],
)
def test_server_that_does_not_say_has_none_and_a_warning_says_so_once(now, caplog, monkeypatch, answer):
    client = Client(answer)
    watch = backlog.Watch(12)
    assert watch.look(client, now) is None
    assert watch.look(client, now) is None
    assert len(client.asked) == 1
    monkeypatch.setattr(backlog, 'PAUSE', 0)
    again = backlog.Watch(12)
    assert [again.look(client, now) for _ in range(2)] == [None, None]
    assert len(client.asked) == 3
    assert len([record for record in caplog.records if 'backlog' in record.message]) == 2
