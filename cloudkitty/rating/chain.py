# SPDX-License-Identifier: Apache-2.0
"""The rating chain: the enabled modules, highest priority first, each adding to the prices of the one before."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
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
from cloudkitty import coverage
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
from cloudkitty.rating import rounding
from cloudkitty.rating.hashmap import module as hashmap
from cloudkitty.rating.hashmap import pricing
from cloudkitty.rating.hashmap import rulebook

LOG = log.getLogger(__name__)

NAMESPACE = 'cloudkitty.rating.processors'

#: Points priced between two calls of *pause*: about 50 ms of work.
_BREATH = 50000

#: How a rule set calls the machine's zone where its name is not known.
_MACHINE = 'tzlocal()'

Cell = tuple[str, str, int]


@dataclasses.dataclass(frozen=True)
class Link:
    """An enabled module in its place.

    :ivar module: one of ours, or the adapter of a third party's.
    """

    name: str
    priority: int
    module: base.BuiltIn | classic.Adapter

    @property
    def is_opaque(self) -> bool:
        """Whether it sees whole frames, so that nobody can tell what it does to them."""
        return isinstance(self.module, classic.Adapter)


@dataclasses.dataclass(frozen=True)
class Explanation:
    """A *price*, quantised, and what each group of rules added to it."""

    price: Decimal
    parts: tuple[pricing.GroupPrice, ...]


class Chain:
    """The enabled modules as they were at one moment.

    :ivar rule_set: digest of the written form of what it prices with.
    :ivar revision: of the rules in the database it was made from.
    """

    def __init__(self, links: Sequence[Link], zone: datetime.tzinfo, rule_set: str = '', revision: int = 0) -> None:
        self.links = tuple(sorted(links, key=lambda link: (-link.priority, link.name)))
        self.zone = zone
        self.rule_set = rule_set
        self.revision = revision
        modules = [link.module for link in self.links]
        self._pricers = [
            module.pricer for module in modules if isinstance(module, base.BuiltIn) and module.pricer is not None
        ]

    @property
    def sees_whole_frames(self) -> bool:
        """Whether a module wants all metrics of a scope and period at once, to be rated and mended together."""
        return any(link.is_opaque for link in self.links)

    def price(self, usage: usages.Usage, pause: Callable[[], None] | None = None) -> usages.Rated:
        """Return *usage* with a price, quantised, for every point.

        Where a module fails, or a price does not fit the tables, the cell is UNRATED: its quantities stay, its prices
        are None.

        :param pause: called every now and then, so that others get a turn.
        """
        if self.sees_whole_frames:
            with decimal.localcontext(amount.CONTEXT):
                return _FrameRating(self, usage, pause or _do_nothing).run()
        columns = [column for column in usage.columns if column.begins]
        result = []
        too_large: set[Cell] = set()
        done = 0
        with rounding.local():
            for column in columns:
                result.append(self._price_columns(column, too_large))
                done += len(column.begins)
                if pause is not None and done >= _BREATH:
                    done = 0
                    pause()
        troubles = list(usage.troubles)
        if too_large:
            result = [_without_prices(column, too_large) for column in result]
            troubles += _to_troubles(too_large, usage.batch.length, 'A price is too large to be stored.')
        return usages.Rated(usage.batch, result, troubles, self.rule_set)

    def _price_columns(self, columns: series.Columns, too_large: set[Cell]) -> series.Columns:
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

    def _price_carefully(self, columns: series.Columns, too_large: set[Cell]) -> series.Columns:
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

        It is the price that :meth:`price` gives, unless the chain :attr:`sees_whole_frames`: what modules of others
        do is not in it.
        """
        desc = {**of.metadata, **of.groupby, **series.calendar(period.from_epoch(begin), self.zone)}
        parts = [
            part for pricer in self._pricers for part in pricer.explain(of.metric, of.scope_id, begin, quantity, desc)
        ]
        return Explanation(self._price_point(of, begin, quantity)[0], tuple(parts))

    def run(self, scope_id: str | None, frame: dataframe.DataFrame, quote: bool = False) -> dataframe.DataFrame:
        """Return *frame* of *scope_id* (None: of nobody) as the modules leave it, one after the other; not rounded.

        Raises :class:`ModuleFailed`.
        """
        for link in self.links:
            if isinstance(link.module, classic.Adapter):
                _call(link, link.module.reload, scope_id, frame.start)
        for link in self.links:
            if isinstance(link.module, classic.Adapter):
                changed = _call(link, link.module.process, scope_id, frame, quote)
            else:
                changed = _call(link, link.module.share(scope_id).process, frame)
            # A module has no say in when the usage was.
            changed.start, changed.end = frame.start, frame.end
            frame = changed
        return frame

    def quote(self, frame: dataframe.DataFrame, scope_id: str | None = None) -> Decimal:
        """Return the sum of the prices of *frame*, usage that has not happened; quantised.

        Raises :class:`ModuleFailed`, and :class:`amount.AmountTooLarge`.
        """
        with decimal.localcontext(amount.CONTEXT):
            result = self.run(scope_id, frame, quote=True)
            return amount.quantise(amount.total(point.price for _, point in result.iterpoints()))

    def is_matched(self, of: series.Series, begin: int, quantity: Decimal) -> bool:
        """Return whether a rule of a built-in module takes part in the price of a point."""
        return self._sum_point(of, begin, quantity)[1]


