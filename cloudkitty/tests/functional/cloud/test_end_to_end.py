# SPDX-License-Identifier: Apache-2.0
"""The main job on a real cloud: the bill equals, to the last digit, the one worked out by hand from the measures."""

import datetime
import os
import pathlib
import signal
import socket
import time

from oslo_config import cfg
import pytest
import requests
import webob

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty import service
from cloudkitty.api import app
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.processor import service as processor_service
from cloudkitty.tests import databases
from cloudkitty.tests import metering
from cloudkitty.tests import real_prometheus
from cloudkitty.tests import seeding
from cloudkitty.tests.functional import conftest as functional
from cloudkitty.tests.functional.cli import programs as cli_programs
from cloudkitty.tests.functional.cloud import bill
from cloudkitty.tests.functional.cloud import rules

pytestmark = pytest.mark.cloud
ROOT = pathlib.Path(__file__).parents[4]
HOUR = seeding.HOUR
PERIODS = 24
PROJECTS = 4
IDENTITY = scopes.Identity('project_id', 'keystone', 'gnocchi')
#: A metric whose resource type Gnocchi does not know, beside the shipped ones.
GHOST = """
  ghost.metric:
    unit: ghost
    groupby: [id, project_id]
    extra_args: {resource_type: ghost, aggregation_method: mean}
"""


@pytest.fixture(scope='module')
def seed(cloud):
    """Usage of the 24 periods that were the last to be due."""
    now = int(time.time())
    return seeding.seed(cloud, now - now % HOUR - (PERIODS + 2) * HOUR, PERIODS, PROJECTS, '-live')


