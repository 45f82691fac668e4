# SPDX-License-Identifier: Apache-2.0
"""Fuzzes the API by its OpenAPI descriptions: a real server, and a client that makes up requests.

usage: tools/fuzz [--version N] [--requests N] [--seed N] [--database URL]
"""

import argparse
import collections
import contextlib
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import hypothesis
from hypothesis import strategies
import schemathesis
from schemathesis import checks
import yaml

from cloudkitty.tests.functional.api import deployment
from cloudkitty.tests.functional.api import test_command

#: Version of the API to its description.
DESCRIPTIONS = {
    version: deployment.ROOT / 'doc' / 'source' / 'api' / ('openapi-v%d.yaml' % version) for version in (1, 2)
}
CHECKS = 'not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance'
#: Operations for which requests are slow to make up, 0.3 seconds each, and how many of each :func:`rush` makes.
_SLOW = ('add_dataframes',)
_FEW = 100
#: Requests that are made of an operation beside the random ones, about.
_OVERHEAD = 25


def run(requests, seed, url=None, output=None, version=1):
    """Make about so many *requests* to an API on database *url* (None: SQLite); return whether all was well.

    :param seed: the same one makes the same requests of the same description.
    :param version: of the API.
    :param output: where the client's words go; None: to ours.
    """
    program = pathlib.Path(sys.executable).with_name('schemathesis')
    description = DESCRIPTIONS[version]
    operations = description.read_text().count('operationId:')
    examples = max(1, requests // operations - _OVERHEAD)
    api = deployment.Api('noauth', url=url).seed().rate()
    try:
        with contextlib.ExitStack() as stack:
            arguments = ('--config-file', str(api.config_file), '-p', '0', '-b', '127.0.0.1')
            _, port, _ = stack.enter_context(test_command.serve(*arguments))
            directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            done = subprocess.run(
                [
                    program, 'run', description, '--url', 'http://127.0.0.1:%d' % port, '--checks', CHECKS,
                    '--max-examples', str(examples), '--seed', str(seed), '--continue-on-failure', '--no-color',
                    # Python 3.11 cannot parse in two threads at once, which makes up requests here.
                    '--suppress-health-check', 'all', '--warnings', 'off', '--workers', '1',
                    '--report', 'ndjson', '--report-ndjson-path', directory / 'report',
                ],
                cwd=directory, stdout=output, stderr=subprocess.STDOUT, check=False,
            )  # fmt: skip
            print('Seed %d, %s' % (seed, _count(directory / 'report')), file=output)
    finally:
        api.close()
    return done.returncode == 0


def rush(requests, seed, url=None):
    """Make *requests* of version 2 in this process, without HTTP: four times as many a second as :func:`run`.

    Raises what is wrong. Returns {status: number of answers}.
    """
    checks.load_all_checks()
    wanted = [checks.CHECKS.get_one(name) for name in CHECKS.split(',')]
    api = deployment.Api('noauth', url=url).seed()
    try:
        schema = schemathesis.openapi.from_dict(yaml.safe_load(DESCRIPTIONS[2].read_text()))
        schema.app = api.application
        operations = [found.ok() for found in schema.get_all_operations()]
        slow = [operation for operation in operations if operation.definition.raw['operationId'] in _SLOW]
        share = (requests - _FEW * len(slow)) // (len(operations) - len(slow)) + 1
        statuses = collections.Counter()
        for operation in operations:
            _rush(operation, _FEW if operation in slow else share, seed, wanted, statuses)
        return statuses
    finally:
        api.close()


def _rush(operation, requests, seed, wanted, statuses):
    modes = (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE)
    if not operation.body and not list(operation.iter_parameters()):
        modes = modes[:1]
    cases = strategies.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))
    made = 0

    @hypothesis.settings(
        max_examples=requests,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=cases)
    def ask(case):
        nonlocal made
        response = case.call()
        case.validate_response(response, checks=wanted)
        statuses[response.status_code] += 1
        made += 1

    # There are fewer different requests of some: the same again does no harm.
    while made < requests:
        hypothesis.seed(seed + made)(ask)()


def _count(path):
    """Return how many answers there were of each status."""
    statuses = collections.Counter()
    with path.open() as lines:
        for line in lines:
            _visit(json.loads(line), statuses)
    total = ', '.join('%s: %d' % pair for pair in sorted(statuses.items()))
    return '%d requests answered (%s)' % (sum(statuses.values()), total)


def _visit(value, statuses):
    if isinstance(value, dict):
        if isinstance(value.get('status_code'), int):
            statuses[value['status_code']] += 1
        for item in value.values():
            _visit(item, statuses)
    elif isinstance(value, list):
        for item in value:
            _visit(item, statuses)


def main():
    parser = argparse.ArgumentParser(prog='tools/fuzz', description='Fuzz the API by its OpenAPI descriptions.')
    parser.add_argument('--version', type=int, choices=sorted(DESCRIPTIONS), help='of the API; both by default')
    parser.add_argument('--requests', type=int, default=20000, help='how many requests to make, about')
    parser.add_argument('--seed', type=int, default=random.randrange(10**9), help='of a run to be made again')
    parser.add_argument('--database', help='URL of an empty database; SQLite by default')
    arguments = parser.parse_args()
    print('Seed %d' % arguments.seed, flush=True)
    versions = [arguments.version] if arguments.version else sorted(DESCRIPTIONS)
    fine = [
        run(arguments.requests // len(versions), arguments.seed, arguments.database, version=version)
        for version in versions
    ]
    return 0 if all(fine) else 1


if __name__ == '__main__':
    sys.exit(main())
