# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-api`` tells ``cloudkitty-processor`` of changed rules, over a RabbitMQ that is stopped and started."""

import datetime
import re
import time

import pytest

from cloudkitty import period
from cloudkitty.db import coverage
from cloudkitty.db import engine
from cloudkitty.db import rating_modules
from cloudkitty.db import scopes
from cloudkitty.tests import clients
from cloudkitty.tests import databases
from cloudkitty.tests import rabbitmq
from cloudkitty.tests import serving
from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.cli.programs import SIGTERM
from cloudkitty.tests.functional.cli.programs import wait_until

pytestmark = pytest.mark.rabbitmq

WORKERS = 2
HEARD = re.compile(r'^(\S+ \S+) .*Rating module (\S+) is read again', re.MULTILINE)


@pytest.fixture
def node(tmp_path):
    """A RabbitMQ that runs."""
    directory = tmp_path / 'rabbitmq'
    directory.mkdir()
    try:
        found = rabbitmq.Node(directory)
    except rabbitmq.NotInstalled as error:
        conftest._miss(str(error))
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture(params=['green', 'native'])
def cloud(request, programs, node):
    """Commands with each kind of threads, that speak over *node*; two scopes have a few hours of backlog."""
    if request.param == 'native':
        programs.environment['CLOUDKITTY_NATIVE_THREADS'] = '1'
    paste_file = deployment.ROOT / 'etc' / 'cloudkitty' / 'api_paste.ini'
    programs.set('DEFAULT', transport_url=node.url, auth_strategy='noauth', api_paste_config=paste_file)
    programs.set('orchestrator', max_workers=WORKERS)
    database = databases.ready(programs.options['database']['connection'])
    for name in ('hashmap', 'pyscripts'):
        rating_modules.set_enabled(database, name, True)
    first = datetime.datetime.now(period.UTC).replace(minute=0, second=0, microsecond=0) - datetime.timedelta(hours=6)
    scopes.ensure(database, ['a', 'b'], scopes.Identity('project_id', 'source', 'memory'), first, 3600)
    database.dispose()
    return programs


class Talk:
    """A client of the API, and the log of the processor that should hear what it changes."""

    def __init__(self, port):
        self._client = clients.Client(port)
        self._count = 0
        self.processor = None

    def change(self):
        """Change the rules; return the instant of the answer and the seconds that it took."""
        self._count += 1
        body = {'name': 'service-%d' % self._count}
        event = self._client.ask('POST service', 'POST', clients.KINDS['service'][0], body)
        assert event.status == 201
        return time.time(), event.end - event.begin

    def ask(self, method, path, body=None):
        return self._client.ask(method, method, path, body)

    def heard(self):
        """Return the instants at which a worker heard of a change."""
        found = HEARD.findall(self.processor.output)
        return [datetime.datetime.fromisoformat(text).timestamp() for text, _ in found]

    def wait_for_all(self):
        """Change rules until a single change reaches every worker; return when that was."""

        def is_heard():
            before = len(self.heard())
            self.change()
            for _ in range(20):
                if len(self.heard()) >= before + WORKERS:
                    return True
                time.sleep(0.05)
            return False

        wait_until(is_heard, 120)
        return time.time()

    def settle(self):
        """Wait until nobody has heard of anything for a second: what was sent before may still be on its way."""
        count, since = -1, time.monotonic()
        while time.monotonic() < since + 1:
            if len(self.heard()) != count:
                count, since = len(self.heard()), time.monotonic()
            time.sleep(0.05)

    def measure(self, count=5):
        """Return the milliseconds from answer to reload of so many single changes, the slowest worker's."""
        self.settle()
        result = []
        for _ in range(count):
            before = len(self.heard())
            answered, _ = self.change()
            wait_until(lambda before=before: len(self.heard()) >= before + WORKERS)
            result.append(round(1000 * (max(self.heard()[before:]) - answered)))
        return result


def count_unrated(programs):
    database = engine.Database(programs.options['database']['connection'])
    runs = coverage.list_runs(database, ['a', 'b'])
    database.dispose()
    return sum((run.end - run.begin) // 3600 for run in runs if run.status.value == 'unrated')


def test_idle_workers_wake_at_once_also_after_the_broker_was_away(cloud, node):
    with serving.serve(cloud.write(), cloud.directory) as api:
        talk = Talk(api.port)
        script = {'name': 'wrong', 'data': 'raise ValueError("wrong")', 'start': '2020-01-01'}
        made = talk.ask('POST', clients.SCRIPTS + '?force=true', script)
        assert made.status == 201
        processor = talk.processor = cloud.start('cloudkitty-processor')
        processor.wait_for('of 1 scopes', 2)
        talk.wait_for_all()
        print('RabbitMQ: ms from answer to reload: %s' % talk.measure())
        assert talk.ask('GET', '/v1/rating/reload_modules').status == 204
        processor.wait_for('The rating modules are read again', WORKERS)
        # Reloading is not all: who sleeps until the next hour prices what had no price.
        wait_until(lambda: count_unrated(cloud))
        begin = time.monotonic()
        assert talk.ask('DELETE', '%s/%s' % (clients.SCRIPTS, made.answer['script_id'])).status == 204
        wait_until(lambda: not count_unrated(cloud))
        print('s until what had no price has one: %.1f' % (time.monotonic() - begin))

        talk.settle()
        node.stop()
        before = len(talk.heard())
        away = [talk.change()[1] for _ in range(10)]
        print('RabbitMQ stopped: slowest answer of the API: %d ms' % round(1000 * max(away)))
        assert len(talk.heard()) == before
        node.start()
        begin = time.time()
        print('RabbitMQ started again: s until all workers hear: %.1f' % (talk.wait_for_all() - begin))
        print('RabbitMQ started again: ms from answer to reload: %s' % talk.measure())
        assert 'Traceback' not in api.read_log()
        processor.signal(SIGTERM)
        assert processor.wait() == 0
    assert 'Traceback' not in processor.output
