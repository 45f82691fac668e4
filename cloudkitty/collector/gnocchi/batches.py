# SPDX-License-Identifier: Apache-2.0
"""The collector for Gnocchi: one inventory per resource type and one request per metric answer a whole batch.

Source: collection contract, sections 3, 8 and 9.
"""

import collections
from collections.abc import Collection
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import datetime
import logging
import math
import time
from typing import Any

from cloudkitty import coverage
from cloudkitty import errors
from cloudkitty import metric as metrics
from cloudkitty import period as periods
from cloudkitty import usage
from cloudkitty.clients import answers
from cloudkitty.clients import gnocchi
from cloudkitty.clients import keystone
from cloudkitty.collector import base
from cloudkitty.collector import isolate
from cloudkitty.collector import troubles
from cloudkitty.collector.gnocchi import arguments
from cloudkitty.collector.gnocchi import asks
from cloudkitty.collector.gnocchi import backlog
from cloudkitty.collector.gnocchi import cells
from cloudkitty.collector.gnocchi import inventory
from cloudkitty.collector.gnocchi import policies
from cloudkitty.collector.gnocchi import requests
from cloudkitty.collector.gnocchi import server
from cloudkitty.collector.gnocchi import warm
from cloudkitty.conf import collect as collect_options
from cloudkitty.conf import collector_gnocchi
from cloudkitty.conf import metrics as metrics_file

LOG = logging.getLogger(__name__)

#: A resource of the inventory takes as much memory as so many granules.
RESOURCE_WEIGHT = 4
#: A batch that does not fit into memory has so many periods, if there are as many, before it has more scopes.
WINDOW = 24
#: A request is made so large that its answer takes this part of the time-out, as far as that can be told.
QUICK = 0.25
#: Seconds that a request has to take before it is worth making several of it, to be answered at the same time.
LONG = 1.0
#: Scopes whose resources are worth a request of their own, for the same reason.
MANY = 10
#: Seconds for which a metric that nobody had is not looked for again.
FORGET = 3600

Refusal = requests.Refusal


class GnocchiCollector(base.BatchCollector):
    """Asks Gnocchi.

    :param client: how to reach it.
    :param scope_key: attribute that names a scope.
    :param executor: futurist executor for requests; None runs one after the other.
    :param max_granules: granules in memory at a time.
    :param timeout: seconds after which a batch that is not collected is given up.
    :param max_resources: resources, and series of them, remembered between batches.
    :param deep_backlog: measures for each metric that waits to be aggregated from which on a backlog is deep.
    """

    collector_name = 'gnocchi'
    answers_in_parts = True
    asks_again = True

    def __init__(
        self,
        period: int = 3600,
        conf: Mapping[str, Any] | None = None,
        metrics: Sequence[metrics.Metric] = (),
        zone: datetime.tzinfo = periods.UTC,
        client: requests.Client | None = None,
        scope_key: str = 'project_id',
        executor: Any = None,
        max_granules: int = 150000,
        timeout: float = 300,
        max_resources: int = 0,
        deep_backlog: int = 12,
        **kwargs: Any,
    ) -> None:
        super().__init__(period, conf, metrics, zone, **kwargs)
        self._client = client
        self._scope_key = scope_key
        self._runner = isolate.Runner(executor, max_granules, requests.RequestFailed)
        self._timeout = timeout
        self._server = server.Server()
        self._warm = warm.Inventories(max_resources)
        self._backlog = backlog.Watch(deep_backlog)

    @classmethod
    def from_options(cls, conf: Any, found: metrics_file.MetricsFile, executor: Any) -> 'GnocchiCollector':
        """Return a collector for the Gnocchi of [collector_gnocchi]; raises ConfigurationError."""
        adapter = gnocchi.from_options(conf, collector_gnocchi.GROUP)
        timeout = conf[collector_gnocchi.GROUP].timeout or keystone.TIMEOUT
        return cls(
            period=conf.collect.period,
            metrics=found.metrics,
            zone=collect_options.zone(conf),
            client=requests.Client(adapter, timeout, width=conf[collector_gnocchi.GROUP].max_requests),
            scope_key=conf.collect.scope_key,
            executor=executor,
            max_granules=conf.orchestrator.max_granules,
            timeout=conf.orchestrator.collector_request_timeout,
            max_resources=conf[collector_gnocchi.GROUP].max_resources,
            deep_backlog=conf[collector_gnocchi.GROUP].deep_backlog,
        )

    @staticmethod
    def check_extra_args(extra_args: dict[str, Any]) -> dict[str, Any]:
        return arguments.check(extra_args)

    def _collect(self, batch: usage.Batch) -> usage.Usage:
        if self._client is None:
            raise errors.ConfigurationError('The collector gnocchi has no connection.')
        waiting = self._backlog.look(self._client, batch.end)
        work = self._make_work(batch, self._warm)
        found = work.run()
        if work.is_stale:
            # There are resources that nobody knew a moment ago. Whoever else collects meanwhile, nothing is remembered.
            found = self._make_work(batch, warm.Inventories(0)).run()
        self._server.sizes.grow()
        found.backlog = waiting
        return found

    def _make_work(self, batch: usage.Batch, remembered: warm.Inventories) -> '_Work':
        assert self._client is not None
        return _Work(
            self._client,
            self._scope_key,
            self._runner,
            self._server,
            remembered,
            batch,
            answers.Deadline(self._timeout),
        )


