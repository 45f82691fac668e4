# SPDX-License-Identifier: Apache-2.0
"""What tools/dashboards makes of a dashboard."""

import json
import pathlib

import cloudkitty
from cloudkitty.tests.dashboards import panels

ROOT = pathlib.Path(cloudkitty.__file__).parents[1]


def test_there_is_a_way_to_draw_every_panel():
    for path in (ROOT / 'etc/grafana').glob('*.json'):
        for panel in json.loads(path.read_text())['panels']:
            assert panel['type'] == 'timeseries'
            assert panel['fieldConfig']['defaults']['unit'] in panels.UNITS
            for target in panel['targets']:
                assert '$' not in panels.expand(target['expr'], 86400)


def test_variables_of_grafana_become_spans():
    assert panels.expand('rate(x[$__rate_interval])', 86400) == 'rate(x[240s])'
    assert panels.expand('increase(x[$__range])', 86400) == 'increase(x[86400s])'


def test_legends_are_made_of_labels():
    assert panels.name('{{route}} {{status}}', {'route': '/v2/scope', 'status': '404'}) == '/v2/scope 404'


def test_units_fit_what_is_largest():
    assert panels.choose_unit('s', 7200) == (3600, 'hours')
    assert panels.choose_unit('s', 0) == (1e-3, 'ms')
    assert panels.choose_unit('short', 12) == (1, '')
