# SPDX-License-Identifier: Apache-2.0
"""The commands of python-cloudkittyclient against the command ``cloudkitty-api``, and its library.

Source: API contract, section 6.2.
"""

import contextlib
import json
import os
import re
import subprocess

import pytest

from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.api import test_command
from cloudkitty.tests.functional.cloud import guarded

pytestmark = pytest.mark.cloud
ROOT = deployment.ROOT
PYTHON = ROOT / '.cache' / 'client' / 'bin' / 'python'
DRIVER = ROOT / 'cloudkitty' / 'tests' / 'client_driver.py'


class Refused(Exception):
    """A command ended with a status that is not 0; the text is what it said."""


class Client:
    """The client's environment, in which *flavour* is the command that is run.

    :param flavour: ``cloudkitty``, or ``openstack rating``.
    :param version: of the API.
    """

    def __init__(self, flavour, environment, version=1):
        self._flavour = flavour.split()
        kept = {name: value for name, value in os.environ.items() if not name.startswith('OS_')}
        self._process = subprocess.Popen(
            [PYTHON, DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**kept, **environment, 'PYTHONWARNINGS': 'ignore', 'OS_RATING_API_VERSION': str(version)},
        )

    def ask(self, *line):
        self._process.stdin.write(json.dumps(line) + '\n')
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer['status'] != 0:
            raise Refused(answer['err'] + answer['out'])
        return answer['out']

    def __call__(self, command, *arguments):
        """Run *command* and return the JSON it prints."""
        return json.loads(self.ask(*self._flavour, *command.split(), *arguments, '-f', 'json'))

    def silently(self, command, *arguments):
        """Run a *command* that prints nothing."""
        assert self.ask(*self._flavour, *command.split(), *arguments).strip() == ''

    def evaluate(self, expression):
        """Return the value of an *expression* of the library, in which ``client`` is a client of v1."""
        return json.loads(self.ask('python', expression))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def install():
    install_of_others('client')


