# SPDX-License-Identifier: Apache-2.0
"""The alert rules and the expressions of the dashboards, by Prometheus' own tool."""

import json
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


@pytest.mark.parametrize('path', sorted((ROOT / 'etc/grafana').glob('*.json')), ids=lambda path: path.name)
def test_every_expression_of_a_dashboard_is_one(path, tmp_path):
    subprocess.run([ROOT / 'tools/prometheus', 'install'], check=True, stdin=subprocess.DEVNULL)
    panels = json.loads(path.read_text())['panels']
    expressions = [target['expr'] for panel in panels for target in panel['targets']]
    rules = [{'record': 'x:%d' % number, 'expr': expression} for number, expression in enumerate(expressions)]
    # JSON is YAML, too.
    (tmp_path / 'rules.yml').write_text(json.dumps({'groups': [{'name': 'g', 'rules': rules}]}))
    done = subprocess.run(
        ['promtool', 'check', 'rules', tmp_path / 'rules.yml'], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert '%d rules found' % len(rules) in done.stdout
