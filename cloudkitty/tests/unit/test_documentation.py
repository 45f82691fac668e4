# SPDX-License-Identifier: Apache-2.0
"""What the code has, beside what the documentation says that it has."""

import argparse
from decimal import Decimal
import re

from oslo_config import cfg
from oslo_config import generator
import pytest
import yaml

from cloudkitty import adjustment
from cloudkitty import completeness
from cloudkitty import coverage
from cloudkitty import metric
from cloudkitty import reprocessing
from cloudkitty import service
from cloudkitty.cli import api as api_command
from cloudkitty.cli import dbsync
from cloudkitty.cli import source_compare
from cloudkitty.cli import status
from cloudkitty.cli import storage_import
from cloudkitty.cli import storage_purge
from cloudkitty.collector.gnocchi import arguments
from cloudkitty.conf import metrics as metrics_file
from cloudkitty.db import ledger_models
from cloudkitty.rating.hashmap import reasons
from cloudkitty.storage.sqlalchemy import models as series_models
from cloudkitty.tests import documents
from cloudkitty.tests import routes

ROOT = documents.ROOT
DOCUMENTS = documents.DOCUMENTS
PAGES = documents.PAGES
CONFIG_INPUT = ROOT / 'etc/oslo-config-generator/cloudkitty.conf'
SETUP = (ROOT / 'setup.cfg').read_text()
#: Options of oslo.config itself.
COMMAND_LINE = {'config_file', 'config_dir', 'config_source', 'shell_completion'}
#: Sections that pages speak of and that are not options of the service.
OTHER_SECTIONS = ('mysqld', 'Service', 'metric')


def read(page):
    return (DOCUMENTS / page).read_text()


def list_entry_points(namespace):
    """Return the names that setup.cfg gives to plugins, or programs, of *namespace*."""
    section = re.search(r'^%s =\n((?:    .+\n?)+)' % re.escape(namespace), SETUP, re.MULTILINE)
    return [line.split('=')[0].strip() for line in section.group(1).splitlines()]


def list_words(page, title):
    """Return what stands in double backquotes in the first column of the list tables below *title*."""
    text = read(page)
    section = text[text.index('\n%s\n' % title) :] if title else text
    return set(re.findall(r'``([^`\n]+)``', '\n'.join(re.findall(r'^ +\* - (.*)$', section, re.MULTILINE))))


@pytest.fixture(scope='module')
def documented():
    """Return {group: names of options} of the sample, of which the page of options is made as well."""
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(['--config-file', str(CONFIG_INPUT), '--format', 'json'], default_config_files=[])
    found = {}
    for _, listed in generator._list_opts(conf.namespace):
        for group, options in listed:
            name = getattr(group, 'name', group) or 'DEFAULT'
            found.setdefault(name, set()).update(option.dest for option in options)
    return found


@pytest.fixture(scope='module')
def registered():
    """Return {group: names of options} of a service."""
    conf = service.prepare_service([], config_files=[], conf=cfg.ConfigOpts(), program='cloudkitty-test')
    found = {'DEFAULT': {name for name in conf if name in conf._opts}}
    for name in conf._groups:
        found[name] = set(conf._groups[name]._opts)
    return found


def test_every_option_is_documented(documented, registered):
    missing = {
        (group, name)
        for group, names in registered.items()
        # What the library registers, and lists nowhere.
        if group not in ('oslo_messaging_metrics', 'oslo_messaging_tracing')
        for name in names - documented.get(group, set()) - COMMAND_LINE
    }
    assert missing == set()


@pytest.mark.parametrize('page', PAGES, ids=documents.name_of)
def test_options_that_a_page_names_exist(page, documented, registered):
    """Those written as ``[group] option``."""
    unknown = [
        (group, name)
        for group, name in re.findall(r'``\[(\w+)\]\s+([a-z]\w+)', page.read_text())
        if group not in OTHER_SECTIONS and name not in documented.get(group, set()) | registered.get(group, set())
    ]
    assert unknown == []


@pytest.mark.parametrize('name', list_entry_points('console_scripts'))
def test_every_command_is_documented(name):
    assert '\n%s\n%s\n' % (name, '=' * len(name)) in read('admin/commands.rst')


def list_flags(parser):
    return {flag for action in parser._actions for flag in action.option_strings} - {'-h', '--help'}


def test_every_flag_of_a_command_is_documented():
    commands = (storage_import, storage_purge, source_compare)
    options = [*api_command._OPTS, *(option for command in commands for option in command.OPTIONS)]
    flags = {'--%s' % option.name.replace('_', '-') for option in options}
    flags |= {'-%s' % option.short for option in api_command._OPTS}
    page = read('admin/commands.rst')
    for command in (dbsync, status):
        subparsers = argparse.ArgumentParser().add_subparsers()
        command.add_parsers(subparsers)
        for name, found in subparsers.choices.items():
            assert '``%s' % name in page
            flags |= list_flags(found)
    written = set(re.findall(r'(?<![\w-])(--?[a-z][a-z-]*)', page))
    assert flags - written == set()
    assert written - flags <= {'--config-file', '--config-dir', '--version', '--help', '--debug', '--json'}


