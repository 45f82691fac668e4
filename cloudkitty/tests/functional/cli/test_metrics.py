# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads of a processor, with green and with native threads."""

import re
import socket
import urllib.error
import urllib.request

from prometheus_client import parser
import pytest

from cloudkitty.db import engine
from cloudkitty.tests import databases
from cloudkitty.tests import processes
from cloudkitty.tests.functional.cli.programs import SIGHUP
from cloudkitty.tests.functional.cli.programs import SIGTERM
from cloudkitty.tests.functional.cli.programs import wait_until

PROCESSOR = 'cloudkitty-processor'


@pytest.fixture(params=['green', 'native'])
def served(request, programs):
    """Commands with each kind of threads, the tables, and the URL of the figures."""
    if request.param == 'native':
        programs.environment['CLOUDKITTY_NATIVE_THREADS'] = '1'
    (port,) = processes.free_ports(1)
    programs.set('metrics', enabled=True, port=port)
    programs.environment['TMPDIR'] = str(programs.directory)
    databases.ready(programs.options['database']['connection']).dispose()
    programs.url = 'http://127.0.0.1:%d/metrics' % port
    return programs


def ask(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in parser.text_string_to_metric_families(answer.read().decode())
            for sample in family.samples
        }


def test_figures_of_all_workers_and_of_the_database(served):
    running = served.start(PROCESSOR)
    running.wait_for('of 1 scopes', 2)
    running.wait_for('Prometheus is answered')
    found = wait_until(lambda: (asked := ask(served.url)).get(('cloudkitty_scopes', 'rated')) == 2 and asked)
    assert found['cloudkitty_database_up',] == 1
    assert found['cloudkitty_batches_total', 'rating'] >= 2
    assert found['cloudkitty_cells_total', 'rated', 'rating'] > 0
    assert found['cloudkitty_points_total', 'rating'] > 0
    assert found['cloudkitty_batch_stage_seconds_count', 'commit'] >= 2
    assert found['cloudkitty_scopes_listed',] == 2
    # All of a month was due; what is not yet when a pass begins is seconds away.
    assert found['cloudkitty_lag_max_seconds',] == max(found['cloudkitty_lag_seconds', name] for name in 'ab')
    with pytest.raises(urllib.error.HTTPError, match='404'):
        ask(served.url + '/more')
    before = found['cloudkitty_points_total', 'rating']
    running.signal(SIGHUP)
    running.wait_for('Prometheus is answered', 2)
    assert wait_until(lambda: ask(served.url))['cloudkitty_points_total', 'rating'] >= before
    running.signal(SIGTERM)
    assert running.wait() == 0
    assert list(served.directory.glob('cloudkitty-metrics-*')) == []


def test_scopes_that_nobody_rates_lag(served):
    served.set('orchestrator', max_workers=1)
    running = served.start(PROCESSOR)
    running.wait_for('of 2 scopes')
    running.signal(SIGTERM)
    running.wait()
    database = engine.Database(served.options['database']['connection'])
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE cloudkitty_storage_states SET last_processed_timestamp = '2026-01-01 00:00:00' "
            "WHERE identifier = 'b'"
        )
    database.dispose()
    served.set('orchestrator', max_workers=0)
    running = served.start(PROCESSOR)
    running.wait_for('Prometheus is answered')
    found = ask(served.url)
    assert found['cloudkitty_lag_seconds', 'b'] > 86400
    assert found['cloudkitty_lag_seconds', 'b'] == found['cloudkitty_lag_max_seconds',]
    assert found['cloudkitty_scopes_lagging',] == 1
    served.set('metrics', max_scopes=1)
    running.signal(SIGTERM)
    running.wait()
    running = served.start(PROCESSOR)
    running.wait_for('Prometheus is answered')
    found = ask(served.url)
    assert ('cloudkitty_lag_seconds', 'b') not in found
    assert found['cloudkitty_lag_max_seconds',] > 86400


def test_an_address_in_use_stops_no_rating(served):
    served.set('orchestrator', max_workers=1)
    with socket.create_server(('127.0.0.1', int(re.search(r':(\d+)/', served.url)[1]))):
        running = served.start(PROCESSOR)
        running.wait_for('cannot listen on 127.0.0.1')
        running.wait_for('of 2 scopes')
        running.signal(SIGTERM)
        assert running.wait() == 0
