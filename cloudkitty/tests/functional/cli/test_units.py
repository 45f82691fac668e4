# SPDX-License-Identifier: Apache-2.0
"""The units for systemd."""

import configparser
import pathlib
import re
import shlex
import shutil
import subprocess

import pytest

from cloudkitty.tests.functional.cli import programs as cli_programs

ROOT = pathlib.Path(__file__).parents[4]
UNITS = sorted((ROOT / 'etc' / 'systemd').glob('*.service'))


def read(unit):
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str
    parser.read(unit)
    return parser


@pytest.mark.parametrize('unit', UNITS, ids=lambda unit: unit.stem)
def test_unit_starts_a_command_that_is_installed(unit, programs):
    command, *arguments = shlex.split(read(unit)['Service']['ExecStart'])
    assert pathlib.Path(command).name == unit.stem
    scripts = configparser.ConfigParser()
    scripts.read(ROOT / 'setup.cfg')
    assert re.search(r'^%s = ' % unit.stem, scripts['entry_points']['console_scripts'], re.MULTILINE)
    # It takes these arguments, and complains of nothing but the file.
    own = str(programs.directory / 'nowhere.conf')
    arguments = [argument.replace('/etc/cloudkitty/cloudkitty.conf', own) for argument in arguments]
    done = subprocess.run(
        [cli_programs.program(unit.stem), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == ['%s: No such configuration file: %s.' % (unit.stem, own)]


@pytest.mark.parametrize('unit', UNITS, ids=lambda unit: unit.stem)
def test_unit_is_one_for_systemd(unit, tmp_path):
    if shutil.which('systemd-analyze') is None:
        pytest.skip('systemd-analyze is not here.')
    text = unit.read_text().replace('/usr/bin/', '%s/' % pathlib.Path(cli_programs.program('x')).parent)
    (tmp_path / unit.name).write_text(text.replace('User=cloudkitty', 'User=root'))
    done = subprocess.run(
        ['systemd-analyze', 'verify', '--man=no', tmp_path / unit.name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (0, [])


def test_processor_has_the_time_that_it_takes_to_end():
    service = read(ROOT / 'etc' / 'systemd' / 'cloudkitty-processor.service')['Service']
    # The default of [DEFAULT] graceful_shutdown_timeout.
    assert int(service['TimeoutStopSec']) > 60
    assert (service['Type'], service['KillMode']) == ('notify', 'mixed')
