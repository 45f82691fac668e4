# SPDX-License-Identifier: Apache-2.0
"""Passwords of the configuration stay out of what commands print and log, whatever cannot be reached."""

import pytest

from cloudkitty.tests import keystone
from cloudkitty.tests import secrecy
from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional.api import deployment

_URL = '%%s://ck:%s@127.0.0.1:%%s' % secrecy.make('database-password')
#: Databases that turn us away, and what cannot be a database.
DATABASES = {
    'MariaDB that refuses': _URL % ('mysql', '3306/x'),
    'PostgreSQL that refuses': _URL % ('postgresql', '5432/x'),
    'no MariaDB': _URL % ('mysql', '1/x'),
    'no PostgreSQL': _URL % ('postgresql', '1/x'),
    'no such driver': _URL % ('mysql+nothing', '1/x'),
    'no port': _URL % ('mysql', 'port/x'),
    'no such option': _URL % ('mysql', '1/x?nonsense=1'),
}
#: What those of a broker and of the coordination look like when they are mistyped.
MISTYPED = {
    'broker without a port': ('DEFAULT', {'transport_url': 'rabbit://ck:%s@127.0.0.1:port/'}),
    'broker without a driver': ('DEFAULT', {'transport_url': 'rabit://ck:%s@127.0.0.1:1/'}),
    'broker with half an address': ('DEFAULT', {'transport_url': 'rabbit://ck:%s@[::1:1/'}),
    'coordination without a port': ('orchestrator', {'coordination_url': 'redis://:%s@127.0.0.1:port'}),
    'coordination without a driver': ('orchestrator', {'coordination_url': 'rediss3://:%s@127.0.0.1:1'}),
    'database that is no URL': ('database', {'connection': 'ck:%s@127.0.0.1/x'}),
}


@pytest.fixture
def wordy(programs):
    """Commands that say all they can; whom they ask does not answer, or does not know their password."""
    server = keystone.Keystone()
    server.start()
    credentials = {
        'auth_type': 'password', 'auth_url': server.url, 'username': 'ck', 'password': secrecy.make('wrong-password'),
        'project_name': 'service', 'user_domain_id': 'default', 'project_domain_id': 'default',
    }  # fmt: skip
    programs.set(
        'DEFAULT', debug='true', log_options='true', api_paste_config=deployment.PASTE_FILE,
        transport_url='rabbit://ck:%s@127.0.0.1:1/' % secrecy.make('broker-password'),
    )  # fmt: skip
    programs.set('orchestrator', coordination_url='redis://:%s@127.0.0.1:1' % secrecy.make('coordination-password'))
    programs.set('database', max_retries=0)
    programs.set('fetcher', backend='keystone')
    programs.set('fetcher_keystone', **credentials)
    programs.set('keystone_authtoken', **credentials)
    yield programs
    server.stop()


def run(programs, *commands):
    """Run *commands* to their ends, which must be bad ones, and return what they print."""
    text = ''
    for name, *arguments in commands:
        done = programs.run(name, *arguments)
        assert done.returncode != 0, (name, done.stdout)
        text += done.stdout + done.stderr
    return text


@pytest.mark.parametrize('kind', DATABASES)
def test_commands_keep_the_password_of_the_database(wordy, kind, request):
    url = DATABASES[kind]
    if 'refuses' in kind:
        conftest.require(3306 if url.startswith('mysql') else 5432, kind)
    wordy.set('database', connection=url)
    text = run(wordy, ('cloudkitty-dbsync', 'upgrade'), ('cloudkitty-storage-init',))
    assert text and secrecy.find(text) == []


@pytest.mark.parametrize('kind', ['no MariaDB', 'no PostgreSQL'])
def test_the_processor_keeps_all_passwords(wordy, kind):
    wordy.set('database', connection=DATABASES[kind])
    found = wordy.start('cloudkitty-processor')
    found.wait_for('The database is away')
    found.wait_for('database.connection')
    found.wait_for('Connection failed')
    for option in ('transport_url', 'fetcher_keystone.password', 'orchestrator.coordination_url'):
        (line,) = [line for line in found.output.splitlines() if '] %s ' % option in line]
        assert '= ****' in line
    found.signal(15)
    found.wait()
    assert secrecy.find(found.output) == []


def test_the_processor_keeps_a_password_that_keystone_refuses(wordy):
    wordy.prepare()
    wordy.set('orchestrator', coordination_url='file://%s' % (wordy.directory / 'locks'))
    found = wordy.start('cloudkitty-processor')
    found.wait_for('Keystone refuses [fetcher_keystone]: HTTP 401')
    found.signal(15)
    found.wait()
    assert secrecy.find(found.output) == []


@pytest.mark.parametrize('kind', MISTYPED)
def test_a_mistyped_url_is_not_repeated(wordy, kind):
    wordy.prepare()
    section, options = MISTYPED[kind]
    wordy.set(section, **{name: value % secrecy.make('mistyped-password') for name, value in options.items()})
    found = wordy.start('cloudkitty-processor')
    found.wait_for('\n')
    if 'coordination' in kind:
        # It goes on, and tries again.
        found.wait_for('oordination')
        found.signal(9)
    found.wait()
    assert secrecy.find(found.output) == [] and found.output
