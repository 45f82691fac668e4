# SPDX-License-Identifier: Apache-2.0
"""Runs a day and draws the dashboards with its figures; ``tools/dashboards`` starts it.

usage: python -m cloudkitty.tests.dashboards [--again]
"""

import json
import pathlib
import shutil
import sys
import tempfile

from cloudkitty.tests.dashboards import day
from cloudkitty.tests.dashboards import panels
from cloudkitty.tests.dashboards import picture

ROOT = pathlib.Path(__file__).parents[3]
PICTURES = ROOT / 'doc/source/images'
#: What the last run answered: {name of a dashboard: as :func:`panels.ask` gives it}.
ANSWERS = ROOT / '.cache/dashboards.json'


def run(dashboards):
    """Run the day; keep what Prometheus answers to the dashboards then."""
    directory = pathlib.Path(tempfile.mkdtemp(prefix='cloudkitty-dashboards-'))
    print('Logs are in %s until it has ended well.' % directory, flush=True)
    with day.Day(directory) as ran:
        ran.run()
        answers = {name: panels.ask(ran.monitor.url, board, day.BEGIN, day.END) for name, board in dashboards.items()}
    shutil.rmtree(directory)
    ANSWERS.write_text(json.dumps(answers))


def main():
    dashboards = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / 'etc/grafana').glob('*.json'))}
    if sys.argv[1:] != ['--again']:
        run(dashboards)
    for name, answers in json.loads(ANSWERS.read_text()).items():
        path = PICTURES / ('%s.png' % name)
        picture.draw(dashboards[name], answers, day.BEGIN, day.END, path)
        print('%s: %d kB' % (path.relative_to(ROOT), path.stat().st_size // 1000))
        for panel in dashboards[name]['panels']:
            for target in panel['targets']:
                found = answers['%d %s' % (panel['id'], target['refId'])]
                if not any(number == number for _, values in found for _, number in values):
                    print('  no data: %s: %s' % (panel['title'], target['expr']))


if __name__ == '__main__':
    main()
