# SPDX-License-Identifier: Apache-2.0
"""The rating chain: the enabled modules, highest priority first, each adding to the prices of the one before."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
import dataclasses
import datetime
import decimal
from decimal import Decimal
import threading
from typing import Any
import zoneinfo

from dateutil import tz
from oslo_log import log

from cloudkitty import amount
from cloudkitty import conf as options
from cloudkitty import dataframe
from cloudkitty import errors
from cloudkitty import period
from cloudkitty import plugins
from cloudkitty import series
from cloudkitty import usage as usages
from cloudkitty.db import engine
from cloudkitty.db import rating_modules
from cloudkitty.db import rule_revision
from cloudkitty.db import rule_sets
from cloudkitty.rating import base
from cloudkitty.rating import classic
from cloudkitty.rating import frames
from cloudkitty.rating import jail as jails
from cloudkitty.rating import rounding
from cloudkitty.rating import skips as expressions
from cloudkitty.rating import troubles
from cloudkitty.rating.hashmap import module as hashmap
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import reasons
from cloudkitty.rating.hashmap import rulebook
from cloudkitty.rating.pyscripts import module as pyscripts

LOG = log.getLogger(__name__)

NAMESPACE = 'cloudkitty.rating.processors'

#: Points priced between two calls of *pause*: about 50 ms of work.
_BREATH = 50000

#: How a rule set calls the machine's zone where its name is not known.
_MACHINE = 'tzlocal()'

ModuleFailed = frames.ModuleFailed


@dataclasses.dataclass(frozen=True)
class Link:
    """An enabled module in its place.

    :ivar module: one of ours, or the adapter of a third party's.
    """

    name: str
    priority: int
    module: base.BuiltIn | base.FrameModule | classic.Adapter

    @property
    def is_opaque(self) -> bool:
        """Whether it is somebody else's, so that nobody can tell what it does."""
        return isinstance(self.module, classic.Adapter)

    def sees_whole_frames(self, begin: int, end: int) -> bool:
        """Return whether it wants whole frames of periods that begin in ``[begin, end)``, epoch seconds."""
        if isinstance(self.module, base.FrameModule):
            return self.module.is_active(begin, end)
        return self.is_opaque


@dataclasses.dataclass(frozen=True)
class Explanation:
    """A *price*, quantised, and what each group of rules added to it."""

    price: Decimal
    parts: tuple[pricing.GroupPrice, ...]


@dataclasses.dataclass(frozen=True)
class Stage:
    """What the points of a frame cost once a module or script has seen them, not rounded.

    :ivar script: None: a module that runs none.
    """

    module: str
    script: pyscripts.Script | None
    prices: tuple[Decimal, ...]


class Altered(ModuleFailed):
    """A script changes more than prices, so that nobody can tell which price was which point's."""


