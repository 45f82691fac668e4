# SPDX-License-Identifier: Apache-2.0
"""The collector for Prometheus: one query per metric answers a whole batch.

Source: collection contract, section 4.
"""

from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import logging
import time
from typing import Any

from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import metric as metrics
from cloudkitty import period as periods
from cloudkitty import usage
from cloudkitty.clients import answers
from cloudkitty.clients import prometheus
from cloudkitty.collector import base
from cloudkitty.collector import isolate
from cloudkitty.collector import troubles
from cloudkitty.collector.prometheus import arguments
from cloudkitty.collector.prometheus import cells
from cloudkitty.collector.prometheus import queries
from cloudkitty.conf import collect as collect_options
from cloudkitty.conf import collector_prometheus
from cloudkitty.conf import metrics as metrics_file

LOG = logging.getLogger(__name__)

#: A series of an answer takes as much memory as so many of its numbers.
SERIES_WEIGHT = 8
#: Series of a metric that a scope is taken to have before anything is known.
FIRST = 10.0
#: How much the last answer counts.
SHARE = 0.3
#: A batch that does not fit into memory has so many periods, if there are as many, before it has more scopes.
WINDOW = 24
#: Scopes named in a query.
MOST_SCOPES = 1000
#: Numbers of one series that a server gives in an answer; Prometheus has it at 11,000.
MOST_PERIODS = 10000
#: What only Prometheus of the end of 2023 calls a warning.
_INFO = 'PromQL info'
#: Seconds between two looks for series that are nobody's.
LOOK = 3600
#: Remarks to remember.
MOST_TOLD = 1000

Refusal = prometheus.Refusal


@dataclasses.dataclass(frozen=True)
class Ask:
    """What one query asks for: a metric type of scopes, in the periods from *begin* to *end*."""

    name: str
    scope_ids: tuple[str, ...]
    begin: int
    end: int


@dataclasses.dataclass(frozen=True)
class Manners:
    """How a server understands a query.

    :ivar reach: milliseconds that a range of one period reaches back from its last one.
    :ivar has_ranges: it gives several periods at the instants that were asked for.
    """

    reach: int
    has_ranges: bool


