# SPDX-License-Identifier: Apache-2.0

import pytest

from cloudkitty.tests.functional.processor import deployment


@pytest.fixture
def cloud(database):
    """Scopes *a* and *b*, on every server."""
    return deployment.Deployment(database, 'a', 'b')


@pytest.fixture
def small(sqlite):
    """The same on SQLite."""
    return deployment.Deployment(sqlite, 'a', 'b')