@dataclasses.dataclass
class _Type:
    """What is known of the resources of one type.

    :ivar begin: all revisions in force then or later are known.
    :ivar failed: scopes whose resources could not be read, and why.
    :ivar is_warm: some of it was read for a batch before.
    :ivar is_sure: a metric that a resource is not known to have is one that it has not.
    :ivar confirmed: {scope id: the latest begin of a period in which it has resources}, of those that were listed.
    """

    wanted: inventory.Wanted
    begin: int
    is_warm: bool
    is_sure: bool
    inventory: inventory.Inventory
    failed: dict[str, requests.RequestFailed] = dataclasses.field(default_factory=dict)
    confirmed: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.wanted.resource_type

    @property
    def is_missing(self) -> bool:
        return any(error.refusal is Refusal.NO_TYPE for error in self.failed.values())


@dataclasses.dataclass(frozen=True)
class _Listing:
    """A request for resources of one type and of scopes.

    :ivar stale: by scope id, what is known and has to be brought up to date; empty where nothing is.
    """

    name: str
    scope_ids: tuple[str, ...]
    stale: Mapping[str, warm.Entry] = dataclasses.field(default_factory=dict)

    @property
    def group(self) -> tuple[str, bool]:
        return self.name, bool(self.stale)

    @property
    def halves(self) -> list['_Listing']:
        middle = len(self.scope_ids) // 2
        return [self.of(part) for part in (self.scope_ids[:middle], self.scope_ids[middle:]) if part]

    def of(self, scope_ids: Iterable[str]) -> '_Listing':
        """Return it for fewer scopes."""
        names = tuple(scope_ids)
        return _Listing(self.name, names, {name: self.stale[name] for name in names} if self.stale else {})


