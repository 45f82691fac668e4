# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-status upgrade check`` as a process."""

import json

import pytest

STATUS = 'cloudkitty-status'
CHECKS = ['Storage version', 'Policy File JSON to YAML Migration', 'Rated data of older releases']


def check(programs):
    """Return the exit status and {check: (result, details)}."""
    done = programs.run(STATUS, 'upgrade', 'check', '--json')
    found = json.loads(done.stdout)
    return done.returncode, {item['check']: (item['result'], item['details']) for item in found['checks']}


@pytest.fixture
def installed(programs):
    programs.install()
    return programs


def test_good_deployment_is_status_0(installed):
    done = installed.run(STATUS, 'upgrade', 'check')
    assert done.returncode == 0
    assert 'Upgrade Check Results' in done.stdout
    assert [line for line in done.stdout.splitlines() if 'Check: ' in line] == [
        '| %s |' % ('Check: %s' % name).ljust(len(done.stdout.splitlines()[0]) - 4) for name in CHECKS
    ]
    assert done.stdout.count('Result: Success') == 3


def test_json_names_every_check(installed):
    status, found = check(installed)
    assert (status, list(found)) == (0, CHECKS)


def test_storage_of_old_is_a_warning(installed):
    installed.set('storage', version=1)
    status, found = check(installed)
    assert status == 1
    assert found['Storage version'][0] != 0
    assert 'version 2 is recommended' in found['Storage version'][1]


def test_policy_file_in_json_is_a_failure(installed):
    policy = installed.directory / 'policy.json'
    policy.write_text('{}')
    installed.set('oslo_policy', policy_file=policy)
    status, found = check(installed)
    assert status == 2
    assert found['Policy File JSON to YAML Migration'][1]


def test_history_elsewhere_is_a_failure(installed):
    installed.set('storage_influxdb', host='influx.example.org')
    status, found = check(installed)
    assert status == 2
    assert '[storage] backend is not set' in found['Rated data of older releases'][1]


def test_database_that_is_away_is_a_warning(programs):
    programs.set('database', connection='mysql://root:secret@127.0.0.1:1/cloudkitty')
    status, found = check(programs)
    assert status == 1
    assert 'It could not be looked at' in found['Rated data of older releases'][1]
    assert 'secret' not in str(found)


@pytest.mark.parametrize(
    ('section', 'option', 'value'),
    [('storage', 'version', '7'), ('database', 'connection', 'nonsense'), ('database', 'max_pool_size', 'many')],
)
def test_wrong_option_is_status_255_and_one_line(programs, section, option, value):
    programs.set(section, **{option: value})
    done = programs.run(STATUS, 'upgrade', 'check')
    assert done.returncode == 255
    assert (done.stdout, len(done.stderr.splitlines())) == ('', 1)
    assert '[%s] %s' % (section, option) in done.stderr


def test_missing_command_is_status_2(programs):
    assert programs.run(STATUS).returncode == 2


def test_file_that_is_not_there_is_status_255_and_one_line(programs):
    done = programs.run(STATUS, 'upgrade', 'check', conf='/nonexistent/cloudkitty.conf')
    assert done.returncode == 255
    assert len(done.stderr.splitlines()) == 1
