# SPDX-License-Identifier: Apache-2.0
"""Eight workers on three hosts, of which one joins late and one dies: processes, with a real broker and database."""

import os

import pytest

from cloudkitty.db import engine
from cloudkitty.tests import databases
from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional.cli import programs as cli_programs
from cloudkitty.tests.functional.cli import test_processor
from cloudkitty.tests.functional.cli.programs import SIGKILL
from cloudkitty.tests.functional.cli.programs import SIGTERM
from cloudkitty.tests.functional.cli.programs import wait_until

SCOPES = 48


@pytest.fixture(params=[('mariadb', 'redis'), ('postgresql', 'etcd')], ids='-'.join)
def cloud(request, tmp_path):
    """Commands on a database and a coordination service that three hosts share; half a second a batch."""
    server, kind = request.param
    conftest.require(5672, 'RabbitMQ')
    for service in conftest.start_coordination(kind, tmp_path):
        for url in conftest.make_url(server, tmp_path):
            found = cli_programs.Programs(tmp_path, url)
            found.set('DEFAULT', transport_url='rabbit://guest:guest@127.0.0.1:5672/')
            found.set('fetcher_source', sources=','.join('scope-%d' % number for number in range(SCOPES)))
            found.set('orchestrator', coordination_url=service.url, batch_scopes=1, max_granules=4000)
            found.environment['FAKE_DELAY'] = '0.5'
            databases.ready(url).dispose()
            yield found
            found.end()


def start(cloud, name, workers):
    cloud.set('DEFAULT', host=name)
    cloud.set('orchestrator', max_workers=workers)
    path = cloud.directory / ('%s.conf' % name)
    path.write_text(cloud.write().read_text())
    return cloud.start(test_processor.PROCESSOR, conf=path)


def kill(host):
    """End a host as a power cut does."""
    children = host.children()
    host.signal(SIGKILL)
    for pid in children:
        os.kill(pid, SIGKILL)
    host.wait()


def unfinished(cloud):
    """Return how many scopes have not the newest clock."""
    database = engine.Database(cloud.options['database']['connection'])
    with database.engine.connect() as connection:
        query = 'SELECT last_processed_timestamp FROM cloudkitty_storage_states'
        clocks = [row[0] for row in connection.exec_driver_sql(query)]
    database.dispose()
    return SCOPES - clocks.count(max(clocks, default=None)) if clocks else SCOPES


def test_scopes_move_when_hosts_come_and_go_and_nothing_is_rated_twice(cloud):
    one, two = start(cloud, 'one', 3), start(cloud, 'two', 3)
    one.wait_for('collecting', 1)
    two.wait_for('collecting', 1)
    three = start(cloud, 'three', 2)
    three.wait_for('collecting', 2)
    kill(two)
    assert unfinished(cloud), 'All was done before the host died: this shows nothing.'
    wait_until(lambda: not unfinished(cloud), 120)
    for host in (one, three):
        host.signal(SIGTERM)
        assert host.wait() == 0
    points, found = test_processor.clocks(cloud)
    assert points == 2 * sum(test_processor.count_hours(text) for text in found)
    # Work that somebody else had done is thrown away; there was little of it.
    output = one.output + two.output + three.output
    assert output.count('collecting') < 1.5 * output.count(' of 1 scopes') + 10
    assert 'Traceback' not in one.output + three.output
