# SPDX-License-Identifier: Apache-2.0
"""Commands, figures and plugins of the documentation, tried."""

import configparser
from decimal import Decimal
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

import pytest

from cloudkitty import series
from cloudkitty import usage
from cloudkitty.db import coverage as ledger
from cloudkitty.db import engine
from cloudkitty.db import rating_modules
from cloudkitty.rating import chain
from cloudkitty.rating import jail
from cloudkitty.tests import documents
from cloudkitty.tests import processes
from cloudkitty.tests import samples
from cloudkitty.tests import serving
from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.cli import programs as cli_programs
from cloudkitty.tests.functional.cloud import test_client
from cloudkitty.tests.functional.rating import test_chain
from cloudkitty.tests.functional.rating import test_pyscripts

JUNE = samples.JUNE
HOUR = samples.HOUR
EXAMPLES = documents.ROOT / 'doc/examples'


def find(page):
    return documents.DOCUMENTS / page


def run(commands, home, replaced=(), shell=('bash', '-c'), **environment):
    """Run *commands* in one shell as they are printed, and compare what they answer with what the page says.

    :param replaced: pairs of text that stands for another one here.
    :returns: what each command answered.
    """
    path = '%s:%s' % (pathlib.Path(sys.executable).parent, os.environ['PATH'])
    lines = []
    for command in commands:
        lines += [command.text, 'status=$?; echo; echo "-- end of %d: $status"' % command.line]
    script = '\n'.join(lines)
    for old, new in replaced:
        script = script.replace(old, str(new))
    done = subprocess.run(
        [*shell, script],
        env={**os.environ, 'PATH': path, 'HOME': str(home), 'PYTHONWARNINGS': 'ignore', **environment},
        cwd=documents.ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=500, check=False,
    )  # fmt: skip
    said = re.split(r'\n-- end of (\d+): (\d+)\n', done.stdout)
    for command, answer, line, status in zip(commands, said[::3], said[1::3], said[2::3], strict=False):
        place = '%s, line %d: %s\n%s\n%s' % (command.page, command.line, command.text, answer, done.stderr)
        assert (int(line), status) == (command.line, '0'), place
        if command.answer:
            assert [text.rstrip() for text in answer.strip().splitlines()] == list(command.answer), place
    assert len(said) // 3 == len(commands), done.stderr
    return said[:-1:3]


def list_runnable(page):
    found = [command for command in documents.list_commands(find(page)) if not command.reason]
    assert found
    return found


def test_quick_start_runs(tmp_path):
    (port,) = processes.free_ports(1)
    commands = list_runnable('quickstart.rst')
    run(commands, tmp_path, [('/tmp/cloudkitty', tmp_path / 'cloudkitty'), ('8889', port)])
    assert not (tmp_path / 'cloudkitty').exists()


def test_upgrade_runs(tmp_path):
    """With the options in a file that is found without any flag."""
    made = cli_programs.Programs(tmp_path)
    made.set('collect', collector='gnocchi')
    made.set('collector_gnocchi', gnocchi_auth_type='basic', gnocchi_endpoint='http://127.0.0.1:1', auth_type='none')
    (tmp_path / '.cloudkitty').mkdir()
    made.write().rename(tmp_path / '.cloudkitty' / 'cloudkitty.conf')
    commands = list_runnable('admin/upgrade.rst')
    # Its status tells of a source that is not there.
    run([command for command in commands if 'cloudkitty-status' not in command.text], tmp_path)


class Shell:
    """Runs lines of the documentation with the real client; names of variables are kept."""

    def __init__(self, client, names=()):
        self._client = client
        self._names = dict(names)

    def run(self, command):
        text = command.text
        found = re.fullmatch(r'(\w+)=\$\((.*)\)', text, re.DOTALL)
        words = shlex.split(found.group(2) if found else text)
        words = [re.sub(r'\$(\w+)', lambda match: self._names[match.group(1)], word) for word in words]
        if words[0] == 'export':
            return
        answer = self._client.ask(*words).strip()
        if found:
            self._names[found.group(1)] = answer


@pytest.fixture
def client_and_api():
    test_client.install()
    api = deployment.Api('noauth').seed()
    try:
        with serving.serve(api.config_file, api.directory) as server:
            url = 'http://127.0.0.1:%d' % server.port
            yield {'OS_AUTH_TYPE': 'cloudkitty-noauth', 'OS_ENDPOINT': url}, api
    finally:
        api.close()


def work_out(database, row):
    """Return the price of a *row* of a table by the rules of *database*."""
    attributes = dict(word.split('=') for word in row['attributes'].split())
    of = series.Series(row['project'], row['metric'], 'u', {'id': 'x', 'project_id': row['project']}, attributes)
    points = series.Columns(of, HOUR, (JUNE + 365 * 24 * HOUR,), (Decimal(row['quantity']),))
    batch = usage.Batch((row['project'],), (), points.begins[0], HOUR, 1)
    (rated,) = chain.load(database, test_chain.CONF).price(usage.Usage(batch, [points], [])).columns
    return rated.prices[0]


@pytest.mark.cloud
def test_rules_of_the_guide_make_its_bills(client_and_api):
    environment, api = client_and_api
    with test_client.Client('openstack', environment) as client:
        shell = Shell(client)
        for command in list_runnable('user/hashmap.rst'):
            shell.run(command)
    for _, rows in documents.list_tables(find('user/hashmap.rst')):
        for row in rows:
            assert work_out(api.database, row) == Decimal(row['price']), row


