# SPDX-License-Identifier: Apache-2.0
"""Shows the service at work on a real little cloud, and checks its bill; ``tools/demo`` runs it.

usage: python -m cloudkitty.tests.demo [--keep] [--source gnocchi|prometheus]
"""

import argparse
import contextlib
import datetime
import decimal
from decimal import Decimal
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

from keystoneauth1 import adapter

from cloudkitty import coverage
from cloudkitty import period
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.storage.sqlalchemy import reports
from cloudkitty.storage.sqlalchemy import windows
from cloudkitty.tests import cloud as clouds
from cloudkitty.tests import metering
from cloudkitty.tests import processes
from cloudkitty.tests import real_prometheus
from cloudkitty.tests import seeding

HOUR = seeding.HOUR
HOURS = 72
PROJECTS = 5
#: Seconds without a rated hour after which something must be wrong; and those a program may take to begin or to end.
STANDSTILL = 180
PATIENCE = 60
SOURCES = {'gnocchi': 'Gnocchi', 'prometheus': 'Prometheus'}
HASHMAP = '/v1/rating/module_config/hashmap'

# The prices: of an hour of an instance, and of an hour of a GiB, a MiB, an address; of a MB.
FLAVORS = {'m1.small': '0.012', 'm1.medium': '0.048', 'm1.large': '0.096'}
VOLUME, SSD = '0.00015', '1.6'
IMAGE = '0.0001'
ADDRESS = '0.004'
OUTGOING, MUCH, DISCOUNT = '0.00009', '100', '0.8'
# Incoming bytes cost nothing: no rule is made for them.

#: Lines of a log that are shown when something fails.
TAIL = 30
_DOTS = 58


class DemoError(Exception):
    """What went wrong; *log* is the path of the log to look at, if one tells more."""

    def __init__(self, text, log=None):
        super().__init__(text)
        self.log = log


class Interrupted(BaseException):
    """Somebody wants it to end."""