class Chain:
    """The enabled modules as they were at one moment.

    :ivar rule_set: digest of the written form of what it prices with.
    :ivar revision: of the rules in the database it was made from.
    """

    def __init__(
        self,
        links: Sequence[Link],
        zone: datetime.tzinfo,
        rule_set: str = '',
        revision: int = 0,
        skips: expressions.Skips | None = None,
        jail: jails.Jail | None = None,
    ) -> None:
        """Set up the chain.

        :param skips: which points are left out once they are rated; None: none.
        :param jail: where that is worked out; one of its own, if None.
        """
        self.links = tuple(sorted(links, key=lambda link: (-link.priority, link.name)))
        self.zone = zone
        self.rule_set = rule_set
        self.revision = revision
        self.skips = skips or expressions.Skips()
        self._jail = jail or jails.Jail()
        #: Modules of others may not bear several threads.
        self._turn = threading.Lock()
        modules = [link.module for link in self.links]
        self._pricers = [
            module.pricer for module in modules if isinstance(module, base.BuiltIn) and module.pricer is not None
        ]

    def sees_whole_frames(self, begin: int, end: int) -> bool:
        """Return whether a module wants all metrics of a scope and period at once, to be rated and mended together.

        :param begin, end: periods that begin in ``[begin, end)``, epoch seconds.
        """
        return any(link.sees_whole_frames(begin, end) for link in self.links)

    def price(self, usage: usages.Usage, pause: Callable[[], None] | None = None) -> usages.Rated:
        """Return *usage* with a price, quantised, for every point but those that are to be skipped.

        Where a module, a script or an expression fails, or a price does not fit the tables, the cell is UNRATED: its
        quantities stay, its prices are None.

        :param pause: called every now and then, so that others get a turn.
        """
        pause = pause or _do_nothing
        if self.sees_whole_frames(usage.batch.begin, usage.batch.end):
            with decimal.localcontext(amount.CONTEXT):
                rated = frames.FrameRating(self.links, self.zone, self.is_matched, usage, pause).run(self.rule_set)
        else:
            rated = self._price_all(usage, pause)
        return expressions.apply(self.skips, rated, self._jail, self.zone, pause) if self.skips else rated

    def _price_all(self, usage: usages.Usage, pause: Callable[[], None]) -> usages.Rated:
        columns = [column for column in usage.columns if column.begins]
        result = []
        too_large: set[troubles.Cell] = set()
        done = 0
        with rounding.local():
            for column in columns:
                result.append(self._price_columns(column, too_large))
                done += len(column.begins)
                if done >= _BREATH:
                    done = 0
                    pause()
        found = list(usage.troubles)
        if too_large:
            result = [troubles.without_prices(column, too_large) for column in result]
            found += troubles.unrated(too_large, usage.batch.length, 'A price is too large to be stored.')
        return usages.Rated(usage.batch, result, found, self.rule_set)

    def _price_columns(self, columns: series.Columns, too_large: set[troubles.Cell]) -> series.Columns:
        count = len(columns.begins)
        prices: Sequence[Decimal] | None = None
        matched: bool | list[bool] = False
        try:
            for pricer in self._pricers:
                added = pricer.price(columns)
                if added is None:
                    continue
                if prices is None:
                    prices, matched = added
                else:
                    prices = [price + more for price, more in zip(prices, added[0], strict=True)]
                    matched = _either(matched, added[1], count)
            if prices is None:
                return _with_prices(columns, (amount.ZERO,) * count, (True,) * count)
            prices = rounding.quantise_all(prices)
        except decimal.DecimalException:
            return self._price_carefully(columns, too_large)
        return _with_prices(columns, tuple(prices), _unpriced(prices, matched))

    def _price_carefully(self, columns: series.Columns, too_large: set[troubles.Cell]) -> series.Columns:
        """Price point by point: one of them is too large."""
        prices: list[Decimal | None] = []
        matched = []
        for begin, quantity in zip(columns.begins, columns.quantities, strict=True):
            try:
                price, is_matched = self._price_point(columns.series, begin, quantity)
                prices.append(price)
            except (amount.AmountTooLarge, decimal.DecimalException):
                too_large.add((columns.series.scope_id, columns.series.metric, begin))
                prices.append(None)
                is_matched = True
            matched.append(is_matched)
        return _with_prices(columns, tuple(prices), _unpriced(prices, matched))

    def _price_point(self, of: series.Series, begin: int, quantity: Decimal) -> tuple[Decimal, bool]:
        total, is_matched = self._sum_point(of, begin, quantity)
        return amount.quantise(total), is_matched

    def _sum_point(self, of: series.Series, begin: int, quantity: Decimal) -> tuple[Decimal, bool]:
        desc = {**of.metadata, **of.groupby, **series.calendar(period.from_epoch(begin), self.zone)}
        total, is_matched = amount.ZERO, False
        for pricer in self._pricers:
            added, took_part = pricer.price_point(of.metric, of.scope_id, begin, quantity, desc)
            total = amount.CONTEXT.add(total, added)
            is_matched = is_matched or took_part
        return total, is_matched

    def explain(self, of: series.Series, begin: int, quantity: Decimal) -> 'Explanation':
        """Return how the price of a point of series *of* at epoch second *begin* comes about.

        It is the price that :meth:`price` gives, unless the chain :meth:`sees_whole_frames`: what modules of others
        and scripts do is not in it.
        """
        desc = {**of.metadata, **of.groupby, **series.calendar(period.from_epoch(begin), self.zone)}
        parts = [
            part for pricer in self._pricers for part in pricer.explain(of.metric, of.scope_id, begin, quantity, desc)
        ]
        return Explanation(self._price_point(of, begin, quantity)[0], tuple(parts))

    def find_reasons(self, of: series.Series, begin: int, quantity: Decimal) -> list[reasons.Reason]:
        """Return what :meth:`explain` does, with every rule that matched; what modules of others do is not in it."""
        desc = {**of.metadata, **of.groupby, **series.calendar(period.from_epoch(begin), self.zone)}
        return [
            reason
            for pricer in self._pricers
            for reason in pricer.find_reasons(of.metric, of.scope_id, begin, quantity, desc)
        ]

    def trace(self, scope_id: str, points: Sequence[tuple[series.Series, Decimal]], when: period.Period) -> list[Stage]:
        """Return what modules and scripts make of a frame, one after the other; for chains that want whole frames.

        :param points: of one scope and period, each with its quantity, by metric type.
        :raises ModuleFailed: a script fails.
        :raises Altered: a script changes more than prices.
        """
        words = series.calendar(when.begin, self.zone)
        frame = dataframe.DataFrame(when.begin, when.end)
        for of, quantity in points:
            frame.add_point(frames.to_datapoint(of, quantity, words), of.metric)
        came = list(frame.iterpoints())
        stages = []
        with decimal.localcontext(amount.CONTEXT):
            for link in self.links:
                for script, result in self._steps(link, scope_id or None, frame):
                    prices = frames.match(came, list(result.iterpoints()))
                    if prices is None:
                        raise Altered('Module %s changes more than prices.' % link.name)
                    frame = result
                    stages.append(Stage(link.name, script, tuple(prices)))
        return stages

    def _steps(
        self, link: Link, scope_id: str | None, frame: dataframe.DataFrame
    ) -> list[tuple[pyscripts.Script | None, dataframe.DataFrame]]:
        if not isinstance(link.module, pyscripts.PyScripts):
            entry = frames.Entry(scope_id, frame)
            frames.run([link], [entry])
            if entry.error is not None:
                raise entry.error
            return [(None, entry.frame)]
        steps: list[tuple[pyscripts.Script | None, dataframe.DataFrame]] = []
        for script, result in link.module.trace(scope_id, frame):
            if isinstance(result, str):
                raise ModuleFailed('Module %s: %s' % (link.name, result))
            steps.append((script, result))
        return steps

    def run(self, scope_id: str | None, frame: dataframe.DataFrame, quote: bool = False) -> dataframe.DataFrame:
        """Return *frame* of *scope_id* (None: of nobody) as the modules leave it, one after the other; not rounded.

        Raises :class:`ModuleFailed`.
        """
        entry = frames.Entry(scope_id, frame)
        frames.run(self.links, [entry], quote)
        if entry.error is not None:
            raise entry.error
        return entry.frame

    def quote(self, frame: dataframe.DataFrame, scope_id: str | None = None) -> Decimal:
        """Return the sum of the prices of *frame*, usage that has not happened; quantised.

        Raises :class:`ModuleFailed`, and :class:`amount.AmountTooLarge`.
        """
        with self._turn if any(link.is_opaque for link in self.links) else contextlib.nullcontext():
            with decimal.localcontext(amount.CONTEXT):
                result = self.run(scope_id, frame, quote=True)
        return amount.quantise(amount.total(point.price for _, point in result.iterpoints()))

    def is_matched(self, of: series.Series, begin: int, quantity: Decimal) -> bool:
        """Return whether a rule of a built-in module takes part in the price of a point."""
        return self._sum_point(of, begin, quantity)[1]


