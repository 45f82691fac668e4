# SPDX-License-Identifier: Apache-2.0
"""What is changed over the API is in force for every batch that starts after the answer, whatever the broker does."""

import datetime
from decimal import Decimal
import socket
import threading
import uuid

from oslo_config import cfg
import pytest

from cloudkitty import period
from cloudkitty import service
from cloudkitty.api import app
from cloudkitty.tests.functional.api import deployment as apis
from cloudkitty.tests.functional.api.deployment import ask
from cloudkitty.tests.functional.processor import deployment

HOUR = datetime.timedelta(hours=1)
HASHMAP = '/v1/rating/module_config/hashmap'
SCRIPTS = '/v1/rating/module_config/pyscripts/scripts'
SCRIPT = """
for points in data['usage'].values():
    for point in points:
        point['rating'] = {'price': point['rating']['price'] * %d + 1}
"""


def closed_port():
    with socket.create_server(('127.0.0.1', 0)) as free:
        return free.getsockname()[1]


def configure(api, broker):
    """Have *api* speak to no broker that is named, or to one that is not there."""
    lines = 'control_exchange = test-%s' % uuid.uuid4().hex
    if broker == 'stopped':
        lines += '\ntransport_url = rabbit://guest:guest@127.0.0.1:%d/' % closed_port()
    api.config_file.write_text(api.config_file.read_text().replace('transport_url = fake://', lines))


class Bill:
    """A worker that rates one point of ``cpu`` an hour, and an API on the same database, with nothing between them."""

    def __init__(self, api):
        self.api = api
        self.cloud = deployment.Deployment(api.database, 'a', types=('cpu',))
        now = datetime.datetime.now(period.UTC).replace(minute=0, second=0, microsecond=0)
        # What starts now is in force in the first period that is looked at, and what ends later can be said to.
        self.cloud.clock.now = now + 3 * HOUR + datetime.timedelta(seconds=1)
        self.cloud.run()

    @property
    def next_begin(self):
        """Begin of the next period, as the API takes it."""
        return (self.cloud.clock.now - HOUR).strftime('%Y-%m-%dT%H:00:00')

    def change(self, method, path, status, **body):
        answer = ask(self.api, path, method, body or None)
        assert answer.status_code == status, answer.text
        return answer.json if answer.text else None

    def make(self, kind, **body):
        return self.change('POST', '%s/%ss' % (HASHMAP, kind), 201, **body)['%s_id' % kind]

    def rate(self):
        """Return the price of the next period."""
        begin = self.cloud.clock.now - HOUR
        self.cloud.run(1)
        begin = begin.replace(minute=0, second=0)
        assert self.cloud.state('a').last_processed == begin
        found = self.cloud.storage.total([], begin, begin + HOUR, paginate=False)['results']
        return found[0]['rate'] if found else Decimal(0)


@pytest.fixture(params=['unset', 'stopped'])
def bill(request, ready_url):
    api = apis.Api('noauth', url=ready_url, collect='timezone = UTC')
    configure(api, request.param)
    yield Bill(api)
    api.close()


