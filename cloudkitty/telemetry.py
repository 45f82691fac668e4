# SPDX-License-Identifier: Apache-2.0
"""Figures of what the processes of a host do, for Prometheus.

Who does something says so here, by the name of a figure. That is for nothing until :func:`start`, which has the
processes write what they count into files of one directory, as ``prometheus_client`` does it for several processes.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import itertools
import os
import stat
import tempfile
import time
from typing import Any

from oslo_utils import importutils

from cloudkitty import coverage
from cloudkitty import errors

#: Where the library looks for the directory.
_VARIABLE = 'PROMETHEUS_MULTIPROC_DIR'
_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_COUNTS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)


@dataclasses.dataclass(frozen=True)
class Figure:
    """What is counted.

    :ivar kind: ``counter``, ``gauge`` (what was said last) or ``histogram``.
    :ivar labels: what it is told apart by; of each there are few values, whatever is asked for.
    :ivar known: of each label, values that are told with 0 from the start. A counter that comes with its first step
        hides that step from Prometheus: nothing was there that it could have grown from.
    """

    kind: str
    name: str
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    known: tuple[tuple[str, ...], ...] = ()


WORKS = ('rating', 'repair', 'reprocessing')
STATUSES = tuple(status.value for status in coverage.Status)

#: Of the processor.
BATCHES = Figure('counter', 'cloudkitty_batches_total', 'Batches that were committed.', ('work',), known=(WORKS,))
STAGES = Figure(
    'histogram',
    'cloudkitty_batch_stage_seconds',
    'Seconds that a stage of a batch took: collect, price or commit.',
    ('stage',),
    _SECONDS,
)
BATCH_SCOPES = Figure(
    'histogram', 'cloudkitty_batch_scopes', 'Scopes of a batch that was collected.', (), (1, 10, 100, 1_000, 10_000)
)
BATCH_PERIODS = Figure(
    'histogram', 'cloudkitty_batch_periods', 'Periods of a batch that was collected.', (), (1, 6, 24, 168, 744)
)
POINTS = Figure('counter', 'cloudkitty_points_total', 'Points that were committed.', ('work',), known=(WORKS,))
CELLS = Figure(
    'counter',
    'cloudkitty_cells_total',
    'Cells of coverage that were committed.',
    ('work', 'status'),
    known=(WORKS, STATUSES),
)
DROPPED = Figure(
    'counter',
    'cloudkitty_scopes_dropped_total',
    'Scopes that fell out of a batch because somebody else had changed them.',
    ('work',),
    known=(WORKS,),
)
HELD = Figure('counter', 'cloudkitty_scopes_held_total', 'Times that a scope had to wait for its source.')
REQUESTS = Figure(
    'counter',
    'cloudkitty_source_requests_total',
    'Requests to the source, by the status of the answer; timeout and unreachable where there was none.',
    ('source', 'status'),
)
ANSWERS = Figure(
    'histogram', 'cloudkitty_source_seconds', 'Seconds that an answer of the source took.', ('source',), _SECONDS
)
REPEATED = Figure(
    'counter',
    'cloudkitty_transactions_repeated_total',
    'Transactions that were run again after a deadlock, a lock time-out, a conflict or a lost connection.',
)
FAILED_PASSES = Figure(
    'counter',
    'cloudkitty_passes_failed_total',
    'Passes of a worker that ended in an error.',
    ('work',),
    known=(('rating', 'reprocessing'),),
)
LISTED = Figure('gauge', 'cloudkitty_scopes_listed', 'Scopes in the last list that the fetcher gave.')
LISTED_AT = Figure(
    'gauge', 'cloudkitty_scopes_listed_timestamp_seconds', 'When the fetcher last gave a list of scopes.'
)
RULES = Figure('gauge', 'cloudkitty_rule_revision', 'Revision of the rules that the newest batch was priced with.')
#: Of the API.
API_REQUESTS = Figure('counter', 'cloudkitty_api_requests_total', 'Requests to the API.', ('method', 'route', 'status'))
API_SECONDS = Figure(
    'histogram', 'cloudkitty_api_seconds', 'Seconds until a request to the API was answered.', ('route',), _SECONDS
)

PROCESSOR = (
    BATCHES, STAGES, BATCH_SCOPES, BATCH_PERIODS, POINTS, CELLS, DROPPED, HELD, REQUESTS, ANSWERS, REPEATED,
    FAILED_PASSES, LISTED, LISTED_AT, RULES,
)  # fmt: skip
API = (API_REQUESTS, API_SECONDS, REPEATED)


class _Sink:
    """What the figures of this process are written to."""

    def __init__(self, library: Any, figures: tuple[Figure, ...]) -> None:
        registry = library.CollectorRegistry()
        self._known = {figure: _make(library, figure, registry) for figure in figures}
        for figure in figures:
            for values in itertools.product(*figure.known) if figure.known else ():
                self._known[figure].labels(*values)

    def find(self, figure: Figure, labels: dict[str, str]) -> Any:
        """Return what holds *figure*; None if it is not of this process."""
        found = self._known.get(figure)
        return found.labels(**labels) if found is not None and labels else found


_sink: _Sink | None = None


def _make(library: Any, figure: Figure, registry: Any) -> Any:
    if figure.kind == 'histogram':
        return library.Histogram(
            figure.name, figure.text, figure.labels, registry=registry, buckets=figure.buckets or _COUNTS
        )
    if figure.kind == 'gauge':
        return library.Gauge(figure.name, figure.text, figure.labels, registry=registry, multiprocess_mode='mostrecent')
    return library.Counter(figure.name, figure.text, figure.labels, registry=registry)


def prepare(directory: str | None) -> str:
    """Return the directory for the figures of this host, made where it is missing.

    :param directory: None: one of this user's, below that for temporary files.
    :raises ConfigurationError: it cannot be made, or others might write there.
    """
    path = directory or os.path.join(tempfile.gettempdir(), 'cloudkitty-metrics-%d' % os.geteuid())
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        found = os.lstat(path)
    except OSError as error:
        raise errors.ConfigurationError('[metrics] directory: %s: %s.' % (path, error.strerror)) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise errors.ConfigurationError(
            '[metrics] directory: %s has to be a directory of the user that runs the service, which nobody else may '
            'write to.' % path
        )
    return path


def start(directory: str, figures: tuple[Figure, ...]) -> None:
    """Have *figures* of this process, and of what is forked from it, written into files of *directory*."""
    global _sink
    os.environ[_VARIABLE] = directory
    values = importutils.import_module('prometheus_client.values')
    # The library chooses when it is imported, which somebody else may have done.
    values.ValueClass = values.get_value_class()
    _sink = _Sink(importutils.import_module('prometheus_client'), figures)


def stop() -> None:
    """Have nothing counted any more."""
    global _sink
    _sink = None
    os.environ.pop(_VARIABLE, None)


def count(figure: Figure, amount: float = 1, **labels: str) -> None:
    """Add *amount* to a counter."""
    held = _sink and _sink.find(figure, labels)
    if held:
        held.inc(amount)


def note(figure: Figure, value: float) -> None:
    """Set a gauge."""
    held = _sink and _sink.find(figure, {})
    if held:
        held.set(value)


def observe(figure: Figure, value: float, **labels: str) -> None:
    """Put *value* into a histogram."""
    held = _sink and _sink.find(figure, labels)
    if held:
        held.observe(value)


@contextlib.contextmanager
def timed(figure: Figure, **labels: str) -> Iterator[None]:
    """Put the seconds that the block takes into a histogram, however it ends."""
    begin = time.monotonic()
    try:
        yield
    finally:
        observe(figure, time.monotonic() - begin, **labels)


def read(directory: str, *others: Any) -> tuple[bytes, str]:
    """Return (text, content type) of all figures in *directory*, and of *others*, collectors of the library."""
    library = importutils.import_module('prometheus_client')
    multiprocess = importutils.import_module('prometheus_client.multiprocess')
    registry = library.CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=directory)
    for other in others:
        registry.register(other)
    return library.generate_latest(registry), library.CONTENT_TYPE_LATEST
