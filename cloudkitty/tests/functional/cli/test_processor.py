# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-processor`` as a process, with green and with native threads."""

import contextlib
import datetime
import json
import os
import random
import socket
import time

import pytest

from cloudkitty import period
from cloudkitty.db import engine
from cloudkitty.db import rating_modules
from cloudkitty.db import reprocessings
from cloudkitty.db import rule_revision
from cloudkitty.db import scopes
from cloudkitty.rating.pyscripts import store
from cloudkitty.storage.sqlalchemy import driver
from cloudkitty.tests.functional.cli import programs as cli_programs
from cloudkitty.tests.functional.cli.programs import SIGHUP
from cloudkitty.tests.functional.cli.programs import SIGKILL
from cloudkitty.tests.functional.cli.programs import SIGTERM
from cloudkitty.tests.functional.cli.programs import is_alive
from cloudkitty.tests.functional.cli.programs import wait_until
from cloudkitty.tests.functional.rating import test_hashmap
from cloudkitty.tests.unit.rating.hashmap import rules

PROCESSOR = 'cloudkitty-processor'
IDENTITY = scopes.Identity('project_id', 'source', 'memory')
ALL_TIME = (datetime.datetime(2020, 1, 1, tzinfo=period.UTC), datetime.datetime(2100, 1, 1, tzinfo=period.UTC))


@pytest.fixture(params=['green', 'native'])
def threads(request, programs):
    """Commands with each kind of threads, and the tables."""
    if request.param == 'native':
        programs.environment['CLOUDKITTY_NATIVE_THREADS'] = '1'
    programs.prepare()
    return programs


def clocks(programs):
    """Return the number of points and the clocks of the scopes."""
    database = engine.Database(programs.options['database']['connection'])
    with database.engine.connect() as connection:
        points = connection.exec_driver_sql('SELECT coalesce(sum(points), 0) FROM scope_days').scalar()
        rows = connection.exec_driver_sql('SELECT last_processed_timestamp FROM cloudkitty_storage_states').all()
    database.dispose()
    return int(points), [str(row[0]) for row in rows]


def test_all_scopes_are_rated_and_sigterm_ends_it_with_status_0(threads):
    running = threads.start(PROCESSOR)
    running.wait_for('of 1 scopes', 2)
    assert len(running.children()) == 2
    running.signal(SIGTERM)
    assert running.wait() == 0
    points, found = clocks(threads)
    assert len(found) == 2
    assert found[0] == found[1]
    assert points > 0
    assert 'Traceback' not in running.output


@pytest.mark.parametrize('native', ['', '1'], ids=['green', 'native'])
def test_many_points_are_committed_on_every_server(everywhere, native):
    everywhere.environment['CLOUDKITTY_NATIVE_THREADS'] = native
    # More rows than PostgreSQL takes by INSERT.
    everywhere.set('fetcher_source', sources=','.join('scope-%d' % number for number in range(60)))
    everywhere.set('orchestrator', max_workers=1)
    everywhere.prepare()
    running = everywhere.start(PROCESSOR)
    running.wait_for('of 60 scopes')
    running.signal(SIGTERM)
    assert running.wait() == 0
    points, found = clocks(everywhere)
    assert points == 2 * sum(count_hours(text) for text in found)
    assert 'Traceback' not in running.output


def test_sigterm_lets_the_batch_in_hand_finish(threads):
    threads.environment['FAKE_DELAY'] = '3'
    running = threads.start(PROCESSOR)
    running.wait_for('collecting', 2)
    running.signal(SIGTERM)
    assert running.wait() == 0
    assert running.output.count('of 1 scopes') == 2
    assert clocks(threads)[0] > 0


def test_batch_that_takes_longer_than_the_shutdown_may_is_left(threads):
    threads.environment['FAKE_DELAY'] = '60'
    threads.set('DEFAULT', graceful_shutdown_timeout=7)
    running = threads.start(PROCESSOR)
    running.wait_for('collecting', 2)
    children = running.children()
    running.signal(SIGTERM)
    assert running.wait(40) == 0
    wait_until(lambda: not [pid for pid in children if is_alive(pid)])
    assert 'nothing of it is kept' in running.output
    assert clocks(threads)[0] == 0


