# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from cloudkitty.clients import gate


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def made(clock):
    return gate.Gate(2, clock)


def fail(made, count=1):
    for _ in range(count):
        with made.passage():
            made.note_failing()


def left(made):
    with pytest.raises(gate.Closed) as caught, made.passage():
        pass
    return caught.value.seconds


def test_only_so_many_are_under_way(made):
    entered = threading.Semaphore(0)
    leave = threading.Event()
    most = []

    def ask():
        with made.passage():
            most.append(1)
            entered.release()
            leave.wait(10)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=10) and entered.acquire(timeout=10)
    assert not entered.acquire(timeout=0.1)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert len(most) == 4


def test_a_source_that_is_down_is_left_alone_for_longer_and_longer(made, clock):
    fail(made, made.FAILURES)
    pauses = []
    for _ in range(6):
        pauses.append(left(made))
        clock.now += pauses[-1]
        fail(made)
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_one_answer_opens_it(made, clock):
    fail(made, made.FAILURES)
    clock.now += left(made)
    with made.passage():
        made.note_working()
    fail(made, made.FAILURES - 1)
    with made.passage():
        made.note_working()


def test_failures_between_answers_do_not_close_it(made):
    for _ in range(20):
        fail(made, made.FAILURES - 1)
        with made.passage():
            made.note_working()


def test_one_at_a_time_tries(made, clock):
    fail(made, made.FAILURES)
    clock.now += left(made)
    with made.passage():
        assert left(made) == made.PAUSE
        made.note_working()
    with made.passage():
        pass


def test_a_trial_that_raises_lets_others_try(made, clock):
    fail(made, made.FAILURES)
    clock.now += left(made)
    with pytest.raises(ZeroDivisionError), made.passage():
        raise ZeroDivisionError
    with made.passage():
        made.note_working()


def test_who_asks_to_wait_is_obeyed_within_reason(made, clock):
    with made.passage():
        made.note_failing(20)
    assert left(made) == 20
    clock.now += 20
    with made.passage():
        made.note_failing(86400)
    assert left(made) == made.LONGEST_PAUSE