class ModuleFailed(Exception):
    """A rating module raised, or made something of its frame that is none."""


def _call(link: Link, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except (Exception, SystemExit) as error:
        raise ModuleFailed('Module %s: %s: %s' % (link.name, type(error).__name__, error)) from error


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


def _without_prices(columns: series.Columns, cells: set[Cell]) -> series.Columns:
    of = columns.series
    hit = [(of.scope_id, of.metric, begin) in cells for begin in columns.begins]
    if not any(hit):
        return columns
    prices = columns.prices or (None,) * len(hit)
    flags = None
    if columns.unpriced is not None:
        flags = tuple([flag and not gone for flag, gone in zip(columns.unpriced, hit, strict=True)])
    return dataclasses.replace(
        columns,
        prices=tuple([None if gone else price for price, gone in zip(prices, hit, strict=True)]),
        unpriced=flags if flags and any(flags) else None,
    )


def _to_troubles(cells: Iterable[Cell], length: int, error: str) -> list[usages.Trouble]:
    """Return an UNRATED trouble for each stretch of consecutive *cells*."""
    result: list[usages.Trouble] = []
    for scope_id, metric, begin in sorted(cells):
        last = result[-1] if result else None
        if last is not None and (last.scope_id, last.metric, last.end) == (scope_id, metric, begin):
            result[-1] = dataclasses.replace(last, end=begin + length)
        else:
            trouble = usages.Trouble(scope_id, metric, begin, begin + length, coverage.Status.UNRATED, error)
            result.append(trouble)
    return result


@dataclasses.dataclass
class _Point:
    """A point of a batch, taken out of its columns."""

    series: series.Series
    length: int
    begin: int
    quantity: Decimal
    price: Decimal | None = None
    is_unpriced: bool = False


class _FrameRating:
    """Rates a batch scope by scope and period by period, for chains with modules that see whole frames."""

    def __init__(self, chain: Chain, usage: usages.Usage, pause: Callable[[], None]) -> None:
        self._chain = chain
        self._usage = usage
        self._pause = pause
        self._failed: dict[str, set[Cell]] = {}
        self._altered: set[tuple[str, int]] = set()

    def run(self) -> usages.Rated:
        cells: dict[tuple[str, int], list[_Point]] = {}
        for columns in self._usage.columns:
            for begin, quantity in zip(columns.begins, columns.quantities, strict=True):
                point = _Point(columns.series, columns.length, begin, quantity)
                cells.setdefault((columns.series.scope_id, begin), []).append(point)
        points = []
        for scope_id, begin in sorted(cells):
            points += self._rate(scope_id, begin, cells[scope_id, begin])
            self._pause()
        troubles = list(self._usage.troubles)
        for error, failed in self._failed.items():
            troubles += _to_troubles(failed, self._usage.batch.length, error)
        return usages.Rated(
            self._usage.batch, _to_columns(points), troubles, self._chain.rule_set, frozenset(self._altered)
        )

    def _rate(self, scope_id: str, begin: int, points: list[_Point]) -> list[_Point]:
        # Sorted by type, as frames are; the sort keeps the order within a type.
        points = sorted(points, key=lambda point: point.series.metric)
        words = series.calendar(period.from_epoch(begin), self._chain.zone)
        frame = dataframe.DataFrame(period.from_epoch(begin), period.from_epoch(begin + points[0].length))
        for point in points:
            frame.add_point(_to_datapoint(point, words), point.series.metric)
        before = list(frame.iterpoints())
        try:
            after = list(self._chain.run(scope_id or None, frame).iterpoints())
            prices = match(before, after)
            if prices is not None:
                for point, price in zip(points, prices, strict=True):
                    point.price = amount.quantise(price)
            else:
                points = [self._rebuild(scope_id, begin, points[0].length, words, entry) for entry in after]
                self._altered.add((scope_id, begin))
        except (ModuleFailed, amount.AmountTooLarge, TypeError, ValueError, decimal.DecimalException) as error:
            self._fail(scope_id, begin, points, error)
            return [dataclasses.replace(point, price=None) for point in points]
        for point in points:
            if not point.price:
                point.is_unpriced = not self._chain.is_matched(point.series, begin, point.quantity)
        return points

    def _rebuild(
        self, scope_id: str, begin: int, length: int, words: Mapping[str, str], entry: tuple[str, dataframe.DataPoint]
    ) -> _Point:
        metric, point = entry
        groupby = {name: value for name, value in point.groupby.items() if name not in words or words[name] != value}
        of = series.Series(scope_id, metric, point.unit, groupby, dict(point.metadata), point.description)
        return _Point(of, length, begin, amount.quantise(point.qty), amount.quantise(point.price))

    def _fail(self, scope_id: str, begin: int, points: list[_Point], error: Exception) -> None:
        text = str(error)
        if text not in self._failed:
            LOG.error(
                '%s, %s: not rated, to be rated when the rules change: %s',
                scope_id,
                period.from_epoch(begin),
                text,
                exc_info=error.__cause__ or error,
            )
        failed = self._failed.setdefault(text, set())
        failed |= {(scope_id, point.series.metric, begin) for point in points}


def _to_datapoint(point: _Point, words: Mapping[str, str]) -> dataframe.DataPoint:
    of = point.series
    return dataframe.DataPoint(
        of.unit, point.quantity, amount.ZERO, {**of.groupby, **words}, of.metadata, of.description
    )


def match(
    before: Sequence[tuple[str, dataframe.DataPoint]], after: Sequence[tuple[str, dataframe.DataPoint]]
) -> list[Decimal] | None:
    """Return the price that each of *before* has in *after*; None if anything but prices and order changed."""
    if len(before) != len(after):
        return None
    if all(_is_same(one, other) for one, other in zip(before, after, strict=True)):
        return [point.price for _, point in after]
    prices: dict[str, list[Decimal]] = {}
    for entry in reversed(after):
        prices.setdefault(_key(entry), []).append(entry[1].price)
    result = []
    for entry in before:
        found = prices.get(_key(entry))
        if not found:
            return None
        result.append(found.pop())
    return result


def _is_same(one: tuple[str, dataframe.DataPoint], other: tuple[str, dataframe.DataPoint]) -> bool:
    # By the typed text of the attributes: 1, 1.0 and True are three series.
    return one[0] == other[0] and (one[1] is other[1] or _key(one) == _key(other))


def _key(entry: tuple[str, dataframe.DataPoint]) -> str:
    metric, point = entry
    attributes = series.canonical([metric, point.unit, dict(point.groupby), dict(point.metadata), point.description])
    return '%s %s' % (amount.to_text(point.qty), attributes)


def _to_columns(points: Iterable[_Point]) -> list[series.Columns]:
    rows: dict[tuple[series.Series, int], list[_Point]] = {}
    for point in points:
        rows.setdefault((point.series, point.length), []).append(point)
    result = []
    for (of, length), row in rows.items():
        row.sort(key=lambda point: point.begin)
        flags = tuple([point.is_unpriced for point in row])
        result.append(
            series.Columns(
                of,
                length,
                tuple([point.begin for point in row]),
                tuple([point.quantity for point in row]),
                tuple([point.price for point in row]),
                flags if any(flags) else None,
            )
        )
    return result


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
) -> Chain:
    """Return the chain of the modules that are enabled now; write its rule set.

    :param conf: options; ``[collect] timezone`` is the zone of rule dates and calendar attributes.
    :param installed: module classes by entry point name; None: those that are installed.

    The number of statements does not depend on how many rules there are. Raises ConfigurationError for a module that
    cannot be imported, and whatever the making of an enabled one raises.
    """
    zone = options.zone(conf)
    revision = rule_revision.current(database)
    states = rating_modules.list_states(database)
    links = []
    for name, plugin in (plugins.load_all(NAMESPACE) if installed is None else installed).items():
        if not _may_be_enabled(name, plugin, states):
            continue

        def prepare(module: Any, name: str = name) -> None:
            _bind(module, name, database, zone, notifier, states)

        adapter = classic.Adapter(name, plugin, prepare)
        module = adapter.instance(None)
        if not _is_enabled(module, name, states):
            continue
        if is_built_in(plugin):
            module.reload_config()
            links.append(Link(name, module.priority, module))
        else:
            links.append(Link(name, _priority(module, name, states), adapter))
    chain = Chain(links, zone, revision=revision)
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