def test_children_end_when_the_parent_is_killed(threads):
    running = threads.start(PROCESSOR)
    running.wait_for('of 1 scopes', 2)
    children = running.children()
    running.signal(SIGKILL)
    running.wait()
    assert len(children) == 2
    wait_until(lambda: not [pid for pid in children if is_alive(pid)])


def test_killed_child_is_replaced_and_nothing_is_doubled(threads):
    threads.environment['FAKE_DELAY'] = '1'
    running = threads.start(PROCESSOR)
    running.wait_for('collecting', 2)
    victim = running.children()[0]
    os.kill(victim, SIGKILL)
    wait_until(lambda: victim not in running.children() and len(running.children()) == 2)
    running.wait_for('of 1 scopes', 2)
    running.signal(SIGTERM)
    assert running.wait() == 0
    points, found = clocks(threads)
    assert points == 2 * sum(count_hours(text) for text in found)


def count_hours(text):
    """Return how many hours of its month a scope with this clock is rated for."""
    clock = period.parse(text[:19])
    return (clock - clock.replace(day=1, hour=0)) // datetime.timedelta(hours=1) + 1


def test_sighup_reads_options_and_metrics_again(threads):
    running = threads.start(PROCESSOR)
    running.wait_for('of 1 scopes', 2)
    first = running.children()
    threads.set('fetcher_source', sources='a,b,c')
    threads.metrics.write_text(cli_programs.METRICS + '  ram:\n    unit: u\n    groupby: [id, project_id]\n')
    threads.write()
    running.signal(SIGHUP)
    running.wait_for('of 1 scopes', 3)
    assert not set(first) & set(running.children())
    assert len(clocks(threads)[1]) == 3
    running.signal(SIGTERM)
    assert running.wait() == 0


@pytest.mark.parametrize('what', ['metrics', 'option', 'file'])
def test_sighup_with_a_wrong_file_keeps_the_old_and_goes_on(threads, what):
    running = threads.start(PROCESSOR)
    running.wait_for('of 1 scopes', 2)
    first = running.children()
    if what == 'metrics':
        threads.metrics.write_text('metrics: {cpu: {unit: 3}}')
    elif what == 'option':
        threads.set('orchestrator', max_threads='many')
        threads.write()
    else:
        threads.conf.write_text('this is no configuration')
    running.signal(SIGHUP)
    running.wait_for('The options and metrics read before are used on')
    wait_until(lambda: len(running.children()) == 2 and not set(first) & set(running.children()))
    running.wait_for('collecting', 2)
    running.signal(SIGTERM)
    assert running.wait() == 0
    assert 'Traceback' not in running.output


def test_systemd_is_told_when_it_is_ready(threads):
    path = str(threads.directory / 'notify')
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(path)
        notified.settimeout(60)
        threads.environment['NOTIFY_SOCKET'] = path
        running = threads.start(PROCESSOR)
        assert notified.recv(100) == b'READY=1'
    running.signal(SIGTERM)
    assert running.wait() == 0


def test_no_workers_stay_up_and_say_so(threads):
    threads.set('orchestrator', max_workers=0)
    running = threads.start(PROCESSOR)
    running.wait_for('max_workers is 0')
    running.signal(SIGHUP)
    assert running.process.poll() is None
    assert running.children() == []
    running.signal(SIGTERM)
    assert running.wait() == 0


def test_database_that_is_away_is_waited_for(threads):
    place = threads.directory / 'away'
    place.write_text('')
    (threads.directory / 'cloudkitty.sqlite').rename(threads.directory / 'kept.sqlite')
    threads.set('database', connection='sqlite:///%s' % (place / 'cloudkitty.sqlite'))
    running = threads.start(PROCESSOR)
    running.wait_for('The database is away; the workers wait for it.')
    running.wait_for('trying again in 5 s', 2)
    place.unlink()
    place.mkdir()
    (threads.directory / 'kept.sqlite').rename(place / 'cloudkitty.sqlite')
    running.wait_for('of 1 scopes', 2)
    running.signal(SIGTERM)
    assert running.wait() == 0