def _with_prices(
    columns: series.Columns, prices: tuple[Decimal | None, ...], unpriced: tuple[bool, ...] | None
) -> series.Columns:
    # Much faster than dataclasses.replace().
    return series.Columns(columns.series, columns.length, columns.begins, columns.quantities, prices, unpriced)


def _do_nothing() -> None:
    pass


def _either(one: bool | list[bool], other: bool | list[bool], count: int) -> bool | list[bool]:
    if one is True or other is True:
        return True
    first = [one] * count if isinstance(one, bool) else one
    second = [other] * count if isinstance(other, bool) else other
    return [a or b for a, b in zip(first, second, strict=True)]


def _unpriced(prices: Sequence[Decimal | None], matched: bool | list[bool]) -> tuple[bool, ...] | None:
    if matched is True:
        return None
    if matched is False:
        flags = tuple([not price and price is not None for price in prices])
    else:
        flags = tuple(
            [
                not price and price is not None and not is_matched
                for price, is_matched in zip(prices, matched, strict=True)
            ]
        )
    return flags if any(flags) else None


def list_modules(
    database: engine.Database, zone: datetime.tzinfo = period.UTC, notifier: base.Notifier | None = None
) -> dict[str, Any]:
    """Return {entry point name: module} of every installed module, enabled or not, by name; one statement.

    A module that cannot be made is an error: one that is silently missing would change what people pay.
    """
    states = rating_modules.list_states(database)
    result = {}
    for name, plugin in plugins.load_all(NAMESPACE).items():
        result[name] = classic.construct(plugin, None)
        _bind(result[name], name, database, zone, notifier, states)
    return result


