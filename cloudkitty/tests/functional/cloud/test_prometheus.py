# SPDX-License-Identifier: Apache-2.0
"""The alert rules, by Prometheus' own tool."""

import pathlib
import subprocess

import pytest

import cloudkitty

ROOT = pathlib.Path(cloudkitty.__file__).parents[1]

pytestmark = pytest.mark.cloud


def test_alert_rules_fire_when_they_should_and_only_then():
    subprocess.run([ROOT / 'tools/prometheus', 'install'], check=True, stdin=subprocess.DEVNULL)
    done = subprocess.run(
        ['promtool', 'test', 'rules', ROOT / 'etc/prometheus/cloudkitty.rules.test.yml'],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