class Deployment:
    """The service around a cloud: its configuration, database, programs and their logs, in *directory*.

    :param monitor: the Prometheus that has the usage; None: Gnocchi has it.
    """

    def __init__(self, directory, cloud, seed, monitor=None):
        self.directory = directory
        self.monitor = monitor
        self.source = 'prometheus' if monitor else 'gnocchi'
        self.identity = scopes.Identity('project_id', 'keystone', self.source)
        self.cloud = cloud
        self.seed = seed
        self.url = None
        self.flavor_id = None
        self.database = engine.Database('sqlite:///%s' % (directory / 'cloudkitty.sqlite'))
        self._running = []
        self._config = directory / 'cloudkitty.conf'
        self._write_config()

    def _write_config(self):
        etc = clouds.ROOT / 'etc' / 'cloudkitty'
        account = {**self.seed.service.options(), 'www_authenticate_uri': self.cloud.keystone_url}
        sections = {
            'DEFAULT': {'transport_url': 'fake:/', 'api_paste_config': etc / 'api_paste.ini'},
            'api': {'host_ip': '127.0.0.1'},
            'database': {'connection': 'sqlite:///%s' % (self.directory / 'cloudkitty.sqlite')},
            'keystone_authtoken': account,
            'fetcher_keystone': {'auth_section': 'keystone_authtoken'},
            # An hour is rated as soon as it is over.
            'collect': {'collector': self.source, 'metrics_conf': etc / 'metrics.yml', 'wait_periods': 1},
            'orchestrator': {
                'coordination_url': 'file://%s' % (self.directory / 'locks'),
                'max_workers': 2,
                'max_workers_reprocessing': 1,
            },
        }
        if self.monitor:
            sections['collector_prometheus'] = {'prometheus_url': self.monitor.url}
            sections['collect']['metrics_conf'] = self.directory / 'metrics.yml'
            (self.directory / 'metrics.yml').write_text(metering.describe())
        else:
            sections['collector_gnocchi'] = {'auth_section': 'keystone_authtoken', 'region_name': clouds.REGION}
        self._config.touch(mode=0o600)
        with self._config.open('w') as file:
            for name, values in sections.items():
                print('[%s]' % name, *('%s = %s' % pair for pair in values.items()), sep='\n', file=file)

    # programs

    def install(self):
        """Make the tables."""
        for program, *arguments in (('cloudkitty-dbsync', 'upgrade'), ('cloudkitty-storage-init',)):
            with self.log(program).open('w') as output:
                done = subprocess.run(
                    self._command(program, *arguments),
                    env=self._environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                    check=False,
                )  # fmt: skip
            if done.returncode:
                raise DemoError('%s failed.' % program, self.log(program))

    def set_clocks(self):
        """Let every project begin with the first hour of the seed, on whatever day of a month that is."""
        ids = [project.id for project in self.seed.projects]
        scopes.ensure(self.database, ids, self.identity, period.from_epoch(self.seed.begin), HOUR)

    def start_api(self):
        """Start the API on a free port and tell the catalogue."""
        self._start('cloudkitty-api', '--port', '0')
        log = self.log('cloudkitty-api')
        for _ in range(PATIENCE * 10):
            found = re.search(r'^Available at http://.*:(\d+)/$', log.read_text(), re.MULTILINE)
            if found:
                break
            self.check()
            time.sleep(0.1)
        else:
            raise DemoError('cloudkitty-api does not come up.', log)
        self.url = 'http://127.0.0.1:%s' % found.group(1)
        self.cloud.create_service('cloudkitty', 'rating', self.url)

    def start_processor(self):
        self._start('cloudkitty-processor')

    def _start(self, program, *arguments):
        command = self._command(program, *arguments)
        self._running.append(processes.start(program, command, self.log(program), env=self._environment()))

    def _command(self, program, *arguments):
        return [pathlib.Path(sys.executable).with_name(program), '--config-file', self._config, *arguments]

    @staticmethod
    def _environment():
        return {**os.environ, 'PYTHONWARNINGS': 'ignore'}

    def check(self):
        """Raise DemoError when a program ended by itself."""
        for process in self._running:
            if not process.is_alive():
                raise DemoError('%s ended.' % process.name, self.log(process.name))

    def stop(self):
        """End the programs, the processor first."""
        for process in reversed(self._running):
            process.stop()
        self._running.clear()
        self.database.dispose()

    def log(self, program):
        return self.directory / ('%s.log' % program)

    # what it says

    def call(self, method, path, body=None, **query):
        """Ask the API as the administrator; return the parsed answer."""
        client = adapter.Adapter(self.cloud.session(), endpoint_override=self.url)
        answer = client.request(
            path, method, json=body, params=query, raise_exc=False, redirect=False,
            headers={'Accept': 'application/json'},
        )  # fmt: skip
        if answer.status_code >= 400:
            text = '%s %s: %d %s' % (method, path, answer.status_code, answer.text[:500])
            raise DemoError(text, self.log('cloudkitty-api'))
        return answer.json() if answer.content and answer.status_code < 300 else None

    def make_rules(self):
        """Make the rules of the prices above and enable hashmap."""

        def make(kind, **body):
            return self.call('POST', '%s/%ss' % (HASHMAP, kind), body)['%s_id' % kind]

        # Rules for the past have to be asked for: by default, one holds from now on.
        start = period.from_epoch(self.seed.begin).isoformat()

        def price(cost, **body):
            self.call('POST', '%s/mappings' % HASHMAP, {'cost': cost, 'start': start, **body}, force='true')

        self.flavor_id = make('field', service_id=make('service', name='instance'), name='flavor_name')
        for name, cost in FLAVORS.items():
            price(cost, field_id=self.flavor_id, value=name)
        volume = make('service', name='volume.size')
        price(VOLUME, service_id=volume)
        price(SSD, field_id=make('field', service_id=volume, name='volume_type'), value='ssd', type='rate')
        price(IMAGE, service_id=make('service', name='image.size'))
        price(ADDRESS, service_id=make('service', name='ip.floating'))
        outgoing = make('service', name='network.outgoing.bytes.rate')
        price(OUTGOING, service_id=outgoing)
        make('threshold', service_id=outgoing, level=MUCH, cost=DISCOUNT, type='rate')
        self.call('PUT', '/v1/rating/modules/hashmap', {'module_id': 'hashmap', 'enabled': True})

    def count_rated(self):
        """Return how many hours of all projects are rated."""
        clocks = [period.to_epoch(state.last_processed) for state in scopes.list_states(self.database, self.identity)]
        return sum(min(HOURS, (clock + HOUR - self.seed.begin) // HOUR) for clock in clocks)

    def window(self):
        """Return the arguments of a report on all that was put in: instants in UTC, as the first API has them."""
        return {
            name: period.to_naive(period.from_epoch(second)).isoformat()
            for name, second in (('begin', self.seed.begin), ('end', self.seed.end))
        }

    def read_bill(self, types):
        """Return {(project id, type): cost} as the API answers."""
        return {
            (project.id, kind): Decimal(
                self.call('GET', '/v1/report/total', tenant_id=project.id, service=kind, **self.window())
            )
            for project in self.seed.projects
            for kind in types
        }

    def read_sums(self):
        """Return {(project id, type): :class:`reports.Sum`} from the tables."""
        window = windows.Window(self.seed.begin, self.seed.end)
        read = reports.Reports(self.database, 'project_id', datetime.timezone.utc)
        return {row.values: row for row in read.sum_up(windows.Selection(window), ('project_id', 'type'))}

    def read_coverage(self):
        """Return {(project id, type): {status: hours}} from the ledger."""
        result = {}
        for run in ledger.list_runs(self.database, None, self.seed.begin, self.seed.end):
            found = result.setdefault((run.scope_id, run.metric), {})
            hours = (min(run.end, self.seed.end) - max(run.begin, self.seed.begin)) // HOUR
            found[run.status] = found.get(run.status, 0) + hours
        return result


def work_out(seed):
    """Return {(project id, type): (quantity, cost)} from the measures: no code of the service takes part in it."""
    result = {}
    with decimal.localcontext(prec=60):
        for project in seed.projects:
            for resource in project.resources:
                for metric, measures in resource.measures.items():
                    for begin, value in measures.items():
                        # What holds at the end of an hour holds for all of it.
                        kind, qty, cost = _rate(metric, value, resource.attributes_before(begin + HOUR))
                        before = result.get((project.id, kind), (0, 0))
                        exact = [Decimal(item).quantize(Decimal('1e-28')) for item in (qty, cost)]
                        result[project.id, kind] = (before[0] + exact[0], before[1] + exact[1])
    return result


def _rate(metric, value, attributes):
    """Return type, quantity and cost of a measure, by etc/cloudkitty/metrics.yml and the prices above."""
    if metric == 'cpu':
        return 'instance', 1, Decimal(FLAVORS[attributes['flavor_name']])
    if metric == 'volume.size':
        return metric, value, value * Decimal(VOLUME) * (Decimal(SSD) if attributes['volume_type'] == 'ssd' else 1)
    if metric == 'image.size':
        return metric, value / 1048576, value / 1048576 * Decimal(IMAGE)
    if metric == 'ip.floating':
        return metric, 1, Decimal(ADDRESS)
    megabytes = value * HOUR / 1000000
    if metric == 'network.outgoing.bytes.rate':
        discount = Decimal(DISCOUNT) if megabytes >= Decimal(MUCH) else 1
        return metric, megabytes, megabytes * Decimal(OUTGOING) * discount
    return metric, megabytes, 0


# what is printed


@contextlib.contextmanager
def step(text):
    """Print *text*, and after it how long it took."""
    print('%s %s ' % (text, '.' * (_DOTS - len(text))), end='', flush=True)
    begin = time.monotonic()
    try:
        yield
    except BaseException:
        print('not done', flush=True)
        raise
    print('%5.1f s' % (time.monotonic() - begin), flush=True)


def watch(deployment):
    """Show how far the processor is until all hours are rated."""
    total, shown, moved = PROJECTS * HOURS, -1, time.monotonic()
    while shown < total:
        deployment.check()
        rated = deployment.count_rated()
        if rated != shown:
            shown, moved = rated, time.monotonic()
            _show_progress(rated, total)
        elif time.monotonic() - moved > STANDSTILL:
            raise DemoError('Nothing was rated for %d s.' % STANDSTILL, deployment.log('cloudkitty-processor'))
        time.sleep(0.2)


def _show_progress(done, total):
    text = '%d of %d hours of projects rated' % (done, total)
    if sys.stdout.isatty():
        full = 40 * done // total
        print('\r[%s%s] %s' % ('#' * full, '-' * (40 - full), text), end='\n' if done == total else '', flush=True)
    else:
        print('%3d %%  %s' % (100 * done // total, text), flush=True)


def print_table(title, names, rows):
    """Print a table: a line of *names*, then *rows* of (name, texts); None draws a line."""
    first = max(len(title), *(len(row[0]) for row in rows if row))
    widths = [
        max(len(name), *(len(row[1][column]) for row in rows if row)) for column, name in enumerate(names)
    ]  # fmt: skip
    line = '-' * first + ''.join('  ' + '-' * width for width in widths)
    print()
    print(title.ljust(first) + ''.join('  ' + name.rjust(width) for name, width in zip(names, widths, strict=True)))
    print(line)
    for row in rows:
        if row is None:
            print(line)
            continue
        cells = zip(row[1], widths, strict=True)
        print(row[0].ljust(first) + ''.join('  ' + text.rjust(width) for text, width in cells))


def print_bill(seed, types, bill):
    """Print cost per project and type, with sums."""

    def texts(amounts):
        return [format(amount, ',.4f') for amount in (*amounts, sum(amounts))]

    rows = [(kind, texts([bill[project.id, kind] for project in seed.projects])) for kind in types]
    totals = [sum(bill[project.id, kind] for kind in types) for project in seed.projects]
    print_table(
        'cost', [*(project.name for project in seed.projects), 'total'], [*rows, None, ('total', texts(totals))]
    )


def print_coverage(seed, types, found, sums, source):
    """Print what became of the hours of each project and type, and what the words mean."""
    rows = []
    for kind in types:
        texts = []
        for project in seed.projects:
            hours = found.get((project.id, kind), {})
            texts.append(
                ', '.join('%d %s' % (hours[status], status.value) for status in coverage.Status if status in hours)
            )
        rows.append((kind, texts))
    print_table('coverage in hours', [project.name for project in seed.projects], rows)
    print()
    text = 'empty: %s answered, and had nothing. unknown: nothing in %s has this metric.'
    print(text % (source, source))
    for kind in types:
        rows = [row for (_, name), row in sums.items() if name == kind and row.unpriced]
        if rows:
            points, all_points = sum(row.unpriced for row in rows), sum(row.points for row in rows)
            print('%s: no rule prices %d of its %d points.' % (kind, points, all_points))


def compare(seed, bill, sums):
    """Return lines that say where *bill* and *sums* differ from what the measures come to; [] if nowhere."""
    expected = work_out(seed)
    names = {project.id: project.name for project in seed.projects}
    result = []
    for key in sorted({*expected, *sums, *(key for key, cost in bill.items() if cost)}):
        qty, cost = expected.get(key, (0, 0))
        found = sums[key].qty if key in sums else 0
        for what, is_, should in (('quantity', found, qty), ('cost', bill.get(key, 0), cost)):
            if is_ != should:
                name = names.get(key[0], key[0])
                result.append('%s, %s: %s is %s, should be %s' % (name, key[1], what, is_, should))
    return result


def print_urls(deployment):
    print()
    for name, url in (
        ('CloudKitty', deployment.url),
        ('Keystone', deployment.cloud.keystone_url),
        (SOURCES[deployment.source], deployment.monitor.url if deployment.monitor else deployment.cloud.gnocchi_url),
    ):
        print('%-11s %s' % (name, url))


def print_commands(deployment):
    """Say what to try, and write the file with the environment that it needs."""
    user = deployment.seed.projects[0]
    files = {}
    for name, credentials in (('admin', deployment.cloud.admin), ('user', user.credentials)):
        values = {
            **credentials.options(),
            'identity_api_version': '3',
            'region_name': clouds.REGION,
            # The client takes version 2 by default.
            'rating_api_version': '1',
        }
        files[name] = deployment.directory / ('%s.rc' % name)
        files[name].touch(mode=0o600)
        lines = ['export OS_%s=%s' % (key.upper(), value) for key, value in values.items()]
        lines.append('export PATH=%s:$PATH' % pathlib.Path(sys.executable).parent)
        files[name].write_text('\n'.join(lines) + '\n')
    window = '-b %(begin)s -e %(end)s' % deployment.window()
    print(
        """
It runs until Ctrl-C. Try in another terminal, as the administrator:

  . {admin}
  openstack rating summary get --all-tenants -g tenant_id res_type {window}
  openstack rating module list
  openstack rating info metric list
  openstack rating hashmap service list
  openstack rating hashmap mapping list --field-id {flavor}
  openstack rating report tenant list {window}

or as the user of {project}:

  . {user}
  openstack rating summary get -g res_type {window}
  openstack rating total get {window}
  openstack rating dataframes get -r volume.size {window}

Configuration, database and logs are in {directory}.""".format(
            **files,
            window=window,
            flavor=deployment.flavor_id,
            project=user.name,
            directory=deployment.directory,
        ),
        flush=True,
    )


# life


def run(directory, keep, source, stack):
    """Do it all, with the usage in *source*; return the exit status. What is to be ended goes to *stack*."""
    now = int(time.time())
    end = now - now % HOUR
    cloud = clouds.Cloud(directory / 'cloud', has_gnocchi=source == 'gnocchi')
    stack.callback(cloud.stop)
    with step('Starting Keystone and Gnocchi' if cloud.has_gnocchi else 'Starting Keystone'):
        cloud.start()
    with step('Loading %d projects with %d hours of measures' % (PROJECTS, HOURS)):
        seed = seeding.seed(cloud, end - HOURS * HOUR, HOURS, PROJECTS)
    monitor = None
    if source == 'prometheus':
        monitor = real_prometheus.RealPrometheus(directory / 'prometheus')
        stack.callback(monitor.stop)
        with step('Starting Prometheus, with the measures'):
            metering.fill(monitor, seed)
    deployment = Deployment(directory, cloud, seed, monitor)
    stack.callback(deployment.stop)
    with step('cloudkitty-dbsync upgrade, cloudkitty-storage-init'):
        deployment.install()
        deployment.set_clocks()
    with step('Starting cloudkitty-api'):
        deployment.start_api()
    with step('Making rules'):
        deployment.make_rules()
    print('Starting cloudkitty-processor', flush=True)
    begin = time.monotonic()
    deployment.start_processor()
    watch(deployment)
    print('Rating took %.1f s.' % (time.monotonic() - begin))

    types = [metric['metric_id'] for metric in deployment.call('GET', '/v1/info/metrics')['metrics']]
    bill, sums = deployment.read_bill(types), deployment.read_sums()
    begin, end = (period.from_epoch(second).strftime('%Y-%m-%d %H:%M') for second in (seed.begin, seed.end))
    print('\nFrom %s to %s, UTC, %d hours' % (begin, end, HOURS))
    print_bill(seed, types, bill)
    print_coverage(seed, types, deployment.read_coverage(), sums, SOURCES[source])
    differences = compare(seed, bill, sums)
    print()
    if differences:
        print('The bill does NOT match the measures that were loaded:', *differences, sep='\n  ')
    else:
        print('The bill matches: to the last digit, it is what the measures that were loaded come to by themselves.')
    print_urls(deployment)
    if keep:
        print_commands(deployment)
        with contextlib.suppress(Interrupted):
            while True:
                deployment.check()
                time.sleep(1)
    return 1 if differences else 0


def main():
    parser = argparse.ArgumentParser(prog='tools/demo', description=__doc__.partition('\n')[0])
    parser.add_argument('--keep', action='store_true', help='leave it running until Ctrl-C')
    parser.add_argument('--source', choices=SOURCES, default='gnocchi', help='what meters the cloud')
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    directory = pathlib.Path(tempfile.mkdtemp(prefix='cloudkitty-demo-'))
    status, stack = 1, contextlib.ExitStack()
    try:
        status = run(directory, options.keep, options.source, stack)
    except Interrupted:
        status = 130
    except Exception as error:
        _explain(error, directory)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        print('\nStopping ...', flush=True)
        stack.close()
        if status == 1:
            print('Configuration, database and logs are left in %s.' % directory)
        else:
            shutil.rmtree(directory)
    return status


def _interrupt(number, frame):
    raise Interrupted


def _explain(error, directory):
    """Print what went wrong and the end of the log that tells more; of every log where that is not known."""
    print()
    if isinstance(error, DemoError | clouds.CloudError):
        print(error)
        logs = [error.log] if getattr(error, 'log', None) else []
    else:
        traceback.print_exception(error, file=sys.stdout)
        logs = sorted(directory.rglob('*.log'))
    for log in logs:
        print('\n%s ends with:' % log)
        for line in log.read_text(errors='replace').splitlines()[-TAIL:]:
            print('  ' + line[:400])


if __name__ == '__main__':
    sys.exit(main())
