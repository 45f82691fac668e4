# SPDX-License-Identifier: Apache-2.0
"""``cloudkitty-source-compare``: what two sources would bill, side by side."""

from oslo_config import cfg
import pytest
import sqlalchemy

from cloudkitty import period
from cloudkitty.cli import source_compare
from cloudkitty.db import engine
from cloudkitty.db import scopes
from cloudkitty.tests import prometheus
from cloudkitty.tests import samples

JUNE = samples.JUNE


@pytest.fixture
def sources():
    found = [prometheus.FakePrometheus().start() for _ in range(2)]
    for source in found:
        for scope_id, value in (('a', 2.0), ('b', 3.5)):
            source.add('cpu', {'id': 'vm-%s' % scope_id, 'project_id': scope_id}, {JUNE + 60: value})
    yield found
    for source in found:
        source.stop()


@pytest.fixture
def compare(programs, sources, tmp_path, capsys):
    programs.set('collect', collector='prometheus')
    programs.set('collector_prometheus', prometheus_url=sources[0].url)
    programs.prepare()
    other = tmp_path / 'other.conf'
    other.write_text('[collector_prometheus]\nprometheus_url = %s\n' % sources[1].url)

    def run(*arguments, files=('--other', str(other))):
        words = ['--config-file', str(programs.write()), '--begin', '2026-06-01T00:00', *files, *arguments]
        status = source_compare.main(words, cfg.ConfigOpts())
        found = capsys.readouterr()
        return status, found.out, found.err

    return run


def rows(text):
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line.startswith('|')]


def test_sources_that_agree(compare):
    status, output, error = compare('--scope', 'a', '--scope', 'b')
    assert status == 0, error
    assert rows(output)[1:] == [
        ['a', 'cpu', '1', '2', '0', '1', '2', '0', ''],
        ['a', 'disk', '0', '0', '0', '0', '0', '0', ''],
        ['b', 'cpu', '1', '3.5', '0', '1', '3.5', '0', ''],
        ['b', 'disk', '0', '0', '0', '0', '0', '0', ''],
    ]
    assert 'From 2026-06-01T00:00+00:00 to 2026-06-01T01:00+00:00; nothing was written.' in output
    assert 'metric disk, 2 scopes: unknown: Prometheus has no series of metric disk.' in output


def test_sources_that_differ_are_an_error_that_says_where(compare, sources, programs):
    sources[1].add('cpu', {'id': 'vm-b', 'project_id': 'b'}, {JUNE + 120: 4.5})
    sources[0].faults.append(prometheus.Fault(status=400, body='{"status":"error","errorType":"bad_data","error":"no"}',
                                              when=lambda form: 'max_over_time(disk' in form['query']))  # fmt: skip
    status, output, error = compare('--scope', 'a', '--scope', 'b', '--differences')
    assert status == 1
    assert error.strip() == 'cloudkitty-source-compare: 3 of 4 sums differ.'
    assert [(row[0], row[1], row[3], row[6], row[8]) for row in rows(output)[1:]] == [
        ('a', 'disk', '0', '0', '<>'),
        ('b', 'cpu', '3.5', '4.5', '<>'),
        ('b', 'disk', '0', '0', '<>'),
    ]
    assert 'metric disk, 2 scopes: failed: Prometheus: HTTP 400: bad_data: no' in output


def test_the_scopes_that_are_rated_are_looked_at_and_nothing_is_written(compare, programs):
    database = engine.Database(programs.options['database']['connection'])
    try:
        identity = scopes.Identity('project_id', 'source', 'prometheus')
        scopes.ensure(database, ['b'], identity, period.from_epoch(JUNE), samples.HOUR)
        status, output, error = compare()
        assert status == 0, error
        assert {row[0] for row in rows(output)[1:]} == {'b'}
        with database.reader() as session:
            for table in ('rule_sets', 'coverage', 'coverage_failures', 'series', 'rated_days', 'scope_days'):
                count = sqlalchemy.select(sqlalchemy.func.count()).select_from(sqlalchemy.table(table))
                assert session.scalar(count) == 0, table
    finally:
        database.dispose()


@pytest.mark.parametrize(
    ('arguments', 'files', 'text'),
    [
        ((), (), '--other: expected the configuration file'),
        (('--begin', 'soon'), None, '--begin: expected an instant'),
        (('--begin', '2026-06-01T12:07'), None, '--begin: no period begins then, but one at 2026-06-01T12:00:00'),
        ((), None, 'No scope is rated yet'),
        ((), ('--other', '/nowhere.conf'), 'No such configuration file: /nowhere.conf'),
    ],
)
def test_what_is_wrong_is_one_line(compare, arguments, files, text):
    status, _, error = compare(*arguments, **({} if files is None else {'files': files}))
    assert status == 1 and text in error and 'Traceback' not in error
