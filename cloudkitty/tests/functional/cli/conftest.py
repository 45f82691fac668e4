# SPDX-License-Identifier: Apache-2.0

import pytest

from cloudkitty.tests.functional.cli import programs as cli_programs


@pytest.fixture
def programs(tmp_path):
    """Commands on an SQLite file."""
    found = cli_programs.Programs(tmp_path)
    yield found
    found.end()


@pytest.fixture
def everywhere(tmp_path, database_url):
    """Commands on an empty database of every server."""
    found = cli_programs.Programs(tmp_path, database_url)
    yield found
    found.end()
