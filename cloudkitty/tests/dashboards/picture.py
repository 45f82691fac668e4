# SPDX-License-Identifier: Apache-2.0
"""Draws a dashboard: its panels on Grafana's grid of 24 columns."""

import datetime
import math

import matplotlib
from matplotlib import dates
from matplotlib import pyplot

from cloudkitty.tests.dashboards import panels

matplotlib.use('agg')
#: Inches of a column and of a row, of what is above all panels, and of the frame within a panel.
COLUMN, ROW, TOP = 0.5, 0.33, 0.35
LEFT, RIGHT, ABOVE, BELOW, LINE = 0.7, 0.3, 0.4, 0.34, 0.17
COLUMNS = 24
#: Letters of the legend in a line, for each column; and what the sign before a name takes of them.
LETTERS, SIGN = 7, 6


def draw(dashboard, answers, begin, end, path):
    """Write a picture of *dashboard* to *path*; *answers* are of :func:`panels.ask`."""
    colors = matplotlib.colormaps['tab20'].colors
    cycle = pyplot.cycler(color=[*colors[::2], *colors[1::2]])
    pyplot.rcParams.update({'font.size': 9, 'axes.edgecolor': '#999', 'axes.linewidth': 0.6, 'axes.prop_cycle': cycle})
    places = [panel['gridPos'] for panel in dashboard['panels']]
    height = TOP + ROW * max(place['y'] + place['h'] for place in places)
    figure = pyplot.figure(figsize=(COLUMN * COLUMNS, height))
    figure.text(0.01, 1 - TOP / 2 / height, dashboard['title'], size=13, weight='bold', va='center')
    for panel in dashboard['panels']:
        if panel['type'] != 'timeseries':
            raise ValueError('There is no way to draw a panel of type %s.' % panel['type'])
        _draw_panel(figure, panel, answers, begin, end)
    figure.savefig(path, dpi=100, pil_kwargs={'optimize': True})
    pyplot.close(figure)


def _draw_panel(figure, panel, answers, begin, end):
    width, height = figure.get_size_inches()
    place = panel['gridPos']
    left, top = COLUMN * place['x'], height - TOP - ROW * place['y']
    found = [item for target in panel['targets'] for item in answers['%d %s' % (panel['id'], target['refId'])]]
    columns = max(1, LETTERS * place['w'] // (SIGN + max((len(name) for name, _ in found), default=0)))
    below = BELOW + LINE * math.ceil(len(found) / columns)
    axes = figure.add_axes(
        (
            (left + LEFT) / width,
            (top - ROW * place['h'] + below) / height,
            (COLUMN * place['w'] - LEFT - RIGHT) / width,
            (ROW * place['h'] - ABOVE - below) / height,
        )
    )
    _draw_lines(axes, found, panel['fieldConfig']['defaults'])
    axes.set_title(panel['title'], loc='left', size=10, weight='bold')
    axes.set_xlim(*map(_instant, (begin, end)))
    axes.xaxis.set_major_formatter(dates.DateFormatter('%H:%M'))
    axes.grid(color='#e5e5e5', linewidth=0.6)
    corner = (-LEFT / 2 / (COLUMN * place['w'] - LEFT - RIGHT), -BELOW * 0.85 / (ROW * place['h'] - ABOVE - below))
    if found:
        axes.legend(
            loc='upper left', bbox_to_anchor=corner, ncols=columns, frameon=False, fontsize=8, borderpad=0,
            borderaxespad=0, handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip
    else:
        axes.text(0.5, 0.5, 'No data', transform=axes.transAxes, ha='center', color='#666')


def _draw_lines(axes, found, defaults):
    """Draw series, with the unit and the least number that the panel's *defaults* name."""
    most = max((abs(number) for _, values in found for _, number in values if number == number), default=0)
    divisor, unit = panels.choose_unit(defaults['unit'], most)
    for name, values in found:
        values = _break_gaps(values)
        instants, numbers = [_instant(at) for at, _ in values], [number / divisor for _, number in values]
        (line,) = axes.plot(instants, numbers, linewidth=defaults['custom']['lineWidth'] * 1.2, label=name)
        axes.fill_between(instants, numbers, alpha=defaults['custom']['fillOpacity'] / 100, color=line.get_color())
    if 'min' in defaults:
        axes.set_ylim(bottom=defaults['min'], top=None if most else 1)
    axes.set_ylabel(unit)


def _break_gaps(values):
    """Return *values* with NaN where some are missing, so that no line crosses what nobody knows."""
    result = []
    for at, number in values:
        if result and at - result[-1][0] > panels.STEP:
            result.append((at - panels.STEP, math.nan))
        result.append((at, number))
    return result


def _instant(second):
    return datetime.datetime.fromtimestamp(second, datetime.timezone.utc)