def test_every_change_is_in_force_for_the_next_batch(bill):
    assert bill.rate() == 2
    for found in bill.change('GET', HASHMAP + '/services', 200)['services']:
        bill.change('DELETE', '%s/services/%s' % (HASHMAP, found['service_id']), 204)
    assert bill.rate() == 0
    cpu = bill.make('service', name='cpu')
    bill.make('mapping', service_id=cpu, cost='2')
    assert bill.rate() == 2

    group = bill.make('group', name='g')
    mapping = bill.make('mapping', service_id=cpu, group_id=group, cost='1')
    assert bill.rate() == 3
    threshold = bill.make('threshold', service_id=cpu, group_id=bill.make('group', name='h'), level='0', cost='5')
    assert bill.rate() == 8
    bill.change('PUT', '%s/thresholds/%s' % (HASHMAP, threshold), 302, level='0', cost='7')
    assert bill.rate() == 10
    bill.change('DELETE', '%s/thresholds/%s' % (HASHMAP, threshold), 204)
    assert bill.rate() == 3

    field = bill.make('field', service_id=cpu, name='id')
    bill.make('mapping', field_id=field, value='r', group_id=group, cost='10')
    assert bill.rate() == 12
    bill.change('DELETE', '%s/fields/%s' % (HASHMAP, field), 204)
    assert bill.rate() == 3
    bill.change('PUT', '%s/mappings/%s' % (HASHMAP, mapping), 302, cost='1', end=bill.next_begin)
    assert bill.rate() == 2
    mapping = bill.make('mapping', service_id=cpu, group_id=group, cost='4', start=bill.next_begin)
    assert bill.rate() == 6
    bill.change('PUT', '%s/mappings/%s' % (HASHMAP, mapping), 302, cost='5')
    assert bill.rate() == 7
    bill.change('DELETE', '%s/mappings/%s' % (HASHMAP, mapping), 204)
    assert bill.rate() == 2

    bill.make('mapping', service_id=cpu, group_id=group, cost='4', start=bill.next_begin)
    assert bill.rate() == 6
    bill.change('DELETE', '%s/groups/%s' % (HASHMAP, group), 204)
    assert bill.rate() == 4
    group = bill.make('group', name='g')
    bill.make('mapping', service_id=cpu, group_id=group, cost='1')
    assert bill.rate() == 5
    bill.change('DELETE', '%s/groups/%s?recursive=true' % (HASHMAP, group), 204)
    assert bill.rate() == 4

    modules = '/v1/rating/modules/'
    bill.change('PUT', modules + 'hashmap', 302, module_id='hashmap', enabled=False)
    assert bill.rate() == 0
    bill.change('PUT', modules + 'hashmap', 302, module_id='hashmap', enabled=True, priority=5)
    bill.change('PUT', modules + 'pyscripts', 302, module_id='pyscripts', enabled=True)
    assert bill.rate() == 4
    script = bill.change('POST', SCRIPTS, 201, name='s', data=SCRIPT % 2, start=bill.next_begin)['script_id']
    assert bill.rate() == 9
    bill.change('PUT', '%s/%s' % (SCRIPTS, script), 201, name='s', data=SCRIPT % 3)
    assert bill.rate() == 13
    bill.change('PUT', modules + 'pyscripts', 302, module_id='pyscripts', priority=9)
    assert bill.rate() == 5
    bill.change('DELETE', '%s/%s' % (SCRIPTS, script), 204)
    assert bill.rate() == 4
    bill.change('GET', '/v1/rating/reload_modules', 204)
    assert bill.rate() == 4

    bill.change('DELETE', '%s/services/%s' % (HASHMAP, cpu), 204)
    assert bill.rate() == 0
    bill.make('mapping', service_id=bill.make('service', name='cpu'), cost='3')
    assert bill.rate() == 3


class Hole:
    """Takes connections on a port of loopback and never says a word, as a broker that hangs does."""

    def __init__(self):
        self._listening = socket.create_server(('127.0.0.1', 0))
        self.port = self._listening.getsockname()[1]
        self.taken = []
        self.is_asked = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                self.taken.append(self._listening.accept()[0])
            except OSError:
                return
            self.is_asked.set()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for found in self.taken:
            found.close()


def test_no_request_waits_for_a_broker_that_hangs(sqlite_url):
    hole = Hole()
    api = apis.Api('noauth', url=sqlite_url)
    url = 'transport_url = rabbit://guest:guest@127.0.0.1:%d/' % hole.port
    api.config_file.write_text(api.config_file.read_text().replace('transport_url = fake://', url))
    conf = service.prepare_service([], [str(api.config_file)], cfg.ConfigOpts(), app.PROGRAM)
    found = app.make_deployment(conf)
    api._application = app.make_app(found)
    for number in range(20):
        answer = ask(api, HASHMAP + '/services', 'POST', {'name': 'service-%d' % number})
        assert answer.status_code == 201
    assert hole.is_asked.wait(60)
    # The first message is being sent still: no answer waited for it.
    assert found.notifier._sending.is_alive()
    hole.close()
    api.close()