def load(
    database: engine.Database,
    conf: Any,
    notifier: base.Notifier | None = None,
    installed: Mapping[str, Any] | None = None,
    skips: expressions.Skips | None = None,
    jail: jails.Jail | None = None,
    write: bool = True,
) -> Chain:
    """Return the chain of the modules that are enabled now; write its rule set.

    :param conf: options; ``[collect] timezone`` is the zone of rule dates and calendar attributes.
    :param installed: module classes by entry point name; None: those that are installed.
    :param skips: which points are left out; None: none.
    :param jail: where scripts and expressions run; one of its own, if None.
    :param write: False: nothing is kept that it prices, and its rule set is neither written nor named.

    The number of statements does not depend on how many rules there are. Raises ConfigurationError for a module that
    cannot be imported, and whatever the making of an enabled one raises.
    """
    zone = options.zone(conf)
    jail = jail or jails.Jail()
    revision = rule_revision.current(database)
    states = rating_modules.list_states(database)
    links = []
    for name, plugin in (plugins.load_all(NAMESPACE) if installed is None else installed).items():
        if not _may_be_enabled(name, plugin, states):
            continue

        def prepare(module: Any, name: str = name) -> None:
            _bind(module, name, database, zone, notifier, states)
            if isinstance(module, base.FrameModule):
                module.jail = jail

        adapter = classic.Adapter(name, plugin, prepare)
        module = adapter.instance(None)
        if not _is_enabled(module, name, states):
            continue
        if is_built_in(plugin):
            module.reload_config()
            links.append(Link(name, module.priority, module))
        else:
            links.append(Link(name, _priority(module, name, states), adapter))
    chain = Chain(links, zone, revision=revision, skips=skips, jail=jail)
    if write:
        chain.rule_set = rule_sets.save(database, _body(chain), _parts(chain))
    return chain


class Written(base.BuiltIn):
    """A module whose rules come from a written rule set."""

    def __init__(self, tenant_id: str | None = None, pricer: rulebook.RuleBook | None = None) -> None:
        super().__init__(tenant_id)
        self.pricer = pricer

    def reload_config(self, start: datetime.datetime | None = None) -> None:
        """A rule set never changes."""

    def process(self, data: dataframe.DataFrame) -> dataframe.DataFrame:
        """Return *data* with the prices of the rules added."""
        assert isinstance(self.pricer, rulebook.RuleBook)
        return hashmap.price_frame(self.pricer, self._tenant_id, data)


def replay(database: engine.Database, digest: str, jail: jails.Jail | None = None) -> Chain:
    """Return the chain that rule set *digest* was written from: it gives the same prices, as far as its scripts do.

    :param jail: where scripts and expressions run; one of its own, if None.

    Raises NotFound for an unknown digest, and Conflict where modules of others took part: what they did is not written.
    """
    return read(rule_sets.load(database, digest), jail)


def read(written: rule_sets.RuleSet, jail: jails.Jail | None = None) -> Chain:
    """Return the chain of a rule set; see :func:`replay`. Raises Conflict."""
    digest, body, parts = written.digest, written.body, written.parts
    opaque = [link['name'] for link in body['chain'] if link['opaque']]
    if opaque:
        raise errors.Conflict('Rule set %s cannot be replayed: module %s is not ours.' % (digest, ', '.join(opaque)))
    zone = _zone(body['zone'])
    jail = jail or jails.Jail()
    rules: dict[str, base.BuiltIn | base.FrameModule] = {
        'hashmap': Written(pricer=rulebook.read([content for kind, content in parts if kind == rulebook.PART], zone)),
        'pyscripts': pyscripts.PyScripts.of(
            pyscripts.read(content for kind, content in parts if kind == pyscripts.PART), jail
        ),
    }
    links = [
        Link(link['name'], link['priority'], rules[link['name']]) for link in body['chain'] if link['name'] in rules
    ]
    return Chain(links, zone, digest, skips=expressions.read(body['skip']), jail=jail)


def _zone(name: str) -> datetime.tzinfo:
    if name == 'UTC':
        return period.UTC
    return tz.tzlocal() if name == _MACHINE else zoneinfo.ZoneInfo(name)