def install_of_others(name):
    """Make the environment *name* of ``tools/client``; skip the test where that cannot be done, but in CI."""
    command = [ROOT / 'tools' / 'client', 'install', name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        conftest._miss('It cannot be installed: %s' % done.stderr.strip())


@pytest.fixture
def noauth_server():
    """The environment of clients of an API with data that lets everybody in."""
    install()
    api = deployment.Api('noauth').seed()
    try:
        arguments = ('--config-file', str(api.config_file), '-p', '0', '-b', '127.0.0.1')
        with test_command.serve(*arguments) as (_, port, _):
            yield {'OS_AUTH_TYPE': 'cloudkitty-noauth', 'OS_ENDPOINT': 'http://127.0.0.1:%d' % port}
    finally:
        api.close()


@pytest.fixture(scope='module')
def keystone_server(cloud):
    """The environments of an administrator and of a reader, of an API that asks a real Keystone."""
    install()
    project_id = cloud.create_project('clients')
    users = {}
    for name, role in (('client-admin', 'admin'), ('client-reader', 'reader')):
        options = cloud.create_user(name, 'clients', role)[1].options()
        users[role] = {'OS_%s' % key.upper(): value for key, value in options.items()}
    with guarded.make_api(cloud, 'cloudkitty-of-clients') as api:
        guarded.rate(api, project_id)
        arguments = ('--config-file', str(api.config_file), '-p', '0', '-b', '127.0.0.1')
        with test_command.serve(*arguments) as (_, port, _):
            cloud.create_service('cloudkitty-of-clients', 'rating', 'http://127.0.0.1:%d' % port)
            yield users, project_id


FLAVOURS = ('cloudkitty', 'openstack rating')


@pytest.mark.parametrize('flavour', FLAVOURS)
def test_every_command_works_without_authentication(noauth_server, flavour):
    with Client(flavour, noauth_server) as client:
        walk_through_commands(client)
        assert client('total get', *WINDOW, '-a') == {'Total': 2.125}
        rows = client('summary get', *WINDOW, '-a', '-g', 'tenant_id', 'res_type')
        assert {(row['Tenant ID'], row['Resource Type']): row['Rate'] for row in rows} == {
            ('p1', 'instance'): '1.0',
            ('p1', 'image.size'): '0.125',
            ('p2', 'instance'): '1.0',
        }
        assert client('total get', *WINDOW, '-t', 'p2') == {'Total': 1.0}
        assert client('total get', *WINDOW, '-t', 'p1', '-s', 'instance') == {'Total': 1.0}
        assert sorted(row['Tenant ID'] for row in client('report tenant list', *WINDOW)) == ['p1', 'p2']
        frames = client('dataframes get', *WINDOW, '-p', 'p1', '-r', 'image.size')
        assert [(row['Project ID'], row['Resources'][0]['rating']) for row in frames] == [('p1', '0.125')]


@pytest.mark.parametrize('flavour', FLAVOURS)
def test_commands_of_v2_work_without_authentication(noauth_server, flavour, tmp_path):
    with Client(flavour, noauth_server, 2) as client:
        rows = client('summary get', *WINDOW, '-g', 'project_id', '-g', 'type', '--filter', 'project_id:p1')
        assert [(row['Type'], row['Qty'], row['Rate'], row['Project id']) for row in rows] == [
            ('image.size', 2.5, 0.125, 'p1'),
            ('instance', 2, 1, 'p1'),
        ]
        frames = client('dataframes get', *WINDOW, '--filter', 'type:image.size')
        assert [row['Begin'] for row in frames] == ['2026-06-01T00:00:00+00:00']
        point = {
            'vol': {'unit': 'u', 'qty': 1},
            'rating': {'price': 3},
            'groupby': {'project_id': 'p7'},
            'metadata': {},
        }
        period = {'begin': '2026-06-01T00:00:00', 'end': '2026-06-01T01:00:00'}
        path = tmp_path / 'frames.json'
        path.write_text(json.dumps({'dataframes': [{'period': period, 'usage': {'fee': [point]}}]}))
        client.silently('dataframes add', str(path))
        assert [row['Rate'] for row in client('summary get', *WINDOW, '--filter', 'type:fee')] == [3]
        walk_through_reprocessing(client)
        walk_through_scopes(client)
        assert {row['Module']: row['Enabled'] for row in client('module list')}['noop']
        assert client('module enable', 'hashmap') == [{'Module': 'hashmap', 'Enabled': True, 'Priority': 1}]
        assert client('module set priority', 'hashmap', '7') == [{'Module': 'hashmap', 'Enabled': True, 'Priority': 7}]
        assert client('module get', 'hashmap') == [{'Module': 'hashmap', 'Enabled': True, 'Priority': 7}]
        client('module set priority', 'hashmap', '1')
        assert client('module disable', 'hashmap') == [{'Module': 'hashmap', 'Enabled': False, 'Priority': 1}]


def walk_through_reprocessing(client):
    assert client('tasks reprocessing get') == []
    hours = ('--start-reprocess-time', '2026-05-31T20:00:00Z', '--end-reprocess-time', '2026-06-01T00:00:00Z')
    # The client shows nothing of what it is answered.
    client('tasks reprocessing create', '--scope-id', 'p1', '--scope-id', 'p2', *hours, '--reason', 'price list fixed')
    rows = client('tasks reprocessing get', '--order', 'asc')
    assert rows == [
        {
            'Scope ID': scope_id,
            'Reason': 'price list fixed',
            'Start reprocessing time': '2026-05-31T20:00:00',
            'End reprocessing time': '2026-06-01T00:00:00',
            'Current reprocessing time': '',
        }
        for scope_id in ('p1', 'p2')
    ]
    assert client('tasks reprocessing get', '--scope-id', 'p2', '--limit', '1') == rows[1:]
    with pytest.raises(Refused, match='400'):
        client('tasks reprocessing create', '--scope-id', 'p1', *hours, '--reason', 'again')


def walk_through_scopes(client):
    rows = client('scope state get', '--scope-id', 'p1', '--scope-id', 'p2')
    assert [(row['Scope ID'], row['Collector'], row['State']) for row in rows] == [
        ('p1', 'gnocchi', '2026-06-01T01:00:00+00:00'),
        ('p2', 'gnocchi', '2026-06-01T01:00:00+00:00'),
    ]
    client.silently('scope state reset', '2026-06-01T00:00:00', '--scope-id', 'p1')
    assert client('scope state get', '--scope-id', 'p1')[0]['State'] == '2026-06-01T00:00:00+00:00'
    with pytest.raises(Refused, match='404'):
        client('scope state get', '--scope-id', 'nope')
    # The client makes its exit status of the answer.
    with contextlib.suppress(Refused):
        client.silently('scope patch', '-id', 'p2', '--active', 'false')
    with pytest.raises(Refused, match='404'):
        client.silently('scope state reset', '2026-06-01T00:00:00', '--scope-id', 'p2')


@pytest.mark.parametrize('flavour', FLAVOURS)
def test_every_command_works_with_keystone(keystone_server, flavour):
    users, project_id = keystone_server
    with Client(flavour, users['admin']) as client:
        walk_through_commands(client)
        assert client('total get', *WINDOW) == {'Total': 0.5}
        assert [row['Tenant ID'] for row in client('report tenant list', *WINDOW)] == [project_id]


@pytest.mark.parametrize('flavour', FLAVOURS)
def test_reader_sees_the_own_project_and_configures_nothing(keystone_server, flavour):
    users, project_id = keystone_server
    with Client(flavour, users['reader']) as client:
        assert client('total get', *WINDOW) == {'Total': 0.5}
        assert client('total get', *WINDOW, '-t', project_id) == {'Total': 0.5}
        assert [row['Rate'] for row in client('summary get', *WINDOW)] == ['0.5']
        frames = client('dataframes get', *WINDOW)
        assert [row['Project ID'] for row in frames] == [project_id]
        assert [row['Metric'] for row in client('info metric list')] == ['instance', 'image.size']
        for command in (
            ('total get', '-a'),
            ('total get', '-t', 'another'),
            ('summary get', '-a'),
            ('report tenant list',),
            ('module list',),
            ('hashmap service list',),
            ('hashmap service create', 'x'),
            ('pyscript list',),
            ('collector-mapping list',),
        ):
            with pytest.raises(Refused, match='403'):
                client(*command)
        # The client stumbles over an error of a request within another.
        with pytest.raises(Refused):
            client('module enable', 'hashmap')


def test_library_does_what_no_command_does(noauth_server):
    with Client('cloudkitty', noauth_server) as client:
        hashmap = 'client.rating.hashmap.'
        assert client.evaluate('client.rating.reload_modules()') is None
        client.evaluate('client.rating.update_module(module_id="hashmap", enabled=True)')
        service = client.evaluate(hashmap + 'create_service(name="library")')['service_id']
        group = client.evaluate(hashmap + 'create_group(name="library")')['group_id']
        arguments = 'service_id=%r, group_id=%r, cost=2' % (service, group)
        mapping = client.evaluate(hashmap + 'create_mapping(%s)' % arguments)['mapping_id']
        threshold = client.evaluate(hashmap + 'create_threshold(level=5, %s)' % arguments)['threshold_id']
        for kind, id_ in (('mapping', mapping), ('threshold', threshold)):
            found = client.evaluate(hashmap + 'get_%s_group(%s_id=%r)' % (kind, kind, id_))
            assert found == {'group_id': group, 'name': 'library'}
        quote = 'client.rating.get_quotation(res_data=[{"service": "library", "volume": "4", "desc": {"x": 1}}])'
        assert float(client.evaluate(quote)) == 8
        client.evaluate(hashmap + 'delete_group(group_id=%r, recursive=True)' % group)
        assert client.evaluate(hashmap + 'get_mapping(service_id=%r)' % service) == {'mappings': []}
        client.evaluate(hashmap + 'delete_service(service_id=%r)' % service)
        client.evaluate('client.rating.update_module(module_id="hashmap", enabled=False)')


WINDOW = ('-b', '2026-06-01T00:00:00', '-e', '2026-07-01T00:00:00')


def walk_through_commands(client):
    """Run every command that makes, shows, changes or deletes configuration; nothing of it stays."""
    # info
    assert client('info config get')
    assert {row['Metric']: row['Unit'] for row in client('info metric list')} == {
        'instance': 'instance',
        'image.size': 'MiB',
    }
    assert client('info metric get', 'image.size')[0]['Metadata'] == ['disk_format']
    with pytest.raises(Refused, match='404'):
        client('info metric get', 'nope')
    # modules
    assert {row['Module']: row['Enabled'] for row in client('module list')} == {
        'hashmap': False,
        'noop': True,
        'pyscripts': False,
    }
    assert client('module enable', 'hashmap') == [{'Module': 'hashmap', 'Enabled': True, 'Priority': 1}]
    assert client('module set priority', 'hashmap', '7') == [{'Module': 'hashmap', 'Enabled': True, 'Priority': 7}]
    assert client('module get', 'hashmap') == [{'Module': 'hashmap', 'Enabled': True, 'Priority': 7}]
    client('module set priority', 'hashmap', '1')
    assert client('module disable', 'hashmap') == [{'Module': 'hashmap', 'Enabled': False, 'Priority': 1}]
    with pytest.raises(Refused, match='404'):
        client('module get', 'nope')
    # collectors of old
    made = client('collector-mapping create', 'compute', 'gnocchi')
    assert made == [{'Service': 'compute', 'Collector': 'gnocchi'}]
    assert client('collector-mapping get', 'compute') == made
    assert client('collector-mapping list') == made
    assert client('collector-mapping list', '--collector', 'other') == []
    client.silently('collector-mapping delete', 'compute')
    assert client('collector-mapping list') == []
    assert client('collector state get', 'gnocchi') == [{'Collector': 'gnocchi', 'State': False}]
    assert client('collector enable', 'gnocchi') == [{'Collector': 'gnocchi', 'State': True}]
    assert client('collector disable', 'gnocchi') == [{'Collector': 'gnocchi', 'State': False}]
    walk_through_hashmap(client)
    walk_through_scripts(client)


def is_shown(rows, expected):
    """Return whether *rows* are the one that is *expected*; not every command shows every column."""
    (row,) = rows
    shown = row.keys() & expected.keys() - {'Updated by', 'Updated At'}
    return len(shown) > 2 and all(row[name] == expected[name] for name in shown)


def walk_through_hashmap(client):
    assert {row['Mapping types'] for row in client('hashmap mapping-types list')} == {'flat', 'rate'}
    (service,) = client('hashmap service create', 'instance')
    assert client('hashmap service list') == [service]
    assert client('hashmap service get', service['Service ID']) == [service]
    with pytest.raises(Refused, match='409'):
        client('hashmap service create', 'instance')
    (field,) = client('hashmap field create', service['Service ID'], 'flavor_name')
    assert client('hashmap field list', service['Service ID']) == [field]
    assert client('hashmap field get', field['Field ID']) == [field]
    (group,) = client('hashmap group create', 'licences')
    assert client('hashmap group list') == [group]

    (mapping,) = client(
        'hashmap mapping create', '0.25', '--field-id', field['Field ID'], '--value', 'm1.tiny', '-t', 'flat',
        '-g', group['Group ID'], '-p', 'p9', '--start', '2999-01-01', '--end', '2999-12-31', '--name', 'tiny',
        '--description', 'A small one',
    )  # fmt: skip
    assert (mapping['Cost'], mapping['Value'], mapping['Type']) == ('0.2500000000000000000000000000', 'm1.tiny', 'flat')
    assert is_shown(client('hashmap mapping get', mapping['Mapping ID']), mapping)
    assert is_shown(client('hashmap mapping list', '--field-id', field['Field ID']), mapping)
    assert client('hashmap mapping list', '--field-id', field['Field ID'], '--no-group') == []
    assert is_shown(client('hashmap mapping list', '-g', group['Group ID'], '--filter-tenant', '-p', 'p9'), mapping)
    assert is_shown(client('hashmap group mappings get', group['Group ID']), mapping)
    # The client repeats it thirty times.
    (changed,) = client('hashmap mapping update', mapping['Mapping ID'], '--cost', '0.5')
    assert changed['Cost'] == '0.5000000000000000000000000000'
    assert is_shown([{**changed, 'Cost': mapping['Cost']}], mapping)
    (started,) = client('hashmap mapping create', '2', '-s', service['Service ID'])
    with pytest.raises(Refused, match=re.escape('update only the attribute [end]')):
        client('hashmap mapping update', started['Mapping ID'], '--cost', '3')
    client('hashmap mapping update', started['Mapping ID'], '--end', '2999-12-31')
    with pytest.raises(Refused, match='already processed and has a defined end date'):
        client('hashmap mapping update', started['Mapping ID'], '--end', '2999-12-30')
    client.silently('hashmap mapping delete', started['Mapping ID'])
    with pytest.raises(Refused, match='400'):
        client('hashmap mapping create', 'nan', '-s', service['Service ID'])

    (threshold,) = client(
        'hashmap threshold create', '2', '0.1', '-s', service['Service ID'], '-t', 'rate', '-g', group['Group ID'],
        '-p', 'p9',
    )  # fmt: skip
    assert (threshold['Level'], threshold['Cost'][:3], threshold['Type']) == ('2.00000000', '0.1', 'rate')
    assert is_shown(client('hashmap threshold get', threshold['Threshold ID']), threshold)
    assert is_shown(client('hashmap threshold list', '-s', service['Service ID']), threshold)
    assert is_shown(client('hashmap group thresholds get', group['Group ID']), threshold)
    (changed,) = client('hashmap threshold update', threshold['Threshold ID'], '-l', '3')
    assert is_shown([{**changed, 'Level': threshold['Level']}], threshold)
    assert changed['Level'] == '3.00000000'
    client.silently('hashmap threshold delete', threshold['Threshold ID'])
    with pytest.raises(Refused, match='404'):
        client('hashmap threshold get', threshold['Threshold ID'])

    client.silently('hashmap mapping delete', mapping['Mapping ID'])
    client.silently('hashmap group delete', group['Group ID'], '--recursive')
    client.silently('hashmap field delete', field['Field ID'])
    client.silently('hashmap service delete', service['Service ID'])
    assert client('hashmap service list') == client('hashmap group list') == []


def walk_through_scripts(client):
    (script,) = client('pyscript create', 'double', 'x = 1', '--start', '2999-01-01', '--description', 'Doubles')
    assert (script['Name'], script['Data']) == ('double', 'x = 1')
    assert is_shown(client('pyscript get', script['Script ID']), script)
    assert is_shown(client('pyscript list'), script)
    assert 'x = 1' not in json.dumps(client('pyscript list', '-n'))
    (changed,) = client('pyscript update', script['Script ID'], '-d', 'x = 2')
    assert changed['Data'] == 'x = 2' and changed['Checksum'] != script['Checksum']
    (started,) = client('pyscript create', 'now', 'y = 1')
    with pytest.raises(Refused, match=re.escape('update only the attribute [end]')):
        client('pyscript update', started['Script ID'], '-d', 'y = 2')
    (ended,) = client('pyscript update', started['Script ID'], '--end', '2999-12-31')
    assert ended['Script End Date'] == '2999-12-31T23:59:59'
    with pytest.raises(Refused, match='already processed and has a defined end date'):
        client('pyscript update', started['Script ID'], '--end', '2999-12-30')
    client.silently('pyscript delete', script['Script ID'])
    client.silently('pyscript delete', started['Script ID'])
    assert client('pyscript list') == []
