# SPDX-License-Identifier: Apache-2.0
"""The real cloud: one for all tests of a session. They keep apart by projects of their own."""

import pytest

from cloudkitty.tests import cloud as clouds
from cloudkitty.tests.functional import conftest as functional


@pytest.fixture(scope='session')
def cloud(tmp_path_factory):
    """A :class:`cloudkitty.tests.cloud.Cloud` with Keystone and Gnocchi running."""
    functional.require_cloud()
    found = clouds.Cloud(tmp_path_factory.mktemp('cloud') / 'data').start()
    yield found
    found.stop()
