# SPDX-License-Identifier: Apache-2.0
"""The collector that the options describe."""

from oslo_config import cfg
import pytest

from cloudkitty import collector
from cloudkitty import conf as options
from cloudkitty import errors
from cloudkitty.collector import gnocchi
from cloudkitty.collector import prometheus
from cloudkitty.tests import samples
from cloudkitty.tests.functional.collector import test_gnocchi_contract as contract
from cloudkitty.tests.functional.collector import test_gnocchi_faults as faults

HOUR = samples.HOUR
JUNE = samples.JUNE


@pytest.fixture
def conf(fake):
    conf = cfg.ConfigOpts()
    options.register(conf)
    conf([])
    conf.set_override('timezone', 'UTC', 'collect')
    for name, value in (
        ('gnocchi_auth_type', 'basic'),
        ('gnocchi_user', 'admin'),
        ('gnocchi_endpoint', fake.url + '/'),
    ):
        conf.set_override(name, value, 'collector_gnocchi')
    return conf


class File:
    """Stands in for a metrics file."""

    def __init__(self, metrics):
        self.metrics = metrics
        self.document = {}


def test_the_options_make_a_collector_that_works(conf, world):
    world.add('a', 'a', JUNE - HOUR, contract.every(2.0))
    metrics = world.metrics(('cpu', {}))
    conf.set_override('max_granules', 1234, 'orchestrator')
    made = collector.load(conf, File(metrics), None)
    assert isinstance(made, gnocchi.GnocchiCollector) and made._runner.budget == 1234
    assert set(made.conf) == {metrics[0].key} and made.period == HOUR
    assert faults.rated(made.collect(faults.batch(world, metrics, ['a']))) == faults.cells(world, ['a'])


def test_another_scope_key_is_asked_for(conf, world, fake):
    fake.create_resource('rated_instance', world.id('a'), 'p', JUNE - HOUR, [world.metric('cpu')], user_id='u')
    fake.measure(world.id('a'), world.metric('cpu'), contract.every(2.0))
    conf.set_override('scope_key', 'user_id', 'collect')
    (metric,) = world.metrics(('cpu', {'groupby': ['id', 'user_id']}))
    found = collector.load(conf, File([metric]), None).collect(contract.usage.Batch(('u',), (metric,), JUNE, HOUR, 1))
    assert [item.series.scope_id for item in found.columns] == ['u']


def test_a_missing_option_is_named(conf):
    conf.set_override('gnocchi_user', '', 'collector_gnocchi')
    with pytest.raises(errors.ConfigurationError, match='gnocchi_user'):
        collector.load(conf, File([]), None)


def test_the_options_of_prometheus_make_a_collector_that_works(conf, monitored, tmp_path):
    monitored.add('x', 'a', contract.every(2.0))
    metrics = monitored.metrics(('cpu', {}))
    conf.set_override('collector', 'prometheus', 'collect')
    conf.set_override('prometheus_url', monitored.source.url + '/', 'collector_prometheus')
    conf.set_override('prometheus_user', 'u', 'collector_prometheus')
    made = collector.load(conf, File(metrics), None)
    assert isinstance(made, prometheus.PrometheusCollector) and made.period == HOUR
    assert made._client._auth is None and made._client._verify is True
    found = made.collect(contract.usage.Batch((monitored.scope('a'),), metrics, JUNE, HOUR, 1))
    assert [item.quantities for item in found.columns] == [(2,)]
    conf.set_override('prometheus_password', 'p', 'collector_prometheus')
    conf.set_override('insecure', True, 'collector_prometheus')
    made = collector.load(conf, File(metrics), None)
    assert made._client._auth is not None and made._client._verify is False
    conf.set_override('cafile', '/ca.pem', 'collector_prometheus')
    assert collector.load(conf, File(metrics), None)._client._verify == '/ca.pem'


@pytest.mark.parametrize('url', ['', 'localhost:9090', 'ftp://localhost', 'http://localhost/api/v1?x=1'])
def test_a_wrong_url_of_prometheus_is_named(conf, url):
    conf.set_override('collector', 'prometheus', 'collect')
    conf.set_override('prometheus_url', url, 'collector_prometheus')
    with pytest.raises(errors.ConfigurationError, match=r'\[collector_prometheus\] prometheus_url'):
        collector.load(conf, File([]), None)


def test_the_old_name_of_the_url_of_prometheus_is_understood(tmp_path):
    path = tmp_path / 'cloudkitty.conf'
    path.write_text('[prometheus_collector]\nprometheus_url = http://localhost:9090/api/v1\n')
    conf = cfg.ConfigOpts()
    options.register(conf)
    conf([], default_config_files=[str(path)])
    assert conf.collector_prometheus.prometheus_url == 'http://localhost:9090/api/v1'
