# SPDX-License-Identifier: Apache-2.0
import pytest

from cloudkitty import errors
from cloudkitty import plugins


def test_an_unknown_name_gets_the_alternatives():
    with pytest.raises(errors.ConfigurationError) as caught:
        plugins.load_class('cloudkitty.fetchers', 'nobody')
    assert 'Cannot use "nobody"' in str(caught.value)
    assert 'Installed: gnocchi, keystone, prometheus, source' in str(caught.value)


@pytest.mark.parametrize('name', ['ceilometer', 'meta', 'fake'])
def test_a_collector_of_old_is_told_what_to_use(name):
    with pytest.raises(errors.ConfigurationError, match='use gnocchi'):
        plugins.load_class('cloudkitty.collector.backends', name)


def test_all_rating_modules_are_found():
    assert list(plugins.load_all('cloudkitty.rating.processors')) == ['hashmap', 'noop', 'pyscripts']
