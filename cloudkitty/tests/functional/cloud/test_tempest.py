# SPDX-License-Identifier: Apache-2.0
"""The integration tests that OpenStack has for the rating service, on a real Keystone: those of v1."""

import os
import re
import subprocess

import pytest

from cloudkitty.tests import cloud as clouds
from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.api import test_command
from cloudkitty.tests.functional.cloud import guarded
from cloudkitty.tests.functional.cloud import test_client

pytestmark = pytest.mark.cloud
PROGRAM = deployment.ROOT / '.cache' / 'tempest' / 'bin' / 'tempest'

_CONFIG = """
[auth]
use_dynamic_credentials = true
admin_username = {username}
admin_password = {password}
admin_project_name = {project_name}
admin_domain_name = Default
[identity]
uri_v3 = {auth_url}
auth_version = v3
v3_endpoint_type = public
region = {region}
default_domain_id = default
[service_available]
cinder = false
glance = false
neutron = false
nova = false
swift = false
cloudkitty = true
[rating_plugin]
service_name = {service}
"""


def test_integration_tests_pass(cloud, tmp_path):
    test_client.install_of_others('tempest')
    for role in ('member', 'reader'):
        cloud.create_role(role)
    # It remembers workspaces by name, at home.
    environment = {**os.environ, 'HOME': str(tmp_path)}
    subprocess.run([PROGRAM, 'init', tmp_path / 'workspace'], check=True, capture_output=True, env=environment)
    with guarded.make_api(cloud, 'cloudkitty-of-tempest') as api:
        arguments = ('--config-file', str(api.config_file), '-p', '0', '-b', '127.0.0.1')
        with test_command.serve(*arguments) as (_, port, _):
            cloud.create_service('cloudkitty-of-tempest', 'rating-of-tempest', 'http://127.0.0.1:%d' % port)
            admin = cloud.admin
            (tmp_path / 'workspace' / 'etc' / 'tempest.conf').write_text(
                _CONFIG.format(
                    username=admin.username,
                    password=admin.password,
                    project_name=admin.project_name,
                    auth_url=cloud.keystone_url,
                    region=clouds.REGION,
                    # The plug-in takes it for the type.
                    service='rating-of-tempest',
                )
            )
            done = subprocess.run(
                [PROGRAM, 'run', '--regex', r'cloudkitty_tempest_plugin\.tests\.api\.v1', '--concurrency', '1'],
                cwd=tmp_path / 'workspace',
                capture_output=True,
                text=True,
                check=False,
                env=environment,
            )
    assert done.returncode == 0, done.stdout
    assert int(re.search(r'Passed: (\d+)', done.stdout)[1]) >= 30, done.stdout
