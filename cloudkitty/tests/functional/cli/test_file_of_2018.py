# SPDX-License-Identifier: Apache-2.0
"""A configuration file as guides of 2018 have it: every command takes it, and the service starts."""

import pathlib
import shutil
import socket
import urllib.request

import pytest
import sqlalchemy

import cloudkitty
from cloudkitty.db import engine
from cloudkitty.tests import keystone
from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional.cli import programs as cli_programs

ETC = pathlib.Path(cloudkitty.__file__).parents[1] / 'etc' / 'cloudkitty'
TEXT = """
[DEFAULT]
verbose = True
log_dir = {directory}
[oslo_messaging_rabbit]
rabbit_userid = openstack
rabbit_password = p@ssword
rabbit_hosts = 127.0.0.1:1
[auth]
username = cloudkitty
password = secret
tenant = service
region = RegionOne
url = {keystone}/v2.0
[keystone_authtoken]
username = cloudkitty
password = {password}
project_name = service
region = RegionOne
auth_url = {keystone}/v2.0
auth_plugin = password
[database]
connection = {connection}
[keystone_fetcher]
username = admin
password = {password}
tenant = admin
region = RegionOne
url = {keystone}/v2.0
[ceilometer_collector]
username = cloudkitty
password = {password}
tenant = service
region = RegionOne
url = {keystone}/v2.0
[collect]
metrics_conf = {directory}/metrics.yml
[orchestrator]
coordination_url = file://{directory}/locks
max_workers = 1
"""


METRICS = """metrics:
  cpu:
    unit: instance
    alt_name: instance
    groupby: [id, project_id]
    metadata: [flavor_name, flavor_id, vcpus]
    mutate: NUMBOOL
    extra_args: {aggregation_method: mean, resource_type: instance, force_granularity: 300}
"""


@pytest.fixture
def server():
    found = keystone.Keystone()
    found.grant('project-a', 'project-b')
    found.start()
    yield found
    found.stop()


@pytest.fixture(
    params=[
        pytest.param('mariadb', marks=pytest.mark.mariadb),
        pytest.param('postgresql', marks=pytest.mark.postgresql),
    ]
)
def url(request, tmp_path):
    """URL of an empty database with the driver's name left out, as it was written then."""
    for found in conftest.make_url(request.param, tmp_path):
        yield found.replace('+pymysql', '').replace('+psycopg2', '')


@pytest.fixture
def conf(programs, server, url):
    programs.metrics.write_text(METRICS)
    # As the package installs it, next to the configuration.
    shutil.copy(ETC / 'api_paste.ini', programs.directory)
    programs.conf.write_text(
        TEXT.format(directory=programs.directory, keystone=server.url, password=keystone.PASSWORD, connection=url)
    )
    return programs.conf


def test_every_command_takes_it_and_the_service_starts(programs, conf, url):
    done = programs.run('cloudkitty-dbsync', 'upgrade', conf=conf)
    assert (done.returncode, done.stderr.count('Running upgrade')) == (0, 17)
    done = programs.run('cloudkitty-storage-init', conf=conf)
    assert done.returncode == 0
    assert 'Running upgrade c703a1bad612 -> d875621d0384' in done.stderr
    assert programs.run('cloudkitty-status', 'upgrade', 'check', conf=conf).returncode == 1
    processor = programs.start('cloudkitty-processor', conf=conf)
    database = engine.Database(url)

    def find_scopes():
        with database.engine.connect() as connection:
            rows = connection.execute(sqlalchemy.text('SELECT identifier FROM cloudkitty_storage_states'))
            return sorted(row[0] for row in rows)

    cli_programs.wait_until(lambda: find_scopes() == ['project-a', 'project-b'] or processor.process.poll() is not None)
    assert processor.process.poll() is None, processor.output
    database.dispose()
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port = found.getsockname()[1]
    api = programs.start('cloudkitty-api', '-p', str(port), conf=conf)
    cli_programs.wait_until(lambda: answers(port) or api.process.poll() is not None)
    assert answers(port), api.output
    for running in (api, processor):
        running.signal(cli_programs.SIGTERM)
    assert processor.wait() == 0
    api.wait()
    assert (programs.directory / 'cloudkitty-processor.log').read_text()


def answers(port):
    try:
        with urllib.request.urlopen('http://127.0.0.1:%d/' % port, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