class PrometheusCollector(base.BatchCollector):
    """Asks Prometheus.

    :param client: how to reach it.
    :param scope_key: label that names a scope.
    :param executor: futurist executor for requests; None runs one after the other.
    :param max_granules: numbers in memory at a time.
    :param timeout: seconds after which a batch that is not collected is given up.
    """

    collector_name = 'prometheus'
    answers_in_parts = True
    asks_again = True

    def __init__(
        self,
        period: int = 3600,
        conf: Mapping[str, Any] | None = None,
        metrics: Sequence[metrics.Metric] = (),
        zone: datetime.tzinfo = periods.UTC,
        client: prometheus.Client | None = None,
        scope_key: str = 'project_id',
        executor: Any = None,
        max_granules: int = 150000,
        timeout: float = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(period, conf, metrics, zone, **kwargs)
        self._client = client
        self._scope_key = scope_key
        self._runner = isolate.Runner(executor, max_granules, prometheus.RequestFailed)
        self._timeout = timeout
        self._learnt = _Learnt(scope_key)

    @classmethod
    def from_options(cls, conf: Any, found: metrics_file.MetricsFile, executor: Any) -> 'PrometheusCollector':
        """Return a collector for the Prometheus of [collector_prometheus]; raises ConfigurationError."""
        group = conf[collector_prometheus.GROUP]
        return cls(
            period=conf.collect.period,
            metrics=found.metrics,
            zone=collect_options.zone(conf),
            client=prometheus.from_options(conf, collector_prometheus.GROUP, group.max_requests),
            scope_key=conf.collect.scope_key,
            executor=executor,
            max_granules=conf.orchestrator.max_granules,
            timeout=conf.orchestrator.collector_request_timeout,
        )

    @staticmethod
    def check_extra_args(extra_args: dict[str, Any]) -> dict[str, Any]:
        return arguments.check(extra_args)

    def _collect(self, batch: usage.Batch) -> usage.Usage:
        if self._client is None:
            raise errors.ConfigurationError('The collector prometheus has no connection.')
        deadline = answers.Deadline(self._timeout)
        found = _Work(self._client, self._scope_key, self._runner, self._learnt, batch, deadline).run()
        self._learnt.sizes.grow()
        return found


class _Learnt:
    """What is remembered from batch to batch.

    :ivar sizes: how large requests may be, by metric type.
    """

    def __init__(self, scope_key: str) -> None:
        self.sizes = isolate.Sizes()
        self._scope_key = scope_key
        self._readers: dict[str, cells.Reader] = {}
        self._densities: dict[str, float] = {}
        self._told: set[tuple[str, str]] = set()
        self._looked: dict[str, float] = {}

    def reader(self, metric: metrics.Metric) -> cells.Reader:
        """Return what reads answers for *metric*."""
        known = self._readers.get(metric.type)
        if known is None or known.metric is not metric:
            known = self._readers[metric.type] = cells.Reader(metric, self._scope_key)
        return known

    def density(self, name: str) -> float:
        """Return how many series of metric type *name* a scope has, about."""
        return self._densities.get(name, FIRST)

    def note_density(self, name: str, scopes: int, series: int) -> None:
        """Take note that so many scopes had so many series."""
        before = self._densities.get(name)
        now = series / scopes
        # A larger answer than was foreseen costs more than a smaller one.
        self._densities[name] = now if before is None or now > before else before + SHARE * (now - before)

    def may_look(self, name: str) -> bool:
        """Return whether it is time to look for series of metric type *name* that are nobody's; it is now done."""
        now = time.monotonic()
        if now - self._looked.get(name, float('-inf')) < LOOK:
            return False
        self._looked[name] = now
        return True

    def tell(self, name: str, text: str) -> None:
        """Warn of something odd that costs no cell, once."""
        if (name, text) not in self._told:
            if len(self._told) >= MOST_TOLD:
                self._told.clear()
            self._told.add((name, text))
            LOG.warning('Metric %s: %s', name, text)


class _Work:
    """The collection of one batch."""

    def __init__(
        self,
        client: prometheus.Client,
        scope_key: str,
        runner: isolate.Runner[prometheus.RequestFailed],
        learnt: _Learnt,
        batch: usage.Batch,
        deadline: answers.Deadline,
    ) -> None:
        self._client = client
        self._scope_key = scope_key
        self._runner = runner
        self._learnt = learnt
        self._batch = batch
        self._deadline = deadline
        self._metrics = {metric.type: metric for metric in batch.metrics}
        self._forms = {name: queries.form(metric) for name, metric in self._metrics.items()}
        self._found = {name: cells.Found() for name in self._metrics}
        self._troubles: dict[troubles.Cell, troubles.Content] = {}
        self._manners = Manners(batch.length * 1000, True)
        self._answered = self._failed = False

    def run(self) -> usage.Usage:
        """Return the usage of the batch, or of the part of it that fits into memory."""
        self._shrink_batch()
        batch = self._batch
        try:
            self._manners = self._ask_manners()
        except prometheus.RequestFailed as error:
            for name in self._metrics:
                self._fail(name, batch.scope_ids, batch.begins, str(error), error.is_permanent)
            return usage.Usage(batch, [], troubles.join(self._troubles, batch), source_down=error.is_trouble)
        self._measure()
        self._tell_unknown()
        self._look_for_ownerless()
        self._note_unfinished()
        columns = []
        for name, found in self._found.items():
            for (scope_id, begin), text in found.failed.items():
                self._troubles[scope_id, name, begin] = (coverage.Status.FAILED, text, True)
            refused = {
                (cell[0], cell[2])
                for cell, (status, _, _) in self._troubles.items()
                if cell[1] == name and status is coverage.Status.FAILED
            }
            made = found.columns(batch.length, refused)
            self._note_empty(name, found.empty, made)
            columns += made
        return usage.Usage(
            batch, columns, troubles.join(self._troubles, batch), source_down=self._failed and not self._answered
        )

    def _shrink_batch(self) -> None:
        """Make the batch as small as the memory demands: fewer periods first, down to a window, then fewer scopes."""
        batch = self._batch
        series = sum(map(self._learnt.density, self._metrics))
        # Columns of a batch that is read share much; what is being read does not, and is bounded by the runner.
        room = self._runner.budget / max(series, 1e-9)
        least = min(batch.count, WINDOW)
        scopes = max(1, min(len(batch.scope_ids), int(room / (SERIES_WEIGHT + least))))
        count = max(1, min(batch.count, int(room / scopes - SERIES_WEIGHT)))
        self._batch = dataclasses.replace(batch, scope_ids=batch.scope_ids[:scopes], count=count)

    def _ask_manners(self) -> Manners:
        """Return how the server understands ranges.

        It is asked for samples at both ends of a range, at instants that are no multiples of the step between them:
        servers of version 2 count both, and some proxies move the instants.
        """
        length, count = self._batch.length * 1000, min(self._batch.count, MOST_PERIODS)
        start = self._batch.begin // 2 * 2 + 1
        text = 'count_over_time(vector(1)[1s:1s])'
        try:
            answer = self._query_twice(text, start, start + 2 * (count - 1), 2)
        except prometheus.RequestFailed as error:
            if not error.is_permanent:
                raise
            # A server without subqueries is older than those that leave a begin out.
            return Manners(length - 1, True)
        samples = [sample for series in answer.series for sample in series.samples]
        has_ranges = [sample[0] for sample in samples] == [(start + 2 * index) * 1000 for index in range(count)]
        counts_both = any(sample[1] == '2' for sample in samples)
        return Manners(length - 1 if counts_both else length, has_ranges)

    def _query_twice(self, text: str, start: int, end: int, step: int) -> prometheus.Answer:
        """Return what *text*, which nobody can make smaller, gives; it is asked again where it was too big."""
        try:
            return self._client.query_range(text, start, end, step, self._deadline)
        except prometheus.RequestFailed as error:
            if error.refusal is not Refusal.TOO_BIG:
                raise
        return self._client.query_range(text, start, end, step, self._deadline)

    def _measure(self) -> None:
        asks = [ask for name in self._metrics for ask in self._plan(name)]
        by_metric: dict[str, int] = {}
        for ask in asks:
            by_metric[ask.name] = by_metric.get(ask.name, 0) + 1
        for ask, result in isolate.ask_all(
            self._runner, asks, self._ask, self._split, lambda ask: ask.name, self._weigh, by_metric
        ):
            if isinstance(result, cells.Found):
                self._answered = True
                self._found[ask.name].add(result)
            else:
                self._count(result)
                self._fail(ask.name, ask.scope_ids, self._begins(ask), str(result), result.is_permanent)

    def _plan(self, name: str) -> list[Ask]:
        """Return what to ask for metric type *name*: as much at once as its form, the server and the memory allow."""
        batch, form = self._batch, self._forms[name]
        # A series without a value of the scope key is nobody's.
        scope_ids = [scope_id for scope_id in batch.scope_ids if scope_id]
        density = max(self._learnt.density(name), 1)
        most = min(self._learnt.sizes.most((name, 'periods')), MOST_PERIODS)
        if not form.many_periods or not self._manners.has_ranges:
            most = 1
        count = int(max(1, min(batch.count, most, self._runner.budget / density - SERIES_WEIGHT)))
        size = min(self._learnt.sizes.most((name, 'scopes')), MOST_SCOPES)
        size = int(max(1, min(size, self._runner.budget / (density * (SERIES_WEIGHT + count)))))
        if not form.many_scopes:
            size = 1
        step = count * batch.length
        return [
            Ask(name, tuple(scope_ids[first : first + size]), begin, min(begin + step, batch.end))
            for begin in range(batch.begin, batch.end, step)
            for first in range(0, len(scope_ids), size)
        ]

    def _weigh(self, ask: Ask) -> int:
        return int(self._learnt.density(ask.name) * len(ask.scope_ids) * (SERIES_WEIGHT + len(self._begins(ask))))

    def _begins(self, ask: Ask) -> range:
        return range(ask.begin, ask.end, self._batch.length)

    def _ask(self, ask: Ask) -> cells.Found:
        metric = self._metrics[ask.name]
        text = queries.build(metric, self._scope_key, ask.scope_ids, self._manners.reach)
        answer = self._query(text, ask.begin, ask.end)
        window = cells.Window(frozenset(ask.scope_ids), ask.begin, ask.end, self._batch.length)
        try:
            found = self._learnt.reader(metric).read(answer.series, window)
        except cells.Misaligned:
            if len(self._begins(ask)) == 1:
                raise prometheus.RequestFailed(Refusal.TROUBLE, 'Prometheus: an answer for another time.') from None
            self._manners = dataclasses.replace(self._manners, has_ranges=False)
            found = cells.Found()
            for begin in self._begins(ask):
                found.add(self._ask(dataclasses.replace(ask, begin=begin, end=begin + self._batch.length)))
            return found
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise prometheus.RequestFailed(Refusal.TROUBLE, 'Prometheus: an answer that makes no sense.') from error
        self._learnt.note_density(ask.name, len(ask.scope_ids), found.count)
        self._note_remarks(ask, answer)
        return found

    def _query(self, text: str, begin: int, end: int) -> prometheus.Answer:
        """Return what *text* gives for the periods from *begin* to *end*, at the instants that stand for them."""
        length = self._batch.length
        start, last = cells.instant(begin, length), cells.instant(end - length, length)
        if start == last:
            return self._client.query(text, start, self._deadline)
        return self._client.query_range(text, start, last, length, self._deadline)

    def _note_remarks(self, ask: Ask, answer: prometheus.Answer) -> None:
        """Have cells collected again of which a server says that they may not be whole."""
        for line in (*answer.infos, *(line for line in answer.warnings if line.startswith(_INFO))):
            self._learnt.tell(ask.name, 'Prometheus remarks: %s' % line)
        lacking = _find_lacking(answer)
        if lacking:
            text = 'Prometheus warns that this may not be all: %s' % '; '.join(lacking)
            for scope_id in ask.scope_ids:
                for begin in self._begins(ask):
                    self._troubles[scope_id, ask.name, begin] = (coverage.Status.PROVISIONAL, text[:500], False)

    def _split(self, ask: Ask, error: prometheus.RequestFailed) -> list[Ask]:
        """Return what to ask in the place of *ask*, which failed with *error*."""
        if error.refusal not in (Refusal.TOO_BIG, Refusal.TROUBLE, Refusal.EXECUTION):
            return []
        count = len(self._begins(ask))
        is_single = len(ask.scope_ids) == 1
        if error.refusal is Refusal.TOO_BIG and (count > 1 or not is_single):
            key = (ask.name, 'periods' if is_single else 'scopes')
            self._learnt.sizes.shrink(key, count if is_single else len(ask.scope_ids))
        if not is_single:
            middle = len(ask.scope_ids) // 2
            halves = (ask.scope_ids[:middle], ask.scope_ids[middle:])
            return [dataclasses.replace(ask, scope_ids=half) for half in halves]
        if count == 1:
            return []
        middle = ask.begin + count // 2 * self._batch.length
        return [dataclasses.replace(ask, end=middle), dataclasses.replace(ask, begin=middle)]

    def _tell_unknown(self) -> None:
        """Tell periods in which nobody anywhere has a metric from those in which merely nobody of the batch has it."""
        for name, metric in self._metrics.items():
            filled = self._found[name].filled()
            filled.update(cell[2] for cell in self._troubles if cell[1] == name)
            silent = [begin for begin in self._batch.begins if begin not in filled]
            if not silent:
                continue
            try:
                known = self._find(metric, queries.match_any(self._scope_key), silent)
                nowhere = [begin for begin in silent if begin not in known]
                ownerless = self._find(metric, '', nowhere) if nowhere else frozenset()
            except prometheus.RequestFailed as error:
                self._count(error)
                self._fail(name, self._batch.scope_ids, silent, str(error), error.is_permanent)
                continue
            self._answered = True
            for begin in nowhere:
                text = (
                    'No series of metric %s in Prometheus has the label %s.' % (metric.name, self._scope_key)
                    if begin in ownerless
                    else 'Prometheus has no series of metric %s.' % metric.name
                )
                for scope_id in self._batch.scope_ids:
                    self._troubles[scope_id, name, begin] = (coverage.Status.UNKNOWN, text, False)

    def _look_for_ownerless(self) -> None:
        """Warn, now and then, of series without the label of the scope beside others that have it: nobody pays them."""
        begin = self._batch.begins[-1]
        for name, metric in self._metrics.items():
            if not self._found[name].rows or not self._learnt.may_look(name):
                continue
            try:
                found = self._find(metric, queries.match(self._scope_key, ['']), [begin])
            except prometheus.RequestFailed as error:
                LOG.debug('Metric %s: series without a scope are not looked for: %s', name, error)
                continue
            if found:
                self._learnt.tell(
                    name,
                    'some series in Prometheus have no label %s: what they measure is billed to nobody.'
                    % self._scope_key,
                )

    def _find(self, metric: metrics.Metric, matcher: str, begins: Sequence[int]) -> frozenset[int]:
        """Return those of *begins* in whose periods there are series of *metric*.

        :raises RequestFailed: an answer may not be all, too: what it lacks is not known to be nowhere.
        """
        length = self._batch.length
        text = queries.count(metric, matcher, self._manners.reach)
        end, step = begins[-1] + length, MOST_PERIODS * length
        windows = [(begin, min(begin + step, end)) for begin in range(begins[0], end, step)]
        if not self._manners.has_ranges:
            windows = [(begin, begin + length) for begin in begins]
        found = [self._query(text, begin, end) for begin, end in windows]
        lacking = [line for answer in found for line in _find_lacking(answer)]
        if lacking:
            raise prometheus.RequestFailed(Refusal.TROUBLE, 'Prometheus warns: %s' % '; '.join(lacking)[:400])
        instants = {sample[0] for answer in found for item in answer.series for sample in item.samples}
        return frozenset(begin for begin in begins if (begin + length) * 1000 - 1 in instants)

    def _note_empty(self, name: str, empty: Collection[tuple[str, int]], made: Iterable[Any]) -> None:
        """Say of cells that hold nothing but NaN why there is no number."""
        if not empty:
            return
        filled = {(item.series.scope_id, begin) for item in made for begin in item.begins}
        for scope_id, begin in empty:
            if (scope_id, begin) not in filled:
                text = 'Prometheus gave NaN, which is no number.'
                self._troubles.setdefault((scope_id, name, begin), (coverage.Status.UNKNOWN, text, False))
            else:
                self._learnt.tell(name, 'Prometheus gave NaN, which is no number, for some series; they are left out.')

    def _note_unfinished(self) -> None:
        """Have what is not over yet by the clock of Prometheus waited for, where it is by the clock of this host only.

        A host whose clock goes hours before would find such periods empty, and nobody would ask for them again.
        """
        ahead, now, batch = self._client.ahead, time.time(), self._batch
        for begin in batch.begins if ahead else ():
            if now - ahead < begin + batch.length <= now:
                text = 'By the clock of Prometheus the period is not over yet; that of this host goes before it.'
                for name in self._metrics:
                    self._fail(name, batch.scope_ids, range(begin, batch.end, batch.length), text, False)
                return

    def _fail(self, name: str, scope_ids: Iterable[str], begins: Iterable[int], text: str, permanent: bool) -> None:
        for begin in begins:
            for scope_id in scope_ids:
                self._troubles[scope_id, name, begin] = (coverage.Status.FAILED, text[:500], permanent)

    def _count(self, error: prometheus.RequestFailed) -> None:
        if error.refusal in (Refusal.TOO_BIG, Refusal.TROUBLE, Refusal.AWAY):
            self._failed = True
        else:
            self._answered = True


def _find_lacking(answer: prometheus.Answer) -> list[str]:
    """Return the warnings of *answer* that say that it may not be all."""
    return [line for line in answer.warnings if not line.startswith(_INFO)]