@pytest.mark.cloud
@pytest.mark.parametrize('page, version', [('user/client.rst', 2), ('user/client.rst', 1), ('user/pyscripts.rst', 1)])
def test_commands_of_the_client_run(client_and_api, tmp_path, page, version):
    environment, _ = client_and_api
    script = tmp_path / 'discount.py'
    script.write_text(find_script())
    asked = 1
    with test_client.Client('openstack', environment, version) as client:
        for command in list_runnable(page):
            if found := re.fullmatch(r'export OS_RATING_API_VERSION=(\d)', command.text):
                asked = int(found.group(1))
            elif asked == version:
                client.ask(*shlex.split(command.text.replace(' discount.py', ' %s' % script)))


def find_script():
    """Return the discount of the guide."""
    blocks = documents.list_blocks(find('user/pyscripts.rst'))
    (found,) = ['\n'.join(block.lines) for block in blocks if 'Every further volume' in block.lines[0]]
    return found


def test_script_of_the_guide_makes_its_bill(database):
    test_chain.test_hashmap.store(database, [test_chain.Rules().flat('0.02').service('volume.size')])
    test_pyscripts.enable(database, hashmap=2, pyscripts=1)
    test_pyscripts.add(database, 'discount', find_script())
    runner = jail.Jail(jail.Limits(timeout=20))
    try:
        loaded = test_pyscripts.load(database, runner)
        for row in documents.list_tables(find('user/pyscripts.rst'))[0][1]:
            points = [
                test_pyscripts.rules.make_columns(1, metric='volume.size', id='volume-%d' % number)
                for number in range(int(row['volumes']))
            ]
            prices = [column.prices[0] for column in test_pyscripts.rate(loaded, *points).columns]
            assert sum(prices) == Decimal(row['price']), row
    finally:
        runner.close()


def test_quote_of_the_guide(tmp_path):
    api = deployment.Api('noauth')
    try:
        given = test_chain.Rules().flat('0.08', field='flavor_name', value='m1.large')
        test_chain.test_hashmap.store(api.database, [given.service('instance')])
        rating_modules.set_enabled(api.database, 'hashmap', True)
        with serving.serve(api.config_file, tmp_path) as server:
            url = 'http://127.0.0.1:%d' % server.port
            run(list_runnable('user/quotes.rst'), tmp_path, RATING_URL=url, TOKEN='none')
    finally:
        api.close()


@pytest.fixture
def examples(tmp_path):
    """Commands that know the package of examples, as if it was installed."""
    made = cli_programs.Programs(tmp_path)
    read = configparser.ConfigParser(delimiters=('=',))
    read.read(EXAMPLES / 'setup.cfg')
    info = tmp_path / 'site' / 'cloudkitty_examples-1.0.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: cloudkitty-examples\nVersion: 1.0\n')
    lines = ['[%s]\n%s' % (name, text.strip()) for name, text in read['options.entry_points'].items()]
    (info / 'entry_points.txt').write_text('\n'.join(lines) + '\n')
    made.environment['PYTHONPATH'] = '%s:%s' % (info.parent, EXAMPLES)
    made.environment['CLOUDKITTY_COPY'] = str(tmp_path / 'copy')
    yield made
    made.end()


def list_statuses(database, begin):
    """Return {(scope id, status)} of the period that begins at *begin*, when it is done for both scopes."""
    runs = ledger.list_runs(database, None, begin, begin + HOUR)
    return {(found.scope_id, found.status.value) for found in runs} if len(runs) == 2 else None


def test_plugins_of_the_guide_rate(examples, tmp_path):
    begin = int(time.time()) // HOUR * HOUR - 3 * HOUR
    (tmp_path / 'scopes').write_text('p2\n\np1\n')
    (tmp_path / 'usage.csv').write_text(
        'metric,project_id,id,begin,value\ncpu,p1,a,%d,2\ncpu,p1,b,%d,400\n' % (begin, begin)
    )
    (tmp_path / 'metrics.yml').write_text(
        'metrics: {cpu: {unit: u, factor: 1/2, groupby: [id, project_id], extra_args: {path: %s}}}\n'
        % (tmp_path / 'usage.csv')
    )
    examples.set('fetcher', backend='file')
    examples.set('fetcher_file', path=tmp_path / 'scopes')
    examples.set('collect', collector='csv')
    examples.set('storage', backend='copying')
    examples.install()
    database = engine.Database(examples.options['database']['connection'])
    try:
        test_chain.test_hashmap.store(database, [test_chain.Rules().flat('0.01').service('cpu')])
        for name, priority in (('hashmap', 2), ('minimum', 1)):
            rating_modules.set_enabled(database, name, True)
            rating_modules.set_priority(database, name, priority)
        examples.start('cloudkitty-processor')
        wanted = {'a': '0.05', 'b': '2'}
        copy = tmp_path / 'copy'
        cli_programs.wait_until(lambda: copy.exists() and copy.read_text().count('\n') == len(wanted), 120)
        lines = [json.loads(line) for line in copy.read_text().splitlines()]
        assert sorted((scope, metric, at, Decimal(qty), Decimal(price)) for scope, metric, at, qty, price in lines) == [
            ('p1', 'cpu', begin, 1, Decimal('0.05')),
            ('p1', 'cpu', begin, 200, 2),
        ]
        # The other scope may be another worker's.
        runs = cli_programs.wait_until(lambda: list_statuses(database, begin))
        assert runs == {('p1', 'rated'), ('p2', 'empty')}
    finally:
        database.dispose()
