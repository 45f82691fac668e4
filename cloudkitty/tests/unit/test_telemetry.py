# SPDX-License-Identifier: Apache-2.0
import os

from prometheus_client import parser
import pytest

from cloudkitty import errors
from cloudkitty import telemetry


@pytest.fixture
def directory(tmp_path):
    yield telemetry.prepare(str(tmp_path / 'figures'))
    telemetry.stop()


def read(directory):
    text, _ = telemetry.read(directory)
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_nothing_is_counted_unless_wanted(directory):
    telemetry.count(telemetry.POINTS, 5, work='rating')
    telemetry.note(telemetry.RULES, 3)
    telemetry.observe(telemetry.STAGES, 3, stage='price')
    assert read(directory) == {}


def test_what_is_counted_is_told(directory):
    telemetry.start(directory, telemetry.PROCESSOR)
    telemetry.count(telemetry.POINTS, 5, work='rating')
    telemetry.count(telemetry.POINTS, 2, work='rating')
    telemetry.count(telemetry.REPEATED)
    telemetry.note(telemetry.RULES, 3)
    telemetry.note(telemetry.RULES, 7)
    telemetry.observe(telemetry.BATCH_SCOPES, 3)
    with pytest.raises(ZeroDivisionError), telemetry.timed(telemetry.STAGES, stage='price'):
        1 / 0  # noqa: B018
    found = read(directory)
    assert found['cloudkitty_points_total', ('work', 'rating')] == 7
    assert found['cloudkitty_transactions_repeated_total',] == 1
    assert found['cloudkitty_rule_revision',] == 7
    assert found['cloudkitty_batch_scopes_bucket', ('le', '10.0')] == 1
    assert found['cloudkitty_batch_stage_seconds_count', ('stage', 'price')] == 1


def test_what_may_be_counted_is_told_before_it_is(directory):
    telemetry.start(directory, telemetry.PROCESSOR)
    found = read(directory)
    for work in ('rating', 'repair', 'reprocessing'):
        assert found['cloudkitty_points_total', ('work', work)] == 0
        assert found['cloudkitty_cells_total', ('status', 'lost'), ('work', work)] == 0
    assert found['cloudkitty_passes_failed_total', ('work', 'rating')] == 0
    telemetry.count(telemetry.CELLS, 2, work='repair', status='lost')
    assert read(directory)['cloudkitty_cells_total', ('status', 'lost'), ('work', 'repair')] == 2


def test_what_another_process_counted_is_told(directory):
    telemetry.start(directory, telemetry.PROCESSOR)
    telemetry.count(telemetry.REPEATED)
    child = os.fork()
    if not child:
        telemetry.count(telemetry.REPEATED, 2)
        os._exit(0)
    os.waitpid(child, 0)
    assert read(directory)['cloudkitty_transactions_repeated_total',] == 3


def test_figures_of_others_are_left_out(directory):
    telemetry.start(directory, telemetry.API)
    telemetry.count(telemetry.POINTS, 5, work='rating')
    assert not any(key[0].startswith('cloudkitty_points') for key in read(directory))


def test_directory_has_to_be_ones_own(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(errors.ConfigurationError, match='metrics. directory'):
        telemetry.prepare(str(tmp_path))
    (tmp_path / 'file').touch()
    with pytest.raises(errors.ConfigurationError, match='metrics. directory'):
        telemetry.prepare(str(tmp_path / 'file'))
    (tmp_path / 'link').symlink_to(tmp_path)
    with pytest.raises(errors.ConfigurationError, match='metrics. directory'):
        telemetry.prepare(str(tmp_path / 'link'))


def test_names_are_as_prometheus_wants_them():
    for figure in (*telemetry.PROCESSOR, *telemetry.API):
        assert figure.name.startswith('cloudkitty_')
        assert figure.name.endswith('_total') == (figure.kind == 'counter')
        assert figure.text.endswith('.')
