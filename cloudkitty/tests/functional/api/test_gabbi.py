# SPDX-License-Identifier: Apache-2.0
"""Requests and answers, a YAML file per URL; a file is one test.

Not by gabbi's plugin for pytest: it takes every test with a colon in its name for one of its own.
"""

import pathlib
import unittest

from gabbi import driver
import pytest

from cloudkitty.tests.functional.api import fixtures

DIRECTORY = pathlib.Path(__file__).parent / 'gabbits'


def make_suites():
    """Return {file name: suite of its requests}."""
    found = driver.build_tests(
        str(DIRECTORY), unittest.TestLoader(), intercept=fixtures.application, fixture_module=fixtures
    )
    return {next(iter(suite)).test_base_name.rpartition('_')[2]: suite for suite in found}


@pytest.mark.parametrize('name', sorted(path.stem for path in DIRECTORY.glob('*.yaml')))
def test_requests_of(name):
    result = unittest.TestResult()
    make_suites()[name].run(result)
    assert result.testsRun > 1
    broken = [*result.failures, *result.errors]
    assert not broken, '\n'.join('%s: %s' % (test.test_data['name'], text) for test, text in broken)
