# SPDX-License-Identifier: Apache-2.0
"""What Grafana makes of a panel: the questions to Prometheus, the names in the legend, the texts of an axis."""

import re

import requests

#: Seconds between two points of a line, and between two scrapes.
STEP, SCRAPE = 120, 60
#: {unit: (what a number is divided by, text), the largest first}.
UNITS = {
    's': ((86400, 'days'), (3600, 'hours'), (60, 'min'), (1, 's'), (1e-3, 'ms')),
    'short': ((1e6, 'Mil'), (1e3, 'K'), (1, '')),
    'reqps': ((1, 'req/s'),),
    'ops': ((1, 'ops/s'),),
}


def ask(url, dashboard, begin, end):
    """Return {"panel target": [(name, [(second, number), ...]), ...]} of all targets of *dashboard*.

    :param url: of the API of Prometheus.
    """
    found = {}
    for panel in dashboard['panels']:
        for target in panel['targets']:
            form = {'query': expand(target['expr'], end - begin), 'start': begin, 'end': end, 'step': STEP}
            answer = requests.post(url + '/query_range', form, timeout=60)
            answer.raise_for_status()
            found['%d %s' % (panel['id'], target['refId'])] = [
                (name(target['legendFormat'], series['metric']), [(at, float(text)) for at, text in series['values']])
                for series in answer.json()['data']['result']
            ]
    return found


def expand(expression, seconds):
    """Return *expression* for a range of so many seconds, without Grafana's variables."""
    values = {'__rate_interval': 4 * SCRAPE, '__interval': STEP, '__range': seconds}
    return re.sub(r'\$(__\w+)', lambda found: '%ds' % values[found[1]], expression)


def name(form, labels):
    """Return the name of a series in the legend."""
    return re.sub(r'{{(\w+)}}', lambda found: labels.get(found[1], ''), form)


def choose_unit(unit, most):
    """Return (what numbers are divided by, text) for an axis up to *most*."""
    return next((found for found in UNITS[unit] if most >= found[0]), UNITS[unit][-1])
