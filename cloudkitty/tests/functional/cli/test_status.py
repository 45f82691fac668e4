# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-status upgrade check`` as a process."""

import json
import socket

import pytest
import sqlalchemy

from cloudkitty.db import engine
from cloudkitty.tests import gnocchi
from cloudkitty.tests.functional.cli import test_broker
from cloudkitty.tests.functional.processor import test_partition

STATUS = 'cloudkitty-status'
CHECKS = [
    'Storage version',
    'Policy File JSON to YAML Migration',
    'Rated data of older releases',
    'Schema',
    'Deprecated options',
    'Coordination',
    'Broker',
    'Collector',
]
SUCCESS, WARNING, FAILURE = 0, 1, 2
METRICS = """metrics:
  cpu:
    unit: instance
    groupby: [id, project_id]
    extra_args: {resource_type: instance}
"""

node = test_broker.node
redis = test_partition.redis


def check(programs):
    """Return the exit status and {check: (result, details)}."""
    done = programs.run(STATUS, 'upgrade', 'check', '--json')
    found = json.loads(done.stdout)
    return done.returncode, {item['check']: (item['result'], item['details']) for item in found['checks']}


@pytest.fixture
def installed(programs):
    programs.prepare()
    return programs


def test_good_deployment_is_status_0(installed):
    done = installed.run(STATUS, 'upgrade', 'check')
    assert done.returncode == 0
    assert 'Upgrade Check Results' in done.stdout
    assert [line for line in done.stdout.splitlines() if 'Check: ' in line] == [
        '| %s |' % ('Check: %s' % name).ljust(len(done.stdout.splitlines()[0]) - 4) for name in CHECKS
    ]
    assert done.stdout.count('Result: Success') == len(CHECKS)
    assert done.stderr.count('\n') <= 1  # the fake collector prints


def test_json_names_every_check(installed):
    status, found = check(installed)
    assert (status, list(found)) == (0, CHECKS)


def find_troubles(programs):
    """Return the exit status and {check: (result, details)} of the checks that do not succeed."""
    status, found = check(programs)
    assert list(found) == CHECKS
    return status, {name: item for name, item in found.items() if item[0] != SUCCESS}


def test_storage_of_old_is_a_warning(installed):
    installed.set('storage', version=1)
    status, found = check(installed)
    assert status == 1
    assert found['Storage version'][0] != 0
    assert 'version 2 is recommended' in found['Storage version'][1]


def test_policy_file_in_json_is_a_failure(installed):
    policy = installed.directory / 'policy.json'
    policy.write_text('{}')
    installed.set('oslo_policy', policy_file=policy)
    status, found = check(installed)
    assert status == 2
    assert found['Policy File JSON to YAML Migration'][1]


def test_history_elsewhere_is_a_failure(installed):
    installed.set('storage_influxdb', host='influx.example.org')
    status, found = check(installed)
    assert status == 2
    assert '[storage] backend is not set' in found['Rated data of older releases'][1]


def test_database_that_is_away_is_a_warning(programs):
    programs.set('database', connection='mysql://root:secret@127.0.0.1:1/cloudkitty')
    status, found = check(programs)
    assert status == 1
    assert 'It could not be looked at' in found['Rated data of older releases'][1]
    assert 'secret' not in str(found)


@pytest.mark.parametrize(
    ('section', 'option', 'value'),
    [('storage', 'version', '7'), ('database', 'connection', 'nonsense'), ('database', 'max_pool_size', 'many')],
)
def test_wrong_option_is_status_255_and_one_line(programs, section, option, value):
    programs.set(section, **{option: value})
    done = programs.run(STATUS, 'upgrade', 'check')
    assert done.returncode == 255
    assert (done.stdout, len(done.stderr.splitlines())) == ('', 1)
    assert '[%s] %s' % (section, option) in done.stderr


def test_missing_command_is_status_2(programs):
    assert programs.run(STATUS).returncode == 2


def test_file_that_is_not_there_is_status_255_and_one_line(programs):
    done = programs.run(STATUS, 'upgrade', 'check', conf='/nonexistent/cloudkitty.conf')
    assert done.returncode == 255
    assert len(done.stderr.splitlines()) == 1


# Schema.


def test_database_without_tables_is_a_failure_that_names_the_commands(programs):
    status, found = find_troubles(programs)
    assert (status, list(found)) == (2, ['Schema'])
    assert found['Schema'] == (
        FAILURE,
        'Not at the head of this release: cloudkitty (missing), hashmap (missing), pyscripts (missing): '
        'run cloudkitty-dbsync upgrade; storage (missing), states (missing), ledger (missing), series (missing): '
        'run cloudkitty-storage-init.',
    )