class _Work:
    """The collection of one batch.

    :ivar is_stale: what is remembered of resources turned out to be old; it is forgotten, and the batch is to be
        collected again.
    """

    def __init__(
        self,
        client: requests.Client,
        scope_key: str,
        runner: isolate.Runner[requests.RequestFailed],
        learnt: server.Server,
        remembered: warm.Inventories,
        batch: usage.Batch,
        deadline: answers.Deadline,
    ) -> None:
        self._client = client
        self._scope_key = scope_key
        self._runner = runner
        self._server = learnt
        self._warm = remembered
        self._batch = batch
        self._asked = batch.scope_ids
        self._deadline = deadline
        self._types: dict[str, _Type] = {}
        self._subjects: dict[str, asks.Subject] = {}
        self._found: dict[str, cells.Found] = {}
        # Metric types whose archive policies were looked at.
        self._examined: set[str] = set()
        # How many resources were left out when a part was asked for.
        self._left_out: dict[tuple[str, asks.Ask], int] = {}
        # (scope id, metric type, begin) to what became of the cell.
        self._troubles: dict[troubles.Cell, troubles.Content] = {}
        # Metric types that are not asked for, to the metric and what came of looking for it anywhere.
        self._silent: dict[str, tuple[metrics.Metric, bool | requests.RequestFailed]] = {}
        self._answered = self._failed = False
        self.is_stale = False

    def run(self) -> usage.Usage:
        """Return the usage of the batch, or of the part of it that fits into memory."""
        self._foresee()
        askable = self._check_grid()
        self._read_inventories(askable)
        if self.is_stale:
            return usage.Usage(self._batch, [], [])
        for metric in askable:
            found = self._types[metric.extra_args['resource_type']]
            self._subjects[metric.type] = asks.Subject(
                metric,
                self._scope_key,
                self._batch.length,
                found.inventory,
                self._server.has_history,
                found.is_sure,
            )
            self._found[metric.type] = cells.Found()
        self._shrink_batch()
        self._note_failed_inventories()
        self._look_for_silent()
        self._measure()
        self._note_refusing()
        self._tell_unknown()
        self._note_unfinished()
        columns = []
        for name, result in self._found.items():
            for (scope_id, begin), text in result.failed.items():
                self._troubles[scope_id, name, begin] = (coverage.Status.FAILED, text, True)
            failed = {(cell[0], cell[2]) for cell in self._troubles if cell[1] == name}
            columns += result.columns(self._batch.length, failed)
            kind = self._types[self._subjects[name].metric.extra_args['resource_type']]
            if result.strays and kind.is_warm:
                self._note_stale(kind)
            elif result.strays:
                LOG.warning(
                    '%s: Gnocchi gave metric %s of %d resources that it does not list; they are left out.',
                    periods.from_epoch(self._batch.begin),
                    name,
                    result.strays,
                )
            self._note_late(kind, self._subjects[name].metric.name, result.seen)
        return usage.Usage(
            self._batch, columns, troubles.join(self._troubles, self._batch), self._failed and not self._answered
        )

    def _note_unfinished(self) -> None:
        """Have what is not over yet by the clock of Gnocchi waited for, where it is by the clock of this host only.

        A host whose clock goes hours before would find such periods empty, and nobody would ask for them again.
        """
        ahead, now, batch = self._client.ahead, time.time(), self._batch
        for begin in batch.begins if ahead else ():
            if now - ahead < begin + batch.length <= now:
                text = 'By the clock of Gnocchi the period is not over yet; that of this host goes before it.'
                for metric in batch.metrics:
                    self._fail(metric.type, batch.scope_ids, begin, batch.end, text, False)
                return

    def _note_stale(self, kind: _Type) -> None:
        """Have the batch collected again without what was remembered of a type.

        Of all that were asked for: the next time none of them is warm, and what is odd then is told.
        """
        self._warm.forget(kind.wanted, self._asked)
        self.is_stale = True

    def _note_late(self, kind: _Type, metric_name: str, seen: Collection[str]) -> None:
        """Have scopes listed anew in which resources turned out to have a metric that they were not known to have."""
        resources = kind.inventory.resources
        if kind.is_sure or kind.inventory.count(metric_name) >= len(resources):
            return
        late = [resources[name] for name in seen if not resources[name].has(metric_name)]
        self._warm.forget(kind.wanted, {scope_id for resource in late for scope_id in resource.scopes})

    def _check_grid(self) -> list[metrics.Metric]:
        """Return the metrics whose granules fit into the periods; the others are refused for good."""
        result = []
        batch = self._batch
        for metric in batch.metrics:
            granularity = metric.extra_args['force_granularity']
            if granularity and (batch.length % granularity or batch.begin % granularity):
                text = (
                    # The same for all periods: an operator is told of each cause once.
                    'force_granularity %d in metrics.yml does not divide the periods of %d s: they begin %d s past it.'
                    % (granularity, batch.length, batch.begin % granularity)
                    if batch.length % granularity == 0
                    else 'force_granularity %d in metrics.yml does not divide [collect] period, which is %d s.'
                    % (granularity, batch.length)
                )
                self._fail(metric.type, batch.scope_ids, batch.begin, batch.end, text, True)
            else:
                result.append(metric)
        return result

    def _read_inventories(self, askable: Iterable[metrics.Metric]) -> None:
        wanted: dict[str, list[metrics.Metric]] = {}
        for metric in askable:
            wanted.setdefault(metric.extra_args['resource_type'], []).append(metric)
        descriptions = {
            name: inventory.Wanted(
                name,
                self._scope_key,
                frozenset(attribute for item in of for attribute in (*item.groupby, *item.metadata)),
                frozenset(item.name for item in of),
            )
            for name, of in wanted.items()
        }
        batch = self._batch
        listings = []
        pieces = {}
        ready: dict[str, dict[str, warm.Entry]] = {}
        # Of an old server, and without a granularity, resources are asked for that have the metric, and no other.
        rigid = {
            name
            for name, of in wanted.items()
            if not self._server.has_history or not all(item.extra_args['force_granularity'] for item in of)
        }
        lookups = {}
        can_renew = self._client.clocks_agree
        for name, of in wanted.items():
            begin = batch.begin - max(asks.front(item, batch.length) for item in of)
            known = lookups[name] = self._warm.look_up(
                descriptions[name], batch.scope_ids, begin, batch.end + batch.length, name not in rigid and can_renew
            )
            is_warm = bool(known.ready or known.stale)
            is_sure = not is_warm or name in rigid
            self._types[name] = _Type(descriptions[name], begin, is_warm, is_sure, inventory.Inventory())
            ready[name] = known.ready
        asked = sum(bool(known.missing) for known in lookups.values())
        for name, known in lookups.items():
            count = len(known.missing)
            most = int(min(self._server.sizes.most(('resources', name)), inventory.MOST_NAMES))
            size = min(most, max(math.ceil(count * max(1, asked) / self._client.width), MANY))
            pieces[name, False] = math.ceil(math.ceil(count / size) / max(1, math.ceil(count / most)))
            listings += [_Listing(name, tuple(part)) for part in inventory.chunks(known.missing, size)]
            changes = _Listing(name, tuple(known.stale), known.stale)
            most = int(min(self._server.sizes.most(('changes', name)), inventory.MOST_NAMES))
            listings += [changes.of(part) for part in inventory.chunks(known.stale, most)]
        now = time.time()
        for listing, result in isolate.ask_all(
            self._runner, listings, self._list, self._split_listing, lambda listing: listing.group, pieces=pieces
        ):
            self._count(result)
            kind = self._types[listing.name]
            if isinstance(result, requests.RequestFailed):
                kind.failed.update(dict.fromkeys(listing.scope_ids, result))
            elif isinstance(result, inventory.Changes):
                ready[listing.name].update(self._warm.renew(kind.wanted, listing.stale, now, result))
            else:
                self._warm.learn(kind.wanted, listing.scope_ids, kind.begin, now, result)
                kind.inventory.add(result)
        for name, entries in ready.items():
            kind = self._types[name]
            kind.confirmed.update(kind.inventory.last_begins())
            holdings = {scope_id: entry.holding.since(kind.begin) for scope_id, entry in entries.items()}
            if not _agree([kind.inventory.resources, *(holding.resources for holding in holdings.values())]):
                self._note_stale(kind)
            kind.inventory.add(inventory.Inventory.of(holdings))

    def _list(self, listing: _Listing) -> inventory.Inventory | inventory.Changes:
        kind = self._types[listing.name]
        if not listing.stale:
            return inventory.read(self._client, kind.wanted, listing.scope_ids, kind.begin, self._deadline)
        begin = min(entry.begin for entry in listing.stale.values())
        since = math.floor(min(entry.second for entry in listing.stale.values())) - warm.MARGIN
        return inventory.read_changes(self._client, kind.wanted, listing.scope_ids, begin, since, self._deadline)

    def _split_listing(self, listing: _Listing, error: requests.RequestFailed) -> list[_Listing]:
        if error.refusal is Refusal.TOO_BIG:
            key = 'changes' if listing.stale else 'resources'
            self._server.sizes.shrink((key, listing.name), len(listing.scope_ids))
        if error.refusal not in (Refusal.TOO_BIG, Refusal.TROUBLE) or len(listing.scope_ids) < 2:
            return []
        return listing.halves

    def _foresee(self) -> None:
        """Leave out scopes that will not fit into memory, before their resources are read."""
        fixed, total = self._server.scope_weights
        weight = fixed + total * min(self._batch.count, WINDOW)
        if weight and self._runner.budget / weight < len(self._batch.scope_ids):
            count = max(1, int(self._runner.budget / weight))
            self._batch = dataclasses.replace(self._batch, scope_ids=self._batch.scope_ids[:count])

    def _shrink_batch(self) -> None:
        """Make the batch as small as the memory demands: fewer periods first, down to a window, then fewer scopes.

        A request costs the source by its resources, hardly by its periods.
        """
        batch = self._batch
        budget = self._runner.budget
        resources = dict.fromkeys(batch.scope_ids, 0)
        for kind in self._types.values():
            for scope_id, holding in kind.inventory.holdings.items():
                if scope_id in resources:
                    resources[scope_id] += RESOURCE_WEIGHT * len(holding.resources)
        granules = {
            scope_id: sum(subject.count(scope_id) * subject.granules for subject in self._subjects.values())
            for scope_id in batch.scope_ids
        }
        fixed, total = sum(resources.values()), sum(granules.values())
        self._server.scope_weights = fixed / len(batch.scope_ids), total / len(batch.scope_ids)
        least = min(batch.count, WINDOW)
        taken = weight = of_period = 0
        for scope_id in batch.scope_ids:
            item = resources[scope_id] + granules[scope_id] * least
            if taken and weight + item > budget:
                break
            taken += 1
            weight += item
            of_period += granules[scope_id]
        if weight <= budget:
            more = (budget - weight) // of_period if of_period else batch.count
            count = min(batch.count, least + more)
        else:
            # A single scope is too large for that.
            room = budget - resources[batch.scope_ids[0]]
            count = max(1, room // of_period if of_period else 1)
        self._batch = dataclasses.replace(batch, scope_ids=batch.scope_ids[:taken], count=count)

    def _note_failed_inventories(self) -> None:
        batch = self._batch
        for subject in self._subjects.values():
            found = self._types[subject.metric.extra_args['resource_type']]
            for scope_id in batch.scope_ids:
                error = found.failed.get(scope_id)
                if error is not None and not found.is_missing:
                    text, permanent = str(error), error.is_permanent
                    self._fail(subject.metric.type, [scope_id], batch.begin, batch.end, text, permanent)

    def _measure(self) -> None:
        """Ask for the measures of every metric."""
        parts = []
        for name, subject in self._subjects.items():
            if name in self._silent:
                continue
            for ask in subject.plan(self._batch.scope_ids, self._batch.begin, self._batch.end):
                parts += [(name, part) for part in self._fit(subject, ask)]
        before = collections.Counter(name for name, _ in parts)
        parts = isolate.spread(parts, self._client.width, self._foretell, self._part, LONG)
        after = collections.Counter(name for name, _ in parts)
        for (name, ask), result in isolate.ask_all(
            self._runner,
            parts,
            self._ask,
            self._split,
            lambda part: part[0],
            lambda part: self._subjects[part[0]].weigh(part[1]),
            {name: math.ceil(count / before[name]) for name, count in after.items()},
        ):
            self._count(result)
            if isinstance(result, cells.Found):
                self._found[name].add(result)
            elif result.refusal is Refusal.NO_TYPE and not self._kind_of(name).is_sure:
                # It went, with all that was remembered of it.
                self._note_stale(self._kind_of(name))
            elif result.refusal not in (Refusal.NOTHING, Refusal.LACKING):
                text, permanent = str(result), result.is_permanent
                self._fail(name, self._owners(name, ask), ask.begin, ask.end, text, permanent)

    def _foretell(self, part: tuple[str, asks.Ask]) -> float:
        """Return the seconds that the server will take for *part*, about."""
        subject = self._subjects[part[0]]
        return self._server.pace.seconds(subject.metric.extra_args['resource_type'], self._weigh(subject, part[1]))

    def _part(self, part: tuple[str, asks.Ask]) -> list[tuple[str, asks.Ask]]:
        """Return the halves of *part* by scopes or resources; [] for one of them."""
        name, ask = part
        # Not by time: that would be the same work for every part.
        return [(name, half) for half in self._subjects[name].halve(ask)] if len(ask.names) > 1 else []

    def _fit(self, subject: asks.Subject, ask: asks.Ask) -> list[asks.Ask]:
        kind = subject.metric.extra_args['resource_type']
        most = self._server.pace.most(kind, self._client.timeout * QUICK)
        return subject.fit(
            ask,
            self._server.sizes.most(('scopes', kind)),
            self._server.sizes.most(('periods', kind)),
            self._runner.budget,
            lambda part: self._weigh(subject, part) <= most,
        )

    @staticmethod
    def _weigh(subject: asks.Subject, ask: asks.Ask) -> float:
        """Return the resources that the server has to look at for *ask*, granules counted in."""
        return subject.count_all(ask) + subject.weigh(ask) * server.Pace.GRANULE

    def _ask(self, part: tuple[str, asks.Ask]) -> cells.Found:
        name, ask = part
        subject = self._subjects[name]
        self._left_out[part] = len(subject.refusing)
        request = subject.request(ask)
        if request is None:
            return cells.Found()
        query, body = request
        window = cells.Window(frozenset(ask.scope_ids), ask.begin, ask.end, self._batch.length)
        kind = subject.metric.extra_args['resource_type']
        weight = self._weigh(subject, ask)
        answer = self._client.items(
            '/v1/aggregates',
            query,
            body,
            self._deadline,
            lambda seconds: self._server.pace.note(kind, weight, seconds),
        )
        with requests.sense('an answer'):
            if ask.mode is asks.Mode.PLAIN:
                is_warm = self._types[kind].is_warm
                return cells.read_plain(subject.metric, self._scope_key, answer, subject.resources, window, is_warm)
            return cells.read_history(subject.metric, self._scope_key, answer, subject.resources, window)

    def _split(self, part: tuple[str, asks.Ask], error: requests.RequestFailed) -> list[tuple[str, asks.Ask]]:
        """Return what to ask in the place of *part*, which failed with *error*."""
        name, ask = part
        subject = self._subjects[name]
        smaller: list[asks.Ask] = []
        match error.refusal:
            case Refusal.TOO_BIG:
                self._note_size(subject, ask)
                smaller = subject.halve(ask)
            case Refusal.TROUBLE:
                smaller = subject.halve(ask)
            case Refusal.LACKING if len(ask.names) > 1:
                smaller = subject.halve(ask)
            case Refusal.NO_HISTORY:
                self._server.has_history = subject.has_history = False
                named = subject.name(ask, asks.Mode.PLAIN)
                smaller = [item for plain in named for item in self._fit(subject, plain)]
            case Refusal.METRICS:
                self._examine(name, error)
                if len(subject.refusing) > self._left_out[part]:
                    # Without those that refuse.
                    smaller = [ask]
                elif len(ask.names) > 1:
                    # Nobody says which they are: find the scopes that have them.
                    smaller = subject.halve(ask)
        return [(name, item) for item in smaller]

    def _note_size(self, subject: asks.Subject, ask: asks.Ask) -> None:
        kind = subject.metric.extra_args['resource_type']
        if ask.mode is not asks.Mode.BY_SCOPE:
            return
        if len(ask.scope_ids) > 1:
            self._server.sizes.shrink(('scopes', kind), len(ask.scope_ids))
        else:
            self._server.sizes.shrink(('periods', kind), (ask.end - ask.begin) // self._batch.length)

    def _examine(self, name: str, error: requests.RequestFailed) -> None:
        """Find out, once, which resources refuse to give metric type *name*."""
        if name in self._examined:
            return
        self._examined.add(name)
        subject = self._subjects[name]
        known = {identifier for item in subject.resources.values() for identifier in item.metrics.values()}
        if not self._kind_of(name).is_sure and any(map(_is_id, error.metric_ids - known)):
            # Whose it is would not be found.
            self._note_stale(self._kind_of(name))
        try:
            subject.refusing.update(
                policies.find_refusing(
                    self._client, subject.metric, subject.resources, error.metric_ids, self._deadline
                )
            )
        except requests.RequestFailed as failure:
            LOG.debug('Metric %s: the archive policies cannot be read: %s', name, failure)

    def _owners(self, name: str, ask: asks.Ask) -> list[str]:
        """Return the scopes that *ask* would have given points."""
        if ask.mode is asks.Mode.BY_SCOPE:
            return list(ask.scope_ids)
        resources = self._subjects[name].resources
        owners = {scope_id for resource_id in ask.ids for scope_id in resources[resource_id].scopes}
        return [scope_id for scope_id in ask.scope_ids if scope_id in owners]

    def _note_refusing(self) -> None:
        batch = self._batch
        for name, subject in self._subjects.items():
            for resource_id, text in sorted(subject.refusing.items()):
                resource = subject.resources[resource_id]
                for scope_id in resource.scopes.intersection(batch.scope_ids):
                    for begin in batch.begins:
                        if resource.is_in(scope_id, begin, begin + batch.length):
                            self._fail(name, [scope_id], begin, begin + batch.length, text, True)

    def _tell_unknown(self) -> None:
        """Tell the metrics that the source does not know from those that merely have no points."""
        silent = []
        for name, subject in self._subjects.items():
            metric = subject.metric
            kind = self._kind_of(name)
            if kind.is_missing:
                everybody = dict.fromkeys(self._batch.scope_ids, math.inf)
                self._mark_unknown(metric, everybody, 'Gnocchi has no resource type %s.' % kind.name)
            elif kind.inventory.count(metric.name) or self._found[name].seen:
                self._server.existing.add((kind.name, metric.name))
            elif kind.is_sure and self._is_silent(metric):
                silent.append(metric)
        found = zip(silent, self._runner.map(self._exists, silent), strict=True)
        for metric, exists in [*self._silent.values(), *found]:
            kind = self._kind_of(metric.type)
            last_begins = self._last_begins(kind)
            if isinstance(last_begins, requests.RequestFailed):
                exists, last_begins = last_begins, kind.inventory.last_begins()
            if isinstance(exists, requests.RequestFailed):
                self._count(exists)
                there = [scope_id for scope_id in self._batch.scope_ids if scope_id in last_begins]
                text, permanent = str(exists), exists.is_permanent
                self._fail(metric.type, there, self._batch.begin, self._batch.end, text, permanent)
            elif not exists:
                text = 'No resource of type %s in Gnocchi has metric %s.' % (kind.name, metric.name)
                self._mark_unknown(metric, last_begins, text)

    def _kind_of(self, name: str) -> _Type:
        """Return the type of the resources of metric type *name*."""
        return self._types[self._subjects[name].metric.extra_args['resource_type']]

    def _is_silent(self, metric: metrics.Metric) -> bool:
        """Return whether nobody who has resources, in this batch and before, is known to have *metric*."""
        found = self._kind_of(metric.type).inventory
        key = (metric.extra_args['resource_type'], metric.name)
        return bool(
            found.resources
            and not found.count(metric.name)
            and key not in self._server.existing
            and not inventory.is_pattern(metric.name)
        )

    def _look_for_silent(self) -> None:
        """Find metrics that need not be asked for, since nobody has them: now, not when resources were listed."""
        silent = [
            subject.metric
            for name, subject in self._subjects.items()
            if not self._kind_of(name).is_sure and self._is_silent(subject.metric)
        ]
        for metric in silent:
            self._server.missing.pop((metric.extra_args['resource_type'], metric.name), None)
        for metric, exists in zip(silent, self._runner.map(self._exists, silent), strict=True):
            if exists is not True:
                self._silent[metric.type] = metric, exists

    def _last_begins(self, kind: _Type) -> dict[str, float] | requests.RequestFailed:
        """Return {scope id: the latest begin of a period in which it still has resources}.

        Resources that are only remembered may have been deleted: scopes where that would matter are listed again.
        """
        found = kind.inventory.last_begins()
        if kind.is_sure:
            return found
        resources = kind.inventory.resources
        seen: set[str] = set()
        for name, answer in self._found.items():
            if self._kind_of(name) is kind:
                # What was somebody else's may by now be another one of the same id.
                seen.update(item for item in answer.seen if len(resources[item].scopes) == 1)
        confirmed = {**kind.inventory.last_begins(seen), **kind.confirmed}
        last = self._batch.begins[-1]
        doubtful = [
            scope_id
            for scope_id in self._batch.scope_ids
            if scope_id in found and min(found[scope_id], last) > confirmed.get(scope_id, -math.inf)
        ]
        if not doubtful:
            return found
        now = time.time()
        try:
            read = inventory.read(self._client, kind.wanted, doubtful, kind.begin, self._deadline)
        except requests.RequestFailed as error:
            return error
        self._warm.learn(kind.wanted, doubtful, kind.begin, now, read)
        again = read.last_begins()
        return {name: again.get(name, -math.inf) if name in doubtful else last for name, last in found.items()}

    def _exists(self, metric: metrics.Metric) -> bool:
        """Return whether any resource of the type of *metric*, of whatever scope, has it."""
        key = (metric.extra_args['resource_type'], metric.name)
        if self._server.missing.get(key, 0) > time.monotonic():
            return False
        exists = inventory.has_metric_anywhere(self._client, *key, self._deadline)
        if exists:
            self._server.existing.add(key)
        else:
            self._server.missing[key] = time.monotonic() + FORGET
        return exists

    def _mark_unknown(self, metric: metrics.Metric, last_begins: Mapping[str, float], text: str) -> None:
        for scope_id in self._batch.scope_ids:
            for begin in self._batch.begins:
                if begin <= last_begins.get(scope_id, -math.inf):
                    self._troubles.setdefault((scope_id, metric.type, begin), (coverage.Status.UNKNOWN, text, False))

    def _fail(self, name: str, scope_ids: Iterable[str], begin: int, end: int, text: str, permanent: bool) -> None:
        for scope_id in scope_ids:
            for cell in range(begin, end, self._batch.length):
                self._troubles[scope_id, name, cell] = (coverage.Status.FAILED, text[:500], permanent)

    def _count(self, result: object) -> None:
        failed = isinstance(result, requests.RequestFailed) and result.refusal in (
            Refusal.TOO_BIG,
            Refusal.TROUBLE,
            Refusal.AWAY,
        )
        self._failed = self._failed or failed
        self._answered = self._answered or not failed


def _is_id(text: str) -> bool:
    return len(text) == 36 and text.count('-') == 4


def _agree(parts: Iterable[Mapping[str, inventory.Resource]]) -> bool:
    """Return whether what parts hold both is the same in both.

    Else it was deleted, and made again with the same id for another scope, or a part does not know all of it.
    """
    known: dict[str, inventory.Resource] = {}
    for part in parts:
        if any(known[name] != part[name] for name in known.keys() & part.keys()):
            return False
        known.update(part)
    return True
