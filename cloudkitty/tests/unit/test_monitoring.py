# SPDX-License-Identifier: Apache-2.0
"""What operators are told about the figures, beside the figures."""

import json
import pathlib
import re

import cloudkitty
from cloudkitty import telemetry
from cloudkitty.processor import standing

TYPES = ('_bucket', '_count', '_sum')
ROOT = pathlib.Path(cloudkitty.__file__).parents[1]
FIGURES = {figure.name: figure for figure in (*telemetry.PROCESSOR, *telemetry.API, *standing.FIGURES)}


def test_every_figure_is_documented_and_no_other():
    page = (ROOT / 'doc/source/admin/monitoring.rst').read_text()
    assert set(re.findall(r'``(cloudkitty_[a-z_]+)``', page)) == set(FIGURES)


def test_every_alert_is_documented_and_asks_for_what_there_is():
    page = (ROOT / 'doc/source/admin/monitoring.rst').read_text()
    rules = (ROOT / 'etc/prometheus/cloudkitty.rules.yml').read_text()
    assert re.findall(r'``(Cloudkitty\w+)``\n     -', page) == re.findall(r'alert: (\w+)', rules)
    assert set(re.findall(r'cloudkitty_[a-z_]+', rules)) <= set(FIGURES)


def read_dashboards():
    """Return {name of the file: the dashboard}."""
    return {path.name: json.loads(path.read_text()) for path in sorted((ROOT / 'etc/grafana').glob('*.json'))}


def test_every_dashboard_is_documented():
    page = (ROOT / 'doc/source/admin/monitoring.rst').read_text()
    assert re.findall(r'``(cloudkitty-[a-z]+\.json)``', page) == sorted(read_dashboards(), reverse=True)


def test_dashboards_ask_for_what_there_is_by_the_labels_that_there_are():
    for name, dashboard in read_dashboards().items():
        assert dashboard['uid'] == name.removesuffix('.json')
        assert len({panel['id'] for panel in dashboard['panels']}) == len(dashboard['panels'])
        for panel in dashboard['panels']:
            for target in panel['targets']:
                check_expression(target['expr'], target['legendFormat'])


def check_expression(expression, legend):
    labels = {'le'}
    for name in re.findall(r'cloudkitty_[a-z_]+', expression):
        base = next((name.removesuffix(end) for end in TYPES if name.removesuffix(end) in FIGURES), name)
        figure = FIGURES[base]
        is_histogram = getattr(figure, 'kind', 'gauge') == 'histogram'
        assert (base != name) == is_histogram, expression
        labels |= set(figure.labels)
    asked = {word for words in re.findall(r'by \(([a-z_, ]+)\)', expression) for word in words.split(', ')}
    assert asked <= labels, expression
    assert set(re.findall(r'{{(\w+)}}', legend)) <= asked, expression
