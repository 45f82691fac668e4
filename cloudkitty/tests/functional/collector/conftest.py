# SPDX-License-Identifier: Apache-2.0
"""Sources for the tests of collectors: the stand-ins for Gnocchi and Prometheus, and real ones."""

import uuid

from keystoneauth1 import adapter
from keystoneauth1 import session
import pytest

from cloudkitty.clients import gnocchi as gnocchi_client
from cloudkitty.clients import prometheus as prometheus_client
from cloudkitty.collector import gnocchi as driver
from cloudkitty.collector import prometheus as prometheus_driver
from cloudkitty.collector.gnocchi import requests
from cloudkitty.conf import metrics as metrics_file
from cloudkitty.tests import cloud
from cloudkitty.tests import gnocchi
from cloudkitty.tests import prometheus
from cloudkitty.tests import real_gnocchi
from cloudkitty.tests import real_prometheus
from cloudkitty.tests.functional import conftest as functional


class World:
    """A source of usage with names of its own, so that tests can share a real one."""

    KIND = 'rated_instance'
    ATTRIBUTES = ('flavor', 'zone')

    def __init__(self, source):
        self.source = source
        self._mark = uuid.uuid4().hex[:8]
        source.create_policy('standard', (300, 3600))
        source.create_policy('hours', (3600,))
        source.create_type(self.KIND, self.ATTRIBUTES)

    def scope(self, name):
        return '%s-%s' % (name, self._mark)

    def id(self, name):
        return str(uuid.uuid5(uuid.NAMESPACE_OID, '%s %s' % (self._mark, name)))

    def metric(self, name):
        return '%s.%s' % (name, self._mark)

    def add(self, name, scope, recorded, values=(), metric='cpu', policy='standard', kind=KIND, **attributes):
        """Make a resource with measures: {epoch second: value}."""
        metrics = (self.metric(metric),) if metric else ()
        self.source.create_resource(kind, self.id(name), self.scope(scope), recorded, metrics, policy, **attributes)
        if values:
            self.source.measure(self.id(name), self.metric(metric), dict(values))

    def revise(self, name, at, **attributes):
        if 'project_id' in attributes:
            attributes['project_id'] = self.scope(attributes['project_id'])
        self.source.revise(self.id(name), at, **attributes)

    def metrics(self, *definitions):
        """Return checked metrics; a definition is (name, dict of changes)."""
        document = {}
        for name, changes in definitions:
            extra_args = {'resource_type': self.KIND, 'aggregation_method': 'mean', **changes.get('extra_args', {})}
            definition = {'unit': 'u', 'alt_name': changes.get('alt_name', name), 'groupby': ['id']}
            definition |= {**changes, 'extra_args': extra_args}
            document.setdefault(self.metric(name), []).append(definition)
        return metrics_file.parse({'metrics': document}, 'project_id', driver.GnocchiCollector.check_extra_args).metrics

    def client(self, timeout=30):
        auth = gnocchi_client.basic_auth('admin', self.source.url)
        return requests.Client(adapter.Adapter(session.Session(auth=auth), service_type='metric'), timeout, pause=0.01)

    def collector(self, metrics, timeout=30, **arguments):
        return driver.GnocchiCollector(metrics=metrics, client=self.client(timeout), **arguments)


@pytest.fixture
def fake():
    """A stand-in Gnocchi."""
    source = gnocchi.FakeGnocchi().start()
    yield source
    source.stop()


@pytest.fixture
def world(fake):
    """A world in the stand-in."""
    return World(fake)


@pytest.fixture(scope='session')
def real_source(tmp_path_factory):
    """A real Gnocchi, in basic authentication mode."""
    functional.require_cloud()
    made = cloud.Cloud(tmp_path_factory.mktemp('gnocchi') / 'data', auth='basic').start()
    yield real_gnocchi.RealGnocchi(made)
    made.stop()


@pytest.fixture(params=['stand-in', pytest.param('real', marks=pytest.mark.cloud)])
def any_world(request):
    """A world in the stand-in, then in a real Gnocchi."""
    return World(request.getfixturevalue('fake' if request.param == 'stand-in' else 'real_source'))


class Monitored:
    """A Prometheus with names of its own, so that tests can share a real one."""

    def __init__(self, source):
        self.source = source
        self._mark = uuid.uuid4().hex[:8]

    def scope(self, name):
        return '%s-%s' % (name, self._mark)

    def metric(self, name):
        return '%s_%s' % (name, self._mark)

    def add(self, name, scope, values, metric='cpu', **labels):
        """Put in samples of series *name*: {epoch second: value}; *scope* None: nobody's."""
        owner = {} if scope is None else {'project_id': self.scope(scope)}
        self.source.add(self.metric(metric), {'id': name, **owner, **labels}, values)

    def metrics(self, *definitions):
        """Return checked metrics; a definition is (name, dict of changes)."""
        document = {}
        for name, changes in definitions:
            definition = {'unit': 'u', 'alt_name': changes.get('alt_name', name), 'groupby': ['id'], **changes}
            document.setdefault(self.metric(name), []).append(definition)
        check = prometheus_driver.PrometheusCollector.check_extra_args
        return metrics_file.parse({'metrics': document}, 'project_id', check).metrics

    def client(self, timeout=30, **arguments):
        return prometheus_client.Client(self.source.url, timeout=timeout, pause=0.01, **arguments)

    def collector(self, metrics, timeout=30, **arguments):
        return prometheus_driver.PrometheusCollector(metrics=metrics, client=self.client(timeout), **arguments)


@pytest.fixture
def fake_prometheus():
    """A stand-in Prometheus."""
    source = prometheus.FakePrometheus().start()
    yield source
    source.stop()


@pytest.fixture
def monitored(fake_prometheus):
    """Names in the stand-in Prometheus."""
    return Monitored(fake_prometheus)


@pytest.fixture(scope='session')
def real_prometheus_source(tmp_path_factory):
    """A real Prometheus."""
    made = real_prometheus.RealPrometheus(tmp_path_factory.mktemp('prometheus') / 'server').start()
    yield made
    made.stop()


@pytest.fixture(params=['stand-in', 'version 3', pytest.param('real', marks=pytest.mark.cloud)])
def any_monitored(request):
    """Names in the stand-in Prometheus of either version, then in a real one."""
    if request.param == 'real':
        return Monitored(request.getfixturevalue('real_prometheus_source'))
    source = request.getfixturevalue('fake_prometheus')
    source.is_new = request.param == 'version 3'
    return Monitored(source)
