# SPDX-License-Identifier: Apache-2.0
"""What operators are told about the figures, beside the figures."""

import pathlib
import re

import cloudkitty
from cloudkitty import telemetry
from cloudkitty.processor import standing

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