def replay(database: engine.Database, digest: str) -> Chain:
    """Return the chain that rule set *digest* was written from: it gives the same prices.

    Raises NotFound for an unknown digest, and Conflict where modules of others took part: what they did is not written.
    """
    body, parts = rule_sets.load(database, digest)
    opaque = [link['name'] for link in body['chain'] if link['opaque']]
    if opaque:
        raise errors.Conflict('Rule set %s cannot be replayed: module %s is not ours.' % (digest, ', '.join(opaque)))
    zone = _zone(body['zone'])
    book = rulebook.read([content for kind, content in parts if kind == rulebook.PART], zone)
    links = [
        Link(link['name'], link['priority'], Written(pricer=book)) for link in body['chain'] if link['name'] != 'noop'
    ]
    return Chain(links, zone, digest)


def _zone(name: str) -> datetime.tzinfo:
    if name == 'UTC':
        return period.UTC
    return tz.tzlocal() if name == _MACHINE else zoneinfo.ZoneInfo(name)


def is_built_in(plugin: Any) -> bool:
    """Return whether *plugin* is a module of ours, its way of pricing included (a subclass may replace it)."""
    if not (isinstance(plugin, type) and issubclass(plugin, base.BuiltIn)):
        return False
    for cls in plugin.__mro__:
        if cls.__module__.startswith('cloudkitty.rating.'):
            return True
        if vars(cls).keys() & {'process', 'quote', 'reload_config', 'pricer', '__init__'}:
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
        'skip': None,
        'arithmetic': {
            'precision': amount.CONTEXT.prec,
            'rounding': amount.CONTEXT.rounding,
            'digits': amount.DIGITS,
        },
    }


def _parts(chain: Chain) -> list[tuple[str, dict[str, Any]]]:
    return [part for link in chain.links if isinstance(link.module, base.BuiltIn) for part in link.module.write()]


class Cache:
    """The chain that a process prices with, read anew when somebody changed a rule or a module.

    :param conf: options, for :func:`load`.
    :ivar loads: how many times it was read.
    """

    def __init__(
        self,
        database: engine.Database,
        conf: Any,
        notifier: base.Notifier | None = None,
        installed: Mapping[str, Any] | None = None,
    ) -> None:
        self._database = database
        self._conf = conf
        self._notifier = notifier
        self._installed = installed
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
                    self._chain = load(self._database, self._conf, self._notifier, self._installed)
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
