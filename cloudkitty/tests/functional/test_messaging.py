# SPDX-License-Identifier: Apache-2.0
"""RPC: over the library's driver in memory, over RabbitMQ, and over a RabbitMQ that comes and goes."""

import contextlib
import logging
import select
import socket
import threading
import time
import uuid

from oslo_config import cfg
import oslo_messaging
import pytest

from cloudkitty import errors
from cloudkitty import messaging
from cloudkitty.processor import rpc
from cloudkitty.tests.functional import conftest

RABBIT = 'rabbit://guest:guest@127.0.0.1:%d/'


def make_conf(url):
    conf = cfg.ConfigOpts()
    messaging.register(conf)
    conf([], project='cloudkitty', default_config_files=[], default_config_dirs=[])
    conf.set_override('transport_url', url)
    # Runs of the tests must not hear each other.
    conf.set_override('control_exchange', 'cloudkitty-test-%s' % uuid.uuid4().hex[:12])
    return conf


def wait_until(condition, seconds=60):
    """Wait until *condition()* is true; fail when it never is."""
    for _ in range(seconds * 20):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail('It did not happen.')


def sum_of_quantities(resources):
    return sum(resource.volume for resource in resources)


@pytest.fixture(autouse=True)
def topic(monkeypatch):
    """A queue of its own: a broker names queues after topics, whatever the exchange; another run would hear ours."""
    monkeypatch.setattr(messaging, 'TOPIC', 'cloudkitty-test-%s' % uuid.uuid4().hex[:12])


class Ear:
    """An endpoint's listener that counts how often it was told to look at the rules."""

    def __init__(self, conf, name='here'):
        self.heard = 0
        self.listener = messaging.Listener(conf, name, [rpc.RatingEndpoint(self.hear, sum_of_quantities)], 'threading')
        self.listener.start()

    def hear(self):
        self.heard += 1

    def is_ready(self):
        return self.listener._server is not None


@pytest.fixture(params=['fake', pytest.param('rabbit', marks=pytest.mark.rabbitmq)])
def conf(request):
    if request.param == 'fake':
        return make_conf('fake:/')
    conftest.require(5672, 'RabbitMQ')
    return make_conf(RABBIT % 5672)


@pytest.fixture
def ear(conf):
    found = Ear(conf)
    wait_until(found.is_ready)
    yield found
    found.listener.stop()


def cast_until(notifier, condition, method, **args):
    """Cast until *condition()* is true: the broker may still be binding the queue of a fan-out."""

    def is_done():
        if not condition():
            notifier.cast(method, **args)
            time.sleep(0.1)
        return condition()

    wait_until(is_done)


@pytest.mark.parametrize(
    ('method', 'args'),
    [
        ('reload_modules', {'version': '1.1'}),
        ('reload_modules', {}),
        ('reload_module', {'fanout': True, 'name': 'hashmap'}),
        ('enable_module', {'fanout': True, 'name': 'hashmap'}),
        ('disable_module', {'fanout': True, 'name': 'hashmap'}),
    ],
)
def test_cast_arrives(conf, ear, method, args):
    cast_until(messaging.Notifier(conf), lambda: ear.heard, method, **args)


def test_fanout_reaches_every_listener(conf, ear):
    other = Ear(conf)
    wait_until(other.is_ready)
    cast_until(
        messaging.Notifier(conf), lambda: ear.heard and other.heard, 'reload_module', fanout=True, name='hashmap'
    )
    other.listener.stop()


def test_what_comes_while_one_is_being_sent_is_sent_after_it(conf, ear, monkeypatch):
    # Whoever hears the one before may have read the rules when the change after it was not there yet.
    is_sending, may_go = threading.Event(), threading.Event()
    make_transport = messaging.make_transport

    def make_slowly(found):
        is_sending.set()
        may_go.wait(60)
        return make_transport(found)

    monkeypatch.setattr(messaging, 'make_transport', make_slowly)
    notifier = messaging.Notifier(conf)
    notifier.cast('reload_module', name='hashmap')
    assert is_sending.wait(60)
    for name in ('hashmap', 'pyscripts', 'hashmap'):
        notifier.cast('reload_module', name=name)
    notifier.cast('reload_modules')
    assert not ear.heard
    may_go.set()
    wait_until(lambda: ear.heard >= 4)
    wait_until(lambda: not notifier._sending.is_alive())
    # Those that say the same, and were not sent yet, are one.
    assert ear.heard == 4


FRAME = {'vol': {'unit': 'undef', 'qty': 3}, 'rating': {'price': 0}, 'groupby': {}, 'metadata': {}}
OLD = {'desc': {'flavor': 'small'}, 'vol': {'unit': 'undef', 'qty': '2'}}