def test_every_route_of_the_second_version_that_a_page_names_exists():
    known = {route.name for route in routes.list_v2_routes()} | {route.name for route in routes.list_routes()}
    known = {re.sub(r'\{\w+\}', '*', name) for name in known}
    for page in PAGES:
        for method, path in re.findall(r'(GET|PUT|POST|PATCH|DELETE) (/v[12]/[\w/{}]+)', page.read_text()):
            name = '%s %s' % (method, re.sub(r'\{\w+\}|[A-Z]{2,}', '*', path).rstrip('/'))
            # Gnocchi has a /v1, too.
            assert name in known or path in ('/v1/status', '/v1/resource', '/v1/aggregates'), '%s: %s' % (page, name)


def test_every_status_of_coverage_is_documented():
    assert list_words('admin/coverage.rst', '') >= set(completeness.STATUSES)
    assert set(completeness.STATUSES) >= {status.value for status in coverage.Status}


@pytest.mark.parametrize(
    'page, words',
    [
        ('admin/reprocessing.rst', reprocessing.Status),
        ('admin/late_data.rst', adjustment.Status),
        ('user/explain.rst', reasons.Outcome),
        ('admin/metrics.rst', metric.Mutation),
    ],
    ids=lambda value: getattr(value, '__name__', str(value)),
)
def test_every_word_of_a_list_is_documented(page, words):
    text = read(page)
    assert [word.value for word in words if '``%s``' % word.value not in text] == []


def test_every_key_of_a_metric_is_documented():
    known = {str(key) for key in metrics_file.METRIC_BASE_SCHEMA} - {'extra_args'}
    assert known - list_words('admin/metrics.rst', '') == set()


@pytest.mark.parametrize(
    'namespace, page',
    [
        ('cloudkitty.collector.backends', 'admin/collectors.rst'),
        ('cloudkitty.fetchers', 'admin/fetchers.rst'),
        ('cloudkitty.rating.processors', 'user/index.rst'),
        ('cloudkitty.storage.v1.backends', 'admin/storage.rst'),
        ('cloudkitty.storage.v2.backends', 'admin/storage.rst'),
    ],
)
def test_every_plugin_is_documented(namespace, page):
    text = read(page)
    assert [name for name in list_entry_points(namespace) if not re.search(r'\b%s\b' % name, text)] == []


def test_every_table_of_ours_is_documented():
    tables = {
        name
        for base in (ledger_models.Base, series_models.Base)
        for name in base.metadata.tables
        if not name.endswith('_alembic')
    }
    assert tables - list_words('admin/storage.rst', '') == set()


def test_worked_examples_of_metrics_hold():
    page = DOCUMENTS / 'admin/metrics.rst'
    blocks = [block for block in documents.list_blocks(page) if block.kind == 'yaml']
    tables = documents.list_tables(page)
    assert len(blocks) == len(tables)
    seen = set()
    for block, (_, rows) in zip(blocks, tables, strict=True):
        (found,) = metrics_file.parse(yaml.safe_load('\n'.join(block.lines)), 'project_id', arguments.check).metrics
        seen.add(found.mutate)
        for row in rows:
            assert metric.convert(found, Decimal(row['measured'])) == Decimal(row['quantity']), row
    assert seen == set(metric.Mutation)


def test_sums_of_sizing_hold():
    (_, room), (_, work) = documents.list_tables(DOCUMENTS / 'admin/sizing.rst')

    def number(text):
        return Decimal(text.replace(',', ''))

    for row in room:
        points = number(row['points an hour'])
        assert points == 20 * number(row['projects'])
        assert number(row['points a month']) == points * 730
        for name, months in (('GB a month', 1), ('GB a year', 12)):
            assert abs(points * 730 * months * 22 / 10**9 - number(row[name])) < number(row[name]) * Decimal('0.02')
    for row in work:
        points = number(row['points an hour'])
        seconds = points * 108 / 10**6
        assert abs(seconds - number(row['seconds'])) < number(row['seconds']) * Decimal('0.03')
        assert round(seconds / 3600, 4) == number(row['cores busy'])


@pytest.mark.parametrize('page', PAGES, ids=documents.name_of)
def test_every_command_is_run_or_says_why_not(page):
    if documents.name_of(page) in documents.RUN:
        return
    assert [command.line for command in documents.list_commands(page) if not command.reason] == []


@pytest.mark.parametrize('name', list_entry_points('console_scripts'))
def test_commands_that_pages_print_are_ours(name):
    """Of programs that exist, with flags that are theirs."""
    flags = set(re.findall(r'(?<![\w-])(--?[a-z][a-z-]*)', read('admin/commands.rst')))
    for page in PAGES:
        for command in documents.list_commands(page):
            words = command.text.split()
            if words[0] == name:
                assert {word for word in words if re.fullmatch('--?[a-z-]+', word)} <= flags, command
            assert not words[0].startswith('cloudkitty-') or words[0] in list_entry_points('console_scripts')
