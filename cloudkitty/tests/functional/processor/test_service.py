# SPDX-License-Identifier: Apache-2.0
"""One child of the processor, inside the test's process."""

import futurist
from oslo_config import cfg
import pytest

from cloudkitty import plugins
from cloudkitty import service
from cloudkitty.processor import service as processor_service
from cloudkitty.tests import databases
from cloudkitty.tests import fakes
from cloudkitty.tests.functional.cli import programs as cli_programs


@pytest.fixture
def programs(tmp_path, monkeypatch):
    found = cli_programs.Programs(tmp_path)
    found.set('orchestrator', max_workers=1)
    load_class = plugins.load_class

    def load(namespace, name):
        return fakes.PluginCollector if name == 'memory' else load_class(namespace, name)

    monkeypatch.setattr(plugins, 'load_class', load)
    databases.ready(found.options['database']['connection']).dispose()
    return found


def read(programs):
    return service.prepare_service([], [str(programs.write())], cfg.ConfigOpts(), 'cloudkitty-test')


@pytest.fixture
def child(programs):
    """A child that is not started yet."""
    conf = read(programs)
    found = processor_service.RatingService(
        conf, processor_service.check(conf), futurist.ThreadPoolExecutor, 'threading', read=lambda: read(programs)
    )
    # It takes itself for a child.
    found._parent = 0
    yield found
    found.stop()


def test_child_works_until_it_is_stopped_and_bears_it_twice(child, caplog):
    child.start()
    cli_programs.wait_until(lambda: 'of 2 scopes' in caplog.text)
    child.stop()
    assert not child._thread.is_alive()
    child.stop(graceful=False)
    child.wait()


def test_stopping_a_child_that_never_started_is_fine_and_it_stays_so(child):
    child.stop()
    child.start()
    assert child._thread is None
    child.wait()


def test_options_are_read_again(child, programs):
    programs.set('fetcher_source', sources='c')
    programs.write()
    child.reset()
    assert child._conf.fetcher_source.sources == ['c']


def test_wrong_metrics_leave_options_and_metrics_as_they_are(child, programs, capfd):
    programs.set('fetcher_source', sources='c')
    programs.metrics.write_text('metrics: {cpu: {unit: 3}}')
    before = child._metrics
    child.reset()
    assert child._metrics is before
    assert child._conf.fetcher_source.sources == ['a', 'b']
    assert 'ERROR' in ''.join(capfd.readouterr())


def test_child_that_missed_its_signal_ends_by_itself(child, monkeypatch):
    sent = []

    def kill(pid, number):
        sent.append(number)
        child.stop()

    monkeypatch.setattr(processor_service.os, 'kill', kill)
    monkeypatch.setattr(child, 'DEAF', 1)
    child.start()
    # What the parent does, in memory that both see.
    child._told[0] = 1
    child.wait()
    assert sent == [processor_service.signal.SIGTERM]