def test_looking_makes_no_file(programs):
    before = {path.name for path in programs.directory.iterdir()}
    check(programs)
    assert {path.name for path in programs.directory.iterdir()} - before == {'cloudkitty.conf'}


@pytest.mark.parametrize(
    ('revision', 'state'), [('644faa4491fd', 'hashmap (behind)'), ('abcdef', 'hashmap (unknown revision)')]
)
def test_chain_that_is_not_at_head_is_a_failure(installed, revision, state):
    database = engine.Database(installed.options['database']['connection'])
    with database.engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE hashmap_alembic SET version_num = '%s'" % revision))
    database.dispose()
    status, found = find_troubles(installed)
    assert (status, list(found)) == (2, ['Schema'])
    assert state in found['Schema'][1]
    assert 'cloudkitty-storage-init' not in found['Schema'][1]


# Deprecated options.


def test_options_of_old_are_a_warning_that_names_the_new_ones(installed):
    installed.options['fetcher'] = {}
    installed.set('tenant_fetcher', backend='source')
    installed.set('keystone_fetcher', username='admin', tenant='admin', url='http://127.0.0.1:1/', password='secret')
    installed.set('gnocchi_collector', interface='internal', auth_plugin='password')
    installed.set('collector_gnocchi', auth_type='password', tenant_name='service')
    installed.set('orchestrator', max_greenthreads=4)
    installed.set('storage', retention_period=10)
    installed.set('database', idle_timeout=10)
    installed.set('DEFAULT', verbose=True)
    installed.set('output', basepath='/tmp', pipeline='osrf')
    installed.set('oslo_messaging_rabbit', rabbit_password='secret')
    installed.set('ks_auth', identity_uri='http://127.0.0.1:1/')
    status, found = find_troubles(installed)
    assert (status, list(found)) == (1, ['Deprecated options'])
    text = found['Deprecated options'][1]
    for line in (
        '[tenant_fetcher] backend: use [fetcher] backend.',
        '[keystone_fetcher] username: use [fetcher_keystone] username.',
        '[keystone_fetcher] tenant: use [fetcher_keystone] project_name.',
        '[keystone_fetcher] url: use [fetcher_keystone] auth_url.',
        '[gnocchi_collector] interface: use [collector_gnocchi] interface.',
        '[gnocchi_collector] auth_plugin: use [collector_gnocchi] auth_type.',
        '[collector_gnocchi] tenant_name: use [collector_gnocchi] project_name.',
        '[orchestrator] max_greenthreads: use [orchestrator] max_threads.',
        '[storage] retention_period: deprecated (It deletes nothing.)',
        '[DEFAULT] verbose: nothing reads it',
        '[output] basepath, pipeline: the report writer is gone',
        '[oslo_messaging_rabbit] rabbit_password: use [DEFAULT] transport_url.',
        '[ks_auth] identity_uri: nothing reads it',
    ):
        assert line in text
    assert 'secret' not in text
    assert text.count('[gnocchi_collector]') == 2


# Coordination.


def test_coordination_service_that_answers(installed, redis):
    installed.set('orchestrator', coordination_url=redis.url)
    assert find_troubles(installed) == (0, {})


def test_directory_of_locks_that_cannot_be_made_is_a_warning(installed):
    installed.set('orchestrator', coordination_url='file://%s/locks' % installed.metrics)
    status, found = find_troubles(installed)
    assert (status, list(found)) == (1, ['Coordination'])
    assert '%s is not a directory' % installed.metrics in found['Coordination'][1]


def test_coordination_driver_that_does_not_exist_is_a_failure(installed):
    installed.set('orchestrator', coordination_url='nonsense://user:secret@127.0.0.1/')
    status, found = find_troubles(installed)
    assert (status, list(found)) == (2, ['Coordination'])
    assert 'secret' not in found['Coordination'][1]


def test_services_that_take_the_connection_and_say_nothing_are_not_waited_for(installed):
    with socket.create_server(('127.0.0.1', 0)) as silent:
        place = 'somebody:secret@127.0.0.1:%d/' % silent.getsockname()[1]
        installed.set('orchestrator', coordination_url='redis://%s' % place)
        installed.set('DEFAULT', transport_url='rabbit://%s' % place)
        status, found = find_troubles(installed)
    assert status == 1
    assert found == {
        'Coordination': (WARNING, '[orchestrator] coordination_url: no answer within 10 s.'),
        'Broker': (WARNING, '[DEFAULT] transport_url: no answer within 5 s.'),
    }