def is_built_in(plugin: Any) -> bool:
    """Return whether *plugin* is a module of ours, its way of pricing included (a subclass may replace it)."""
    if not (isinstance(plugin, type) and issubclass(plugin, base.BuiltIn | base.FrameModule)):
        return False
    for cls in plugin.__mro__:
        if cls.__module__.startswith('cloudkitty.rating.'):
            return True
        if vars(cls).keys() & {'process', 'rate', 'quote', 'reload_config', 'pricer', '__init__'}:
            return False
    return False


def _may_be_enabled(name: str, plugin: Any, states: Mapping[str, rating_modules.ModuleState]) -> bool:
    """Return whether *plugin* is worth making: it is not if only the database decides, and has decided."""
    if isinstance(plugin, type) and getattr(plugin, 'enabled', None) is base.RatingProcessorBase.enabled:
        return _state(plugin, name, states).enabled
    return True


def _is_enabled(module: Any, name: str, states: Mapping[str, rating_modules.ModuleState]) -> bool:
    enabled = getattr(module, 'enabled', None)
    return _state(module, name, states).enabled if enabled is None else bool(enabled)


def _priority(module: Any, name: str, states: Mapping[str, rating_modules.ModuleState]) -> int:
    priority = getattr(module, 'priority', None)
    return (_state(module, name, states).priority if priority is None else priority) or 1


def _state(module: Any, name: str, states: Mapping[str, rating_modules.ModuleState]) -> rating_modules.ModuleState:
    return states.get(getattr(module, 'module_name', None) or name, rating_modules.ModuleState())


def _bind(
    module: Any,
    name: str,
    database: engine.Database,
    zone: datetime.tzinfo,
    notifier: base.Notifier | None,
    states: Mapping[str, rating_modules.ModuleState],
) -> None:
    if isinstance(module, base.RatingProcessorBase):
        module.bind(database, notifier, zone, _state(module, name, states))


def _body(chain: Chain) -> dict[str, Any]:
    return {
        'format': 1,
        'chain': [{'name': link.name, 'priority': link.priority, 'opaque': link.is_opaque} for link in chain.links],
        'zone': getattr(chain.zone, 'key', None) or str(chain.zone),
        'skip': chain.skips.write(),
        'arithmetic': {
            'precision': amount.CONTEXT.prec,
            'rounding': amount.CONTEXT.rounding,
            'digits': amount.DIGITS,
        },
    }


def _parts(chain: Chain) -> list[tuple[str, dict[str, Any]]]:
    return [
        part for link in chain.links if not isinstance(link.module, classic.Adapter) for part in link.module.write()
    ]


class Cache:
    """The chain that a process prices with, read anew when somebody changed a rule or a module.

    :param conf: options, for :func:`load`; those of [pyscripts] say what scripts may use up.
    :param skips: which points are left out; None: none.
    :param write: see :func:`load`.
    :ivar jail: where scripts and expressions run.
    :ivar loads: how many times it was read.
    """

    def __init__(
        self,
        database: engine.Database,
        conf: Any,
        notifier: base.Notifier | None = None,
        installed: Mapping[str, Any] | None = None,
        skips: expressions.Skips | None = None,
        write: bool = True,
    ) -> None:
        self._database = database
        self._conf = conf
        self._notifier = notifier
        self._installed = installed
        self._skips = skips
        self._write = write
        self.jail = jails.from_options(conf)
        self._lock = threading.Lock()
        self._chain: Chain | None = None
        self._is_stale = True
        self._reported: str | None = None
        self.loads = 0

    def get(self) -> Chain:
        """Return the chain of the rules as they are; the last good one, with an ERROR, if they cannot be read.

        Raises what :func:`load` raises while there is none.
        """
        with self._lock:
            try:
                revision = rule_revision.current(self._database)
                if self._chain is None or self._is_stale or self._chain.revision != revision:
                    # Before it is read, so that what becomes known meanwhile is read the next time.
                    self._is_stale = False
                    self._chain = load(
                        self._database, self._conf, self._notifier, self._installed, self._skips, self.jail, self._write
                    )
                    self._reported = None
                    self.loads += 1
            except Exception as error:
                # Rules and modules of others: whatever it is, going on without one would bill wrongly.
                self._is_stale = True
                if self._chain is None:
                    raise
                text = '%s: %s' % (type(error).__name__, error)
                if text != self._reported:
                    self._reported = text
                    LOG.exception('The rating chain cannot be read; rating goes on with the one before.')
            return self._chain

    def invalidate(self) -> None:
        """Have the next :meth:`get` read the chain anew, whatever the revision says."""
        self._is_stale = True