def month_start(back):
    """Return the first instant of the month *back* months ago."""
    today = datetime.datetime.now(period.UTC)
    months = today.year * 12 + today.month - 1 - back
    return datetime.datetime(months // 12, months % 12 + 1, 1, tzinfo=period.UTC)


def last_31st():
    """Return the newest past midnight on which a 31st of a month began."""
    return next(
        end - datetime.timedelta(days=1)
        for end in map(month_start, range(1, 13))
        if (end - datetime.timedelta(days=1)).day == 31
    )


#: The instant at which the clock stands.
CLOCKS = {
    '1st': month_start(1) + datetime.timedelta(minutes=30),
    '31st': last_31st() + datetime.timedelta(hours=23, minutes=30),
}


@pytest.fixture(scope='module', params=sorted(CLOCKS))
def past(request, cloud):
    """(seed, instant at which the clock stands): the last period due there is the last with usage."""
    clock = CLOCKS[request.param]
    second = period.to_epoch(clock)
    begin = second - second % HOUR - (PERIODS + 1) * HOUR
    return seeding.seed(cloud, begin, PERIODS, PROJECTS, '-' + request.param), clock


class Deployment:
    """The service's programs around a cloud and a database."""

    def __init__(self, directory, url, seed, **orchestrator):
        self.seed = seed
        self.identity = IDENTITY
        self.programs = cli_programs.Programs(directory, url)
        self.programs.metrics.write_text((ROOT / 'etc' / 'cloudkitty' / 'metrics.yml').read_text() + GHOST)
        self.programs.set('DEFAULT', auth_strategy='keystone')
        self.programs.set('DEFAULT', api_paste_config=ROOT / 'etc' / 'cloudkitty' / 'api_paste.ini')
        self.programs.set('collect', collector='gnocchi')
        self.programs.set('fetcher', backend='keystone')
        for section in ('keystone_authtoken', 'fetcher_keystone', 'collector_gnocchi'):
            self.programs.set(section, **seed.service.options())
        self.programs.set('keystone_authtoken', interface='public', www_authenticate_uri=seed.service.auth_url)
        self.programs.set('orchestrator', **orchestrator)
        self.database = engine.Database(url)

    def use_prometheus(self, source):
        """Have the usage collected from *source*."""
        self.identity = scopes.Identity('project_id', 'keystone', 'prometheus')
        self.programs.metrics.write_text(metering.describe())
        self.programs.set('collect', collector='prometheus')
        self.programs.set('collector_prometheus', prometheus_url=source.url)

    def set_clocks(self):
        """Let every project begin with the first period of the seed."""
        ids = [project.id for project in self.seed.projects]
        scopes.ensure(self.database, ids, self.identity, period.from_epoch(self.seed.begin), HOUR)

    def clocks(self):
        """Return the begin of the last rated period of each scope."""
        return [period.to_epoch(state.last_processed) for state in scopes.list_states(self.database, self.identity)]

    def is_done(self):
        return all(clock >= self.seed.end - HOUR for clock in self.clocks())

    def check_coverage(self):
        """What is not points is what it should be: unknown where the source knows nothing, else empty."""
        window = (self.seed.begin, self.seed.end)
        expected = {(point.project, point.type, point.begin) for point in bill.points(self.seed)}
        found = {}
        for run in ledger.list_runs(self.database, None, *window):
            for begin in range(max(run.begin, window[0]), min(run.end, window[1]), HOUR):
                found[run.scope_id, run.metric, begin] = run.status
        accounts = {
            project.id
            for project in self.seed.projects
            if any(item.type == 'ceph_account' for item in project.resources)
        }
        assert accounts
        types = [kind for kind, _, _ in bill.METRICS.values()]
        for project in self.seed.projects:
            for begin in self.seed.periods():
                for kind in types:
                    wanted = coverage.Status.RATED if (project.id, kind, begin) in expected else coverage.Status.EMPTY
                    assert found.pop((project.id, kind, begin)) is wanted, (project.name, kind, begin)
                wanted = coverage.Status.UNKNOWN if project.id in accounts else coverage.Status.EMPTY
                assert found.pop((project.id, 'radosgw.objects.size', begin)) is wanted
                assert found.pop((project.id, 'ghost.metric', begin)) is coverage.Status.UNKNOWN
        assert not found
        assert ledger.list_failures(self.database) == []

    def end(self):
        self.programs.end()
        self.database.dispose()


def check_bill(seed, call):
    """Compare what the API answers with the bill worked out by hand; return the points."""
    expected = bill.points(seed)
    window = 'begin=%s&end=%s' % tuple(
        period.to_naive(period.from_epoch(second)).isoformat() for second in (seed.begin, seed.end)
    )
    found = bill.from_frames(call('GET', '/v1/storage/dataframes?%s' % window)['dataframes'])
    assert found == expected
    assert call('GET', '/v1/report/total?all_tenants=true&%s' % window) == bill.total(expected)
    summary = call('GET', '/v1/report/summary?groupby=tenant_id,res_type&all_tenants=true&%s' % window)['summary']
    assert {(row['tenant_id'], row['res_type']): float(row['rate']) for row in summary} == {
        key: float(round(value, 5)) for key, value in bill.totals(expected).items()
    }
    return found


@pytest.fixture
def live(tmp_path, mariadb_url, seed):
    """A deployment on MariaDB and RabbitMQ, with rules, its API running and its processors not yet."""
    functional.require(5672, 'RabbitMQ')
    # Small batches: a catch-up takes many commits, and something can happen between them.
    found = Deployment(tmp_path, mariadb_url, seed, max_workers=1, batch_scopes=1, max_granules=1000)
    found.programs.set('DEFAULT', transport_url='rabbit://guest:guest@127.0.0.1:5672/')
    try:
        found.programs.install()
        found.set_clocks()
        with socket.create_server(('127.0.0.1', 0)) as probe:
            port = probe.getsockname()[1]
        url = 'http://127.0.0.1:%d' % port
        api = found.programs.start('cloudkitty-api', '-b', '127.0.0.1', '-p', str(port))
        api.wait_for(url.partition('//')[2].rpartition(':')[2])
        session = seed.service.session()

        def call(method, path, body=None):
            headers = {'X-Auth-Token': session.get_token()}
            answer = requests.request(method, url + path, json=body, headers=headers, timeout=60, allow_redirects=False)
            assert answer.status_code < 400, (method, path, answer.status_code, answer.text)
            return answer.json() if answer.status_code in (200, 201) else None

        cli_programs.wait_until(lambda: _answers(url))
        rules.Rules(call).make_all(seed.projects[0].id)
        found.call = call
        yield found
    finally:
        found.end()


def _answers(url):
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False


def test_a_day_of_a_cloud_is_billed_exactly(live, seed):
    processor = live.programs.start('cloudkitty-processor')
    cli_programs.wait_until(live.is_done, 120)
    check_bill(seed, live.call)
    live.check_coverage()
    processor.signal(signal.SIGTERM)
    assert processor.wait() == 0, processor.output
    assert 'Traceback' not in processor.output


def test_users_see_their_own_bill_only(live, seed):
    processor = live.programs.start('cloudkitty-processor')
    cli_programs.wait_until(live.is_done, 120)
    processor.signal(signal.SIGTERM)
    address = live.programs._running[0].process.args[-1]
    own, other = seed.projects[0], seed.projects[1]
    token = {'X-Auth-Token': own.credentials.session().get_token()}
    window = {
        name: period.to_naive(period.from_epoch(second)).isoformat()
        for name, second in (('begin', seed.begin), ('end', seed.end))
    }

    def get(path, **query):
        url = 'http://127.0.0.1:%s%s' % (address, path)
        return requests.get(url, params={**window, **query}, headers=token, timeout=60)

    expected = [point for point in bill.points(seed) if point.project == own.id]
    assert get('/v1/report/total').json() == bill.total(expected)
    assert bill.from_frames(get('/v1/storage/dataframes').json()['dataframes']) == expected
    assert get('/v1/report/total', tenant_id=other.id).status_code == 403
    assert get('/v1/report/total', all_tenants='true').status_code == 403
    assert get('/v1/storage/dataframes', tenant_id=other.id).status_code == 403
    assert get('/v1/report/tenants').status_code == 403
    assert processor.wait() == 0


def test_two_processors_at_once_bill_the_same(live, seed):
    # Each on a host of its own: the locks of files do not keep them apart.
    first = live.programs.start('cloudkitty-processor', '--config-file', str(_own_locks(live, 'one')))
    second = live.programs.start('cloudkitty-processor', '--config-file', str(_own_locks(live, 'two')))
    cli_programs.wait_until(live.is_done, 180)
    check_bill(seed, live.call)
    live.check_coverage()
    for processor in (first, second):
        processor.signal(signal.SIGTERM)
        assert processor.wait() == 0, processor.output


def test_a_processor_that_is_killed_midway_loses_and_doubles_nothing(live, seed):
    first = live.programs.start('cloudkitty-processor', '--config-file', str(_own_locks(live, 'one')))
    cli_programs.wait_until(lambda: any(clock >= seed.begin for clock in live.clocks()), 120)
    for pid in (first.process.pid, *first.children()):
        _kill(pid)
    first.wait()
    assert not live.is_done()
    live.programs.start('cloudkitty-processor', '--config-file', str(_own_locks(live, 'two')))
    cli_programs.wait_until(live.is_done, 180)
    check_bill(seed, live.call)
    live.check_coverage()


def _own_locks(deployment, name):
    path = deployment.programs.directory / ('%s.conf' % name)
    directory = deployment.programs.directory / ('locks-%s' % name)
    path.write_text('[DEFAULT]\nhost = %s\n[orchestrator]\ncoordination_url = file://%s\n' % (name, directory))
    return path


def _kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


class Inside:
    """A deployment of which API and worker run in this process, with every rule made."""

    def __init__(self, deployment):
        self.deployment = deployment
        deployment.programs.set('DEFAULT', auth_strategy='noauth')
        self._files = [str(deployment.programs.write())]
        self._application = app.build_wsgi_app([], cfg.ConfigOpts(), self._files)
        rules.Rules(self.call).make_all(deployment.seed.projects[0].id)
        deployment.set_clocks()

    def call(self, method, path, body=None):
        request = webob.Request.blank(path, method=method)
        if body is not None:
            request.json = body
            request.content_type = 'application/json'
        answer = request.get_response(self._application)
        assert answer.status_int < 400, (method, path, answer.text)
        return answer.json if answer.status_int in (200, 201) else None

    def rate(self, clock):
        """Rate what is due at *clock*."""
        conf = service.prepare_service([], self._files, cfg.ConfigOpts(), program='cloudkitty-processor')
        metrics = processor_service.load_metrics(conf)
        worker, _ = processor_service.make_worker(
            conf, self.deployment.database, metrics, None, clock=lambda: clock
        )  # fmt: skip
        worker.run_pass()
        assert self.deployment.is_done()


def test_the_bill_is_the_same_on_the_1st_and_the_31st_on_every_database(tmp_path, database_url, past, seed):
    moved, clock = past
    databases.ready(database_url).dispose()
    deployment = Deployment(tmp_path, database_url, moved)
    try:
        inside = Inside(deployment)
        inside.rate(clock)
        found = check_bill(moved, inside.call)
        deployment.check_coverage()
        assert bill.plain(found, moved) == bill.plain(bill.points(seed), seed)
    finally:
        deployment.end()


@pytest.fixture(scope='module')
def metered(seed, tmp_path_factory):
    """A real Prometheus with the usage of the seed."""
    source = real_prometheus.RealPrometheus(tmp_path_factory.mktemp('prometheus') / 'server')
    metering.fill(source, seed)
    yield source
    source.stop()


def test_the_bill_is_the_same_from_prometheus(tmp_path, sqlite_url, metered, seed):
    databases.ready(sqlite_url).dispose()
    deployment = Deployment(tmp_path, sqlite_url, seed)
    try:
        deployment.use_prometheus(metered)
        inside = Inside(deployment)
        inside.rate(period.from_epoch(seed.end + 2 * HOUR))
        found = check_bill(seed, inside.call)
        window = (seed.begin, seed.end)
        for run in ledger.list_runs(deployment.database, None, *window):
            if run.metric == 'radosgw.objects.size':
                assert run.status is coverage.Status.UNKNOWN
            else:
                assert run.status in (coverage.Status.RATED, coverage.Status.EMPTY)
        assert ledger.list_failures(deployment.database) == []
    finally:
        deployment.end()
    assert found == bill.points(seed)
