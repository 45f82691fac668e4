# SPDX-License-Identifier: Apache-2.0
"""The guide of the installation, followed to the letter on a machine of its own."""

from decimal import Decimal
import itertools
import json
import os
import subprocess
import sys
import time

import pytest

from cloudkitty import period
from cloudkitty.tests import cloud as clouds
from cloudkitty.tests import machine
from cloudkitty.tests.functional import conftest
from cloudkitty.tests.functional import test_documents
from cloudkitty.tests.functional.cloud import test_client

pytestmark = pytest.mark.cloud
PAGE = 'admin/install.rst'
#: Seconds that a month may take.
PATIENCE = 300
#: What the machine of the guide has before: a cloud, its administrator's credentials, and usage of the last two days.
CLOUD = """
import json, pathlib, sys, time
from cloudkitty import period
from cloudkitty import period
from cloudkitty.tests import cloud as clouds
from cloudkitty.tests import seeding

cloud = clouds.Cloud('/var/lib/cloud', attached=False, ports=(5000, 8041)).start()
end = int(time.time()) // 3600 * 3600
month = period.to_epoch(period.month_start(period.from_epoch(end), period.UTC))
begin = max(month, end - 48 * 3600)
seed = seeding.seed(cloud, begin, max(1, (end - begin) // 3600), 2, mark='-of-cloud')
names = {'auth_type': 'password', **cloud.admin.options(), 'identity_api_version': 3}
lines = ['export OS_%s=%s\\n' % (name.upper(), value) for name, value in names.items()]
pathlib.Path('/root/admin-openrc').write_text(''.join(lines))
project = seed.projects[0]
hours = [hour for resource in project.resources for hour in resource.measures.get('cpu', {})]
print(json.dumps({'project_id': project.id, 'name': project.name, 'hours': hours}))
"""


@pytest.fixture
def host():
    """A machine with the servers and the cloud that the guide takes for granted; (machine, what the cloud has)."""
    if os.geteuid() != 0:
        pytest.skip('Only root can make a machine.')
    conftest.require_cloud()
    test_client.install()
    done = subprocess.run([clouds.ROOT / 'tools' / 'httpd', 'install'], capture_output=True, text=True, check=False)
    if done.returncode:
        conftest._miss('httpd cannot be installed: %s' % done.stderr.strip()[-500:])
    found = machine.Machine()
    try:
        found.start()
    except machine.MachineError as error:
        found.stop()
        pytest.skip('No machine can be made: %s' % error)
    try:
        found.add_copy(clouds.ROOT, '/usr/src/cloudkitty')
        found.start_servers()
        made = found.run([sys.executable, '-c', CLOUD], env={**os.environ, 'PYTHONPATH': str(clouds.ROOT)})
        assert made.returncode == 0, made.stderr
        yield found, json.loads(made.stdout.splitlines()[-1])
    finally:
        found.stop()


def wait_for_the_month(host, environment):
    """Wait until the month is rated as far as it is due; return the begin of its last hour, an epoch second."""
    for _ in range(PATIENCE // 2):
        done = host.run(['cloudkitty-status', 'scopes', '--format', 'json'], env=environment)
        found = json.loads(done.stdout)['scopes']
        if found and found[0]['lag_seconds'] == 0:
            return period.to_epoch(period.parse(found[0]['last_period']['begin']))
        time.sleep(2)
    pytest.fail('%s\n%s' % (found, host.read_logs()))


def test_the_guide_leads_to_a_priced_month(host):
    controller, usage = host
    commands = test_documents.list_runnable(PAGE)
    path = '%s:%s' % (machine.PATH, clouds.ROOT / '.cache' / 'client' / 'bin')
    environment = {'PATH': path, 'PYTHONWARNINGS': 'ignore'}
    # Packages come over the network; everything else is on the machine.
    package = list(itertools.takewhile(lambda command: not command.text.startswith('mysql'), commands))
    shell = controller.command(['bash', '-c'], is_apart=False)
    test_documents.run(package, '/root', shell=shell, **environment)
    rest = commands[len(package) :]
    (end,) = [number for number, command in enumerate(rest) if command.text == 'cloudkitty-status scopes']
    shell = controller.command(['bash', '-c'])
    names = [('project-0', usage['name'])]
    setting = [command for command in rest if command.text.startswith(('. ', 'MONTH='))]
    test_documents.run(rest[: end + 1], '/root', names, shell, **environment)

    last = wait_for_the_month(controller, {**os.environ, **environment})
    *_, coverage, _, bill = test_documents.run([*setting, *rest[end + 1 :]], '/root', names, shell, **environment)
    hours = sum(hour <= last for hour in usage['hours'])
    assert '%s to ' % period.month_start(period.from_epoch(last), period.UTC).isoformat() in coverage
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]] for line in bill.splitlines() if usage['project_id'] in line
    ]
    found = {kind: (Decimal(qty), Decimal(rate)) for _, _, qty, rate, _, kind in rows}
    # In the first hours of a month there is none yet.
    assert found.get('instance', (0, 0)) == (hours, hours * Decimal('0.01'))