@pytest.mark.parametrize(
    'data, expected',
    [
        ({'usage': {'cpu': [FRAME]}, 'period': {'begin': '2026-06-01T00:00:00', 'end': '2026-06-01T01:00:00'}}, '3'),
        ([{'usage': {'cpu': [OLD, OLD]}}, {'usage': {'disk': [OLD]}}], '6'),
        ([], '0'),
    ],
)
def test_quote_is_answered(conf, ear, data, expected):
    client = oslo_messaging.get_rpc_client(
        messaging.make_transport(conf), oslo_messaging.Target(topic=messaging.TOPIC, namespace='rating', version='1.0')
    )
    assert client.call({}, 'quote', res_data=data) == expected


def test_only_public_methods_of_our_namespace_can_be_called(conf, ear):
    notifier = messaging.Notifier(conf)
    for options in ({'method': '_reload'}, {'method': 'reload_modules', 'namespace': 'other'}):
        notifier.cast(**options)
        wait_until(lambda: not notifier._sending.is_alive())
    cast_until(notifier, lambda: ear.heard, 'reload_modules')
    assert ear.heard == 1


def test_stopping_twice_or_before_the_start_is_fine(conf):
    listener = messaging.Listener(conf, 'here', [], 'threading')
    listener.stop()
    ear = Ear(conf)
    ear.listener.stop()
    ear.listener.stop()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == 'rpc'])


def test_a_password_that_the_driver_cannot_quote_is_not_logged(caplog):
    conf = make_conf('rabbit://guest:se%2Fcret@127.0.0.1:1/')
    listener = messaging.Listener(conf, 'here', [], 'threading')
    notifier = messaging.Notifier(conf)
    with caplog.at_level(logging.DEBUG):
        listener.start()
        notifier.cast('reload_modules')
        notifier._sending.join()
        wait_until(lambda: 'The broker is away' in caplog.text)
    listener.stop()
    assert 'The broker did not take a message' in caplog.text
    assert "'se'" not in caplog.text


def test_casting_never_raises_and_warns_once_in_a_while(caplog):
    notifier = messaging.Notifier(make_conf('nonsense://'))
    for _ in range(3):
        notifier.cast('reload_modules')
        wait_until(lambda: not notifier._sending.is_alive())
    assert len([record for record in caplog.records if 'did not take a message' in record.getMessage()]) == 1


@pytest.mark.parametrize('url', ['nonsense://user:secret@host/', 'user:secret@host', 'rabbit://host:many/'])
def test_url_that_cannot_work_is_refused_without_repeating_it(url):
    with pytest.raises(errors.ConfigurationError, match='transport_url') as caught:
        messaging.check(make_conf(url))
    assert 'secret' not in str(caught.value)


@pytest.mark.parametrize('url', ['fake:/', RABBIT % 1])
def test_url_is_checked_without_asking_the_broker(url):
    messaging.check(make_conf(url))


class Proxy:
    """Passes connections on to RabbitMQ while it is open."""

    def __init__(self):
        with socket.socket() as found:
            found.bind(('127.0.0.1', 0))
            self.port = found.getsockname()[1]
        self._listening = None
        self._sockets = []

    def open(self):
        self._listening = socket.create_server(('127.0.0.1', self.port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection(('127.0.0.1', 5672))
                self._sockets += [near, far]
                threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()

    @staticmethod
    def _pass_on(near, far):
        with contextlib.suppress(OSError, ValueError), near, far:
            while True:
                for ready in select.select([near, far], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (far if ready is near else near).sendall(data)

    def close(self):
        # Closing alone would leave the thread in accept() with the port.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for found in self._sockets:
            with contextlib.suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)
        self._sockets = []


@pytest.fixture
def proxy():
    conftest.require(5672, 'RabbitMQ')
    found = Proxy()
    yield found
    if found._listening is not None:
        found.close()


@pytest.mark.rabbitmq
def test_broker_that_comes_late_is_listened_to(proxy, caplog):
    messaging._ONCE.note_back()
    conf = make_conf(RABBIT % proxy.port)
    ear = Ear(conf)
    wait_until(lambda: caplog.records)
    time.sleep(2)
    assert not ear.is_ready()
    proxy.open()
    wait_until(ear.is_ready)
    cast_until(messaging.Notifier(conf), lambda: ear.heard, 'reload_module', fanout=True, name='hashmap')
    ear.listener.stop()
    assert max(record.levelno for record in caplog.records) == logging.WARNING
    assert len([record for record in caplog.records if record.name.startswith('oslo')]) == 1


@pytest.mark.rabbitmq
def test_broker_that_goes_and_comes_back_is_listened_to_again(proxy, caplog):
    conf = make_conf(RABBIT % proxy.port)
    proxy.open()
    ear = Ear(conf)
    notifier = messaging.Notifier(conf)
    wait_until(ear.is_ready)
    cast_until(notifier, lambda: ear.heard, 'reload_modules')
    proxy.close()
    notifier.cast('reload_modules')
    time.sleep(3)
    proxy.open()
    before = ear.heard
    cast_until(notifier, lambda: ear.heard > before, 'reload_modules')
    ear.listener.stop()