def test_broker_that_is_away_is_warned_of_once_a_worker(threads):
    threads.set('DEFAULT', transport_url='rabbit://guest:guest@127.0.0.1:1/')
    running = threads.start(PROCESSOR)
    running.wait_for('of 1 scopes', 2)
    running.wait_for('Connection failed', 2)
    running.signal(SIGTERM)
    assert running.wait() == 0
    assert running.output.count('Connection failed') == 2
    assert 'ERROR' not in running.output


@pytest.mark.parametrize(
    ('section', 'option', 'value', 'message'),
    [
        ('collect', 'collector', 'nonsense', 'Cannot use "nonsense"'),
        ('collect', 'collector', 'monasca', 'removed long ago'),
        ('collect', 'timezone', 'Moon/Tycho', 'timezone'),
        ('collect', 'period', 'long', 'period'),
        ('collect', 'metrics_conf', '/nonexistent/metrics.yml', '/nonexistent/metrics.yml'),
        ('fetcher', 'backend', 'nonsense', 'Cannot use "nonsense"'),
        ('storage', 'backend', 'influxdb', 'influxdb'),
        ('orchestrator', 'skip_datapoints_expression', 'datapoint[', 'expected a Python expression'),
        ('orchestrator', 'coordination_url', 'nonsense://', 'coordination_url'),
        ('orchestrator', 'max_workers', '-1', 'max_workers'),
        ('database', 'connection', 'nonsense', 'connection'),
        ('database', 'connection', 'nonsense://localhost/x', 'there is no driver nonsense'),
        ('database', 'connection', 'mysql://localhost:port/x', 'connection'),
        ('database', 'connection', 'oracle://localhost/x', 'there is no driver oracle'),
        ('DEFAULT', 'transport_url', 'nonsense://', 'transport_url'),
        ('DEFAULT', 'use_journal', 'true', 'use_journal'),
        ('DEFAULT', 'log_config_append', '/etc/passwd', 'log_config_append'),
        ('collect', 'period', '99999999999999999999', 'period'),
        ('collect', 'wait_periods', '99999999999999999999', 'wait_periods'),
        ('orchestrator', 'hold_max', '99999999999999999999', 'hold_max'),
        ('orchestrator', 'repair_window_days', '99999999999999999999', 'repair_window_days'),
        ('fetcher', 'backend', 'keystone', '[fetcher_keystone] auth_type is not set'),
        ('collect', 'collector', 'gnocchi', 'extra_args.resource_type'),
        ('DEFAULT', 'graceful_shutdown_timeout', 'soon', 'graceful_shutdown_timeout'),
    ],
)
def test_bad_option_is_one_line_and_status_1(programs, section, option, value, message):
    programs.set(section, **{option: value})
    done = programs.run(PROCESSOR)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith('cloudkitty-processor: ')
    assert message in lines[0]


@pytest.mark.parametrize('command', [PROCESSOR, 'cloudkitty-api', 'cloudkitty-storage-init'])
@pytest.mark.parametrize(
    'flags', [('--config-dir', '{0}/nowhere'), ('--config-file', '{0}'), ('--config-file', '{0}/b')]
)
def test_files_that_cannot_be_read_are_one_line_and_status_1(programs, tmp_path, command, flags):
    (tmp_path / 'b').write_bytes(b'\xff\xfe')
    done = programs.run(command, *[flag.format(tmp_path) for flag in flags])
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith('%s: ' % command)


def test_bad_metrics_file_names_file_metric_and_key(programs):
    programs.metrics.write_text('metrics: {cpu: {unit: 3}}')
    done = programs.run(PROCESSOR)
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        ['cloudkitty-processor: %s: metric cpu: unit: expected text of one character or more' % programs.metrics],
    )


def test_credentials_that_miss_something_name_their_section(programs):
    programs.metrics.write_text('metrics: {cpu: {unit: u, groupby: [id], extra_args: {resource_type: instance}}}')
    programs.set('collect', collector='gnocchi')
    programs.set('collector_gnocchi', gnocchi_auth_type='basic')
    done = programs.run(PROCESSOR)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert '[collector_gnocchi]' in done.stderr


def test_wrong_skip_expression_of_a_metric_is_refused(programs):
    programs.metrics.write_text('metrics: {cpu: {unit: u, skip_datapoints_expression: "x ="}}')
    done = programs.run(PROCESSOR)
    assert done.returncode == 1
    assert '%s: metric cpu: skip_datapoints_expression: expected a Python expression' % programs.metrics in done.stderr


