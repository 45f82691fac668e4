# SPDX-License-Identifier: Apache-2.0
"""Runs the fault laboratory; ``tools/faults`` starts it.

usage: python -m cloudkitty.tests.faults [--seed N] [--database KIND] [--kills N] [--rounds N] [--faults KIND,KIND]
"""

import argparse
import json
import pathlib
import shutil
import sys
import tempfile
import time

from cloudkitty.tests.faults import bugs
from cloudkitty.tests.faults import laboratory
from cloudkitty.tests.faults import servers
from cloudkitty.tests.faults import strikes

#: Lines of the history that are printed with a difference.
LINES = 60


def make_parser():
    parser = argparse.ArgumentParser(prog='tools/faults', description=__doc__.partition('\n')[0])
    parser.add_argument('--seed', type=int, default=int(time.time()), help='what everything is drawn from')
    parser.add_argument('--database', choices=sorted(servers.KINDS), default='mariadb')
    parser.add_argument('--kills', type=int, default=100, help='how often a worker is killed')
    parser.add_argument('--rounds', type=int, default=20, help='how often each other fault strikes')
    parser.add_argument('--faults', help='kinds, separated by commas; all by default: %s' % ', '.join(strikes.KINDS))
    parser.add_argument('--scopes', type=int, default=8)
    parser.add_argument('--speed', type=float, default=1800, help='seconds of the laboratory in one of the machine')
    parser.add_argument('--gap', type=float, default=0.5, help='seconds between two faults on average')
    parser.add_argument('--minutes', type=float, default=600, help='after which nothing strikes any more')
    parser.add_argument('--spell', type=float, default=0, help='seconds of faults, then a lull until all is whole')
    parser.add_argument('--slow', type=float, default=0.2, help='share of the commits that take long')
    parser.add_argument('--split', action='store_true', help='hosts that do not know of each other')
    parser.add_argument('--bug', choices=sorted(bugs.BUGS), help='plant a bug')
    parser.add_argument('--save', type=pathlib.Path, help='file of JSON that the result is added to')
    parser.add_argument('--keep', action='store_true', help='keep the directory with all logs')
    return parser


def main():
    arguments = make_parser().parse_args()
    kinds = arguments.faults.split(',') if arguments.faults else list_kinds(arguments.database)
    for kind in kinds:
        if kind not in strikes.KINDS:
            raise SystemExit('There is no fault %s.' % kind)
    counts = {kind: arguments.kills if kind == 'kill' else arguments.rounds for kind in kinds}
    settings = laboratory.Settings(
        seed=arguments.seed,
        database=arguments.database,
        counts=counts,
        scopes=arguments.scopes,
        speed=arguments.speed,
        gap=arguments.gap,
        minutes=arguments.minutes,
        spell=arguments.spell,
        slow=arguments.slow,
        is_split=arguments.split,
        bug=arguments.bug,
    )
    print('seed %d on %s: %s' % (settings.seed, settings.database, ', '.join(kinds)), flush=True)
    directory = pathlib.Path(tempfile.mkdtemp(prefix='cloudkitty-faults-'))
    report = None
    try:
        report = laboratory.Laboratory(settings, directory, Progress()).run()
    finally:
        if arguments.keep or report is None or report.differences:
            print('\nLogs are left in %s.' % directory)
        else:
            shutil.rmtree(directory)
    show(report)
    if arguments.save:
        save(report, arguments.save)
    return 1 if report.differences or report.problems else 0


def list_kinds(database):
    """Return the faults that a database of that kind bears."""
    return [kind for kind in strikes.KINDS if database != 'sqlite' or kind not in strikes.SERVER_ONLY]


class Progress:
    """Shows how many faults have struck."""

    def __init__(self):
        self._shown = -1

    def __call__(self, done, total):
        share = 100 * done // max(1, total)
        if sys.stdout.isatty():
            print('\r[%-40s] %d of %d faults' % ('#' * (share * 40 // 100), done, total), end='', flush=True)
        elif share // 5 != self._shown // 5:
            print('%3d %%  %d of %d faults' % (share, done, total), flush=True)
        self._shown = share


def show(report):
    """Print a report."""
    found = report.to_json()
    print()
    print('%(hours)d hours, %(points)d points in %(seconds)d s' % found)
    print('%-26s %8s  %s' % ('fault', 'struck', 'longest recovery'))
    for kind, count in found['struck'].items():
        longest = found['longest recovery, seconds'].get(kind)
        print('%-26s %8d  %s' % (kind, count, '' if longest is None else '%.1f s' % longest))
    print('Clients: %s' % ', '.join('%s: %d' % pair for pair in found['clients'].items()))
    if report.lulls:
        seconds = found['whole after a spell, seconds']
        print('Whole %(median)s s after a spell of faults, %(longest)s s at most.' % seconds)
    print('Whole %s s after the last fault.' % found['whole after the last fault, seconds'])
    for problem in report.problems[:20]:
        print('Problem: %s' % problem)
    names = ('lost', 'doubled', 'wrong amounts', 'stuck', 'other differences')
    print(', '.join('%d %s' % (found[name], name) for name in names))
    if report.differences:
        print('Seed %d. The first differences:' % found['seed'])
    for item in report.differences[:20]:
        print('  %s' % (item,))
    for scope_id in sorted({item.scope_id for item in report.differences[:3]}):
        print('What happened to %s:' % scope_id)
        for line in report.history[scope_id][-LINES:]:
            print('  %s' % line)


def save(report, path):
    """Add a report to a file."""
    runs = json.loads(path.read_text()) if path.exists() else []
    runs.append(report.to_json())
    path.write_text(json.dumps(runs, indent=1) + '\n')


if __name__ == '__main__':
    sys.exit(main())
