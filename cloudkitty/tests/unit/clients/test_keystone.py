# SPDX-License-Identifier: Apache-2.0

from oslo_config import cfg
import pytest

from cloudkitty import errors
from cloudkitty.clients import keystone
from cloudkitty.conf import collector_gnocchi

PASSWORD = """
auth_type = password
auth_url = http://127.0.0.1:1/v3
username = rater
password = secret
"""


def read(tmp_path, text):
    conf = cfg.ConfigOpts()
    collector_gnocchi.register(conf)
    path = tmp_path / 'cloudkitty.conf'
    path.write_text(text)
    conf([], default_config_files=[str(path)])
    return conf


@pytest.mark.parametrize('section', ['keystone_authtoken', 'ks_auth'])
def test_auth_section_names_where_plugin_and_its_options_come_from(tmp_path, section):
    conf = read(tmp_path, '[collector_gnocchi]\nauth_section = %s\n[%s]\n%s' % (section, section, PASSWORD))
    assert keystone.load_auth(conf, 'collector_gnocchi').auth_url == 'http://127.0.0.1:1/v3'


def test_options_may_stand_in_the_group_itself(tmp_path):
    conf = read(tmp_path, '[collector_gnocchi]\n%s' % PASSWORD)
    assert keystone.load_auth(conf, 'collector_gnocchi').auth_url == 'http://127.0.0.1:1/v3'


@pytest.mark.parametrize('text', ['', '[collector_gnocchi]\nauth_section = nowhere\n'])
def test_no_credentials_are_an_error_that_names_the_group(tmp_path, text):
    with pytest.raises(errors.ConfigurationError, match=r'\[collector_gnocchi\] auth_type is not set'):
        keystone.load_auth(read(tmp_path, text), 'collector_gnocchi')
