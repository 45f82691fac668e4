# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402
"""Starts a command of the service with the time of the laboratory in place of that of the machine.

usage: python -m cloudkitty.tests.faults.entry processor|api CLOCK HOST [ARGUMENT ...]

The bug that CLOUDKITTY_LAB_BUG names is planted in it: only the laboratory's tests of itself do that.
"""

import os
import sys

KIND, PATH, HOST = sys.argv[1:4]

if KIND == 'processor':
    # It patches what has to be patched before anything else is imported.
    from cloudkitty.cli import processor as command
else:
    from cloudkitty.cli import api as command  # type: ignore[no-redef]

import datetime
import functools
import gc
import random
import signal
import time
import traceback
from types import SimpleNamespace

import greenlet

from cloudkitty import period
from cloudkitty.tests.faults import bugs
from cloudkitty.tests.faults import clock as clocks

#: Seconds of the machine between two passes at least.
SHORTEST_SLEEP = 0.05
#: Seconds of the machine for which a list of scopes, and a plan, are good.
LIST_LIFE, PLAN_LIFE = 2, 5
#: Seconds of the machine for which a slow commit waits before it locks anything, and while it holds its locks.
SLOW_BEFORE, SLOW_INSIDE = 2, 0.5


def set_clock(clock):
    """Let everything that asks for the time get that of *clock*."""

    def now(zone=None):
        return datetime.datetime.fromtimestamp(clock.now(), period.UTC)

    if KIND == 'api':
        from cloudkitty.api.v1 import hashmap

        hashmap._now = now
        return
    from cloudkitty.collector.gnocchi import batches
    from cloudkitty.collector.gnocchi import requests
    from cloudkitty.collector.gnocchi import warm
    from cloudkitty.processor import partition
    from cloudkitty.processor import reprocessor
    from cloudkitty.processor import service
    from cloudkitty.processor import standing
    from cloudkitty.processor import worker

    faked = SimpleNamespace(**{**vars(time), 'time': clock.now})
    for module in (batches, requests, warm):
        module.time = faked
    for name in ('make_worker', 'make_reprocessor'):
        setattr(service, name, functools.partial(getattr(service, name), clock=now))
    # What tells Prometheus where the scopes stand.
    service.now = now
    standing.Standing.LIFE /= clock.speed
    standing.Standing.PRICES_LIFE /= clock.speed
    worker.Worker.LIST_LIFE = LIST_LIFE * clock.speed
    worker.Worker.PLAN_LIFE = PLAN_LIFE * clock.speed
    for kind in (worker.Worker, reprocessor.Reprocessor):
        kind.run_pass = _hurry(kind.run_pass, clock.speed)
    slow_down(float(os.environ.get('CLOUDKITTY_LAB_SLOW', 0)))
    partition.MEMBER_TIMEOUT = int(os.environ.get('CLOUDKITTY_LAB_MEMBER_TIMEOUT', partition.MEMBER_TIMEOUT))


def slow_down(share):
    """Let that share of all commits take long before they begin and before they end, so that faults strike there."""
    from cloudkitty.storage import transaction
    from cloudkitty.storage.sqlalchemy import driver

    dice = random.Random()
    commit, finish = driver.SQLAlchemyStorage.commit, transaction.finish

    def late_commit(self, *arguments):
        if dice.random() < share:
            time.sleep(dice.uniform(0, SLOW_BEFORE))
        return commit(self, *arguments)

    def late_finish(*arguments):
        if dice.random() < share:
            time.sleep(dice.uniform(0, SLOW_INSIDE))
        return finish(*arguments)

    if share:
        driver.SQLAlchemyStorage.commit = late_commit
        transaction.finish = late_finish


def _hurry(run_pass, speed):
    def run(self):
        return max(SHORTEST_SLEEP, run_pass(self) / speed)

    return run


def show_threads(*arguments):
    """Write where every green thread is to the log: what is stuck can be asked by SIGUSR2."""
    for thread in [item for item in gc.get_objects() if isinstance(item, greenlet.greenlet) and item.gr_frame]:
        sys.stderr.write('---- %s\n%s' % (thread, ''.join(traceback.format_stack(thread.gr_frame))))
    sys.stderr.flush()


def main():
    signal.signal(signal.SIGUSR2, show_threads)
    set_clock(clocks.Clock(PATH, int(HOST)))
    bugs.plant(os.environ.get('CLOUDKITTY_LAB_BUG'), KIND)
    sys.argv = ['cloudkitty-%s' % KIND, *sys.argv[4:]]
    return command.main()


if __name__ == '__main__':
    sys.exit(main())
