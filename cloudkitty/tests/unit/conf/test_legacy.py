# SPDX-License-Identifier: Apache-2.0
from oslo_config import cfg
import pytest

from cloudkitty import conf as options
from cloudkitty import service
from cloudkitty.cli import old_options
from cloudkitty.conf import legacy

OF_2018 = """
[DEFAULT]
verbose = True
[oslo_messaging_rabbit]
rabbit_userid = openstack
rabbit_password = p@ss/word
rabbit_hosts = controller
[auth]
username = cloudkitty
[keystone_authtoken]
username = cloudkitty
password = secret
project_name = service
region = RegionOne
auth_url = http://controller:5000/v2.0
auth_plugin = password
[database]
connection = mysql://cloudkitty:secret@controller/cloudkitty
[keystone_fetcher]
username = admin
password = secret
tenant = admin
region = RegionOne
url = http://controller:35357/v2.0
[tenant_fetcher]
backend = source
[ceilometer_collector]
username = cloudkitty
password = secret
tenant = service
url = http://controller:5000
"""


@pytest.fixture
def prepare(tmp_path):
    def run(text):
        path = tmp_path / 'cloudkitty.conf'
        path.write_text(text)
        return service.prepare_service([], [str(path)], cfg.ConfigOpts(), 'cloudkitty-test')

    return run


def test_files_in_the_directories_of_the_usual_places_are_understood(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    directory = tmp_path / '.cloudkitty' / 'cloudkitty.conf.d'
    directory.mkdir(parents=True)
    (directory / 'old.conf').write_text(OF_2018)
    conf = service.prepare_service([], None, cfg.ConfigOpts(), 'cloudkitty-test')
    assert conf.transport_url == 'rabbit://openstack:p%40ss%2Fword@controller:5672/'
    assert any(line.startswith('[keystone_fetcher] tenant: ') for line in old_options.list_uses(conf))


def test_a_file_of_2018_is_understood(prepare):
    conf = prepare(OF_2018)
    assert conf.transport_url == 'rabbit://openstack:p%40ss%2Fword@controller:5672/'
    assert conf.fetcher.backend == 'source'
    fetcher = conf.fetcher_keystone
    assert (fetcher.auth_type, fetcher.username, fetcher.project_name, fetcher.auth_url) == (
        'password',
        'admin',
        'admin',
        'http://controller:35357/',
    )
    assert conf.collector_gnocchi.username == 'cloudkitty'
    assert conf.collector_gnocchi.project_name == 'service'


def test_a_value_under_a_new_name_wins(prepare):
    conf = prepare('[tenant_fetcher]\nbackend = source\n[fetcher]\nbackend = keystone\n')
    assert conf.fetcher.backend == 'keystone'


def test_several_brokers_become_one_url():
    url = legacy.compose_rabbit_url({'rabbit_hosts': 'a, b:5673', 'rabbit_virtual_host': '/ck'})
    assert url == 'rabbit://guest:guest@a:5672,guest:guest@b:5673/ck'


def test_defaults_of_the_contract(prepare):
    conf = prepare('')
    assert (conf.collect.period, conf.collect.wait_periods, conf.collect.collector) == (3600, 2, 'gnocchi')
    assert (conf.storage.version, conf.storage.backend) == (2, 'sqlalchemy')
    assert (conf.api.port, conf.auth_strategy, conf.fetcher.backend) == (8889, 'keystone', 'keystone')
    assert conf.orchestrator.max_threads == 16


def test_the_zone_is_checked(prepare):
    assert str(options.zone(prepare('[collect]\ntimezone = Europe/Paris\n'))) == 'Europe/Paris'
    with pytest.raises(Exception, match=r'\[collect\] timezone'):
        options.zone(prepare('[collect]\ntimezone = Mars/Olympus\n'))


@pytest.mark.parametrize(
    'text, words',
    [
        ('[collect]\nperiod = soon\n', 'period'),
        ('[collect]\nperiod = 0\n', 'period'),
        ('[storage]\nversion = 3\n', 'version'),
        ('no section\n', ''),
    ],
)
def test_a_wrong_value_names_the_option(prepare, text, words):
    with pytest.raises(Exception) as caught:
        prepare(text)
    assert type(caught.value).__name__ == 'ConfigurationError'
    assert words in str(caught.value)