# Broker.


@pytest.mark.rabbitmq
def test_broker_that_answers_and_one_that_does_not_let_us_in(installed, node):
    installed.set('DEFAULT', transport_url=node.url)
    assert find_troubles(installed) == (0, {})
    installed.set('DEFAULT', transport_url=node.url.replace('guest:guest', 'guest:secret'))
    status, found = find_troubles(installed)
    assert (status, list(found)) == (1, ['Broker'])
    assert 'ACCESS_REFUSED' in found['Broker'][1]
    assert 'secret' not in found['Broker'][1]


def test_broker_that_is_away_is_a_warning(installed):
    installed.set('DEFAULT', transport_url='rabbit://somebody:secret@127.0.0.1:1/')
    status, found = find_troubles(installed)
    assert (status, list(found)) == (1, ['Broker'])
    assert 'rabbit at 127.0.0.1:1 does not let us in' in found['Broker'][1]
    assert 'Everything works without a broker' in found['Broker'][1]
    assert 'secret' not in found['Broker'][1]


def test_broker_of_old_options_is_asked(installed):
    installed.options['DEFAULT'] = {}
    installed.set('oslo_messaging_rabbit', rabbit_hosts='127.0.0.1:1', rabbit_password='secret')
    status, found = find_troubles(installed)
    assert (status, list(found)) == (1, ['Deprecated options', 'Broker'])
    assert 'rabbit at 127.0.0.1:1 ' in found['Broker'][1]
    assert 'secret' not in str(found)


def test_transport_that_does_not_exist_is_a_failure(installed):
    installed.set('DEFAULT', transport_url='nonsense://somebody:secret@127.0.0.1/')
    status, found = find_troubles(installed)
    assert (status, list(found)) == (2, ['Broker'])
    assert 'secret' not in found['Broker'][1]


# Collector.


@pytest.fixture
def collecting(installed):
    """Commands that collect from a stand-in for Gnocchi, which comes with them."""
    fake = gnocchi.FakeGnocchi().start()
    fake.create_type('instance')
    installed.metrics.write_text(METRICS)
    installed.set('collect', collector='gnocchi')
    installed.set('collector_gnocchi', gnocchi_auth_type='basic', gnocchi_user='admin', gnocchi_endpoint=fake.url)
    yield installed, fake
    fake.stop()


def test_source_that_answers_is_asked_little(collecting):
    programs, fake = collecting
    assert find_troubles(programs) == (0, {})
    assert 0 < fake.requests.total() <= 3


@pytest.mark.parametrize(
    ('status', 'text'), [(401, 'Gnocchi does not let us in: HTTP 401'), (500, 'Gnocchi: HTTP 500')]
)
def test_source_that_refuses_is_a_warning(collecting, status, text):
    programs, fake = collecting
    fake.faults.append(gnocchi.Fault('search', status=status))
    exit_status, found = find_troubles(programs)
    assert (exit_status, list(found)) == (1, ['Collector'])
    assert text in found['Collector'][1]


def test_source_that_is_away_is_a_warning(collecting):
    programs, _ = collecting
    programs.set('collector_gnocchi', gnocchi_endpoint='http://127.0.0.1:1')
    status, found = find_troubles(programs)
    assert (status, list(found)) == (1, ['Collector'])
    assert 'Gnocchi cannot be reached' in found['Collector'][1]


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        ({'metrics_conf': '/nonexistent/metrics.yml'}, '/nonexistent/metrics.yml'),
        ({'collector': 'nonsense'}, 'Cannot use "nonsense"'),
        ({'collector': 'gnocchi'}, 'extra_args.resource_type'),
    ],
)
def test_wrong_metrics_or_collector_is_a_failure(installed, options, text):
    installed.set('collect', **options)
    status, found = find_troubles(installed)
    assert (status, list(found)) == (2, ['Collector'])
    assert text in found['Collector'][1]


def test_collector_without_credentials_is_a_failure(collecting):
    programs, _ = collecting
    programs.options.pop('collector_gnocchi')
    status, found = find_troubles(programs)
    assert (status, list(found)) == (2, ['Collector'])
    assert '[collector_gnocchi] auth_type is not set' in found['Collector'][1]


def test_collector_that_raises_is_a_warning(installed):
    installed.environment['FAKE_DELAY'] = 'nonsense'
    status, found = find_troubles(installed)
    assert status == 1
    assert found == {'Collector': (WARNING, '[collect] collector: it could not be looked at: ValueError.')}
