# SPDX-License-Identifier: Apache-2.0
"""APIs for tests."""

import pytest
import sqlalchemy

from cloudkitty.tests.functional.api import deployment


@pytest.fixture
def make_api():
    """Return what makes an API (see :class:`deployment.Api`); it is closed after the test."""
    made = []

    def make(*args, **kwargs):
        made.append(deployment.Api(*args, **kwargs))
        return made[-1]

    yield make
    for api in made:
        api.close()


@pytest.fixture
def keystone(make_api):
    """An API with data that validates tokens."""
    return make_api('keystone').seed()


@pytest.fixture
def noauth(make_api):
    """An API with data that lets everybody in."""
    return make_api('noauth').seed()


@pytest.fixture
def statements():
    """List of the statements sent by whatever engine, transaction control left out."""
    found = []

    def note(connection, cursor, statement, *args):
        if statement.split()[0] not in ('BEGIN', 'ROLLBACK'):
            found.append(' '.join(statement.split()))

    sqlalchemy.event.listen(sqlalchemy.Engine, 'before_cursor_execute', note)
    yield found
    sqlalchemy.event.remove(sqlalchemy.Engine, 'before_cursor_execute', note)