def enable_script(programs, source):
    """Enable pyscripts with one script, for all times."""
    database = engine.Database(programs.options['database']['connection'])
    rating_modules.set_enabled(database, 'pyscripts', True)
    request = store.ScriptRequest('own', source, datetime.datetime(2020, 1, 1))
    store.create_script(database, request, 'somebody', datetime.datetime.now(period.UTC), period.UTC, force=True)
    database.dispose()


SCRIPT = """
import os
for points in data["usage"].values():
    for point in points:
        point["rating"]["price"] = 7
        point["metadata"]["process"] = os.getpid()
        point["metadata"]["secret"] = os.environ.get("OS_PASSWORD", "none")
"""


def test_scripts_and_expressions_run_in_children_that_end_with_it(threads):
    threads.environment['OS_PASSWORD'] = 'secret'
    threads.metrics.write_text(
        'metrics:\n'
        '  cpu: {unit: u, groupby: [id, project_id]}\n'
        '  disk:\n'
        '    unit: u\n'
        '    groupby: [id, project_id]\n'
        '    skip_datapoints_expression: datapoint["rating"]["price"] == 7\n'
    )
    enable_script(threads, SCRIPT)
    running = threads.start(PROCESSOR)
    running.wait_for('of 1 scopes', 2)
    running.signal(SIGTERM)
    assert running.wait() == 0
    assert 'Traceback' not in running.output
    database = engine.Database(threads.options['database']['connection'])
    with database.engine.connect() as connection:
        found = connection.exec_driver_sql('SELECT metric, points, price, skipped FROM scope_days').all()
        metadata = [json.loads(row[0]) for row in connection.exec_driver_sql('SELECT metadata FROM series')]
    database.dispose()
    assert {row[0] for row in found} == {'cpu', 'disk'}
    assert all(row[0] == 'disk' or (float(row[2]) == 7 * row[1] and row[3] == 0) for row in found)
    assert all(row[0] == 'cpu' or (row[1] == 0 and row[3] > 0) for row in found)
    assert {entry.get('secret') for entry in metadata} == {'none'}, running.output
    wait_until(lambda: not [entry for entry in metadata if is_alive(entry['process'])])


def test_endless_script_leaves_cells_unrated_and_the_processor_goes_on(threads):
    threads.set('pyscripts', timeout=1)
    threads.set('orchestrator', max_workers=1)
    threads.set('fetcher_source', sources='a')
    enable_script(threads, 'x = 1\nwhile True: pass')
    running = threads.start(PROCESSOR)
    running.wait_for('of 1 scopes')
    running.signal(SIGTERM)
    assert running.wait() == 0
    database = engine.Database(threads.options['database']['connection'])
    with database.engine.connect() as connection:
        errors = connection.exec_driver_sql('SELECT DISTINCT error FROM coverage_failures').scalars().all()
        statuses = connection.exec_driver_sql('SELECT DISTINCT status FROM coverage').scalars().all()
    database.dispose()
    assert statuses == ['unrated']
    assert all(error.startswith('Module pyscripts: script "own", line 2: it took ') for error in errors), errors
    assert 'line 2: it took longer than 1 seconds' in running.output


def test_history_of_another_storage_is_not_hidden_by_a_default(programs):
    done = programs.run('cloudkitty-dbsync', 'upgrade')
    assert done.returncode == 0
    programs.set('storage_influxdb', host='influx.example.org')
    done = programs.run(PROCESSOR)
    assert done.returncode == 1
    assert '[storage] backend is not set' in done.stderr


@pytest.mark.parametrize('argument', ['--help', '--version'])
def test_help_needs_no_configuration(programs, argument):
    done = programs.run(PROCESSOR, argument)
    assert done.returncode == 0
    assert done.stdout


def test_unknown_flag_is_bad_usage(programs):
    assert programs.run(PROCESSOR, '--nonsense').returncode == 2


