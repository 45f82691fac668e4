# SPDX-License-Identifier: Apache-2.0
"""No test leaves a secret in a log: whichever does, fails. None fails because the machine is busy."""

import hypothesis
import pytest

from cloudkitty.tests import processes
from cloudkitty.tests import secrecy


def pytest_configure(config):
    hypothesis.settings.register_profile(
        'house', deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile('house')
    secrecy.WATCH.start()
    processes.readers.append(secrecy.WATCH.read_file)


def pytest_unconfigure(config):
    processes.readers.remove(secrecy.WATCH.read_file)
    secrecy.WATCH.stop()


def _check():
    leaks = secrecy.WATCH.take()
    if leaks:
        pytest.fail('Secrets in logs: %s.' % '; '.join(leaks), pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    result = yield
    _check()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    _check()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    result = yield
    # What was started for this test and others may have been stopped just now, and its output read.
    _check()
    return result