def test_table_of_old_is_rated_into_and_said_to_be_less_exact(everywhere):
    everywhere.set('storage', version=1)
    everywhere.set('orchestrator', max_workers=1)
    everywhere.set('fetcher_source', sources='a,%s' % ('x' * 33))
    everywhere.prepare()
    running = everywhere.start(PROCESSOR)
    running.wait_for('of 1 scopes')
    running.signal(SIGTERM)
    assert running.wait() == 0
    assert running.output.count('version = 1: rated_data_frames keeps 5 digits') == 1
    assert "longer than the 32 characters that the configured storage has room for: '%s'" % ('x' * 33) in running.output
    assert 'Traceback' not in running.output
    database = engine.Database(everywhere.options['database']['connection'])
    with database.engine.connect() as connection:
        rows = connection.exec_driver_sql('SELECT tenant_id, count(*) FROM rated_data_frames GROUP BY tenant_id').all()
        points = connection.exec_driver_sql('SELECT count(*) FROM rated_days').scalar()
        (clock,) = connection.exec_driver_sql('SELECT last_processed_timestamp FROM cloudkitty_storage_states').one()
    database.dispose()
    assert [tuple(row) for row in rows] == [('a', 2 * count_hours(str(clock)))]
    assert points == 0


def test_hybrid_storage_is_one_line(programs):
    programs.set('storage', version=1, backend='hybrid')
    done = programs.run(PROCESSOR)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        'cloudkitty-processor: Cannot use "hybrid" of cloudkitty.storage.v1.backends. It is not built; use sqlalchemy. '
        'Installed: sqlalchemy.'
    ]


def reports(database):
    """Return {(scope id, begin): price} of all there is."""
    found = driver.SQLAlchemyStorage(database).total(['time', 'project_id'], *ALL_TIME, paginate=False)
    return {(row['project_id'], row['begin']): row['rate'] for row in found['results']}


def schedule(database, **options):
    """Have everything that is rated of both scopes rated once more."""
    states = scopes.list_states(database, IDENTITY)
    first = period.first_period(states[0].last_processed, 3600, period.UTC)
    last = min(state.last_processed for state in states)
    reprocessings.schedule(database, IDENTITY, ['a', 'b'], first, last, 3600, 'why', 'me', **options)


def test_past_periods_are_rated_once_more_by_children_of_their_own(threads):
    threads.set('orchestrator', max_workers_reprocessing=1)
    running = threads.start(PROCESSOR)
    running.wait_for('of 1 scopes', 2)
    database = engine.Database(threads.options['database']['connection'])
    assert len(running.children()) == 3
    schedule(database, recollect=False)
    wait_until(lambda: all(task.is_finished for task in reprocessings.list_tasks(database)))
    running.signal(SIGTERM)
    assert running.wait() == 0
    assert 'reprocessed' in running.output
    assert 'Traceback' not in running.output
    database.dispose()


def test_killed_reprocessing_goes_on_and_reports_show_no_hole(everywhere):
    everywhere.prepare()
    running = everywhere.start(PROCESSOR)
    running.wait_for('of 1 scopes', 2)
    running.signal(SIGTERM)
    assert running.wait() == 0
    database = engine.Database(everywhere.options['database']['connection'])
    before = reports(database)
    assert set(before.values()) == {0}
    rating_modules.set_enabled(database, 'hashmap', True)
    test_hashmap.store(database, [rules.Rules().flat(2).service('cpu'), rules.Rules().flat(3).service('disk')])
    database.repeat(rule_revision.bump)
    schedule(database)
    everywhere.set('orchestrator', max_workers=0, max_workers_reprocessing=2, max_granules=2500)
    everywhere.environment['FAKE_DELAY'] = '0.2'
    kills = 0
    while not all(task.is_finished for task in reprocessings.list_tasks(database)):
        running = everywhere.start(PROCESSOR)
        wait_until(
            lambda running=running: (
                'reprocessed' in running.output or all(task.is_finished for task in reprocessings.list_tasks(database))
            )
        )
        time.sleep(random.uniform(0, 0.5))
        for pid in [*running.children(), running.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
        running.wait()
        kills += 1
        found = reports(database)
        assert found.keys() == before.keys()
        assert set(found.values()) <= {0, 5}
    assert kills > 1
    assert set(reports(database).values()) == {5}
    points, _ = clocks(everywhere)
    assert points == 2 * len(before)
    database.dispose()
